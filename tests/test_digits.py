"""A value is written in digits that mean something, and its unit is said once."""

import pytest

from shoplab.digits import told


@pytest.mark.parametrize(
    ("unit", "values", "shown"),
    [
        ("seconds added", (-0.000374, 1.0071), ["-0.4 ms", "1.01 s"]),
        ("seconds added", (2.0187, 0.01234), ["2.02 s", "12 ms"]),
        ("seconds added", (0.00004, 0), ["under 0.1 ms", "0 s"]),
        ("seconds added", (0.9996, 1234.5), ["1 s", "1,234 s"]),
        ("of 20 orders failed", (20, 0), ["20", "0"]),
        ("orders", (10_000, 0), ["10,000", "0"]),
        ("times its capacity", (2.0301, 0.92349), ["2.03", "0.923"]),
        ("share answered", (-0.000374, 1.0071), ["about 0", "1.01"]),
        ("share answered", (-0.000374, 0.01), ["-0.000374", "0.01"]),
        ("a second", (12345.6, -0.0), ["12,346", "0"]),
        ("handled", (True, False), ["yes", "no"]),
        ("status", ("paid", 0.5), ["paid", "0.5"]),
    ],
)
def test_values_are_written_for_people(
    unit: str, values: tuple[float, ...], shown: list[str]
) -> None:
    assert told(unit, *values)[1] == shown


def test_a_time_has_its_unit_at_the_value_and_its_name_before_it() -> None:
    unit = "seconds until the customer may leave"
    assert told(unit, 2)[0] == "time until the customer may leave"
    assert told(unit, "never")[0] == unit
    assert told("emails lost", 2)[0] == "emails lost"
