"""The same program on servers with TLS and passwords: only its environment is another."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from redis import Redis

from shoplab import Lab
from shoplab.reference import ReferenceShop, settings_on
from shoplab.stack import ManagedServers


@pytest.fixture(scope="module")
def managed(lab: Lab) -> ManagedServers:
    return lab.managed()


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_an_order_is_shipped_and_no_log_holds_a_password(
    lab: Lab, managed: ManagedServers, client: str
) -> None:
    where = {name.lower(): value for name, value in managed.variables.items()}
    settings = settings_on(lab, **where, shop_broker=client, shop_prefix=f"{client}.")
    with ReferenceShop(settings) as shop:
        order = shop.place("first-order", lamp=2).json()["id"]
        assert shop.ended([order]) == ["shipped"]
        with Redis.from_url(managed.variables["REDIS_URL"]) as redis:
            lab.until(
                lambda: shop.place("first-order", lamp=2) and redis.keys(f"{client}.placed:*")
            )
        logs = "".join(shop.log(part).read_text() for part in shop.processes)
    for secret in (settings.kafka_sasl_password, settings.database_url, settings.redis_url):
        assert secret.get_secret_value() not in logs
    for address in (settings.database_url, settings.redis_url):
        password = address.get_secret_value().partition("@")[0].rpartition(":")[2]
        assert password == quote(password, safe="%")
        assert password not in logs
