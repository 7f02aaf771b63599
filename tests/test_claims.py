"""A claim is judged by its two values, recorded as judged, and never passes unseen."""

import getpass
import json
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from strangers import open_folder, without_privileges

from shoplab.claims import (
    SECTIONS,
    Entry,
    Record,
    claim,
    claims,
    ledger,
    ledger_directory,
    write_ledger,
)
from shoplab.digits import Value
from shoplab.errors import ClaimError
from shoplab.machine import machine
from shoplab.verdicts import Condition, Correction, Decider, Pair, Verdict, margin

ID = "ed-persisted-crash-resume"


def none_lost(control: int, treatment: int) -> bool:
    return treatment == 0 < control


def show(
    directory: Path, *, control: object = 137, treatment: object = 0, **others: object
) -> None:
    given = {"unit": "emails lost", "holds": none_lost, "notebook": "04-4", "directory": directory}
    claim(others.pop("claim_id", ID), control=control, treatment=treatment, **(given | others))  # type: ignore[arg-type]


def recorded(directory: Path) -> dict[str, object]:
    (path,) = directory.iterdir()
    assert path.name == f"04-4--{ID}.json"
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content


def test_a_claim_that_holds_is_recorded_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(tmp_path, limits={"lost when committed first": 12})
    record = recorded(tmp_path)
    del record["measured_on"]
    assert record == {
        "id": ID,
        "notebook": "04-4",
        "control": 137,
        "treatment": 0,
        "unit": "emails lost",
        "verdict": "holds",
        "limits": {"lost when committed first": 12},
        "decided_by": None,
        "corrected": None,
        "margin": None,
    }
    assert capsys.readouterr().out == f"{ID} holds: emails lost, control 137, treatment 0.\n"


def test_a_share_is_said_after_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(tmp_path, unit="of 2,000 emails lost")
    said = capsys.readouterr().out
    assert said == f"{ID} holds: control 137, treatment 0 of 2,000 emails lost.\n"


def test_a_claim_that_does_not_hold_raises_with_both_values_and_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="does not hold: emails lost, control 137, treatment 3"):
        show(tmp_path, treatment=3)
    assert recorded(tmp_path)["verdict"] == "failed"


def test_without_the_fault_in_the_control_a_claim_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="control 0, treatment 0"):
        show(tmp_path, control=0)


def test_an_assertion_that_the_control_passes_too_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="shows nothing"):
        show(tmp_path, holds=lambda control, treatment: treatment < 1000)
    assert not list(tmp_path.iterdir())


HEADER = "rd-one-trace"
ALIKE = Decider(
    control_with_it=1, treatment_without_it=4, alike=lambda control, treatment: control == treatment
)


def one_trace(control: int, treatment: int) -> bool:
    return treatment == 1 < control


def show_decided(
    directory: Path, decider: object = ALIKE, control: object = 4, treatment: object = 1
) -> None:
    show(
        directory,
        claim_id=HEADER,
        control=control,
        treatment=treatment,
        unit="traces of one order",
        holds=one_trace,
        decided_by=decider,
    )


def test_a_claim_that_something_else_decides_says_what_both_styles_gave_with_and_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_decided(tmp_path)
    (entry,) = (entry for entry in ledger(tmp_path) if entry.records)
    assert entry.verdict is Verdict.DECIDED
    assert entry.records[0].decided_by == {"control_with_it": 1, "treatment_without_it": 4}
    assert capsys.readouterr().out.splitlines() == [
        "rd-one-trace holds, but something else decides: traces of one order, control 4,",
        "treatment 1, control with it 1, treatment without it 4.",
        "What decides: the header that every service passes on.",
    ]


@pytest.mark.parametrize(
    ("with_it", "without_it", "why"),
    [
        (2, 4, "in one style it makes no such difference"),  # the control is not mended by it
        (1, 1, "in one style it makes no such difference"),  # the treatment does not need it
        (1, 3, "the style has an effect of its own"),
    ],
)
def test_what_does_not_decide_alone_is_no_verdict(
    tmp_path: Path, with_it: int, without_it: int, why: str
) -> None:
    same = Decider(with_it, without_it, lambda control, treatment: control == treatment)
    with pytest.raises(ClaimError, match=f"rd-one-trace is not decided by this alone: {why}: trac"):
        show_decided(tmp_path, same)
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["verdict"] == "failed"


def test_styles_between_which_the_claim_holds_are_not_alike(tmp_path: Path) -> None:
    """`alike` says so of 4 and 2, both more than one, and the claim that 2 is better than 4."""
    fewer = {"holds": lambda control, treatment: treatment < control, "unit": "traces"}
    near = Decider(1, 2, lambda control, treatment: (control > 1) == (treatment > 1))
    with pytest.raises(ClaimError, match="the style has an effect of its own"):
        show(tmp_path, claim_id=HEADER, control=4, treatment=1, decided_by=near, **fewer)


def test_styles_that_are_always_called_alike_are_refused(tmp_path: Path) -> None:
    always = Decider(1, 4, alike=lambda control, treatment: True)
    with pytest.raises(ClaimError, match=r"`alike` is also true .* 4 and 1\. So it shows nothing"):
        show_decided(tmp_path, always)
    assert not list(tmp_path.iterdir())


def test_a_claim_that_does_not_hold_is_not_decided_by_anything(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="rd-one-trace does not hold: traces of one order"):
        show_decided(tmp_path, treatment=2)


def test_a_claim_that_something_may_decide_may_still_simply_hold(tmp_path: Path) -> None:
    show_decided(tmp_path, decider=None)
    assert {entry.verdict for entry in ledger(tmp_path)} == {Verdict.HOLDS, None}


def test_what_decides_and_the_corrected_sentence_stand_in_the_list_of_claims(
    tmp_path: Path,
) -> None:
    with pytest.raises(ClaimError, match=f"{ID} has no line `decided_by:`"):
        show(tmp_path, decided_by=ALIKE)
    with pytest.raises(ClaimError, match=f"{ID} has no line `corrected:`"):
        show(tmp_path, corrected=Correction(0, lambda control, treatment: True))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if somebody had found that the claim is false, and had written what is true."""
    false = replace(claims()[ID], corrected="Some emails are lost.", decided_by="the weather")
    monkeypatch.setitem(claims(), ID, false)


def fewer_lost(control: int, treatment: int) -> bool:
    return 0 < treatment < control


@pytest.mark.usefixtures("corrected")
def test_a_claim_that_does_not_hold_as_said_has_a_corrected_sentence_that_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(tmp_path, treatment=3, corrected=Correction(as_said=0, holds=fewer_lost))
    (entry,) = (entry for entry in ledger(tmp_path) if entry.records)
    assert entry.verdict is Verdict.CORRECTED
    assert entry.records[0].corrected == {"as_said": 0}
    assert capsys.readouterr().out.splitlines() == [
        f"{ID} does not hold as said: emails lost, control 137, treatment 3,",
        "as said 0.",
        "Corrected: Some emails are lost.",
    ]


@pytest.mark.usefixtures("corrected")
@pytest.mark.parametrize(
    ("treatment", "why"),
    [
        (0, "holds as said, against its correction"),
        (138, "does not hold, and its correction neith"),
    ],
)
def test_a_correction_that_was_not_measured_is_no_verdict(
    tmp_path: Path, treatment: int, why: str
) -> None:
    with pytest.raises(ClaimError, match=why):
        show(tmp_path, treatment=treatment, corrected=Correction(0, fewer_lost))
    assert recorded(tmp_path)["verdict"] == "failed"


@pytest.mark.usefixtures("corrected")
@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"corrected": Correction(1, fewer_lost)}, "`holds` is false even with"),
        (
            {"corrected": Correction(0, fewer_lost), "holds": lambda control, treatment: False},
            "`holds` is false even with",
        ),
        (
            {"corrected": Correction(0, lambda control, treatment: True)},
            "corrected assertion also holds with the value that the claim would give",
        ),
        ({"corrected": Correction(0, fewer_lost), "decided_by": ALIKE}, "two verdicts"),
    ],
)
def test_a_correction_that_nothing_could_contradict_is_refused(
    tmp_path: Path, others: dict[str, object], why: str
) -> None:
    with pytest.raises(ClaimError, match=why):
        show(tmp_path, treatment=3, **others)
    assert not list(tmp_path.iterdir())


def test_a_record_says_when_and_on_what_it_was_measured_and_names_no_computer(
    tmp_path: Path,
) -> None:
    show(tmp_path, servers=["Redis 7.0.15 (on the path)"])
    measured_on = recorded(tmp_path)["measured_on"]
    assert isinstance(measured_on, dict)
    at = datetime.fromisoformat(measured_on["at"])
    assert at.utcoffset() == timedelta() and abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert measured_on["machine"] == machine()
    assert measured_on["servers"] == ["Redis 7.0.15 (on the path)"]
    text = json.dumps(recorded(tmp_path))
    assert platform.node() not in text and str(Path.home()) not in text
    assert getpass.getuser() not in text.split()


def test_a_record_that_another_version_left_counts_as_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    show(tmp_path)
    (path,) = tmp_path.iterdir()
    record = json.loads(path.read_text())
    del record["verdict"]
    path.write_text(json.dumps(record | {"holds": True}))
    assert {entry.verdict for entry in ledger(tmp_path)} == {None}
    assert caplog.messages == [f"{path.name} is left out: another version of the course left it."]


def test_the_worst_verdict_of_a_claims_notebooks_is_the_claims() -> None:
    show_values = {"control": 1, "treatment": 0, "unit": "", "limits": {}, "margin": None}
    show_values["measured_on"] = {}
    entry = Entry(claims()[ID], [])
    for verdict in Verdict:
        record = Record(ID, "04-4", verdict=verdict, decided_by=None, corrected=None, **show_values)
        entry = Entry(entry.claim, [record, *entry.records])
        assert entry.verdict is verdict


def test_an_unknown_id_is_refused_with_the_nearest_ones(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="ed-persisted-crash-resume"):
        claim(
            "ed-persisted-crash",
            control=1,
            treatment=0,
            unit="",
            holds=none_lost,
            notebook="04-4",
            directory=tmp_path,
        )
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_recorded_as_numbers(tmp_path: Path) -> None:
    show(tmp_path, control=np.int64(137), treatment=np.float64(0))
    assert (recorded(tmp_path)["control"], recorded(tmp_path)["treatment"]) == (137, 0.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, 2], None])
def test_a_value_that_cannot_be_compared_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ClaimError, match="finite number"):
        show(tmp_path, control=value)


def test_the_ledger_holds_every_claim_shown_or_not(tmp_path: Path) -> None:
    show(tmp_path)
    show(tmp_path, notebook="04-5")
    entries = {entry.claim.id: entry for entry in ledger(tmp_path)}
    beyond = {name for name, claim in claims().items() if claim.section == "beyond"}
    assert list(entries) == [name for name in claims() if name not in beyond]
    assert entries[ID].verdict is Verdict.HOLDS
    assert [record.notebook for record in entries[ID].records] == ["04-4", "04-5"]
    assert {entry.verdict for name, entry in entries.items() if name != ID} == {None}
    with pytest.raises(ClaimError):
        show(tmp_path, notebook="04-6", treatment=1)
    assert {entry.verdict for entry in ledger(tmp_path)} == {Verdict.FAILED, None}


def test_what_the_document_does_not_say_is_in_the_ledger_once_it_is_shown(tmp_path: Path) -> None:
    show(tmp_path, claim_id="x-compaction")
    assert [entry.claim.id for entry in ledger(tmp_path) if entry.claim.section == "beyond"] == [
        "x-compaction"
    ]


def test_the_ledger_is_left_as_one_json_list(tmp_path: Path) -> None:
    show(tmp_path / "ledger")
    write_ledger(tmp_path / "ledger", tmp_path / "ledger.json")
    assert json.loads((tmp_path / "ledger.json").read_text()) == [recorded(tmp_path / "ledger")]


def test_without_any_record_the_ledger_is_empty_not_missing(tmp_path: Path) -> None:
    write_ledger(tmp_path / "none", tmp_path / "ledger.json")
    assert json.loads((tmp_path / "ledger.json").read_text()) == []


def test_a_record_of_a_claim_that_is_gone_is_an_error(tmp_path: Path) -> None:
    show(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace(ID, "ed-gone"))
    with pytest.raises(ClaimError, match="ed-gone"):
        ledger(tmp_path)


def test_records_go_to_the_project_above_or_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOPLAB_LEDGER", raising=False)
    notebooks = tmp_path / "course" / "notebooks"
    notebooks.mkdir(parents=True)
    monkeypatch.chdir(notebooks)
    assert ledger_directory(tmp_path / "fallback") == tmp_path / "fallback"
    (tmp_path / "course" / "_toc.yml").touch()
    assert ledger_directory(tmp_path) == tmp_path / "course" / "_build" / "ledger"
    monkeypatch.setenv("SHOPLAB_LEDGER", str(tmp_path / "chosen"))
    assert ledger_directory(tmp_path) == tmp_path / "chosen"


@pytest.mark.parametrize("left_there", ["_build/ledger", "_build", "."])
def test_in_a_project_of_somebody_else_records_go_to_the_runs_own_ledger(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left_there: str
) -> None:
    monkeypatch.delenv("SHOPLAB_LEDGER", raising=False)
    with open_folder() as folder:
        (folder / left_there).mkdir(parents=True, exist_ok=True)
        (folder / "_toc.yml").touch()
        own = folder / "own"
        own.mkdir(mode=0o777)
        own.chmod(0o777)
        for path in (folder, *folder.glob("_build/**")):
            path.chmod(0o555)
        monkeypatch.chdir(folder)
        with without_privileges():
            show(ledger_directory(own / "ledger"))
            assert recorded(own / "ledger")["verdict"] == "holds"
        monkeypatch.undo()
        for path in (folder, *folder.glob("_build/**")):
            path.chmod(0o755)
    assert capsys.readouterr().out.startswith(f"{ID} holds")


def test_claims_have_unique_ids_and_the_text_that_the_ledger_shows() -> None:
    text = resources.files("shoplab").joinpath("claims.yml").read_text(encoding="utf-8")
    assert text.count("\n- id:") == len(claims())
    assert all(claim.claim and claim.section for claim in claims().values())
    assert list(dict.fromkeys(claim.section for claim in claims().values())) == list(SECTIONS)


def test_what_decides_is_named_without_the_runs_that_show_it() -> None:
    assert claims()[HEADER].decider == "the header that every service passes on"
    assert claims()[ID].decider is None


def at_most(limit: float) -> Callable[..., bool]:
    return lambda control, treatment: treatment <= limit * control


@pytest.mark.parametrize(
    ("control", "treatment", "holds", "expected"),
    [
        (10.0, 0.0, at_most(0.5), 0.5),
        (10.0, 4.0, at_most(0.5), 0.16),
        (10, 4.9, at_most(0.5), 0.01),
        (10.0, 5.0, at_most(0.5), 0.0),
        (10, 0, at_most(0.5), None),  # counts are the same in every run, or the claim fails
        (True, False, at_most(0.5), None),
        ("lost", "kept", lambda control, treatment: treatment == "kept", None),
    ],
)
def test_the_margin_is_how_far_the_treatment_may_move_before_the_claim_fails(
    control: Value, treatment: Value, holds: Condition, expected: float | None
) -> None:
    assert margin(Pair(ID, "s", control, treatment), holds) == expected


def test_a_record_carries_its_margin(tmp_path: Path) -> None:
    show(tmp_path, control=10.0, treatment=4.0, holds=at_most(0.5))
    assert recorded(tmp_path)["margin"] == 0.16
