"""A program that does not run here is refused in its own words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shoplab.servers import programs
from shoplab.servers.programs import LIMITS, Unfit, advice, ask


def program(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("#!/bin/sh\nexit 3", r"ends with exit status 3$"),
        (
            "#!/bin/sh\necho \"libc.so.6: version 'GLIBC_9.99' not found\" >&2; exit 1",
            r"ends with exit status 1: libc\.so\.6: version 'GLIBC_9\.99' not found",
        ),
        ("\x7fELF and nothing else", r"cannot be run \(Exec format error\)"),
        ("#!/nowhere/interpreter", r"cannot be run \(No such file or directory\)"),
        ("#!/bin/sh\nexec sleep 60", r"does not answer within 0 s"),
    ],
)
def test_the_reason_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, reason: str
) -> None:
    monkeypatch.setattr(programs, "ANSWER_TIMEOUT", 0.3)
    with pytest.raises(Unfit) as refusal:
        ask(program(tmp_path / "it", content), "--version")
    assert re.search(reason, str(refusal.value))


def test_it_sees_what_a_server_sees_and_leaves_nothing_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:NoSuchFlag")
    it = program(tmp_path / "it", "#!/bin/sh\ntouch report-$$; rm report-$$; pwd; env")
    said = ask(it).splitlines()
    assert said[0] != str(tmp_path)
    assert "LC_ALL=C" in said
    assert not [line for line in said if "JAVA_TOOL_OPTIONS" in line]


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ("Could not reserve enough space for 262144 KB object heap", "ulimit -v"),
        ("Could not allocate compressed class space: 1073741824 bytes", "ulimit -v"),
        ("There is insufficient memory for the Java Runtime Environment", "ulimit -v"),
        ("cannot allocate memory for thread-local data: ABORT", "ulimit -v"),
        ("unable to create native thread: possibly out of memory or process", "ulimit -u"),
        ("could not fork new process: Resource temporarily unavailable", "ulimit -u"),
        ("java.io.IOException: Too many open files", "ulimit -n"),
        ("could not resize shared memory segment: File too large", "ulimit -f"),
    ],
)
def test_a_limit_is_known_by_the_words_of_those_that_meet_it(words: str, limit: str) -> None:
    assert limit in (advice(words) or "")


def test_what_is_not_known_has_no_advice() -> None:
    assert advice("something else") is None
    assert advice("not this", (*LIMITS, ("this", "do that"))) == "do that"
