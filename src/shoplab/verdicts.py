"""The three verdicts on a claim, and how what was measured is judged.

A claim *holds*. It *holds, but something else decides*: both styles with and without that something
show that the style has no effect of its own. Or it *does not hold as said*, and a corrected
sentence does. None is a matter of opinion: each is a condition on measured values, and a condition
that would also be true of a run that shows nothing is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shoplab.digits import Value, told
from shoplab.errors import ClaimError

Condition = Callable[..., bool]
"""A comparison of two measured values, called as ``condition(control=..., treatment=...)``."""


class Verdict(StrEnum):
    """What the runs of a claim say of it, from the mildest to the worst."""

    HOLDS = "holds"
    DECIDED = "holds, but something else decides"
    CORRECTED = "does not hold as said"
    FAILED = "failed"
    """The last run did not show what its notebook says of the claim."""


@dataclass(frozen=True)
class Decider:
    """The same two styles again, with what really decides the other way round.

    The claim's control is one style without it, its treatment the other style with it. That changes
    two things at the same time, so two more runs tell them apart: the control's style with it, and
    the treatment's style without it. ``alike`` is true of two values that do not differ, and is
    called with those of the two styles: both with it, and both without.
    """

    control_with_it: Value
    treatment_without_it: Value
    alike: Condition

    def values(self) -> dict[str, Value]:
        """What the two runs measured, to be recorded."""
        return {
            "control_with_it": plain(self.control_with_it),
            "treatment_without_it": plain(self.treatment_without_it),
        }


@dataclass(frozen=True)
class Correction:
    """The claim is false as said, and its corrected sentence is true.

    ``as_said`` is the treatment's value with which the claim would have held, beside the control
    that was measured. ``holds`` is the condition of the corrected sentence.
    """

    as_said: Value
    holds: Condition

    def values(self) -> dict[str, Value]:
        """The value that the claim would give, to be recorded."""
        return {"as_said": plain(self.as_said)}


@dataclass(frozen=True)
class Pair:
    """Two values to compare, with the claim and the unit that they are measured for."""

    claim: str
    unit: str
    control: Value
    treatment: Value

    def beside(self, control: Value, treatment: Value) -> Pair:
        """Two other values of the same claim."""
        return Pair(self.claim, self.unit, control, treatment)

    def meets(self, condition: Condition) -> bool:
        """Whether the condition is true of them."""
        return bool(condition(control=self.control, treatment=self.treatment))

    def refuse(self, condition: Condition, what: str, next_step: str) -> None:
        """Raise ``ClaimError`` where a condition is true of them that ought not to be."""
        if self.meets(condition):
            unit, (control, treatment) = told(self.unit, self.control, self.treatment)
            raise ClaimError(
                f"{what}: {self.claim}, {unit}, {control} and {treatment}. So it shows nothing.",
                next_step=next_step,
            )


def not_shown(
    pair: Pair, holds: Condition, decider: Decider | None, correction: Correction | None
) -> str | None:
    """Why what was measured does not show the verdict; None where it does.

    With ``decider`` the verdict is that something else decides, with ``correction`` that the claim
    does not hold as said. Raises ``ClaimError`` for a condition that shows nothing.
    """
    pair.beside(pair.control, pair.control).refuse(
        holds,
        "The assertion also holds when the treatment gives the control's value",
        "let `holds` compare the treatment with the control",
    )
    if correction is not None:
        return _not_corrected(pair, holds, correction)
    if not pair.meets(holds):
        return "does not hold"
    return None if decider is None else _not_decided(pair, holds, decider)


def margin(pair: Pair, holds: Condition) -> float | None:
    """How far the treatment could move towards the control before the claim fails.

    It is a share of the distance between the two, in hundredths. None where both are counts, words
    or a yes and a no: those are the same in every run, or the claim fails.
    """
    control, treatment = pair.control, pair.treatment
    if isinstance(control, str) or isinstance(treatment, str):
        return None
    if isinstance(control, int) and isinstance(treatment, int):
        return None
    for hundredth in range(101):
        nearer = treatment + (control - treatment) * hundredth / 100
        if not pair.beside(control, nearer).meets(holds):
            return max(0, hundredth - 1) / 100
    return 1.0


def _not_decided(pair: Pair, holds: Condition, decider: Decider) -> str | None:
    with_it, without_it = decider.values().values()
    changed_alone = (
        pair.beside(pair.control, with_it),
        pair.beside(without_it, pair.treatment),
    )
    if not all(each.meets(holds) for each in changed_alone):
        return "is not decided by this alone: in one style it makes no such difference"
    for each in changed_alone:
        each.refuse(
            decider.alike,
            "`alike` is also true of two values that differ as the claim says",
            "let `alike` be false of values between which the claim holds",
        )
    style_alone = (
        pair.beside(pair.control, without_it),
        pair.beside(with_it, pair.treatment),
    )
    if any(each.meets(holds) or not each.meets(decider.alike) for each in style_alone):
        return "is not decided by this alone: the style has an effect of its own"
    return None


def _not_corrected(pair: Pair, holds: Condition, correction: Correction) -> str | None:
    said = pair.beside(pair.control, correction.values()["as_said"])
    said.refuse(
        lambda **values: not holds(**values),
        "`holds` is false even with the value that the claim would give, `as_said`",
        "let `holds` be what the claim says, and `as_said` the value with which it is true",
    )
    said.refuse(
        correction.holds,
        "The corrected assertion also holds with the value that the claim would give",
        "let the correction's `holds` be false where the claim is true",
    )
    if pair.meets(holds):
        return "holds as said, against its correction"
    return None if pair.meets(correction.holds) else "does not hold, and its correction neither"


def plain(value: Any) -> Value:
    """The JSON value of a measured one; numpy's scalars become Python's. ``ClaimError``."""
    plain = value.item() if hasattr(value, "item") else value
    if not isinstance(plain, int | float | str) or (
        isinstance(plain, float) and not math.isfinite(plain)
    ):
        raise ClaimError(
            f"A claim's value is a finite number, a yes or no, or a word, not {value!r}.",
            next_step="reduce what was measured to one such value",
        )
    return plain
