"""Handles on the processes that a notebook starts: services and workers."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from shoplab import families
from shoplab.errors import DeadlineError, ProcessError
from shoplab.ports import Port
from shoplab.processes.carry import pack, source_lines
from shoplab.processes.job import Job
from shoplab.processes.order import Limits, Order, Serving
from shoplab.processes.spawn import Child, launch
from shoplab.waiting import announced

START_TIMEOUT = 60.0
"""Seconds a service may take from its start to its first possible answer."""

STOP_TIMEOUT = 5.0
"""Seconds between the polite stop and SIGKILL: time for ``finally: consumer.close()``."""


AGAIN = 0.5
"""Seconds after which a process that goes on is asked to stop once more.

Only Python's main thread reacts to a signal. Where another one takes it, which happens after a
halt, the main thread stays in its system call and learns nothing.
"""


class Process:
    """One function in an operating-system process of its own.

    Its output goes to ``log``. When it dies without having been asked to, the next ``stop``,
    ``kill``, ``halt``, ``resume``, ``url`` or ``result`` raises ``ProcessError`` with the log's
    last lines; ``restart`` starts it again, whatever happened before.
    """

    def __init__(self, job: Job) -> None:
        """Pack the call; a subclass starts it."""
        self.name = job.name
        self.log = job.log
        self._call = pack(job.function, job.arguments, job.keywords)
        self._source = source_lines(job.function)
        self._spans = job.spans
        self._process: Child | None = None
        self._death_known = False

    @property
    def alive(self) -> bool:
        """Whether the process runs, or is halted."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process's number while it runs, else None."""
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def died(self) -> bool:
        """Whether the process ended in failure, and nobody has asked for it or noticed yet."""
        return not self.alive and bool(self._status) and not self._death_known

    @property
    def how_it_ended(self) -> str:
        """In words that follow its name: ``died (exit status 1)``."""
        status = self._status
        if status is None:
            return "never started"
        if status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        if status == 0:
            return "ended without a result"
        return f"died (exit status {status})"

    @property
    def halted(self) -> bool:
        """Whether the process stands still, by ``halt`` or by a SIGSTOP from elsewhere."""
        pid = self.pid
        return pid is not None and families.is_halted(pid)

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End the process politely: SIGTERM, so that ``finally`` runs; SIGKILL after ``timeout`` s.

        Returns when the process is gone. One that is halted goes on, to hear of it. Safe to repeat.
        """
        self._raise_if_died()
        self._death_known = True
        if self._process is not None and self.alive:
            if self.halted:
                families.resume(families.family(self._process.pid))
            for patience in (min(AGAIN, timeout), max(0.0, timeout - AGAIN)):
                self._process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience)
                    break
            else:
                self._process.kill()
        self._reap()

    def kill(self) -> None:
        """End the process as a crash does, by SIGKILL. Returns when it is gone. Safe to repeat."""
        self._raise_if_died()
        self._death_known = True
        if self._process is not None:
            self._process.kill()
        self._reap()

    def restart(self) -> None:
        """Start the same function again with the same arguments, after a stop, a kill or a death.

        A service keeps its address; the log goes on.
        """
        self._death_known = True  # also one that comes while we ask
        self.stop()
        self._start()

    def halt(self) -> None:
        """Make the process stand still, by SIGSTOP, as a long pause of its machine does.

        Returns when no thread of it runs, nor of what it has started. It keeps its connections, its
        locks, and its place in a group until others give it up; a service keeps its port, where
        callers still connect and wait for an answer. Safe to repeat. ``ProcessError`` if it has
        ended.
        """
        with self._told_to("halt") as pid:
            families.halt(pid)
        self._living("halt")  # it may have ended first

    def resume(self) -> None:
        """Let a halted process go on, by SIGCONT. Returns when it does. Safe to repeat.

        ``ProcessError`` if it has ended.
        """
        with self._told_to("resume") as pid:
            families.resume(families.family(pid))

    def release(self) -> None:
        """Stop for good; whatever the handle holds beside the process is given back."""
        self.stop()

    def _start(self) -> None:
        raise NotImplementedError

    def _spawn(self, *, serving: Serving | None = None, result: Path | None = None) -> None:
        self._death_known = False
        order = Order(
            name=self.name,
            path=sys.path,
            source=self._source,
            spans=str(self._spans) if self._spans else None,
            serving=serving,
            result=str(result) if result else None,
        )
        inherited = (serving.listener, serving.ready) if serving else ()
        self._process = launch(order, self._call, self.log, inherited)

    @contextmanager
    def _told_to(self, wish: str) -> Iterator[int]:
        """The number of the process, for a block that tells it something and waits for it."""
        try:
            yield self._living(wish)
        except DeadlineError as error:
            raise ProcessError(
                f"{self.name} did not {wish} within {families.DEADLINE:g} s.",
                next_step="look whether it waits for a disk; `.kill()` ends it",
                log=self.log,
            ) from error

    def _living(self, wish: str) -> int:
        """The number of the process, which has to run for what is wished."""
        self._raise_if_died()
        pid = self.pid
        if pid is None:
            raise ProcessError(
                f"{self.name} has ended, so there is nothing to {wish}.",
                next_step="start it again with `.restart()`",
                log=self.log,
            )
        return pid

    def _reap(self) -> None:
        if self._process is None:
            return
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # what it never read concerns nobody any more
            self._process.stdin.close()

    @property
    def _status(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def _raise_if_died(self) -> None:
        if self.died:
            self._raise_death()

    def _raise_death(self) -> NoReturn:
        self._reap()
        self._death_known = True
        raise ProcessError(
            f"{self.name} {self.how_it_ended}.",
            next_step="fix what the log shows and run the cell again, or call `.restart()`",
            log=self.log,
        )

    def __repr__(self) -> str:
        """What it is, its name, and its state."""
        state = f"pid {self.pid}" if self.alive else "ended"
        return f"<{type(self).__name__} {self.name}, {state}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to travel into another process."""
        raise ProcessError(
            f"The handle of {self.name} cannot travel into another process.",
            next_step="pass what is needed from it as an argument, such as its `.url` or `.pid`",
        )


class Service(Process):
    """A process that answers HTTP on 127.0.0.1, with the application that a factory returns."""

    def __init__(
        self, job: Job, limits: Limits, *, port: int | None = None, wait: bool = True
    ) -> None:
        """Start the service, on the given port or on a free one.

        Returns when the service answers, or with ``wait=False`` at once: who starts several side
        by side calls ``await_ready`` on each.
        """
        super().__init__(job)
        self._limits = limits
        self._port = Port(port)
        self._ready: int | None = None
        self._launch()
        if wait:
            self.await_ready()

    @property
    def url(self) -> str:
        """The service's address, such as ``http://127.0.0.1:40123``; a restart keeps it."""
        self._raise_if_died()
        return f"http://127.0.0.1:{self._port.number}"

    def await_ready(self) -> None:
        """Return when the service answers; ``ProcessError`` if it dies first. Safe to repeat."""
        if self._ready is None:
            return
        poll = select.poll()
        poll.register(self._ready, select.POLLIN)
        try:
            with announced(f"Starting {self.name} ...", START_TIMEOUT):
                ready = poll.poll(START_TIMEOUT * 1000)
            if not ready:
                self.kill()
                raise ProcessError(
                    f"{self.name} did not serve within {START_TIMEOUT:.0f} s.",
                    next_step="look in the log for what its factory waits for",
                    log=self.log,
                )
            if not os.read(self._ready, 1):  # closed without a word: it died
                self._raise_death()
        except KeyboardInterrupt:  # an interrupted start leaves no process behind
            self.kill()
            raise
        finally:
            self._forget_ready()

    def _start(self) -> None:
        self._launch()
        self.await_ready()

    def _launch(self) -> None:
        # Only the child may hold the listening socket: a copy here would go on accepting
        # connections into its backlog after the child's death, where callers must be refused.
        self._forget_ready()
        self._ready, ready_child = os.pipe()
        with self._port.listener() as listener, os.fdopen(ready_child, "wb"):
            self._spawn(serving=Serving(listener.fileno(), ready_child, self._limits))

    def _forget_ready(self) -> None:
        if self._ready is not None:
            os.close(self._ready)
            self._ready = None

    def release(self) -> None:
        """Stop for good, and give the port back."""
        try:
            super().release()
        finally:
            self._forget_ready()
            self._port.release()


class Worker(Process):
    """A process that runs a function to its end, or until it is stopped."""

    def __init__(self, job: Job) -> None:
        """Start the worker, and return at once."""
        super().__init__(job)
        self._result = self.log.with_suffix(".json")
        self._start()

    def _start(self) -> None:
        self._result.unlink(missing_ok=True)
        self._spawn(result=self._result)

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for the process's end; its exit status: 0, 1 after an exception, -9 after SIGKILL.

        ``DeadlineError`` after ``timeout`` seconds.
        """
        assert self._process is not None
        try:
            with announced(f"Waiting for {self.name} to end ...", timeout):
                status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            state, next_step = (
                ("is halted", "let it go on with `.resume()`")
                if self.halted
                else ("still runs", "wait longer, or stop it")
            )
            raise DeadlineError(
                f"{self.name} {state} after {timeout:g} s.", next_step=next_step, log=self.log
            ) from None
        self._reap()
        self._death_known = True
        return status

    def result(self, timeout: float = 30.0) -> Any:
        """Wait for the function's end and return what it returned, as JSON carries it.

        ``ProcessError`` if it failed or was ended before it returned, ``DeadlineError`` after
        ``timeout`` seconds.
        """
        if self.wait(timeout) != 0 or not self._result.exists():
            self._raise_death()
        return json.loads(self._result.read_text())
