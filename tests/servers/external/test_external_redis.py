"""A Redis elsewhere has to do what the notebooks do; one that cannot is refused with the cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from impostors import Talk

from shoplab.errors import ServerError
from shoplab.servers import external
from shoplab.servers.external import door
from shoplab.servers.redis import Redis
from shoplab.servers.server import NotReady

Admin = redis.Redis
Change = Callable[[Admin], object]


ALL = "name a user who may use all keys, channels and commands"


def acl(*rules: str) -> Change:
    """Take rights away from the user whom everybody is."""
    return lambda admin: admin.execute_command("ACL", "SETUSER", "default", *rules)


class InCluster(Redis):
    """A Redis Cluster of one node, which has all slots."""

    def prepare(self) -> None:
        super().prepare()
        with (self.directory / "redis.conf").open("a") as configuration:
            configuration.write("cluster-enabled yes\n")

    def check(self) -> None:
        try:
            with redis.Redis.from_url(self.settings()["url"]) as client:
                if client.cluster("INFO")["cluster_slots_assigned"] == "0":
                    client.cluster("ADDSLOTS", *range(16384))
                if client.cluster("INFO")["cluster_state"] != "ok":
                    raise NotReady("its slots are not served yet")
        except redis.ConnectionError as error:
            raise NotReady(error) from error


@pytest.fixture(params=[Redis])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Redis]:
    server: Redis = request.param(tmp_path / "redis", tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def admin(server: Redis) -> Iterator[Admin]:
    with redis.Redis.from_url(server.settings()["url"]) as client:
        yield client


def refused(patch: pytest.MonkeyPatch, url: str) -> str:
    patch.setenv("REDIS_URL", url)
    with pytest.raises(ServerError) as caught:
        external.settings("redis")
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


def test_one_that_can_is_taken_and_nothing_of_the_try_stays(
    server: Redis, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.delete("shoplab:ready")
    monkeypatch.setenv("REDIS_URL", server.settings()["url"])
    assert external.settings("redis") == server.settings()
    assert admin.keys() == []


def test_a_unix_socket_is_taken(
    server: Redis, monkeypatch: pytest.MonkeyPatch, short_path: Path
) -> None:
    server.stop()
    path = short_path / "redis.sock"
    prepare = server.prepare

    def with_socket() -> None:
        prepare()
        with (server.directory / "redis.conf").open("a") as configuration:
            configuration.write(f"unixsocket {path}\n")

    monkeypatch.setattr(server, "prepare", with_socket)
    server.start()
    url = f"unix://:{server.password}@{path}?db=1"
    monkeypatch.setenv("REDIS_URL", url)
    assert external.settings("redis") == {"url": url}
    assert "correct the path in REDIS_URL" in refused(monkeypatch, url.replace("redis.s", "no.s"))


@pytest.mark.parametrize(
    ("change", "said", "step"),
    [
        (lambda admin: admin.replicaof("127.0.0.1", 1), "it is a replica", "name its primary"),
        (lambda admin: admin.config_set("maxmemory", 1), "used memory", "raise its maxmemory"),
        (acl("-xadd"), "no permissions to run the 'xadd' command", ALL),
        (acl("resetchannels"), "channel", ALL),
        (acl("resetkeys", "~mine*"), "keys", ALL),
    ],
    ids=["replica", "full", "a command denied", "channels denied", "keys denied"],
)
def test_one_that_cannot_is_refused(
    server: Redis,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
    said: str,
    step: str,
) -> None:
    change(admin)
    refusal = refused(monkeypatch, server.settings()["url"])
    assert said in refusal.splitlines()[0]
    assert step in refusal.splitlines()[1]


def test_a_database_that_is_not_there(server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "DB index is out of range" in refused(monkeypatch, f"{server.settings()['url']}99")


@pytest.mark.parametrize("server", [InCluster], indirect=True)
def test_a_cluster_of_one_node(server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it is a Redis Cluster" in refused(monkeypatch, server.settings()["url"])


@pytest.mark.parametrize(
    "error", [b"-MOVED 866 10.0.0.9:6379\r\n", b"-CLUSTERDOWN Hash slot not served\r\n"]
)
def test_a_node_of_a_cluster(
    serve: Callable[[Talk], str], monkeypatch: pytest.MonkeyPatch, error: bytes
) -> None:
    def talk(connection):
        while connection.recv(4096):
            connection.sendall(error)

    assert "it is a Redis Cluster" in refused(monkeypatch, f"redis://{serve(talk)}/0")


# -- TLS ------------------------------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted(
    serve: Callable[[Talk], str], untrusted: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(monkeypatch, f"rediss://{serve(untrusted)}/0")
    assert "certificate verify failed: self-signed certificate" in said
    assert "?ssl_ca_certs=FILE" in said


def test_no_tls_where_there_is_some(
    serve: Callable[[Talk], str], untrusted: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(monkeypatch, f"redis://{serve(untrusted)}/0")
    assert "it ended the connection without an answer" in said
    assert "a server that speaks TLS needs rediss://" in said


def test_tls_where_there_is_none(server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "DEADLINE", 0.5)
    said = refused(monkeypatch, server.settings()["url"].replace("redis:", "rediss:"))
    assert "it does not answer" in said
    assert "rediss:// is for a server that speaks TLS" in said
