"""A claim is judged by its two values, recorded as judged, and never passes unseen."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from strangers import open_folder, without_privileges

from shoplab.claims import claim, claims, ledger, ledger_directory, write_ledger
from shoplab.errors import ClaimError

ID = "ed-persisted-crash-resume"


def none_lost(control: int, treatment: int) -> bool:
    return treatment == 0 < control


def show(
    directory: Path, *, control: object = 137, treatment: object = 0, **others: object
) -> None:
    given = {"unit": "emails lost", "holds": none_lost, "notebook": "04-4", "directory": directory}
    claim(ID, control=control, treatment=treatment, **(given | others))  # type: ignore[arg-type]


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
    assert recorded(tmp_path) == {
        "id": ID,
        "notebook": "04-4",
        "control": 137,
        "treatment": 0,
        "unit": "emails lost",
        "holds": True,
        "limits": {"lost when committed first": 12},
    }
    assert capsys.readouterr().out == f"{ID} holds: emails lost, control 137, treatment 0.\n"


def test_a_claim_that_does_not_hold_raises_with_both_values_and_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="does not hold: emails lost, control 137, treatment 3"):
        show(tmp_path, treatment=3)
    assert recorded(tmp_path)["holds"] is False


def test_without_the_fault_in_the_control_a_claim_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="control 0, treatment 0"):
        show(tmp_path, control=0)


def test_an_assertion_that_the_control_passes_too_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClaimError, match="shows nothing"):
        show(tmp_path, holds=lambda control, treatment: treatment < 1000)
    assert not list(tmp_path.iterdir())


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
    assert list(entries) == list(claims())
    assert entries[ID].state == "holds"
    assert [record.notebook for record in entries[ID].records] == ["04-4", "04-5"]
    assert {entry.state for name, entry in entries.items() if name != ID} == {"not yet shown"}
    with pytest.raises(ClaimError):
        show(tmp_path, notebook="04-6", treatment=1)
    assert {entry.state for entry in ledger(tmp_path)} == {"does not hold", "not yet shown"}


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
            assert recorded(own / "ledger")["holds"] is True
        monkeypatch.undo()
        for path in (folder, *folder.glob("_build/**")):
            path.chmod(0o755)
    assert capsys.readouterr().out.startswith(f"{ID} holds")


def test_claims_have_unique_ids_and_the_text_that_the_ledger_shows() -> None:
    text = resources.files("shoplab").joinpath("claims.yml").read_text(encoding="utf-8")
    assert text.count("\n- id:") == len(claims())
    assert all(claim.claim and claim.section for claim in claims().values())
