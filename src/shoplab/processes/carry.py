"""Turn a function and its arguments into bytes, and say which variable cannot travel."""

from __future__ import annotations

import inspect
import linecache
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cloudpickle

from shoplab.errors import LabError, ProcessError


def function_name(function: Callable[..., Any]) -> str:
    """A function's name, in letters that a file's name can carry."""
    return re.sub(r"[^\w.-]", "", getattr(function, "__name__", type(function).__name__))


def pack(
    function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> bytes:
    """The bytes of a call. ``ProcessError`` names the variable that cannot be pickled."""
    try:
        return _dumps((function, tuple(arguments), dict(keywords)))
    except LabError:
        raise
    except _UNPICKLABLE as error:
        name = function_name(function)
        culprit = next(_culprits(function, arguments, keywords), "something it refers to")
        raise ProcessError(
            f"{name} cannot travel into a process of its own: {culprit} cannot be pickled "
            f"({error}).",
            next_step="make it inside the function, and pass what it is made from as arguments",
        ) from error


def source_lines(function: Callable[..., Any]) -> tuple[str, list[str]] | None:
    """File name and source of a function, so that a traceback in the child can show its lines.

    A notebook's cells exist in no file, only in this process's line cache.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return None
    lines = linecache.getlines(code.co_filename)
    return (code.co_filename, lines) if lines else None


# What pickling raises depends on the class of the object that refuses.
_UNPICKLABLE = (
    pickle.PicklingError,
    TypeError,
    AttributeError,
    ValueError,
    NotImplementedError,
    RecursionError,
    OSError,
)


def _dumps(value: Any) -> bytes:
    data: bytes = cloudpickle.dumps(value)
    return data


def _culprits(
    function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> Iterator[str]:
    used: dict[str, Any] = {}
    if inspect.isfunction(function):
        seen = inspect.getclosurevars(function)
        variables = {**seen.globals, **seen.nonlocals}
        used = {f"the variable {name!r}": value for name, value in variables.items()}
    used |= {f"argument {position}": v for position, v in enumerate(arguments, start=1)}
    used |= {f"the argument {name!r}": value for name, value in keywords.items()}
    for description, value in used.items():
        try:
            _dumps(value)
        except _UNPICKLABLE:
            yield f"{description} (a {type(value).__name__})"
