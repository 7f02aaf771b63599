"""Spans of several processes, put together."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
import requests

from shoplab import Lab


@pytest.fixture
def traced():
    with Lab("00-0", service="customer") as lab:
        yield lab


def order_service(payment_url):
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/orders")
    def place():
        return requests.post(f"{payment_url}/charges", timeout=5).json()

    return app


def payment_service(bank_url):
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/charges")
    def charge():
        return requests.post(f"{bank_url}/debits", timeout=5).json()

    return app


def bank_service():
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/debits")
    def debit():
        return {"paid": True}

    @app.get("/broken")
    def broken():
        raise RuntimeError("no money")

    return app


def test_a_call_through_three_services_is_one_trace(traced):
    bank = traced.serve(bank_service)
    payment = traced.serve(payment_service, bank.url)
    order = traced.serve(order_service, payment.url)

    began = time.time()
    assert requests.post(f"{order.url}/orders", timeout=10).json() == {"paid": True}
    ended = time.time()

    spans = traced.until(lambda: len(found := traced.spans()) == 6 and found)
    assert [(span.service, span.kind) for span in spans] == [
        ("customer", "CLIENT"),
        ("order_service", "SERVER"),
        ("order_service", "CLIENT"),
        ("payment_service", "SERVER"),
        ("payment_service", "CLIENT"),
        ("bank_service", "SERVER"),
    ]
    assert len({span.trace_id for span in spans}) == 1
    assert spans[0].parent_id is None
    for parent, child in pairwise(spans):
        assert child.parent_id == parent.span_id
        # A server ends its span after its answer has left, so the caller's may end before it.
        assert parent.start <= child.start <= parent.end
    assert began <= spans[0].start <= spans[0].end <= ended
    assert spans[-1].name == "POST /debits"
    assert not any(span.error for span in spans)


def test_a_failed_request_has_an_error_in_its_span(traced):
    bank = traced.serve(bank_service)
    assert requests.get(f"{bank.url}/broken", timeout=5).status_code == 500
    spans = traced.until(lambda: len(found := traced.spans()) == 2 and found)
    assert all(span.error for span in spans)


def test_spans_written_before_a_kill_are_kept(traced):
    bank = traced.serve(bank_service)
    requests.post(f"{bank.url}/debits", timeout=5)
    traced.until(lambda: len(traced.spans()) == 2)
    bank.kill()
    assert [span.service for span in traced.spans()] == ["customer", "bank_service"]


def test_a_process_that_is_not_traced_leaves_no_spans(traced):
    bank = traced.serve(bank_service, traced=False)
    requests.post(f"{bank.url}/debits", timeout=5)
    assert [span.service for span in traced.spans()] == ["customer"]
