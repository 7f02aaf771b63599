"""Mutants: a line of a program that is not as it was, for tests that ought to notice."""

from __future__ import annotations
import __future__

import ast
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import dedent
from types import CodeType
from typing import Any


@contextmanager
def mutated(function: Callable[..., Any], old: str, new: str) -> Iterator[None]:
    """Let ``function`` run with ``new`` in its source in place of ``old`` while the block runs.

    Whoever has the function already, a class or a route say, runs the mutant too. It lives in this
    process only. ``ValueError`` unless ``old`` is there just once.
    """
    source = dedent(inspect.getsource(function))
    if source.count(old) != 1:
        raise ValueError(f"{old!r} is {source.count(old)} times in:\n{source}")
    right = function.__code__
    function.__code__ = _compiled(source.replace(old, new), function)
    try:
        yield
    finally:
        function.__code__ = right


def _compiled(source: str, function: Callable[..., Any]) -> CodeType:
    """The code of the one function in ``source``, as if it stood in the module of ``function``."""
    tree = ast.parse(source)
    [definition] = tree.body
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    definition.decorator_list = []
    made: dict[str, Any] = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(tree, "<mutant>", "exec", flags), function.__globals__, made)
    code: CodeType = made[definition.name].__code__
    return code
