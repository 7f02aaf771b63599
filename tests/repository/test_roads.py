"""The roads to the course: make, conda, containers, CI, reports. The files are valid and agree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import check_jsonschema
import pytest
import yaml
from checkout import CHECKOUT
from click.testing import CliRunner
from jupyter_client.manager import start_new_kernel
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from shoplab.environment import NOT_FOR_PROCESSES
from shoplab.paths import DISK_NEEDED_MB, ENVIRONMENT_MB
from shoplab.servers.kafka.broker import SETTINGS

COMPOSE = CHECKOUT / "docker-compose.yml"
GITHUB = CHECKOUT / ".github"
WORKFLOW = GITHUB / "workflows" / "ci.yml"


def read(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def load(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


@pytest.fixture
def services() -> dict[str, Any]:
    """The services of the compose file."""
    found: dict[str, Any] = load(COMPOSE)["services"]
    return found


# -- the files are what their tools expect --------------------------------------------------------


def check(schema: str, path: Path) -> int:
    """The exit status of check-jsonschema."""
    command = ["--builtin-schema", schema, str(path)]
    return CliRunner().invoke(check_jsonschema.main, command).exit_code


@pytest.mark.parametrize(
    ("schema", "path", "needs"),
    [
        ("vendor.compose-spec", COMPOSE, "services"),
        ("vendor.github-workflows", WORKFLOW, "on"),
        ("vendor.dependabot", GITHUB / "dependabot.yml", "updates"),
        ("vendor.github-issue-forms", GITHUB / "ISSUE_TEMPLATE" / "problem.yml", "body"),
        ("vendor.citation-file-format", CHECKOUT / "CITATION.cff", "authors"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_file_is_valid_and_a_broken_one_is_not(
    schema: str, path: Path, needs: str, tmp_path: Path
) -> None:
    assert check(schema, path) == 0
    broken = tmp_path / path.name
    broken.write_text(re.sub(rf"(?m)^{needs}:", f"no-{needs}:", path.read_text()))
    assert check(schema, broken) == 1


def test_dev_container_is_an_ordinary_python_that_set_up_runs_in() -> None:
    container = json.loads(read(".devcontainer/devcontainer.json"))
    image, version = re.fullmatch(r"(\w+):3\.(\d+)-\w+", container["image"]).groups()
    assert image == "python" and int(version) >= 11
    assert container["postCreateCommand"] == "make setup"
    assert container["init"] is True  # so that an orphan is reaped and does not stay a zombie


def test_workflow_runs_make_targets_only() -> None:
    steps = load(WORKFLOW)["jobs"]["doors"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands
    assert all(
        re.fullmatch(r"make [a-z-]+( FRESH=1| PYTHON=\S+ *\S*.*)?", line) for line in commands
    )
    assert {line.split()[1] for line in commands} <= targets()


def test_workflow_pins_every_action_by_commit_and_says_which_version_that_is() -> None:
    used = re.findall(r"uses: *(.*)", WORKFLOW.read_text())
    assert len(used) >= 4
    assert [u for u in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v[\d.]+", u)] == []


def test_workflow_runs_each_week_by_hand_and_then_without_a_cache() -> None:
    workflow = load(WORKFLOW)
    events = workflow[True]  # YAML's `on`
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", events["schedule"][0]["cron"])
    assert "workflow_dispatch" in events
    (cache,) = (
        step
        for step in workflow["jobs"]["doors"]["steps"]
        if step.get("uses", "").startswith("actions/cache@")
    )
    assert set(re.findall(r"'(\w+)'", cache["if"])) == {"push", "pull_request"}


def test_workflow_keeps_what_set_up_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    text = WORKFLOW.read_text()
    for system in (Unix("shoplab"), MacOS("shoplab")):
        assert f"~/{system.user_cache_path.relative_to(Path.home())}/jars\n" in text
    for name in re.findall(r"'([\w/.]+)'", re.search(r"hashFiles\((.*)\)", text)[1]):
        assert (CHECKOUT / name).is_file()


def test_conda_environment_has_what_the_course_needs() -> None:
    environment = load(CHECKOUT / "environment.yml")
    assert environment["channels"][0] == "conda-forge"
    *packages, pip = environment["dependencies"]
    names = {re.split("[=<>]", package)[0] for package in packages}
    assert names == {"python", "pip", "make", "openjdk", "redis-server"}
    assert pip == {"pip": ["--requirement requirements.txt"]}
    assert environment["name"] in read("Makefile")
    assert environment["name"] in read("tools/setup")


# -- containers -----------------------------------------------------------------------------------


def test_every_port_is_on_this_machine_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 7
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)] == []


def test_every_service_that_can_be_asked_has_a_health_check(services: dict[str, Any]) -> None:
    asked = {name for name, service in services.items() if "ports" in service}
    assert {n for n, service in services.items() if "healthcheck" in service} == asked
    assert [name for name in asked if not services[name]["healthcheck"]["test"]] == []


def test_only_rabbitmq_and_the_shop_wait_to_be_asked_for(services: dict[str, Any]) -> None:
    profiles = {n: s["profiles"] for n, s in services.items() if "profiles" in s}
    assert profiles.pop("rabbitmq") == ["rabbitmq"]
    assert set(map(tuple, profiles.values())) == {("shop",)}
    assert services.keys() - profiles.keys() == {"kafka", "redis", "postgres", "rabbitmq"}


def test_compose_env_names_the_published_ports_and_passwords(services: dict[str, Any]) -> None:
    lines = [line for line in read("compose.env").splitlines() if line and line[0] != "#"]
    variables = dict(line.split("=", 1) for line in lines)
    ports = {n: s["ports"][0].rpartition(":")[0] for n, s in services.items() if "ports" in s}
    assert variables == {
        "KAFKA_BOOTSTRAP_SERVERS": ports["kafka"],
        "REDIS_URL": f"redis://default:{services['redis']['command'][2]}@{ports['redis']}/0",
        "DATABASE_URL": "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{0}/{POSTGRES_DB}".format(
            ports["postgres"], **services["postgres"]["environment"]
        ),
        "RABBITMQ_URL": "amqp://{RABBITMQ_DEFAULT_USER}:{RABBITMQ_DEFAULT_PASS}@{0}/".format(
            ports["rabbitmq"], **services["rabbitmq"]["environment"]
        ),
    }


def test_kafka_tells_each_client_an_address_it_can_reach(services: dict[str, Any]) -> None:
    kafka = services["kafka"]
    told = dict(
        listener.split("://")
        for listener in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    )
    assert told["HOST"] == kafka["ports"][0].rpartition(":")[0]
    assert told["NETWORK"].startswith("kafka:")


def test_kafka_in_a_container_behaves_like_the_local_one(services: dict[str, Any]) -> None:
    environment = services["kafka"]["environment"]
    as_variable = {f"KAFKA_{name.upper().replace('.', '_')}": v for name, v in SETTINGS.items()}
    own = {"KAFKA_INTER_BROKER_LISTENER_NAME"}  # two listeners there, one here
    shared = (as_variable.keys() & environment.keys()) - own
    assert len(shared) >= 8
    assert {name: environment[name] for name in shared} == {n: as_variable[n] for n in shared}


# -- make -----------------------------------------------------------------------------------------


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"(?m)^([a-z-]+):(?!=)", read("Makefile")))


def test_make_alone_explains_every_target() -> None:
    said = subprocess.run(["make"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    explained = set(re.findall(r"(?m)^  make (\S+) +\S", said))
    assert explained == targets()
    assert {"book", "lab", "test", "draft", "bench", "check", "format", "clean"} <= explained


@pytest.fixture
def doors(tmp_path: Path) -> Path:
    """The Makefile, with a stand-in for the environment that notes what it is called with."""
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    for name, text in {
        "tools/setup": "exit 0",
        ".venv/bin/python": "echo began >> calls; env > seen; sleep $EACH; echo ended >> calls",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def call(doors: Path, *arguments: str, **variables: str) -> None:
    command = ["make", *arguments]
    environment = os.environ | {"EACH": "0"} | variables
    subprocess.run(command, cwd=doors, env=environment, check=True)


# Python's own, as kernels and children never see them either; then those of the programs that run.
OF_PYTHON = re.findall(r"PYTHON\(([A-Z|]+)\)", NOT_FOR_PROCESSES.pattern)[0].split("|")
FOR_OTHER_WORK = [f"PYTHON{name}" for name in OF_PYTHON] + [
    "PYTHONPATH",
    "PYTHONBREAKPOINT",
    "PYTHONHASHSEED",
    "PYTHON_GIL",
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD",
    "COVERAGE_PROCESS_START",
    "COVERAGE_FILE",
    "MPLBACKEND",
    "FORCE_COLOR",
    "JUPYTER_PATH",
    "JUPYTERLAB_DIR",
    "JUPYTER_GATEWAY_URL",
    "VIRTUAL_ENV",
    "GIT_DIR",
    "MAKEFLAGS",
]


@pytest.mark.parametrize("target", ["test", "test-quick", "book", "draft", "bench", "lab", "check"])
def test_no_door_lets_in_settings_for_other_work(doors: Path, target: str) -> None:
    call(doors, target, **dict.fromkeys(FOR_OTHER_WORK, "k"), PYTHON="python3", MINE="too")
    seen = dict(line.partition("=")[::2] for line in (doors / "seen").read_text().splitlines())
    assert sorted(set(FOR_OTHER_WORK) & seen.keys()) == []
    assert (seen["PYTHON"], seen["MINE"]) == ("python3", "too")
    assert seen["MATPLOTLIBRC"] == os.devnull
    if target in ("test", "book"):
        assert seen["IPYTHONDIR"] == f"{doors}/_build/ipython"
        assert seen["JUPYTER_NO_CONFIG"] == "1"


def test_two_doors_open_one_after_the_other_whatever_j_says(doors: Path) -> None:
    call(doors, "-j4", "test", "book", MAKEFLAGS="", EACH="0.3")
    assert (doors / "calls").read_text().split() == ["began", "ended"] * 2


def test_ci_runs_what_the_readme_names() -> None:
    steps = re.findall(r"^step as_an_ordinary_user (make \S+)", read(".ci/run"), re.MULTILINE)
    # in a new clone nothing has run: the tests run every notebook, and the book shows that
    assert steps[:4] == ["make setup", "make test", "make book", "make test-book"]
    for command in (*steps[1:3], "FRESH=1"):
        assert command in read("README.md") and command in read(str(WORKFLOW))


def test_readme_asks_for_the_disk_space_that_the_doctor_looks_for() -> None:
    needed = f"{(ENVIRONMENT_MB + DISK_NEEDED_MB) / 1000:g} GB"
    assert re.findall(r"[\d.]+ GB", read("README.md")) == [needed, needed]


@pytest.mark.server
def test_a_kernel_of_an_unattended_run_says_nothing_of_its_own(tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    settings = "_build/ipython/profile_default/ipython_kernel_config.json"
    subprocess.run(["make", settings], cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)
    environment = os.environ | {"IPYTHONDIR": str(tmp_path / "_build" / "ipython")}
    with (tmp_path / "said").open("w+") as said:
        manager, client = start_new_kernel(env=environment, stdout=said, stderr=said)
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        said.seek(0)
        assert said.read() == ""
