"""Run a notebook's function in an operating-system process of its own.

A ``Service`` answers HTTP with the ASGI application that a factory returns; a ``Worker`` runs any
function. Both are handles that can stop, kill, restart, halt and resume the process.

How a function travels: ``cloudpickle`` makes bytes of it (``carry``), a new process (``child``,
started by ``spawn``) reads them from a pipe that only its parent can write, and runs them. The pipe
stays open as a lifeline: it closes when the parent ends, however it ends, and the child ends with
it.
"""

from shoplab.processes.handles import Process, Service, Worker
from shoplab.processes.job import Job
from shoplab.processes.order import Limits
from shoplab.processes.spawn import prepare

__all__ = ["Job", "Limits", "Process", "Service", "Worker", "prepare"]
