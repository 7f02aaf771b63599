"""Run a notebook's function in an operating-system process of its own.

``serve`` takes a factory that returns an ASGI application and answers HTTP; ``run`` takes any
function. Both return a handle that can stop, kill and restart the process.

How a function travels: ``cloudpickle`` makes bytes of it (``carry``), a fresh interpreter
(``child``) reads them from a pipe that only its parent can write, and runs them. The pipe stays
open as a lifeline: it closes when the parent ends, however it ends, and the child ends with it.
"""

from shoplab.processes.handles import Process, Service, Worker, run, serve

__all__ = ["Process", "Service", "Worker", "run", "serve"]
