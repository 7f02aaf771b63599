"""The other end: ``python -m shoplab.processes.child`` reads one order and carries it out.

With the number of a socket it is the fork server first, and what follows is each child's.

Standard input carries a line of JSON (the order), then the pickled call; after that it is the
lifeline, and its end ends this process. What a function prints goes to standard output and error,
which are the log.
"""

from __future__ import annotations

import json
import linecache
import os
import pickle
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from shoplab.paths import write_whole
from shoplab.processes.order import Order, Serving, receive

OUR_FRAMES = 2  # main and carry_out; a reader's traceback starts below them


def main() -> None:
    """Read the order, run the function, and leave with status 0, or 1 after a traceback."""
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        with os.fdopen(lifeline, "rb", closefd=False) as stream:
            order, call = receive(stream)
    except EOFError:  # our parent was interrupted, or has ended, before it said what to do
        sys.exit(1)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    signal.signal(signal.SIGTERM, _leave)
    try:
        carry_out(order, call)
    except Exception as error:  # noqa: BLE001 - the top of a process: everything goes to the log
        frames = error.__traceback__
        for _ in range(OUR_FRAMES):
            frames = frames.tb_next if frames is not None and frames.tb_next else frames
        traceback.print_exception(type(error), error, frames)
        sys.exit(1)


def carry_out(order: Order, call: bytes) -> None:
    """Run the call as a worker, or serve the application that it returns."""
    sys.path[:] = order.path
    if order.source is not None:
        name, lines = order.source
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    if order.spans is not None:
        from shoplab.measure.spans import record_spans

        record_spans(order.name, Path(order.spans))
    function, arguments, keywords = pickle.loads(call)  # noqa: S301 - written by our own parent
    value = function(*arguments, **keywords)
    if order.serving is not None:
        _serve(order.name, value, order.serving, traced=order.spans is not None)
    if order.result is not None:
        _write_result(order.name, value, Path(order.result))


def _write_result(name: str, value: Any, path: Path) -> None:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} returned a {type(value).__name__} that JSON cannot carry ({error}); "
            "return numbers, strings, lists and dicts"
        ) from None
    write_whole(path, text)


def _serve(name: str, application: Any, serving: Serving, *, traced: bool) -> None:
    import socket

    import anyio.to_thread
    import uvicorn

    limits = serving.limits
    if not callable(application):
        raise TypeError(
            f"{name} returned {application!r}; a service's factory returns its ASGI application"
        )
    if traced:
        from shoplab.measure.spans import trace_application

        application = trace_application(application)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            anyio.to_thread.current_default_thread_limiter().total_tokens = limits.threads
            await super().startup(sockets)
            os.write(serving.ready, b"1")
            os.close(serving.ready)

    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        ws="none",
        # Longer than any client pools a connection: an idle one is never closed under its user.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        backlog=limits.backlog,
        limit_concurrency=limits.limit_concurrency,
    )
    os.set_inheritable(serving.listener, False)
    os.set_inheritable(serving.ready, False)
    Server(config).run([socket.socket(fileno=serving.listener)])


def _end_with_parent(lifeline: int) -> None:
    # A signal that came while the process was halted may be given to any thread that takes it, and
    # only the main one runs Python's handlers: asleep in a system call, it would never hear of it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while os.read(lifeline, 1):
        pass
    os._exit(1)


def _leave(signum: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into SystemExit, so that the function's ``finally`` blocks run."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # our parent may ask again, while they do
    sys.exit(0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        from shoplab.processes.forkserver import fork_children

        fork_children(int(sys.argv.pop()))  # returns in each child
    main()
