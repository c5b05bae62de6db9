"""What is committed is what the sources make."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from grafana.src import render

GENERATED = sorted(render.files())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A freshly written set of files."""
    render.write(tmp_path)
    return tmp_path


def test_committed_files_equal_what_the_sources_make(repository: Path) -> None:
    """Nobody edited a generated file, or changed a source and forgot to render."""
    assert list(render.drifted(repository)) == []


def test_writing_twice_changes_nothing(copy: Path) -> None:
    """Rendering is a function of the sources alone."""
    before = {path: (copy / path).read_bytes() for path in GENERATED}
    render.write(copy)
    assert {path: (copy / path).read_bytes() for path in GENERATED} == before


@pytest.mark.parametrize("path", GENERATED)
def test_an_edited_file_is_named(copy: Path, path: str) -> None:
    """One changed character anywhere is drift."""
    file = copy / path
    file.write_text(file.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert list(render.drifted(copy)) == [path]


def test_a_missing_file_is_named(copy: Path) -> None:
    """A deleted file is drift too."""
    (copy / render.RULES).unlink()
    assert list(render.drifted(copy)) == [render.RULES]


def test_a_left_over_dashboard_is_named_and_removed(copy: Path) -> None:
    """A dashboard whose source is gone does not stay behind."""
    left_over = f"{render.DASHBOARDS}/gone.json"
    shutil.copy(copy / render.DASHBOARDS / "service.json", copy / left_over)
    assert list(render.drifted(copy)) == [left_over]
    render.write(copy)
    assert not (copy / left_over).exists()


def test_a_neighbour_written_by_hand_is_left_alone(copy: Path) -> None:
    """Only files that carry the mark of the generator are its own."""
    neighbour = copy / Path(render.RULES).parent / "ours.yaml"
    neighbour.write_text("groups: []\n", encoding="utf-8")
    assert list(render.drifted(copy)) == []
    render.write(copy)
    assert neighbour.exists()


def test_check_says_what_drifted_and_what_to_run(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` fails with one line per file and writes nothing."""
    (copy / render.RULES).write_text("", encoding="utf-8")
    assert render.main(["--check", "--root", str(copy)]) == 1
    said = capsys.readouterr().err
    assert said == f"{render.RULES} is not what grafana/src makes: run python -m grafana.src.render\n"
    assert (copy / render.RULES).read_text(encoding="utf-8") == ""


def test_check_is_silent_when_nothing_drifted(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No news is good news."""
    assert render.main(["--check", "--root", str(copy)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("path", [path for path in GENERATED if path.endswith(".json")])
def test_dashboards_are_of_the_classic_schema(copy: Path, path: str) -> None:
    """File providers take classic JSON: panels in a list, no resource envelope."""
    dashboard = json.loads((copy / path).read_text(encoding="utf-8"))
    assert isinstance(dashboard["panels"], list)
    assert dashboard["schemaVersion"] >= 36
    assert "apiVersion" not in dashboard and "spec" not in dashboard
    assert "id" not in dashboard or dashboard["id"] is None


@pytest.mark.parametrize("path", [path for path in GENERATED if path.endswith(".yaml")])
def test_yaml_files_hold_no_anchors_and_say_who_made_them(copy: Path, path: str) -> None:
    """A reader is sent to the source, and finds every value where it is used."""
    text = (copy / path).read_text(encoding="utf-8")
    assert text.startswith(render.MADE)
    assert not any(isinstance(token, (yaml.AnchorToken, yaml.AliasToken)) for token in yaml.scan(text))


def test_panels_fill_the_grid_without_overlap(copy: Path) -> None:
    """No panel lies over another or leaves the 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((copy / render.DASHBOARDS / "service.json").read_text(encoding="utf-8"))["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + row) for column in range(place["w"]) for row in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
