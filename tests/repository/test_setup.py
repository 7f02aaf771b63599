"""Setting up: from nothing, again, half-way, for two users, whatever the caller's settings."""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import CHECKOUT
from secure import CERTIFICATE, secure
from strangers import as_stranger, open_folder, stranger

from shoplab.environment import CERTIFICATES

pytestmark = pytest.mark.server  # some start a registry, and all together take long

FILES = (
    "Makefile",
    "pyproject.toml",
    "tools/setup",
    "tools/setup.py",
    "src/shoplab/environment.py",
    "src/shoplab/servers/kafka/jars.txt",
)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")

# What the second half of set-up uses of the course's package, without the package.
ERRORS = """
class SetupError(Exception):
    pass
"""
PATHS = """
import os, pathlib
from shoplab.errors import SetupError

def cache_directory():
    cache = pathlib.Path(os.environ["HOME"], "cache")
    try:
        cache.mkdir(exist_ok=True)
    except OSError as error:
        raise SetupError("The cache cannot be made.") from error
    return cache
"""
CLI = """
import json, os, pathlib
pathlib.Path(os.environ["HOME"], "servers.json").write_text(json.dumps(dict(os.environ)))
"""
# A stand-in for uv: it leaves what it was told.
UV = """#!/bin/sh
echo "$*" >> "$HOME/uv.log"
env > "$HOME/uv.env"
"""
PACKAGE = {
    "shoplab/__init__.py": "",
    "shoplab/errors.py": ERRORS,
    "shoplab/paths.py": PATHS,
    "shoplab/cli.py": CLI,
}


def wheel(name: str, version: str, files: Mapping[str, str]) -> bytes:
    """A wheel with these files."""
    meta = f"{name}-{version}.dist-info"
    texts = {
        **files,
        f"{meta}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{meta}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    texts[f"{meta}/RECORD"] = "".join(f"{path},,\n" for path in (*texts, f"{meta}/RECORD"))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in texts.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, text)
    return content.getvalue()


PACKAGES = {
    "uv-9.9-py3-none-any.whl": wheel("uv", "9.9", {"uv-9.9.data/scripts/uv": UV, **PACKAGE}),
    "tiny-1.0-py3-none-any.whl": wheel("tiny", "1.0", {"tiny.py": "VERSION = 1\n"}),
    "tiny-2.0-py3-none-any.whl": wheel("tiny", "2.0", {"tiny.py": "VERSION = 2\n"}),
}


def locked(file: str) -> str:
    """The line of a lock file for a package of ours."""
    name, version, _ = file.split("-", 2)
    digest = hashlib.sha256(PACKAGES[file]).hexdigest()
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n"


class Registry(ThreadingHTTPServer):
    """A package registry on the loopback that has some of the packages; also a proxy to itself."""

    daemon_threads = True

    def __init__(self, scheme: str, files: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.scheme, self.files = scheme, files
        self.asked: list[str] = []
        if scheme == "https":
            secure(self)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/simple"


class Answer(BaseHTTPRequestHandler):
    server: Registry

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        name = self.path.rstrip("/").rpartition("/")[2]
        content, kind = PACKAGES.get(name), "application/zip"
        if content is None:
            links = [file for file in self.server.files if file.partition("-")[0] == name]
            text = "".join(f'<a href="/files/{file}">{file}</a>\n' for file in links)
            content, kind = text.encode(), "text/html"
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def registry(scheme: str = "http", files: tuple[str, ...] = tuple(PACKAGES)) -> Iterator[Registry]:
    server = Registry(scheme, list(files))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither proxies nor certificates nor pip's settings, in variables or in files."""
    for variable in {*PROXIES, *CERTIFICATES, "PYTHON", "MAKEFLAGS", "MAKELEVEL"} | {
        name for name in os.environ if name.startswith(("PIP_", "UV_"))
    }:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's empty home."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return home


def copy_of_checkout(folder: Path) -> Path:
    """What set-up reads of a checkout, in a folder with a space and an 'é'; no environment."""
    checkout = folder / "mon dossier é"
    for name in FILES:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, checkout / name)
    lock = "\n" + locked("uv-9.9-py3-none-any.whl") + "    # via -r requirements.in\n"
    (checkout / "requirements.txt").write_text(lock)
    return checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_of_checkout(tmp_path)


def script(checkout: Path) -> dict[str, Any]:
    """What the checkout's tools/setup.py defines."""
    return runpy.run_path(str(checkout / "tools" / "setup.py"))


@cache
def environment_to_copy() -> Path:
    """A virtual environment with stand-ins for uv and the course's package.

    pip is that of the Python that runs the tests.
    """
    venv = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, venv)
    venv.chmod(0o755)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = next(venv.glob("lib/python*/site-packages"))
    for name, text in PACKAGE.items():
        (packages / name).parent.mkdir(exist_ok=True)
        (packages / name).write_text(text)
    own = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "own.pth").write_text(f"{own}\n")
    program(venv / "bin" / "uv", UV.partition("\n")[2])
    return venv


def complete(checkout: Path) -> Path:
    """Give the checkout an environment that is complete; return its stamp."""
    shutil.copytree(environment_to_copy(), checkout / ".venv", symlinks=True)
    made = script(checkout)
    made["record"](made["STAMP"])
    return checkout / ".venv" / "made-from.json"


def setup(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "setup"],
        cwd=checkout,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# -- which Python ---------------------------------------------------------------------------------


def test_no_python_that_runs_is_said_in_a_sentence(checkout: Path) -> None:
    stub = program(checkout / "python", "echo 'command not found' >&2; exit 127")
    done = setup(checkout, PYTHON=str(stub))
    assert done.returncode != 0
    assert done.stderr.startswith("No Python 3.11 or newer runs here under the name: ")
    assert "Next: install one" in done.stderr
    assert not (checkout / ".venv").exists()


def test_an_old_python_is_said_in_a_sentence(checkout: Path) -> None:
    old = program(checkout / "python", 'case "$*" in *version_info*) exit 1;; esac')
    assert "No Python 3.11 or newer" in setup(checkout, PYTHON=str(old)).stderr


def test_a_python_without_venv_is_said_in_a_sentence(checkout: Path) -> None:
    bare = program(checkout / "python", 'case "$*" in *ensurepip*) exit 1;; esac')
    done = setup(checkout, PYTHON=str(bare))
    assert done.returncode != 0
    assert "has no venv module" in done.stderr
    assert "apt install python3-venv" in done.stderr


@pytest.mark.parametrize("names", [["python3.13", "python3.14"], ["python3.14"], ["python3"]])
def test_the_newest_python_that_runs_is_taken(checkout: Path, names: list[str]) -> None:
    for name in ("python3.11", "python3.12", "python3.13", "python3.14", "python3"):
        works = 'case "$*" in *setup.py*) echo "${0##*/}";; esac'
        program(checkout / name, works if name in names else "exit 127")
    path = f"{checkout}{os.pathsep}{os.environ['PATH']}"
    assert setup(checkout, PATH=path).stdout.splitlines()[0] == names[0]


# -- from nothing ---------------------------------------------------------------------------------

FOR_OTHER_WORK = {
    "PIP_USER": "1",
    "PIP_TARGET": "{gone}/target",
    "PIP_PREFIX": "{gone}/prefix",
    "PIP_ROOT": "{gone}/root",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_PYTHON": "{gone}/python",
    "PIP_CONSTRAINT": "{gone}/constraints.txt",
    "PIP_REQUIREMENT": "{gone}/requirements.txt",
    "PIP_NO_BINARY": ":all:",
    "PIP_NO_DEPS": "1",
    "PIP_NO_INDEX": "1",
    "PIP_DRY_RUN": "1",
    "PIP_QUIET": "3",
    "UV_CONFIG_FILE": "{gone}/uv.toml",
    "UV_PYTHON": "{gone}/python",
    "UV_DEFAULT_INDEX": "http://127.0.0.1:9",
    "UV_OFFLINE": "1",
    "PYTHONHOME": "{gone}",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "VIRTUAL_ENV": "{gone}",
}
PIP_CONF = """
[global]
user = true
quiet = 3
index_url={url}
cert={cert}
[install]
target = /nowhere
no-deps = true
"""


def test_settings_for_other_work_do_not_matter_and_pips_mirror_serves_all(
    checkout: Path, users_home: Path, tmp_path: Path
) -> None:
    for name in (".config/pip/pip.conf", ".config/uv/uv.toml"):
        (users_home / name).parent.mkdir(parents=True)
    gone = str(tmp_path / "gone")
    other = {name: value.format(gone=gone) for name, value in FOR_OTHER_WORK.items()}
    with registry("https") as mirror:
        (users_home / ".config/pip/pip.conf").write_text(
            PIP_CONF.format(url=mirror.url, cert=CERTIFICATE)
        )
        (users_home / ".config/uv/uv.toml").write_text("offline = true\n")
        done = setup(checkout, **other)
        assert done.returncode == 0, done.stderr
        assert "/files/uv-9.9-py3-none-any.whl" in mirror.asked
    assert (checkout / ".venv" / "bin" / "uv").exists()
    assert not Path(gone).exists()
    said = dict(
        line.partition("=")[::2] for line in (users_home / "uv.env").read_text().splitlines()
    )
    assert said["UV_DEFAULT_INDEX"] == mirror.url
    assert said["UV_NO_CONFIG"] == "1"
    assert gone not in "".join(said.values())
    servers = json.loads((users_home / "servers.json").read_text())
    assert {servers[name] for name in CERTIFICATES} == {str(CERTIFICATE)}


def test_a_certificate_that_is_not_trusted_is_said_so_with_the_remedy(
    checkout: Path, users_home: Path
) -> None:
    with registry("https") as mirror:
        done = setup(checkout, PIP_INDEX_URL=mirror.url, PIP_RETRIES="0")
    assert done.returncode != 0
    assert "the certificate of the package registry, or of a proxy before it, is not trusted" in (
        done.stderr
    )
    assert "in PIP_CERT" in done.stderr.partition("Next: ")[2]
    assert not (checkout / ".venv" / "made-from.json").exists()


def test_no_network_is_said_in_a_sentence_and_leaves_no_stamp(
    checkout: Path, users_home: Path
) -> None:
    proxies = dict.fromkeys(PROXIES, "http://127.0.0.1:9")
    done = setup(checkout, PIP_RETRIES="0", PYTHON=sys.executable, **proxies)
    assert done.returncode != 0
    assert "Next: check the network (HTTPS_PROXY, PIP_INDEX_URL and PIP_CERT are" in done.stderr
    assert not (checkout / ".venv" / "made-from.json").exists()


def test_in_condas_environment_the_courses_package_is_installed_heedless_of_pips_settings(
    checkout: Path, users_home: Path
) -> None:
    note = 'echo "$PIP_CONFIG_FILE $*" >> "$HOME/calls"; case "$*" in *import*) exit 1;; esac'
    program(checkout / "python", note)
    path = f"{checkout}{os.pathsep}{os.environ['PATH']}"
    name = yaml.safe_load((CHECKOUT / "environment.yml").read_text())["name"]
    assert setup(checkout, PATH=path, CONDA_DEFAULT_ENV=name, PIP_USER="1").returncode == 0
    assert (users_home / "calls").read_text().splitlines()[1:3] == [
        "/dev/null -m pip --isolated install --quiet --no-deps --no-build-isolation --editable .",
        " -I tools/setup.py --servers",
    ]


# -- again, and half-way --------------------------------------------------------------------------


def test_the_second_time_says_one_line_and_another_cache_is_filled(
    checkout: Path, users_home: Path, tmp_path: Path
) -> None:
    complete(checkout)
    assert setup(checkout).returncode == 0
    (users_home / "servers.json").unlink()
    done = setup(checkout)
    assert done.returncode == 0, done.stderr
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert done.stdout.startswith("Ready: Python 3.")
    assert not (users_home / "servers.json").exists()
    other = tmp_path / "other"
    other.mkdir()
    assert setup(checkout, HOME=str(other)).returncode == 0
    assert (other / "servers.json").exists()
    assert not (other / "uv.log").exists()


def is_made(checkout: Path) -> bool:
    made = script(checkout)
    return bool(made["made"]() == made["wanted"]())


def test_an_environment_made_from_something_else_is_not_taken_for_ready(checkout: Path) -> None:
    stamp = complete(checkout)
    assert is_made(checkout)
    for name in ("requirements.txt", "pyproject.toml", "tools/setup.py", FILES[-1]):
        text = (checkout / name).read_text()
        (checkout / name).write_text(text + "\n# changed\n")
        assert not is_made(checkout), name
        (checkout / name).write_text(text)
    assert is_made(checkout)
    stamp.write_text("{half")
    assert not is_made(checkout)


def test_a_checkout_that_was_moved_is_set_up_again(checkout: Path) -> None:
    complete(checkout)
    assert not is_made(checkout.rename(checkout.with_name("ailleurs")))


def test_after_a_change_of_the_lock_packages_are_installed_into_what_is_there(
    checkout: Path, users_home: Path
) -> None:
    complete(checkout)
    kept = checkout / ".venv" / "kept"
    kept.touch()
    with (checkout / "requirements.txt").open("a") as lock:
        lock.write("# changed\n")
    done = setup(checkout)
    assert done.returncode == 0, done.stderr
    lock_of_uv, own = (users_home / "uv.log").read_text().splitlines()
    assert lock_of_uv.endswith(f"--require-hashes -r {checkout}/requirements.txt")
    assert own.endswith(f"--editable {checkout}")
    assert kept.exists()
    assert is_made(checkout)


def test_a_cache_that_cannot_be_made_is_said_so(checkout: Path, users_home: Path) -> None:
    complete(checkout)
    (users_home / "cache").touch()
    done = setup(checkout)
    assert done.returncode != 0
    assert done.stderr.startswith("The cache cannot be made.")


def test_a_second_make_waits_for_the_first(checkout: Path, users_home: Path) -> None:
    stamp = complete(checkout)
    text = stamp.read_text()
    stamp.write_text("{}")
    with (checkout / ".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(
            [sys.executable, "tools/setup.py"], cwd=checkout, stdout=subprocess.PIPE, text=True
        )
        assert second.stdout is not None
        assert second.stdout.readline() == "Another make is setting up; waiting for it.\n"
        stamp.write_text(text)
    second.communicate(timeout=30)
    assert second.returncode == 0
    assert not (users_home / "uv.log").exists()  # the first one's work is taken as it is


# -- two users, one checkout ----------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that everybody may read, for a checkout that belongs to us and a stranger's home."""
    stranger()
    with open_folder() as folder:
        yield folder


def tree(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_another_user_takes_the_environment_as_it_is(elsewhere: Path) -> None:
    checkout = copy_of_checkout(elsewhere)
    complete(checkout)
    before = tree(checkout)
    home = elsewhere / "home"
    done = as_stranger(["make", "setup"], checkout, home)
    assert done.returncode == 0, done.stderr
    assert "Ready: Python 3." in done.stdout
    assert (home / "servers.json").exists()
    assert tree(checkout) == before
    assert as_stranger(["make", "setup"], checkout, home).stdout.count("\n") == 1


def test_another_user_may_own_a_cache_that_is_complete(elsewhere: Path) -> None:
    checkout = copy_of_checkout(elsewhere)
    complete(checkout)
    (elsewhere / "home" / "cache").mkdir(parents=True)
    done = as_stranger(["make", "setup"], checkout, elsewhere / "home")
    assert done.returncode == 0, done.stderr


def test_another_user_without_an_environment_is_told_what_to_do_and_it_helps(
    elsewhere: Path,
) -> None:
    checkout = copy_of_checkout(elsewhere)
    home = elsewhere / "home"
    done = as_stranger(["make", "setup", f"PYTHON={sys.executable}"], checkout, home)
    assert done.returncode != 0
    assert "is not complete, or not yours to run, and you may not write there" in done.stderr
    remedy = done.stderr.partition("copy of your own: `")[2].partition("`")[0]
    for folder in (checkout, *checkout.rglob("*")):
        folder.chmod(0o555)
    copied = as_stranger(["sh", "-c", f"{remedy} && touch .setup.lock && pwd"], checkout, home)
    assert copied.stdout.strip() == f"{home}/my-course", copied.stderr


def test_another_user_is_told_that_nothing_can_be_built_there(elsewhere: Path) -> None:
    checkout = copy_of_checkout(elsewhere)
    complete(checkout)
    (checkout / "_build").mkdir()
    for target in ("book", "draft", "test", "test-quick", "check"):
        done = as_stranger(["make", target], checkout, elsewhere / "home")
        assert done.returncode != 0
        assert done.stderr.startswith(
            "This folder is not yours to write, so nothing can be built in it.\n"
            f"Next: work in a copy of your own: `{script(CHECKOUT)['COPY']}`.\n"
        )


# -- pip and uv, each by its own means ------------------------------------------------------------

ONE, TWO = "tiny-1.0-py3-none-any.whl", "tiny-2.0-py3-none-any.whl"
INSTALL = {
    "pip": [sys.executable, "-m", "pip", "install", "--quiet"],
    "uv": [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet"],
}


def environment(**variables: str) -> dict[str, str]:
    """What set-up lets pip and uv see."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr("sys.argv", ["setup.py", "--servers"])  # so that pip is our own
        seen: dict[str, str] = script(CHECKOUT)["environment"]()
    return seen


@pytest.fixture(params=INSTALL)
def installs(
    request: pytest.FixtureRequest, users_home: Path, tmp_path: Path
) -> Callable[..., bool]:
    """Whether pip, or uv, can install version 1 of a package from where the user says it is."""
    lock = tmp_path / "lock.txt"
    lock.write_text(locked(ONE))
    command = [*INSTALL[request.param], "--require-hashes", "-r", lock, "--target"]
    at_once = {"UV_NO_CACHE": "1", "UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0"}

    def install(**variables: str) -> bool:
        target = tempfile.mkdtemp(dir=tmp_path)
        seen = environment(**variables) | at_once
        done = subprocess.run([*command, target], env=seen, cwd=tmp_path)
        return done.returncode == 0 and Path(target, "tiny.py").exists()

    return install


def configure(path: Path, section: str, **settings: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name.replace('_', '-')} = {value}" for name, value in settings.items()]
    path.write_text("\n".join([f"[{section}]", *lines, ""]))


@pytest.mark.parametrize(
    ("file", "section"),
    [(".config/pip/pip.conf", "install"), (".pip/pip.conf", "global"), ("named.conf", "install")],
)
def test_the_mirror_is_found_in_each_of_pips_files(
    users_home: Path, file: str, section: str
) -> None:
    configure(users_home / file, section, index_url="http://a.invalid", user="true", quiet="2")
    named = {"PIP_CONFIG_FILE": str(users_home / file)} if file == "named.conf" else {}
    seen = environment(**named)
    assert seen["PIP_INDEX_URL"] == seen["UV_DEFAULT_INDEX"] == "http://a.invalid"
    assert not {"PIP_USER", "PIP_QUIET"} & seen.keys()


def test_a_file_that_pip_cannot_read_is_an_error_with_its_name(
    checkout: Path, users_home: Path
) -> None:
    complete(checkout)
    configure(users_home / ".config/pip/pip.conf", "global]\n[")
    done = setup(checkout)
    assert done.returncode != 0
    assert "pip.conf" in done.stderr
    assert "pip cannot read its own settings.\nNext: correct what it names" in done.stderr


def test_a_variable_goes_before_a_file_and_a_file_of_uv_counts_for_nothing(
    installs: Callable[..., bool], users_home: Path
) -> None:
    configure(users_home / ".config/pip/pip.conf", "install", index_url="http://127.0.0.1:9/simple")
    (users_home / ".config/uv").mkdir()
    (users_home / ".config/uv/uv.toml").write_text(
        'offline = true\n[[index]]\nurl = "http://127.0.0.1:9"\ndefault = true\n'
    )
    with registry() as mirror:
        assert installs(PIP_INDEX_URL=mirror.url, UV_DEFAULT_INDEX="http://127.0.0.1:9/simple")


def test_a_further_index_serves_whatever_the_first_one_has(
    installs: Callable[..., bool], users_home: Path
) -> None:
    with registry(files=(TWO,)) as first, registry(files=(TWO,)) as second, registry() as third:
        more = f"{second.url}\n    {third.url}"
        configure(users_home / ".config/pip/pip.conf", "global", extra_index_url=more)
        assert installs(PIP_INDEX_URL=first.url)


def test_a_proxy_of_pips_serves(installs: Callable[..., bool], users_home: Path) -> None:
    with registry() as proxy:
        own = f"http://127.0.0.1:{proxy.server_port}"
        configure(
            users_home / ".config/pip/pip.conf", "global", proxy=own, trusted_host="mirror.invalid"
        )
        mirror = "http://mirror.invalid/simple"
        assert installs(PIP_INDEX_URL=mirror)
        assert proxy.asked[0].startswith(f"{mirror}/tiny")


def test_a_certificate_is_trusted_when_it_is_named(installs: Callable[..., bool]) -> None:
    with registry("https") as mirror:
        assert not installs(PIP_INDEX_URL=mirror.url)
        assert installs(PIP_INDEX_URL=mirror.url, PIP_CERT=str(CERTIFICATE))


def test_a_certificate_in_the_home_and_a_host_trusted_without_one(
    installs: Callable[..., bool], users_home: Path
) -> None:
    with registry("https") as mirror:
        (users_home / "own ca.pem").write_bytes(CERTIFICATE.read_bytes())
        configure(users_home / ".config/pip/pip.conf", "global", cert="~/own ca.pem")
        assert installs(PIP_INDEX_URL=mirror.url)
        configure(
            users_home / ".config/pip/pip.conf", "global", trusted_host="127.0.0.1 other.invalid"
        )
        assert installs(PIP_INDEX_URL=mirror.url)
