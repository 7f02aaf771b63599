"""The Lab without its servers: names, waiting, and what it refuses."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from shoplab import Lab
from shoplab.claims import claim
from shoplab.errors import ClaimError, DeadlineError, LabError, ProcessError
from shoplab.measure.load import offer
from shoplab.measure.records import read_records
from shoplab.paths import home_directory


@pytest.fixture
def lab():
    with Lab("00-0", traced=False) as lab:
        yield lab


def test_names_carry_the_suffix_of_the_run(lab):
    with Lab("00-0", traced=False) as other:
        assert lab.name("orders") == f"orders-{lab.suffix}"
        assert lab.name("orders") != other.name("orders")


def test_a_lab_does_not_travel_and_says_what_does(lab):
    with pytest.raises(ProcessError, match=r"lab\.run\(worker, lab\.kafka, topic\)"):
        pickle.dumps(lab)

    def worker():
        return lab.kafka

    with pytest.raises(ProcessError, match="A Lab cannot travel into another process"):
        lab.run(worker)


def test_until_returns_the_first_true_value(lab):
    values = iter([0, None, "", "there"])
    assert lab.until(lambda: next(values), every=0) == "there"


def test_until_shows_the_condition_and_its_last_value_at_the_deadline(lab):
    paid = ["order 1"]
    with pytest.raises(DeadlineError) as caught:
        lab.until(lambda: len(paid) - 1, timeout=0.05)
    assert "still 0" in str(caught.value)
    assert "lambda: len(paid) - 1" in str(caught.value)


def test_until_shows_at_the_deadline_what_a_process_died_of(lab):
    def failing():
        raise ValueError("out of stock")

    worker = lab.run(failing)
    lab.run(print, "all is well").wait()
    with pytest.raises(DeadlineError) as caught:
        lab.until(lambda: worker.alive and not worker.alive, timeout=2)
    assert "failing died (exit status 1)." in str(caught.value)
    assert "ValueError: out of stock" in str(caught.value)
    worker.restart()


def test_until_shows_the_last_log_where_no_process_died(lab):
    lab.run(print, "the shop is closed").wait()
    with pytest.raises(DeadlineError, match="the shop is closed"):
        lab.until(lambda: False, timeout=0.05)


def test_until_lets_the_exception_of_its_condition_through(lab):
    with pytest.raises(ZeroDivisionError):
        lab.until(lambda: 1 / 0)


def test_processes_of_one_name_are_told_apart_while_they_live(lab):
    def sleeper():
        time.sleep(60)

    first, second = lab.run(sleeper), lab.run(sleeper)
    assert (first.name, second.name) == ("sleeper", "sleeper-2")
    first.kill()
    assert lab.run(sleeper).name == "sleeper"
    assert lab.run(sleeper, name="night watch").name == "night watch"


def test_close_ends_the_processes_and_removes_the_directory(lab):
    def sleeper():
        time.sleep(60)

    pid = lab.run(sleeper).pid
    lab.close()
    assert not psutil.pid_exists(pid)
    assert not lab.directory.exists()
    lab.close()


def test_what_the_lab_entered_is_left_when_it_closes_and_the_last_first(lab):
    told = []

    @contextmanager
    def room(name):
        told.append(f"into {name}")
        yield name
        told.append(f"out of {name}")

    assert [lab.enter(room("hall")), lab.enter(room("study"))] == ["hall", "study"]
    lab.close()
    assert told == ["into hall", "into study", "out of study", "out of hall"]


@pytest.mark.server
def test_a_failed_block_keeps_the_logs():
    with pytest.raises(ZeroDivisionError), Lab("00-0", traced=False) as lab:
        lab.run(print, "begun").wait()
        raise ZeroDivisionError
    assert (lab.directory / "logs" / "print.log").read_text() == "begun\n"


def test_close_reports_a_process_that_died_and_keeps_its_log(lab, capsys):
    def failing():
        raise ValueError("out of stock")

    worker = lab.run(failing)
    lab.until(lambda: not worker.alive)
    lab.close()
    assert "failing died (exit status 1)." in capsys.readouterr().err
    assert "ValueError: out of stock" in worker.log.read_text()


@pytest.mark.server
def test_two_labs_of_a_program_live_side_by_side():
    first, second = Lab("00-0", traced=False), Lab("00-0", traced=False)
    try:
        assert first.directory.exists() and second.directory.exists()
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("method", "function"), [(Lab.offer, offer), (Lab.records, read_records), (Lab.claim, claim)]
)
def test_every_parameter_is_written_out_with_the_default_it_has(method, function):
    """So that Shift-Tab shows them in JupyterLab."""
    shown = dict(inspect.signature(method).parameters)
    meant = inspect.signature(function).parameters
    assert not any(each.kind is each.VAR_KEYWORD for each in shown.values())
    for name in shown.keys() - {"self", "cluster", "isolation_level"}:
        assert shown[name].default == meant[name].default


@pytest.mark.parametrize(
    "method", [Lab.topic, Lab.lag, Lab.watch_lag, Lab.records, Lab.members, Lab.assignment]
)
def test_a_cluster_of_ones_own_is_named_by_keyword_everywhere(method):
    assert inspect.signature(method).parameters["cluster"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("command", [["-O"], ["-OO"], []])
def test_a_lab_is_refused_where_asserts_do_not_run(command):
    program = "from shoplab import Lab\nLab('00-0')"
    optimised = {} if command else {"PYTHONOPTIMIZE": "1"}
    done = subprocess.run(
        [sys.executable, *command, "-c", program],
        env={**os.environ, **optimised},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode != 0
    assert "SetupError: This Python leaves assertions out" in done.stderr
    assert "Next: start the kernel again without it" in done.stderr


SQS = """
from shoplab import Lab
with Lab("00-0", traced=False):
    import boto3
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    server = {"endpoint_url": "http://127.0.0.1:9", "region_name": "eu-west-1", **keys}
    print(boto3.client("sqs", **server).meta.endpoint_url)
"""


@pytest.mark.server
def test_an_amazon_profile_of_the_users_does_not_count():
    done = subprocess.run(
        [sys.executable, "-c", SQS],
        env={**os.environ, "AWS_PROFILE": "gone"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout, done.returncode) == ("http://127.0.0.1:9\n", 0), done.stderr


SCRIPT = """
import time
from pathlib import Path
from shoplab import Lab

def sleeper():
    time.sleep(60)

lab = Lab("00-0", traced=False)
print(lab.run(sleeper).pid, lab.directory)
"""


def test_an_interpreter_that_exits_ends_its_processes(lab):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=30
    )
    pid, directory = done.stdout.split(maxsplit=1)
    assert not psutil.pid_exists(int(pid))
    assert not Path(directory.strip()).exists()


def test_what_a_killed_kernel_left_is_swept_a_day_later(lab):
    runs = lab.directory.parent
    old = time.time() - 2 * 24 * 3600
    for name, age in {"04-3-aaaa.999999999": old, f"04-3-bbbb.{os.getpid()}": old}.items():
        (runs / name).mkdir()
        os.utime(runs / name, (age, age))
    (runs / "04-3-cccc.999999999").mkdir()
    with Lab("00-0", traced=False):
        left = {path.name[:9] for path in runs.iterdir()}
    assert {"04-3-bbbb", "04-3-cccc"} <= left and "04-3-aaaa" not in left


def test_a_claim_is_recorded_under_the_notebook_of_the_lab(lab, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SHOPLAB_LEDGER", str(tmp_path / "ledger"))
    assert lab.redis_url
    lab.claim(
        "ed-persisted-crash-resume",
        control=137,
        treatment=0,
        unit="emails lost",
        holds=lambda control, treatment: treatment == 0 < control,
    )
    (path,) = (tmp_path / "ledger").iterdir()
    assert path.name == "00-0--ed-persisted-crash-resume.json"
    servers = json.loads(path.read_text())["measured_on"]["servers"]
    assert any(server.startswith(("Redis", "Valkey")) for server in servers)
    with pytest.raises(ClaimError):
        lab.claim(
            "ed-persisted-crash-resume",
            control=137,
            treatment=1,
            unit="emails lost",
            holds=lambda control, treatment: treatment == 0 < control,
        )


def test_what_a_lab_did_not_foresee_is_one_sentence_with_a_log(monkeypatch):
    monkeypatch.setattr("shoplab.lab.Run", lambda number: 1 / 0)
    with pytest.raises(LabError) as caught:
        Lab("00-0")
    assert "did not foresee: ZeroDivisionError('division by zero')" in caught.value.what
    log = home_directory() / "errors.log"
    assert f"report this, please, with {log} and what `shoplab doctor` says" in str(caught.value)
    assert "ZeroDivisionError: division by zero" in log.read_text()
