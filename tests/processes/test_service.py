"""A factory served from a process of its own."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from shoplab.errors import ProcessError


def greeter(greeting="hello"):
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/")
    def greet():
        return {"greeting": greeting, "pid": os.getpid()}

    @app.get("/slow")
    def slow():
        time.sleep(0.3)

    return app


def test_a_service_answers_from_a_process_of_its_own(lab):
    service = lab.serve(greeter, "good day")
    answer = requests.get(service.url, timeout=5).json()
    assert answer == {"greeting": "good day", "pid": service.pid}
    assert service.pid != os.getpid()
    assert service.name == "greeter"


def test_a_killed_service_refuses_at_once_and_keeps_its_address(way, lab):
    service = lab.serve(greeter)
    url, first_pid = service.url, service.pid
    service.kill()
    assert not service.alive and service.pid is None
    for _ in range(200):  # often enough that a client could be given the port as its own
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=5)
    service.restart()
    assert service.url == url
    assert requests.get(url, timeout=5).json()["pid"] == service.pid != first_pid


def test_nobody_else_gets_the_port_of_a_dead_service(lab):
    service = lab.serve(greeter)
    service.kill()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", int(service.url.rsplit(":", 1)[1])))


def test_a_stopped_service_lets_the_open_request_finish(way, lab):
    service = lab.serve(greeter)
    with ThreadPoolExecutor() as pool:
        entered = threading.Event()

        def ask():
            entered.set()
            return requests.get(f"{service.url}/slow", timeout=5).status_code

        answer = pool.submit(ask)
        entered.wait(5)
        # The request is inside once a connection is established.
        while not any(c.status == "ESTABLISHED" for c in _connections(service.pid)):
            assert not answer.done()
        service.stop()
        assert answer.result(5) == 200


def test_threads_limit_how_many_requests_are_handled_at_once(lab):
    service = lab.serve(greeter, threads=2)
    with ThreadPoolExecutor(6) as pool:
        began = time.monotonic()
        list(pool.map(lambda _: requests.get(f"{service.url}/slow", timeout=10), range(6)))
        taken = time.monotonic() - began
    assert taken >= 0.9  # six requests of 0.3 s, two at a time


def test_a_limit_on_concurrency_refuses_what_is_above_it(lab):
    service = lab.serve(greeter, limit_concurrency=2)
    with ThreadPoolExecutor(6) as pool:
        codes = set(
            pool.map(
                lambda _: requests.get(f"{service.url}/slow", timeout=10).status_code, range(6)
            )
        )
    assert 503 in codes


def test_a_factory_that_fails_is_reported_with_its_own_line(lab):
    def broken_service():
        raise RuntimeError("the database password is missing")

    with pytest.raises(ProcessError) as caught:
        lab.serve(broken_service)
    message = str(caught.value)
    assert message.startswith("broken_service died (exit status 1).")
    assert 'raise RuntimeError("the database password is missing")' in message
    assert "child.py" not in message


def test_a_factory_that_forgets_to_return_its_application_is_told_so(lab):
    def forgetful():
        greeter()

    with pytest.raises(ProcessError, match="forgetful returned None; a service's factory returns"):
        lab.serve(forgetful)


def test_a_port_in_use_is_named(lab):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ProcessError, match=f"Port {port} on 127.0.0.1 cannot be had"):
            lab.serve(greeter, port=port)


def test_a_service_that_dies_unasked_is_reported_once(lab):
    service = lab.serve(greeter)
    os.kill(service.pid, 9)
    lab.until(lambda: not service.alive)
    with pytest.raises(ProcessError, match="greeter was ended by SIGKILL"):
        _ = service.url
    service.stop()
    service.restart()
    assert requests.get(service.url, timeout=5).ok


def test_a_proxy_does_not_come_between_local_calls(lab, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    def asker(url):
        return requests.get(url, timeout=5).json()["greeting"]

    service = lab.serve(greeter)
    assert lab.run(asker, service.url).result() == "hello"


def test_twenty_starts_leave_nothing_open_in_the_parent(lab):
    import psutil

    def app():
        async def application(scope, receive, send):
            raise AssertionError

        return application

    def nothing():
        return None

    lab.serve(app).release()
    this = psutil.Process()
    before = this.num_fds()
    for _ in range(10):
        lab.serve(app).release()
        lab.run(nothing).result()
    assert this.num_fds() < before + 10  # clients of earlier tests come and go, by one or two


def _connections(pid):
    import psutil

    return psutil.Process(pid).net_connections()


def test_services_started_together_know_their_addresses_and_all_answer(lab):
    def front(behind):
        from fastapi import FastAPI

        app = FastAPI()

        @app.get("/")
        def ask():
            return requests.get(behind, timeout=5).json()

        return app

    with lab.together():
        back = lab.serve(greeter)
        door = lab.serve(front, back.url)
    answers = [requests.get(service.url, timeout=5).json() for service in (back, door)]
    assert answers == [{"greeting": "hello", "pid": back.pid}] * 2


def test_of_services_started_together_one_that_dies_is_named(lab):
    def broken():
        raise RuntimeError("no bank today")

    with pytest.raises(ProcessError, match=r"broken died[\s\S]*no bank today"), lab.together():
        lab.serve(broken)
        lab.serve(greeter)
    assert requests.get(lab.serve(greeter).url, timeout=5).ok  # alone again, and awaited
