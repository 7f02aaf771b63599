"""A planned fault strikes once, as planned, and its absence is told."""

from __future__ import annotations

import os
import signal
import time
from threading import Thread

import pytest

from shoplab import cells
from shoplab.errors import PlanError


@pytest.fixture(autouse=True)
def _ledger_of_the_test(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOPLAB_LEDGER", str(tmp_path))


def come_to(plan, *orders):
    for order in orders:
        plan.reached("charged", order)
    return orders[-1]


def test_a_fault_strikes_at_its_point_and_key_with_its_signal(lab, way):
    plan = lab.crashes({("charged", 25): signal.SIGKILL, ("sent", 5): signal.SIGTERM})
    worker = lab.run(come_to, plan, 24, 5, 25, 26)
    assert worker.wait() == -signal.SIGKILL
    assert plan.waiting() == [("sent", 5)]


def test_a_process_that_is_started_again_passes_where_it_was_struck(lab):
    plan = lab.crashes({("charged", 25): signal.SIGKILL, ("charged", 27): signal.SIGKILL})
    worker = lab.run(come_to, plan, 25, 26, 27, 28)
    for _ in range(2):
        assert worker.wait() == -signal.SIGKILL
        worker.restart()
    assert worker.result() == 28
    plan.assert_struck()


def come_together(plan, go):
    while not go.exists():
        time.sleep(0.001)
    plan.reached("charged", 25)
    return "passed"


def test_of_many_processes_at_one_point_one_is_struck(lab, tmp_path):
    for attempt in range(2):
        go = tmp_path / f"go-{attempt}"
        plan = lab.crashes({("charged", 25): signal.SIGKILL})
        workers = [lab.run(come_together, plan, go) for _ in range(5)]
        go.touch()
        statuses = sorted(worker.wait(60) for worker in workers)
        assert statuses == [-signal.SIGKILL, 0, 0, 0, 0]
        plan.assert_struck()


def halt_in_threads(plan, orders, history):
    def work(order):
        plan.reached("charged", order)
        history.done("charge", order)

    for order in orders:
        thread = Thread(target=work, args=(order,))
        thread.start()
        thread.join()


def test_a_halt_comes_before_the_next_statement_in_any_thread(lab, way):
    orders, history = range(20), lab.history("charges")
    plan = lab.crashes({("charged", order): signal.SIGSTOP for order in orders})
    worker = lab.run(halt_in_threads, plan, orders, history)
    for order in orders:
        lab.until(lambda left=19 - order: len(plan.waiting()) == left and worker.halted, timeout=30)
        assert not history.times_done("charge", order)
        os.kill(worker.pid, signal.SIGCONT)  # `resume` waits until it runs, and it halts again
    assert worker.wait() == 0
    assert history.times_done("charge", 19)


def test_a_fault_that_never_struck_is_named_and_fails_the_claim(lab):
    plan = lab.crashes({("charged", 25): signal.SIGKILL, ("gap", "b"): signal.SIGSTOP})
    lab.run(come_to, plan, 25).wait()
    with pytest.raises(PlanError) as caught:
        plan.assert_struck()
    assert str(caught.value).startswith(
        "1 of 2 planned faults never struck: SIGSTOP at 'gap', 'b'."
    )
    assert "plan.reached('gap', 'b')" in str(caught.value)
    with pytest.raises(PlanError, match="SIGSTOP at 'gap', 'b'"):
        claim(lab)


def test_a_claim_is_judged_when_all_faults_have_struck(lab, capsys):
    plan = lab.crashes({("charged", 25): signal.SIGKILL})
    lab.run(come_to, plan, 25).wait()
    claim(lab)
    assert "ed-idempotency holds" in capsys.readouterr().out


def claim(lab):
    lab.claim(
        "ed-idempotency",
        control=1,
        treatment=0,
        unit="orders",
        holds=lambda control, treatment: treatment == 0 < control,
    )


def test_an_empty_plan_strikes_nobody(lab):
    plan = lab.crashes({})
    assert lab.run(come_to, plan, 25).result() == 25
    plan.assert_struck()


def test_the_plan_of_a_cell_that_runs_again_is_forgotten(lab, monkeypatch):
    def crashes_in(request, key):
        monkeypatch.setattr(cells, "execution", lambda: cells.Execution("cell", request))
        return lab.crashes({("charged", key): signal.SIGKILL})

    crashes_in("first", 25)
    plan = crashes_in("second", 26)
    lab.run(come_to, plan, 26).wait()
    claim(lab)
