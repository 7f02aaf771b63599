"""The fixture ``servers``, in a project that is not ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core import container, docker_client
from testcontainers.core.container import DockerContainer

from shoplab import pytest_plugin
from shoplab.pytest_plugin import IMAGES, Containers, Embedded, servers_of

Run = Callable[..., subprocess.CompletedProcess[str]]

TEST_ALL = """
import psycopg, redis
from kafka import KafkaAdminClient

def test_all_three(servers):
    with psycopg.connect(servers.database_url) as database:
        database.execute("CREATE TABLE orders (id int)")
        [(schema,)] = database.execute("SELECT current_schema()").fetchall()
        assert schema.startswith("tests_")
    with redis.Redis.from_url(servers.redis_url) as store:
        assert store.ping()
    admin = KafkaAdminClient(**servers.kafka)
    admin.list_topics()
    admin.close()
    print("SCHEMA", schema)

def test_the_same_servers(servers):
    with psycopg.connect(servers.database_url) as database:
        assert database.execute("SELECT count(*) FROM orders").fetchall() == [(0,)]
"""


@pytest.fixture
def project(tmp_path: Path) -> Run:
    """A project of somebody's, with these tests; runs them."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["shoplab.pytest_plugin"]\n')

    def run(tests: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_it.py").write_text(tests)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-s", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A Docker engine's double: it answers, and lists what is started and stopped."""
    happened: list[str] = []
    client = SimpleNamespace(ping=lambda: True)

    def start(self: DockerContainer, *_: object) -> DockerContainer:
        happened.append(f"starts {self.image}")
        self._container = SimpleNamespace()  # what says that it runs
        return self

    monkeypatch.setattr(docker_client, "DockerClient", lambda: SimpleNamespace(client=client))
    monkeypatch.setattr(container, "DockerClient", lambda **_: SimpleNamespace(client=client))
    for kind in (KafkaContainer, PostgresContainer, DockerContainer):
        monkeypatch.setattr(kind, "start", start)
    monkeypatch.setattr(
        DockerContainer, "stop", lambda self, **_: happened.append(f"stops {self.image}")
    )
    monkeypatch.setattr(DockerContainer, "get_container_host_ip", lambda _self: "engine.example")
    monkeypatch.setattr(DockerContainer, "get_exposed_port", lambda _self, port: port + 10_000)
    return happened


@pytest.mark.server
def test_without_an_engine_a_project_gets_servers_that_need_none(project: Run) -> None:
    ran = project(TEST_ALL, "--servers=embedded")
    assert "2 passed" in ran.stdout, ran.stdout


def test_whoever_asks_for_nothing_starts_nothing(project: Run) -> None:
    ran = project("def test_nothing(servers): pass", "--servers=embedded")
    assert "1 passed" in ran.stdout, ran.stdout  # and no test without the mark may start a server


def test_where_an_engine_answers_they_are_containers_and_end(engine: list[str]) -> None:
    with ExitStack() as ends:
        servers = servers_of("auto", ends)
        assert isinstance(servers, Containers)
        assert engine == []
        assert servers.kafka == {"bootstrap_servers": "engine.example:19093"}
        assert servers.redis_url == "redis://engine.example:16379/0"
        assert servers.database_url == "postgresql://test:test@engine.example:15432/test"
        assert servers.redis_url == "redis://engine.example:16379/0"
        assert engine == [f"starts {image}" for image in IMAGES.values()]
    assert engine[3:] == [f"stops {image}" for image in reversed(IMAGES.values())]


def test_where_none_answers_or_variables_name_servers_they_are_no_containers(
    engine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as ends:
        assert isinstance(servers_of("embedded", ends), Embedded)
        monkeypatch.setenv("REDIS_URL", "redis://elsewhere.example")
        assert isinstance(servers_of("auto", ends), Embedded)
        monkeypatch.delenv("REDIS_URL")
        monkeypatch.setattr(pytest_plugin, "an_engine_answers", lambda: False)
        assert isinstance(servers_of("auto", ends), Embedded)
        assert isinstance(servers_of("containers", ends), Containers)
    assert engine == []


def test_an_engine_that_is_not_there_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert not pytest_plugin.an_engine_answers()


def test_containers_are_made_of_what_the_compose_file_names() -> None:
    services = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]
    for kind in ("redis", "postgres"):
        assert IMAGES[kind] == services[kind]["image"]
