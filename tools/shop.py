"""`make shop`: the shop of chapter 8, to try with curl, and to break."""

from __future__ import annotations

import math
import os
import signal
import sys
import time

from pydantic import SecretStr

from shop.settings import Settings
from shoplab.errors import LabError
from shoplab.reference import PARTS, ReferenceShop
from shoplab.schema import Schema
from shoplab.stack import Stack
from shoplab.waiting import until

TRY = """
The shop is open. In another terminal:

  curl -i {url}/orders -H 'Content-Type: application/json' -H 'Idempotency-Key: my-first-order' \\
       -d '{{"customer_id": "mary", "card": "tok_1111", "quantities": {{"lamp": 2}}}}'
  curl {url}/customers/mary/orders       its way from placed to shipped takes a moment
  curl {bank}/authorisations      what the bank knows

A card that ends in 0002 is declined, and there are ten rugs. {url}/docs says what else
can be asked. Kill what you like, and order meanwhile; here it is started again after five seconds:

{parts}

Ctrl+C closes the shop.
"""


def restart_the_dead(shop: ReferenceShop, after: float = 5.0) -> None:
    """Wait until a part is dead, and start it again after so many seconds."""
    until(shop.dead, math.inf, every=0.2)
    time.sleep(after)
    for part in shop.dead():
        shop.start(part)
        print(f"{part} again: kill -9 {shop.processes[part].pid}", flush=True)


def main() -> None:
    """Open the shop on the course's own servers until Ctrl+C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = Stack()
    schema = Schema(f"shop_{os.getpid()}", stack.database_url)
    settings = Settings(
        database_url=SecretStr(schema.url),
        redis_url=SecretStr(stack.redis_url),
        kafka_bootstrap_servers=stack.kafka["bootstrap_servers"],
        shop_prefix=f"shop-{os.getpid()}.",
    )
    parts = (*PARTS, "summaries")
    collector = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    try:
        with ReferenceShop(settings, parts, collector) as shop:
            kill = "\n".join(f"  kill -9 {shop.processes[part].pid:<8}{part}" for part in parts)
            print(TRY.format(url=shop.url, bank=shop.settings.bank_url, parts=kill), flush=True)
            while True:
                restart_the_dead(shop)
    except KeyboardInterrupt:
        print("The shop is closed.")
    finally:
        schema.drop()
        stack.close()


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(str(error))
