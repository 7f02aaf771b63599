"""Downloads that go wrong: each ends in one clear error, and the next try succeeds."""

import errno
import hashlib
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from secure import CERTIFICATE, secure
from strangers import without_privileges

from shoplab.environment import CERTIFICATES
from shoplab.errors import SetupError
from shoplab.servers.kafka import jars

CONTENT = {f"part-{n}": bytes([n]) * 150_000 for n in range(4)}
LIST = "".join(
    f"org.example:{name}:1.0 {hashlib.sha256(data).hexdigest()} {len(data)}\n"
    for name, data in CONTENT.items()
)


class Mirror(ThreadingHTTPServer):
    """A Maven repository with four jars; ``fault`` says what is wrong with the first of them."""

    daemon_threads = True

    def __init__(self, scheme="http"):
        super().__init__(("127.0.0.1", 0), Answer)
        self.scheme = scheme
        if scheme == "https":
            secure(self)
        self.fault = None
        self.fault_lasts = 1_000
        self.served = Counter()
        self.asked_as = set()
        self.released = threading.Event()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}/maven"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1].removesuffix("-1.0.jar")
        self.server.served[name] += 1
        self.server.asked_as.add(self.path.split("org/example")[0])
        content = CONTENT[name]
        broken = name == "part-0" and self.server.served[name] <= self.server.fault_lasts
        fault = self.server.fault if broken else None
        self.send_response({"missing": 404, "unwell": 503}.get(fault, 200))
        self.send_header("Content-Type", "text/html" if fault == "page" else "application/java")
        if fault != "short":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "slow":
            self.server.released.wait(0.7)
        if fault == "changed":
            content = content[:-1] + b"?"
        if fault in ("cut", "short", "stalled"):
            content = content[:100_000]
        self.wfile.write(content)
        if fault == "stalled":
            self.server.released.wait(30)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def serving(monkeypatch, scheme="http"):
    server = Mirror(scheme)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("SHOPLAB_MAVEN_MIRROR", server.url)
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def mirror(monkeypatch):
    with serving(monkeypatch) as server:
        yield server


@pytest.fixture
def secure_mirror(monkeypatch):
    with serving(monkeypatch, "https") as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache in a path with a space and an 'é', and a list of four small jars."""
    directory = tmp_path / "un café"
    listing = tmp_path / "list.txt"
    listing.write_text(LIST)
    monkeypatch.setattr(jars, "LIST", listing)
    monkeypatch.setattr(jars, "PAUSE", 0.01)
    monkeypatch.setattr(jars, "TIMEOUT", (10.0, 30.0))
    monkeypatch.setenv("SHOPLAB_CACHE", str(directory))
    proxies = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")
    for variable in (*proxies, "HTTPS_PROXY", "https_proxy", *CERTIFICATES):
        monkeypatch.delenv(variable, raising=False)
    return directory


def kept(cache: Path) -> set[str]:
    return {file.name for file in (cache / "jars").iterdir() if file.name != ".lock"}


def nowhere() -> str:
    """The address of a server that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_all_jars_arrive_in_the_order_of_the_list(mirror, cache, capsys):
    paths = jars.fetch_jars()
    assert [path.name for path in paths] == [f"{name}-1.0.jar" for name in CONTENT]
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert capsys.readouterr().err == "Fetching 4 jars of Kafka, 1 MB\n"


def test_a_full_cache_needs_no_network_and_says_nothing(mirror, monkeypatch, capsys):
    jars.fetch_jars(progress=False)
    monkeypatch.setenv("SHOPLAB_MAVEN_MIRROR", nowhere())
    assert len(jars.fetch_jars()) == 4
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("fault", "message", "attempts"),
    [
        ("cut", "cut off", jars.ATTEMPTS),
        ("short", "cut off after 100000 of 150000 bytes", jars.ATTEMPTS),
        ("stalled", "the server does not answer", jars.ATTEMPTS),
        ("unwell", "the server answered 503", jars.ATTEMPTS),
        ("changed", "its SHA-256 checksum is wrong", 1),
        ("page", "is an HTML page, not a jar", 1),
        ("missing", "answers 404", 1),
    ],
)
def test_a_broken_download_leaves_nothing_and_the_next_succeeds(
    mirror, cache, monkeypatch, fault, message, attempts
):
    mirror.fault = fault
    if fault == "stalled":  # elsewhere a mirror on a busy machine may be late
        monkeypatch.setattr(jars, "TIMEOUT", (10.0, 1.0))
    with pytest.raises(SetupError, match=message) as refusal:
        jars.fetch_jars(progress=False)
    assert "part-0-1.0.jar" in refusal.value.what
    assert "SHOPLAB_MAVEN_MIRROR" in refusal.value.next_step
    assert mirror.served["part-0"] == attempts
    assert kept(cache) <= {"part-1-1.0.jar", "part-2-1.0.jar", "part-3-1.0.jar"}

    mirror.fault = None
    assert len(jars.fetch_jars(progress=False)) == 4
    assert len(kept(cache)) == 4


def test_a_passing_fault_is_tried_again(mirror, cache):
    mirror.fault, mirror.fault_lasts = "cut", 2
    jars.fetch_jars(progress=False)
    assert mirror.served["part-0"] == 3


def test_without_a_network_the_error_says_so(cache, monkeypatch):
    monkeypatch.setenv("SHOPLAB_MAVEN_MIRROR", nowhere())
    with pytest.raises(SetupError, match="no connection") as refusal:
        jars.fetch_jars(progress=False)
    assert "check the network" in refusal.value.next_step


def test_a_jar_that_lost_its_end_in_the_cache_is_fetched_again(mirror, cache):
    broken = jars.fetch_jars(progress=False)[2]
    broken.write_bytes(b"half")
    jars.fetch_jars(progress=False)
    assert broken.read_bytes() == CONTENT["part-2"]
    assert sum(mirror.served.values()) == 5


def test_two_fetches_at_once_fetch_every_jar_once(mirror, cache, tmp_path):
    mirror.fault = "slow"  # so that the second fetch begins before the first has ended
    code = (
        "import sys, pathlib; from shoplab.servers.kafka import jars;"
        "jars.LIST = pathlib.Path(sys.argv[1]); jars.fetch_jars(progress=False)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "list.txt")]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert kept(cache) == {f"{name}-1.0.jar" for name in CONTENT}
    assert set(mirror.served.values()) == {1}


def test_two_threads_fetch_every_jar_once(mirror):
    mirror.fault = "slow"
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(jars.fetch_jars, progress=False) for _ in range(2)]
    assert both[0].result() == both[1].result()
    assert set(mirror.served.values()) == {1}


def test_downloads_go_through_the_proxy_that_the_environment_names(mirror, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{mirror.server_port}")
    monkeypatch.setenv("SHOPLAB_MAVEN_MIRROR", "http://mirror.invalid/jars/")
    jars.fetch_jars(progress=False)
    assert mirror.asked_as == {"http://mirror.invalid/jars/"}


def test_a_proxy_that_is_down_is_named(cache, monkeypatch):
    monkeypatch.setenv("http_proxy", nowhere())
    monkeypatch.setenv("SHOPLAB_MAVEN_MIRROR", "http://mirror.invalid/maven2")
    with pytest.raises(SetupError, match="the proxy cannot be reached"):
        jars.fetch_jars(progress=False)


def test_a_certificate_that_is_not_trusted_is_said_so_once_and_with_the_remedy(secure_mirror):
    with pytest.raises(SetupError) as refusal:
        jars.fetch_jars(progress=False)
    assert refusal.value.what.startswith("The certificate of 127.0.0.1 is not trusted (certificate")
    assert "PIP_CERT" in refusal.value.next_step
    assert not secure_mirror.served


@pytest.mark.parametrize("variable", CERTIFICATES)
def test_a_certificate_is_trusted_by_each_variable_that_names_it(
    secure_mirror, monkeypatch, variable
):
    monkeypatch.setenv(variable, str(CERTIFICATE))
    assert len(jars.fetch_jars(progress=False)) == 4


def test_of_two_variables_that_name_certificates_that_of_pip_counts(secure_mirror, monkeypatch):
    monkeypatch.setenv("PIP_CERT", str(CERTIFICATE))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())
    assert len(jars.fetch_jars(progress=False)) == 4


def test_a_certificate_for_another_name_is_said_so(secure_mirror, monkeypatch):
    monkeypatch.setenv("PIP_CERT", str(CERTIFICATE))
    other = secure_mirror.url.replace("127.0.0.1", "127.1")  # the same address, by another name
    monkeypatch.setenv("SHOPLAB_MAVEN_MIRROR", other)
    with pytest.raises(SetupError, match=r"of 127\.1 is not trusted .*not valid for '127\.1'"):
        jars.fetch_jars(progress=False)


def test_a_file_of_certificates_that_is_missing_or_none_is_named(
    secure_mirror, monkeypatch, tmp_path
):
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "gone.pem"))
    with pytest.raises(SetupError, match=r"gone\.pem is not there") as refusal:
        jars.fetch_jars(progress=False)
    assert "PIP_CERT" in refusal.value.next_step
    (tmp_path / "gone.pem").write_text("no certificate")
    with pytest.raises(SetupError, match="no secure connection"):
        jars.fetch_jars(progress=False)


def test_a_mirror_that_speaks_no_tls_is_told_from_no_connection(mirror, monkeypatch):
    monkeypatch.setenv("SHOPLAB_MAVEN_MIRROR", mirror.url.replace("http:", "https:"))
    with pytest.raises(SetupError, match="no secure connection"):
        jars.fetch_jars(progress=False)


def test_a_full_disk_is_named_and_nothing_stays(mirror, cache, monkeypatch):
    real_open = Path.open

    def full(self, mode="r", *args, **kwargs):
        file = real_open(self, mode, *args, **kwargs)
        if self.suffix == ".part":
            file.close()
            file = real_open("/dev/full", mode, buffering=0)
        return file

    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(SetupError, match="The disk is full") as refusal:
            jars.fetch_jars(progress=False)
    assert "SHOPLAB_CACHE" in refusal.value.next_step
    assert kept(cache) == set()
    assert len(jars.fetch_jars(progress=False)) == 4


def test_a_cache_that_cannot_be_written_is_named(mirror, cache):
    cache.mkdir()
    cache.chmod(0o500)
    with without_privileges(), pytest.raises(SetupError) as refusal:
        jars.fetch_jars(progress=False)
    assert "Permission denied" in refusal.value.what
    assert str(cache) in refusal.value.what
    assert refusal.value.__cause__.errno == errno.EACCES
    cache.chmod(0o700)
