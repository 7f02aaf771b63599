"""What of the user's environment reaches whom."""

from __future__ import annotations

import os

import pytest

from shoplab.environment import (
    CERTIFICATES,
    certificates,
    for_processes,
    for_servers,
    for_setup,
)


def test_the_loopback_is_exempt_from_a_proxy_and_what_was_exempt_stays() -> None:
    own = for_processes({"HTTP_PROXY": "http://proxy.example", "no_proxy": "a.example"})
    assert own["NO_PROXY"] == own["no_proxy"] == "a.example,127.0.0.1,localhost,::1"
    assert own["HTTP_PROXY"] == "http://proxy.example"
    assert for_processes(own) == own


def test_a_kernel_keeps_the_users_variables_but_for_those_of_the_courses_libraries() -> None:
    kept = {
        "HOME": "/h",
        "KAFKA_BOOTSTRAP_SERVERS": "a:1",
        "MY_TOKEN": "x",
        "PYTHONPATH": "p",
    }
    foreign = {
        "OTEL_SDK_DISABLED": "true",
        "OTEL_PROPAGATORS": "b3",
        "AWS_PROFILE": "gone",
        "PGSERVICE": "prod",
        "PYTHONOPTIMIZE": "1",
        "PYTHONSTARTUP": "rich.py",
    }
    assert for_processes(kept | foreign).keys() - {"NO_PROXY", "no_proxy"} == kept.keys()


def test_a_server_sees_only_what_a_program_needs() -> None:
    user = {"PATH": "/bin", "HOME": "/h", "LD_LIBRARY_PATH": "/odd", "LC_ALL": "xx_YY", "TZ": "X"}
    user |= {"JAVA_TOOL_OPTIONS": "-Xbad", "PGPORT": "1", "RABBITMQ_NODENAME": "n"}
    assert for_servers(user) == {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "TZ": "UTC"}


def seen(environment: dict[str, str], listed: str = "") -> dict[str, str]:
    """What set-up sees beyond what it always sees."""
    always = for_setup({})
    return {n: v for n, v in for_setup(environment, listed).items() if always.get(n) != v}


def test_set_up_sees_nothing_that_redirects_an_installation() -> None:
    meant = {"HTTPS_PROXY": "p", "UV_CACHE_DIR": "d", "HOME": "h", "PYTHON": "python3.12"}
    other = {
        "PIP_USER": "1",
        "PIP_TARGET": "t",
        "PIP_NO_DEPS": "1",
        "UV_PROJECT_ENVIRONMENT": "e",
        "UV_CONFIG_FILE": "f",
        "UV_DEFAULT_INDEX": "u",
        "PYTHONHOME": "h",
        "VIRTUAL_ENV": "v",
    }
    assert seen(meant | other) == meant
    assert for_setup({})["PIP_CONFIG_FILE"] == os.devnull
    assert for_setup({})["UV_NO_CONFIG"] == "1"


def listed(section: str, setting: str, value: str) -> str:
    """A line of `pip config list`, which joins the words of a setting by dashes."""
    return f"{section}.{setting.replace('_', '-')}={value!r}\n"


def test_one_mirror_serves_pip_and_uv_a_variable_before_a_file() -> None:
    files = "".join(  # two of them, one after another
        [
            listed("global", "user", "true"),
            listed("global", "index_url", "http://machine"),
            listed("install", "index_url", "http://install"),
            listed("install", "target", "t"),
            listed("global", "index_url", "http://user"),
            listed("global", "trusted_host", "one\n  two"),
            listed("download", "index_url", "http://download"),
        ]
    )
    hosts = {"PIP_TRUSTED_HOST": "one two", "UV_INSECURE_HOST": "one two"}
    assert seen({}, files) == hosts | {
        "PIP_INDEX_URL": "http://install",
        "UV_DEFAULT_INDEX": "http://install",
    }
    assert seen({"PIP_INDEX_URL": "http://variable"}, files) == hosts | {
        "PIP_INDEX_URL": "http://variable",
        "UV_DEFAULT_INDEX": "http://variable",
    }


def test_set_up_passes_on_what_it_was_given_the_second_time_too() -> None:
    files = listed("global", "index_url", "i") + listed("global", "cert", "c")
    once = for_setup({"PIP_PROXY": "p"}, files)
    assert for_setup(once) == once


@pytest.mark.parametrize("variable", CERTIFICATES)
def test_a_file_of_certificates_counts_for_every_download(variable: str) -> None:
    assert seen({variable: "c"}) == dict.fromkeys(CERTIFICATES, "c")
    assert certificates({variable: "c"}) == "c"


def test_of_several_files_of_certificates_that_of_pip_counts() -> None:
    assert seen({"SSL_CERT_FILE": "s", "PIP_CERT": "c"}) == dict.fromkeys(CERTIFICATES, "c")
    assert seen({"SSL_CERT_FILE": "s"}, "global.cert='c'\n") == dict.fromkeys(CERTIFICATES, "c")
