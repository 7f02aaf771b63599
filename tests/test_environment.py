"""What of the user's environment reaches whom."""

from __future__ import annotations

from shoplab.environment import for_processes, for_servers, for_setup


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


def test_set_up_takes_a_mirror_and_a_certificate_and_nothing_that_redirects_it() -> None:
    meant = {"PIP_INDEX_URL": "i", "PIP_CERT": "c", "HTTPS_PROXY": "p", "UV_CACHE_DIR": "d"}
    other = {"PIP_USER": "1", "PIP_TARGET": "t", "UV_PROJECT_ENVIRONMENT": "e", "PYTHONHOME": "h"}
    assert for_setup(meant | other) == meant
