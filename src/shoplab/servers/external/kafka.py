"""A Kafka that exists: reached, trusted, let in, and then one record written and read.

``kafka-python`` ends in the same time-out for a wrong password, for a certificate that nobody
knows, and for a broker that sends its clients on to an address that is none. So the way into the
cluster is walked here step by step.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from kafka.errors import AuthorizationError, KafkaError
from kafka.net.compat import KafkaNetClient

from shoplab.errors import ServerError
from shoplab.servers.external import door
from shoplab.servers.external.door import refusal
from shoplab.servers.kafka.round_trip import round_trip

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

LISTENER = re.compile(
    r"((?P<protocol>\w+)://)?(\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^][:/@\s]+)):(?P<port>\d{1,5})"
)
"""One server; Kafka's own tools write its protocol in front, as in ``SASL_SSL://host:9092``."""


class Place(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def settings(address: str) -> dict[str, str]:
    """The settings of a ``kafka-python`` client for the cluster at ``address``, after a try."""
    servers, protocol = _read(address)
    options = {name: os.environ.get(variable, "") for variable, name in door.KAFKA_OPTIONS.items()}
    options["security_protocol"] = protocol
    trusted = _authorities(address, options["ssl_cafile"]) if protocol.endswith("SSL") else None

    faults = _faults(servers, trusted)
    reached = [server for server in servers if server not in faults]
    if not reached:
        raise _refusal(address, faults, "")
    kafka = _client_settings(reached, options)
    if faults := _faults(_advertised(address, kafka, reached), trusted):
        raise _refusal(address, faults, "it sends its clients on to ")
    try:
        topic = f"shoplab-ready-{secrets.token_hex(3)}"
        round_trip(kafka, topic, timeout_ms=round(door.DEADLINE * 1000))
    except KafkaError as error:
        # by its name: its words are a dump of request and response
        reason = f"no record gets into a topic and back ({type(error).__name__})"
        step = "have this user allowed to make, write, read and delete topics and to use groups"
        denied = isinstance(error, AuthorizationError)
        raise refusal("kafka", address, reason, step if denied else "") from error
    return _client_settings(servers, options)


def _client_settings(servers: Sequence[Place], options: Mapping[str, str]) -> dict[str, str]:
    said = {name: value for name, value in options.items() if value}
    return {"bootstrap_servers": ",".join(map(str, servers))} | said


def _read(address: str) -> tuple[list[Place], str]:
    """The servers that ``address`` names, and the security protocol; empty where none is said."""
    variable = "KAFKA_SECURITY_PROTOCOL"
    servers: list[Place] = []
    said: dict[str, str] = {}
    if chosen := os.environ.get(variable, "").strip().upper():
        said[chosen] = variable
    for server in filter(None, map(str.strip, address.split(","))):
        found = LISTENER.fullmatch(server)
        if found is None or int(found["port"]) > 65535:
            reason = f"{door.masked(server)} is not of the form host:port"
            raise refusal("kafka", address, reason, "write host:port, where a port is often 9092")
        if found["protocol"]:
            said.setdefault(found["protocol"].upper(), server)
        servers.append(Place(found["v6"] or found["host"], int(found["port"])))
    if not servers:
        raise refusal("kafka", address, "it names no server")
    if len(said) > 1:
        (one, by_one), (other, by_other) = list(said.items())[:2]
        reason = f"its protocol is {one} by {by_one} and {other} by {by_other}"
        raise refusal("kafka", address, reason, f"say the same in both, or unset {variable}")
    protocol = next(iter(said), "")
    if protocol and protocol not in PROTOCOLS:
        reason = f"{protocol} ({said[protocol]}) is no protocol of Kafka's"
        raise refusal("kafka", address, reason, f"choose one of {', '.join(PROTOCOLS)}")
    return servers, protocol


def _authorities(address: str, cafile: str) -> ssl.SSLContext:
    """Whom to trust: the system's authorities, or those in ``cafile``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if cafile:
            context.load_verify_locations(cafile)
        else:
            context.load_default_certs()
    except OSError as error:  # ssl.SSLError too: a file without a certificate
        reason = f"KAFKA_SSL_CAFILE ({cafile}) cannot be read: {error.strerror or error}"
        raise refusal("kafka", address, reason, "correct KAFKA_SSL_CAFILE") from None
    return context


def _faults(places: Sequence[Place], trusted: ssl.SSLContext | None) -> dict[Place, str]:
    """The places that cannot be used, and why; with ``trusted``, each has to speak TLS."""
    with ThreadPoolExecutor(len(places)) as pool:
        found = pool.map(lambda place: _fault(place, trusted), places)
        return {place: fault for place, fault in zip(places, found, strict=True) if fault}


def _fault(place: Place, trusted: ssl.SSLContext | None) -> str:
    try:
        with socket.create_connection(place, timeout=door.DEADLINE) as connection:
            if trusted:
                trusted.wrap_socket(connection, server_hostname=place.host).close()
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
    except (ssl.SSLError, ConnectionResetError):
        return "it speaks no TLS"
    except ConnectionRefusedError:
        return "nobody listens there"
    except (socket.gaierror, UnicodeError):
        return "there is no host of this name"
    except TimeoutError:
        return f"no answer within {door.DEADLINE:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _refusal(address: str, faults: dict[Place, str], beginning: str) -> ServerError:
    """The sentence on places that cannot be used: those of the variable, or those advertised."""
    if beginning or len(faults) > 1:
        reason = beginning + ", ".join(f"{place} ({why})" for place, why in faults.items())
    else:
        (reason,) = faults.values()
    if any("certificate" in why for why in faults.values()):
        step = "name the file with its authority's certificate in KAFKA_SSL_CAFILE"
    elif beginning:
        step = "have its brokers' advertised.listeners say an address that can be reached from here"
    else:
        step = ""
    return refusal("kafka", address, reason, step)


def _advertised(address: str, kafka: dict[str, str], servers: Sequence[Place]) -> list[Place]:
    """Where the cluster tells its clients to go on."""
    limit = round(door.DEADLINE * 1000)
    client = KafkaNetClient(**kafka, request_timeout_ms=limit)
    try:
        client.get_broker_version(timeout_ms=limit)
        return [Place(broker.host, broker.port) for broker in client.cluster.brokers()]
    except (KafkaError, OSError, ValueError) as error:
        protocol = kafka.get("security_protocol", "PLAINTEXT")
        raise refusal("kafka", address, *_closed(protocol, servers)) from error
    finally:
        client.close()


def _closed(protocol: str, servers: Sequence[Place]) -> tuple[str, str]:
    """Why a server that listens does not let us in, and what to do."""
    if "SSL" not in protocol.split("_"):
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        if len(_faults(servers, anybody)) < len(servers):
            step = "set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"
            return f"it speaks TLS, which {protocol} is not", step
    if protocol.startswith("SASL"):
        step = "correct KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
        return f"no Kafka lets us in with {protocol} and these credentials", step
    step = f"set KAFKA_SECURITY_PROTOCOL to what its listener speaks ({', '.join(PROTOCOLS)})"
    return f"no Kafka lets us in with {protocol} and no credentials", step
