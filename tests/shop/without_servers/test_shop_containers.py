"""The shop in containers, without an engine: its image, and what each of its parts is told."""

from __future__ import annotations

import ast
import json
import re
import sys
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import CHECKOUT
from sqlalchemy import make_url

import shop
from shop.__main__ import WORKERS
from shop.__main__ import shop as program
from shop.settings import Settings
from shoplab.reference import PARTS

FOLDER = Path(shop.__path__[0])
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
SHOP = {name: each for name, each in COMPOSE.items() if each.get("profiles") == ["shop"]}


# -- the image ------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile, and what it says."""
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    return [(*line.split(maxsplit=1),) for line in lines if line and line[0] != "#"]  # type: ignore[misc]


def said(instruction: str) -> list[str]:
    return [says for name, says in instructions() if name == instruction]


def test_its_base_is_of_one_python_and_one_debian() -> None:
    [base] = said("FROM")
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", base)


def test_the_shop_does_not_run_as_root() -> None:
    names = [name for name, _ in instructions()]
    assert said("USER") == ["10001:10001"]  # a number, which a platform can check
    assert names.index("USER") > max(n for n, name in enumerate(names) if name in ("RUN", "COPY"))


@pytest.mark.parametrize("instruction", ["RUN", "ENTRYPOINT", "CMD"])
def test_no_shell_stands_between(instruction: str) -> None:
    for says in said(instruction):
        assert all(isinstance(word, str) for word in json.loads(says))


def test_it_starts_the_program_and_serves_customers_if_nothing_else_is_said() -> None:
    assert said("ENTRYPOINT") == ['["python", "-m", "shop"]']
    assert asked_for(json.loads(*said("CMD"))) == ("api", {"host": "0.0.0.0", "port": 8000})
    assert said("EXPOSE") == ["8000"]


def test_what_is_copied_is_there_and_what_seldom_changes_comes_first() -> None:
    sources = [says.split()[0] for says in said("COPY")]
    assert sources == ["requirements.txt", "."]
    assert all((FOLDER / source).exists() for source in sources)
    names = [name for name, _ in instructions()]
    assert names.index("RUN") < len(names) - 1 - names[::-1].index("COPY")


NOT_THEIRS = {*sys.stdlib_module_names, "shop", "starlette"}  # FastAPI's face is partly Starlette's


def names(text: str) -> set[str]:
    found = re.findall(r"(?m)^([A-Za-z0-9_.-]+)", text)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def test_its_packages_are_what_the_shop_imports() -> None:
    imported = set()
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
    theirs = {n for n in imported if n.partition(".")[0] not in NOT_THEIRS}
    wanted = names((FOLDER / "requirements.in").read_text())
    home = {
        str(distribution(name).locate_file(file)): name
        for name in wanted
        for file in distribution(name).files or ()
    }
    found = {module: find_spec(module) for module in theirs}
    origins = {module: spec.origin for module, spec in found.items() if spec and spec.has_location}
    assert {module for module, origin in origins.items() if origin not in home} == set()
    found_by_name = {"psycopg", "greenlet"}  # by SQLAlchemy
    assert wanted - found_by_name == {home[origin] for origin in origins.values()}


def test_its_lock_is_a_part_of_the_courses() -> None:
    def entries(path: Path) -> set[str]:
        text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text(encoding="utf-8"))
        return {re.sub(r" ;.*?(?= \\)", "", entry) for entry in re.split(r"\n(?=\S)", text.strip())}

    ours, courses = entries(FOLDER / "requirements.txt"), entries(CHECKOUT / "requirements.txt")
    assert len(ours) > 20
    assert ours <= courses
    assert names((FOLDER / "requirements.in").read_text()) <= names("\n".join(ours))


# -- what each part is told -----------------------------------------------------------------------


def asked_for(command: list[str]) -> tuple[str, dict[str, Any]]:
    """A sub-command of the program with its options, as the program reads them."""
    name, *arguments = command
    return name, dict(program.commands[name].make_context(name, list(arguments)).params)


def test_every_part_is_there_once() -> None:
    workers = [("worker", {"name": name}) for name in WORKERS]
    commands = [asked_for(service["command"]) for service in SHOP.values()]
    names = [name for name, _ in commands]
    assert sorted(names) == ["api", "bank", "prepare", "relay", *["worker"] * len(workers)]
    assert all(worker in commands for worker in workers)
    assert len(SHOP) == len(PARTS) + 3  # and what prepares, the bank, and the lists


@pytest.mark.parametrize("name", SHOP)
def test_every_setting_that_is_needed_is_set_and_there_is_no_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = SHOP[name]["environment"]
    needed = {n.upper() for n, field in Settings.model_fields.items() if field.is_required()}
    assert needed | {"BANK_URL"} <= environment.keys()
    assert {n for n in environment if n.lower() not in Settings.model_fields} == set()
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert int(SHOP[name]["stop_grace_period"].removesuffix("s")) > settings.shop_drain


def test_the_settings_are_those_of_the_servers_beside_it() -> None:
    for service in SHOP.values():
        told = service["environment"]
        database, redis = make_url(told["DATABASE_URL"]), make_url(told["REDIS_URL"])
        postgres = COMPOSE[database.host]["environment"]
        assert (database.username, database.password, database.database) == (
            postgres["POSTGRES_USER"], postgres["POSTGRES_PASSWORD"], postgres["POSTGRES_DB"],
        )  # fmt: skip
        assert redis.password in COMPOSE[redis.host]["command"]
        kafka = COMPOSE["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        assert f"NETWORK://{told['KAFKA_BOOTSTRAP_SERVERS']}" in kafka.split(",")
        bank = make_url(told["BANK_URL"])
        _, options = asked_for(SHOP[bank.host]["command"])
        assert options == {"host": "0.0.0.0", "port": bank.port}


@pytest.mark.parametrize(("name", "path"), [("api", "/readyz"), ("bank", "/authorisations")])
def test_whoever_can_be_asked_is(name: str, path: str) -> None:
    _, options = asked_for(SHOP[name]["command"])
    port = options["port"]
    assert SHOP[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    check = SHOP[name]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "python", "-c"]
    compile(check[3], name, "exec")
    assert f'"http://127.0.0.1:{port}{path}"' in check[3]


def test_whoever_dies_is_started_again_and_none_before_tables_and_topics_are_there() -> None:
    for name, service in SHOP.items():
        assert service["image"] == "event-driven-vs-request-driven-shop"
        assert service["restart"] == ("on-failure" if name == "prepare" else "unless-stopped")
        waits_for = service["depends_on"]
        if name == "prepare":
            healthy = {"condition": "service_healthy"}
            assert waits_for == {"kafka": healthy, "postgres": healthy}
        elif name != "bank":
            assert waits_for == {"prepare": {"condition": "service_completed_successfully"}}
