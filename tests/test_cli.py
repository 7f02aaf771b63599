"""What the command ``shoplab`` says and with which exit status it ends."""

from __future__ import annotations

import json
import os
import platform
import signal
from pathlib import Path

import psutil
import pytest
from children import started_by
from click.testing import CliRunner, Result

from shoplab import cli, doctor
from shoplab.commands import commands
from shoplab.doctor import Finding
from shoplab.servers import postgres
from shoplab.stack import Stack
from shoplab.stack.lease import supervisors
from shoplab.stack.leftovers import left_behind
from shoplab.waiting import until


def shoplab(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments, catch_exceptions=False)


def test_up_status_logs_and_down(home: Path) -> None:
    up = shoplab("up")
    assert up.exit_code == 0
    for word in ("Apache Kafka 4.3", "PostgreSQL 18", "pid ", "redis://default:***@127.0.0.1"):
        assert word in up.output
    # nobody holds a lease now, and the grace (0.5 s) passes: `up` means until `down`
    found = json.loads(shoplab("status", "--json").output)
    assert found["pinned"]
    assert found["leases"] == 0
    assert {server["state"] for server in found["servers"].values()} == {"running"}
    pids = [server["pids"] for server in found["servers"].values()]
    again = json.loads(shoplab("status", "--json").output) if shoplab("up") else {}
    assert [server["pids"] for server in again["servers"].values()] == pids
    assert "Ready to accept connections" in shoplab("logs", "redis").output
    assert shoplab("logs", "postgres", "-n", "1").output.count("\n") == 2
    assert shoplab("down").output == "Stopped.\n"
    assert left_behind(home) == []
    assert "Ready to accept connections" in shoplab("logs", "redis").output
    assert shoplab("down").output == "Nothing was running.\n"
    assert shoplab("status").output.count("not started") == 3


def test_down_says_who_else_was_using_the_servers(home: Path) -> None:
    with Stack() as stack:
        assert stack.redis_url
        assert shoplab("down").output == "Stopped. Other users at that moment: 1.\n"


def test_down_ends_what_a_killed_supervisor_left(home: Path) -> None:
    with Stack() as stack:
        assert stack.redis_url
        pid = supervisors(home)[0]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not supervisors(home))
    assert [f for f in doctor.examine() if "supervisor was killed; 1 servers" in f.what]
    assert shoplab("down").output == "Ended 1 servers without a supervisor.\n"


def test_an_error_of_ours_is_text_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:secret@127.0.0.1:1")
    monkeypatch.setattr("sys.argv", ["shoplab", "up"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "REDIS_URL" in said
    assert "Traceback" not in said
    assert "secret" not in said


def test_native_windows_is_told_where_to_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "WSL 2" in capsys.readouterr().err


def test_the_doctor_finds_this_machine_good(home: Path) -> None:
    answer = shoplab("doctor")
    assert "PROBLEM" not in answer.output
    assert answer.exit_code == 0
    for subject in ("Python", "Kafka", "Redis", "PostgreSQL", "locale", "proxy"):
        assert subject in answer.output


def test_the_doctor_names_the_problem_and_the_next_step(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setattr(doctor, "DISK_NEEDED_MB", 1e12)
    problems = [finding for finding in doctor.examine() if not finding.good]
    assert all(finding.next_step for finding in problems)
    said = "\n".join(finding.what for finding in problems)
    for subject in ("REDIS_URL", "MB left"):
        assert subject in said
    assert shoplab("doctor").exit_code == 1


def test_a_server_that_does_not_run_here_is_one_problem_among_the_findings(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "postgres"
    program.write_text("#!/bin/sh\necho libc.so.6: version GLIBC_9.99 not found; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(postgres, "binaries", lambda: tmp_path)
    postgres.version.cache_clear()
    try:
        findings = list(doctor.examine())
    finally:
        postgres.version.cache_clear()
    (problem,) = (finding for finding in findings if not finding.good)
    assert "PostgreSQL does not run here" in problem.what
    assert "GLIBC_9.99 not found" in problem.what
    assert problem.next_step
    assert len(findings) > 10


def test_the_doctor_reports_a_missing_locale_and_a_proxy_without_alarm(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_YY")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    said = [finding.what for finding in doctor.examine()]
    assert any("xx_YY is not installed" in what for what in said)
    assert any("HTTPS_PROXY" in what for what in said)


def test_one_broken_check_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Finding:
        raise PermissionError(13, "Permission denied", "the cache")

    finding = doctor._guarded(broken)
    assert not finding.good
    assert "the cache" in finding.what


def test_a_second_setup_is_silent(home: Path) -> None:
    shoplab("setup")
    assert shoplab("setup").output == ""
    assert started_by(psutil.Process()) == []
