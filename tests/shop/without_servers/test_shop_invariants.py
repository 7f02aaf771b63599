"""Whatever dies, comes twice or comes late: no order is lost, and nobody is charged wrongly."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shop.doubles import (
    BankDouble,
    Died,
    FixedPrices,
    MemoryDatabase,
    MemoryInventory,
    MemoryOrders,
    MemoryPayments,
    MemoryUnit,
    now,
)
from shop.errors import Unavailable
from shop.inventory.service import Inventory
from shop.messages import Record, opened
from shop.orders.domain import Status
from shop.orders.service import FollowOrder, PlaceOrder
from shop.payment.service import Payments

TOPICS = {
    "orders": "orders.answers",
    "payment": "payment.commands",
    "inventory": "inventory.commands",
}
LAMPS = 5


class ShopMachine(RuleBasedStateMachine):
    """The services as they are, on a database and a broker in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.database, self.bank = MemoryDatabase(lamp=LAMPS), BankDouble()
        self.topics: dict[str, list[Record]] = defaultdict(list)
        self.offsets: dict[str, int] = defaultdict(int)
        self.accepted: dict[str, str] = {}  # the customers' keys, and the orders that they got

    # -- what happens ------------------------------------------------------------------------------

    @rule(
        key=st.integers(0, 5).map("key {}".format),
        lamps=st.integers(1, 3),
        card=st.sampled_from(["tok_1111", "tok_1111", "tok_0002"]),
        dies=st.booleans(),
    )
    def place(self, key: str, lamps: int, card: str, dies: bool) -> None:
        unit = MemoryUnit(self.database, dies=dies)
        service = PlaceOrder(unit, MemoryOrders(unit), FixedPrices())
        try:
            order = now(service(customer_id="mary", card=card, quantities={"lamp": lamps}, key=key))
        except Died:
            return
        assert self.accepted.setdefault(key, order.id) == order.id, "a key has placed two orders"

    @rule(dies=st.booleans())
    def relay(self, dies: bool) -> None:
        for record in self.database.rows.outbox:
            self.topics[record.topic].append(record)
        if not dies:  # else it has sent them, and does not know that any more
            self.database.rows.outbox.clear()

    @rule(
        context=st.sampled_from(sorted(TOPICS)),
        dies=st.sampled_from(["no", "no", "before the commit", "before the offset is committed"]),
    )
    def handle(self, context: str, dies: str) -> None:
        records = self.topics[TOPICS[context]]
        if self.offsets[context] == len(records):
            return
        unit = MemoryUnit(self.database, dies=dies == "before the commit")
        try:
            now(self.service(context, unit).handle(opened(records[self.offsets[context]])))
        except (Died, Unavailable):
            return
        if dies != "before the offset is committed":
            self.offsets[context] += 1

    @rule(rounds=st.integers(1, 8))
    def all_goes_well_for_a_while(self, rounds: int) -> None:
        for _ in range(rounds):
            self.relay(dies=False)
            for context in TOPICS:
                self.handle(context, "no")

    @rule(context=st.sampled_from(sorted(TOPICS)), back=st.integers(1, 3))
    def deliver_again(self, context: str, back: int) -> None:
        self.offsets[context] = max(0, self.offsets[context] - back)

    @rule()
    def give_up_late_ones(self) -> None:
        unit = MemoryUnit(self.database)
        now(FollowOrder(unit, MemoryOrders(unit)).give_up_late_ones(0))

    @rule()
    def bank_goes_away(self) -> None:
        self.bank.away = True

    @precondition(lambda self: self.bank.away)
    @rule()
    def bank_comes_back(self) -> None:
        self.bank.away = False

    def behind(self) -> bool:
        return any(self.offsets[c] < len(self.topics[topic]) for c, topic in TOPICS.items())

    def service(self, context: str, unit: MemoryUnit) -> FollowOrder | Payments | Inventory:
        if context == "orders":
            return FollowOrder(unit, MemoryOrders(unit))
        if context == "payment":
            return Payments(unit, MemoryPayments(unit), self.bank)
        return Inventory(unit, MemoryInventory(unit))

    # -- what is always true -----------------------------------------------------------------------

    @invariant()
    def no_order_is_lost(self) -> None:
        assert set(self.accepted.values()) <= set(self.database.rows.orders)

    @invariant()
    def no_lamp_is_lost_or_promised_twice(self) -> None:
        rows = self.database.rows
        kept = [r for r in rows.reservations.values() if r.state not in ("released", "refused")]
        assert rows.free["lamp"] + sum(r.quantities["lamp"] for r in kept) == LAMPS
        assert rows.free["lamp"] >= 0

    @invariant()
    def nobody_is_charged_more_than_the_price(self) -> None:
        for order_id, amount in self.bank.captured.items():
            assert amount == self.database.rows.orders[order_id].total

    @invariant()
    def nobody_is_told_what_is_not_so(self) -> None:
        for order in self.database.rows.orders.values():
            if order.status in (Status.CONFIRMED, Status.SHIPPED):
                assert order.id in self.bank.captured
            if order.status is Status.CANCELLED:
                assert order.id not in self.bank.captured

    def teardown(self) -> None:
        """When all is well again, every order comes to its end, and the books agree."""
        self.bank.away = False
        while self.database.rows.outbox or self.behind():
            self.relay(dies=False)
            for context in TOPICS:
                while self.offsets[context] < len(self.topics[TOPICS[context]]):
                    self.handle(context, "no")
        rows = self.database.rows
        for order in rows.orders.values():
            assert order.status in (Status.SHIPPED, Status.CANCELLED), order
            shipped = order.status is Status.SHIPPED
            assert (order.id in self.bank.captured) == shipped
            goods = rows.reservations.get(order.id)
            ended = {"shipped"} if shipped else {None, "refused", "released"}
            assert (goods.state if goods else None) in ended
            if not shipped and order.id in self.bank.authorised:
                assert order.id in self.bank.voided, "money stays set aside"


TestShop = ShopMachine.TestCase
TestShop.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
