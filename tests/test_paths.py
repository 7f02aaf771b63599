"""Where files are kept, and what is said where that cannot be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shoplab import paths
from shoplab.errors import SetupError

DIRECTORIES = [("SHOPLAB_HOME", paths.home_directory), ("SHOPLAB_CACHE", paths.cache_directory)]


@pytest.mark.parametrize(("variable", "directory"), DIRECTORIES)
def test_a_directory_that_cannot_be_is_one_sentence_with_the_variable_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, directory: object
) -> None:
    assert callable(directory)
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/dev/null/x")):
        monkeypatch.setenv(variable, str(place))
        with pytest.raises(SetupError, match=f"^{place} cannot be used: ") as caught:
            directory()
        assert caught.value.next_step == f"set {variable} to a directory that is yours to write"


@pytest.mark.parametrize(("variable", "directory"), DIRECTORIES)
@pytest.mark.skipif(os.getuid() != 0, reason="needs a directory that is somebody else's")
def test_a_directory_of_somebody_elses_is_one_sentence(
    tmp_path: Path, variable: str, directory: object
) -> None:
    tmp_path.chmod(0o755)  # and so it cannot be made there
    said = as_stranger(
        f"HOME={tmp_path}", "-c", f"from shoplab import paths; paths.{name(directory)}()"
    )
    assert f"{tmp_path}/" in said and "cannot be used: Permission denied" in said, said
    assert f"set {variable} to a directory that is yours to write" in said


def name(function: object) -> str:
    return str(getattr(function, "__name__", ""))


def as_stranger(variable: str, *arguments: str) -> str:
    """What Python says to a user whose UID is in no password file."""
    # It may read our Python wherever that lies, and write nowhere.
    may_read = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    stranger = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *may_read]
    stranger += ["env", "-i", variable]
    done = subprocess.run([*stranger, sys.executable, *arguments], capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user without an entry")
def test_nobody_without_a_home_makes_a_folder_called_tilde(tmp_path: Path) -> None:
    said = as_stranger("A=b", "-c", "from shoplab import paths; paths.home_directory()")
    assert "You have no home directory" in said, said
    assert "set SHOPLAB_HOME" in said


def test_a_relative_place_is_meant_from_here_and_a_tilde_is_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for chosen, meant in {"lab": tmp_path / "lab", "~/other": tmp_path / "other"}.items():
        monkeypatch.setenv("SHOPLAB_HOME", chosen)
        assert paths.home_directory() == meant
        assert stat.S_IMODE(meant.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a machine's name changes")
def test_two_machines_with_one_users_files_have_two_homes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOPLAB_HOME", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    here = paths.home_directory()
    monkeypatch.setattr("platform.node", lambda: "another")
    assert paths.home_directory() != here
    assert paths.home_directory().parent == here.parent


def test_sockets_are_in_the_home_unless_their_paths_would_be_too_long(tmp_path: Path) -> None:
    short, long = Path("/h/someone/.local/state/shoplab/0123456789ab"), tmp_path / ("é" * 60)
    assert paths.socket_directory(short) == short / "sockets"
    assert paths.socket_directory(long).parent == Path(f"/tmp/shoplab-{os.getuid()}")
    longest = paths.socket_directory(long) / Path(paths.DEEPEST_SOCKET).relative_to("sockets")
    assert len(os.fsencode(longest)) <= paths.LONGEST_SOCKET


def test_a_file_is_written_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    for text in ("first", "second é"):
        paths.write_whole(target, text)
        assert target.read_text(encoding="utf-8") == text
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
