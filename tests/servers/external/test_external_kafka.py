"""The way into a Kafka elsewhere: each step that fails is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from certificates import Certificate, make_certificate
from kafka import KafkaAdminClient
from kafka.errors import InvalidReplicationFactorError

from shoplab import Lab
from shoplab.errors import ServerError
from shoplab.ports import free_ports
from shoplab.servers import external
from shoplab.servers.external import door
from shoplab.servers.kafka.broker import Broker
from shoplab.servers.kafka.sessions import USUAL_LEAST, session_timeout
from shoplab.servers.kafka.setup import set_up
from shoplab.stack import PrivateCluster

LISTENERS = ("OPEN", "SECURED", "GUARDED", "MISLED", "NAMELESS")


class ManyDoors(Broker):
    """A broker with a listener for each way to be turned away; ``doors`` are their addresses.

    SECURED wants TLS and a password, GUARDED a password. MISLED sends its clients on to a port
    where nobody listens, NAMELESS to a host that is not there. The user guest may do nothing.
    """

    def __init__(self, directory: Path, certificate: Certificate) -> None:
        ports = free_ports(len(LISTENERS) + 1)
        super().__init__(1, directory, directory.parent, set_up(), {1: (ports[0], ports[-1])})
        self.certificate = certificate
        self.doors = {
            name: f"127.0.0.1:{port}" for name, port in zip(LISTENERS, ports, strict=False)
        }

    def _properties(self) -> str:
        advertised = self.doors | {"MISLED": "127.0.0.1:1", "NAMELESS": "nowhere.invalid:9092"}
        protocols = dict.fromkeys(LISTENERS, "PLAINTEXT") | {
            "CONTROLLER": "PLAINTEXT",
            "SECURED": "SASL_SSL",
            "GUARDED": "SASL_PLAINTEXT",
        }
        controller = f"CONTROLLER://127.0.0.1:{self.voters[1][1]}"
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        users = f'{module} required user_shop="s3cret" user_guest="s3cret";'
        own = {
            "listeners": ",".join([f"{n}://{a}" for n, a in self.doors.items()] + [controller]),
            "advertised.listeners": ",".join(f"{n}://{a}" for n, a in advertised.items()),
            "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items()),
            "inter.broker.listener.name": "OPEN",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secured.plain.sasl.jaas.config": users,
            "listener.name.guarded.plain.sasl.jaas.config": users,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.certificate.both,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:shop",
        }
        # of a name that stands twice, the second counts
        return super()._properties() + "".join(f"{name}={value}\n" for name, value in own.items())


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManyDoors]:
    directory = tmp_path_factory.mktemp("elsewhere")
    broker = ManyDoors(directory / "kafka", make_certificate(directory))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """``kafka-python`` tries until its time is up, whatever a broker answers."""
    monkeypatch.setattr(door, "DEADLINE", 1.5)


def try_with(patch: pytest.MonkeyPatch, servers: str, **variables: str) -> dict[str, str]:
    patch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    for name, value in variables.items():
        patch.setenv(f"KAFKA_{name}", value)
    return external.settings("kafka")


def refused(patch: pytest.MonkeyPatch, servers: str, **variables: str) -> str:
    with pytest.raises(ServerError) as caught:
        try_with(patch, servers, **variables)
    assert "KAFKA_BOOTSTRAP_SERVERS" in caught.value.what
    assert "s3cret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


def login(kafka: ManyDoors, **changed: str) -> dict[str, str]:
    """What one writes to be let in as the user shop."""
    return {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SASL_MECHANISM": "PLAIN",
        "SASL_USERNAME": "shop",
        "SASL_PASSWORD": "s3cret",
        "SSL_CAFILE": str(kafka.certificate.certificate),
    } | changed


# -- how the servers are written ------------------------------------------------------------------


@pytest.mark.parametrize("written", ["{}", " {} ,", "PLAINTEXT://{}", "plaintext://{},{}"])
def test_servers_are_taken_as_people_write_them(
    kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    place = kafka.doors["OPEN"]
    settings = try_with(monkeypatch, written.format(place, place))
    assert set(settings["bootstrap_servers"].split(",")) == {place}
    assert settings.get("security_protocol", "PLAINTEXT") == "PLAINTEXT"


def test_a_server_that_is_down_does_not_shut_the_others(
    kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = f"127.0.0.1:1,{kafka.doors['OPEN']}"
    assert try_with(monkeypatch, servers) == {"bootstrap_servers": servers}


@pytest.mark.parametrize(
    "prefixed", [True, False], ids=["by the prefix", "by KAFKA_SECURITY_PROTOCOL"]
)
def test_a_password_and_tls(
    kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch, prefixed: bool
) -> None:
    variables = login(kafka)
    servers = kafka.doors["SECURED"]
    if prefixed:
        servers = f"{variables.pop('SECURITY_PROTOCOL')}://{servers}"
    assert try_with(monkeypatch, servers, **variables) == {
        "bootstrap_servers": kafka.doors["SECURED"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "shop",
        "sasl_plain_password": "s3cret",
        "ssl_cafile": str(kafka.certificate.certificate),
    }


@pytest.mark.parametrize(
    ("servers", "protocol", "said"),
    [
        ("SASL_SSL://a:1", "PLAINTEXT", "PLAINTEXT by KAFKA_SECURITY_PROTOCOL and SASL_SSL by"),
        ("SSL://a:1,PLAINTEXT://b:1", "", "SSL by SSL://a:1 and PLAINTEXT by PLAINTEXT://b:1"),
        ("https://a:1", "", "HTTPS (https://a:1) is no protocol of Kafka's"),
        ("a:1", "TLS", "TLS (KAFKA_SECURITY_PROTOCOL) is no protocol of Kafka's"),
        ("broker.example", "", "broker.example is not of the form host:port"),
        ("a:1,b", "", "b is not of the form host:port"),
        ("::1:9092", "", "::1:9092 is not of the form host:port"),
        ("a:99999", "", "a:99999 is not of the form host:port"),
        ("a:kafka", "", "a:kafka is not of the form host:port"),
        (" , ", "", "it names no server"),
    ],
)
def test_what_cannot_be_meant_is_said(
    monkeypatch: pytest.MonkeyPatch, servers: str, protocol: str, said: str
) -> None:
    assert said in refused(monkeypatch, servers, SECURITY_PROTOCOL=protocol)


# -- getting there --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ("127.0.0.1:1", "cannot be used: nobody listens there."),
        ("[::1]:1", r"\(\[::1\]:1\) cannot be used: (nobody listens|Cannot assign|Address not)"),
        ("nowhere.invalid:9092", "cannot be used: there is no host of this name."),
        ("no..where:9092", "cannot be used: there is no host of this name."),
        (
            "127.0.0.1:1,nowhere.invalid:1",
            r"127.0.0.1:1 \(nobody listens there\), nowhere.invalid:1 \(there is no host",
        ),
    ],
)
def test_nobody_there(monkeypatch: pytest.MonkeyPatch, servers: str, said: str) -> None:
    assert re.search(said, refused(monkeypatch, servers))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MISLED", "it sends its clients on to 127.0.0.1:1 (nobody listens there)"),
        ("NAMELESS", "it sends its clients on to nowhere.invalid:9092 (there is no host"),
    ],
)
def test_a_broker_that_sends_its_clients_astray(
    kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    said = refused(monkeypatch, kafka.doors[name])
    assert told in said
    assert "Next: have its brokers' advertised.listeners say an address" in said


# -- trust ----------------------------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted(
    kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(monkeypatch, kafka.doors["SECURED"], **login(kafka, SSL_CAFILE=""))
    assert "its certificate is not trusted: self-signed certificate" in said
    assert "in KAFKA_SSL_CAFILE" in said


def test_a_certificate_for_another_name(kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = kafka.doors["SECURED"].replace("127.0.0.1", "localhost")
    assert "not valid for 'localhost'" in refused(monkeypatch, servers, **login(kafka))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_authorities_that_is_none(
    kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    said = refused(monkeypatch, kafka.doors["SECURED"], **login(kafka, SSL_CAFILE=str(path)))
    assert f"KAFKA_SSL_CAFILE ({path}) cannot be read" in said
    assert "Next: correct KAFKA_SSL_CAFILE" in said


def test_tls_where_there_is_none(kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it speaks no TLS" in refused(monkeypatch, kafka.doors["GUARDED"], **login(kafka))


@pytest.mark.usefixtures("_impatient")
def test_no_tls_where_there_is_some(kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(monkeypatch, kafka.doors["SECURED"])
    assert "it speaks TLS, which PLAINTEXT is not" in said
    assert "set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL" in said


# -- being let in ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("SECURED", {"SASL_PASSWORD": "guess"}),
        ("SECURED", {"SASL_MECHANISM": "SCRAM-SHA-512"}),
        ("GUARDED", {"SASL_USERNAME": "nobody", "SECURITY_PROTOCOL": "SASL_PLAINTEXT"}),
        ("OPEN", {"SECURITY_PROTOCOL": "SASL_PLAINTEXT"}),
    ],
)
def test_wrong_credentials(
    kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch, name: str, changed: dict[str, str]
) -> None:
    said = refused(monkeypatch, kafka.doors[name], **login(kafka, **changed))
    assert re.search(r"no Kafka lets us in with SASL_\w+ and these credentials", said)
    assert "Next: correct KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASS" in said


@pytest.mark.usefixtures("_impatient")
def test_no_credentials(kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(monkeypatch, kafka.doors["GUARDED"])
    assert "no Kafka lets us in with PLAINTEXT and no credentials" in said


def test_a_user_who_may_do_nothing(kafka: ManyDoors, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(monkeypatch, kafka.doors["SECURED"], **login(kafka, SASL_USERNAME="guest"))
    assert "no record gets into a topic and back (TopicAuthorizationFailedError)" in said
    assert "Next: have this user allowed to make, write, read and delete topics" in said


def test_the_least_session_timeout_is_the_broker_s_or_the_usual_one(kafka: ManyDoors) -> None:
    with KafkaAdminClient(**kafka.settings()) as admin:
        assert [session_timeout(admin, wanted) for wanted in (500, 1500)] == [1000, 1500]
    guest = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "guest",
        "sasl_plain_password": "s3cret",
    }
    with KafkaAdminClient(bootstrap_servers=kafka.doors["GUARDED"], **guest) as admin:
        assert session_timeout(admin, 1500) == USUAL_LEAST


class TwoCopies(Broker):
    """A broker that by default makes two copies of a topic, and as it is alone cannot make any."""

    def _properties(self) -> str:
        return f"{super()._properties()}default.replication.factor=2\n"


@pytest.mark.server
def test_a_topic_has_as_many_copies_as_the_cluster_makes_by_default(tmp_path: Path) -> None:
    client, controller = free_ports(2)
    broker = TwoCopies(1, tmp_path / "kafka", tmp_path, set_up(), {1: (client, controller)})
    broker.start()
    try:
        with Lab("test", traced=False) as lab:
            cluster = cast(PrivateCluster, SimpleNamespace(kafka=broker.settings()))
            with pytest.raises(InvalidReplicationFactorError):
                lab.topic("orders", cluster=cluster)
            lab.topic("orders", replicas=1, cluster=cluster)
    finally:
        broker.stop()
