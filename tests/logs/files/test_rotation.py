"""Gate L1: many processes, rotation, packing and kills cost no line. At full size it is `long_rotation`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.logs.files.rotation import Trial, text_for


@pytest.mark.gate
def test_processes_that_are_killed_while_they_write_rotate_and_pack_lose_nothing(tmp_path: Path) -> None:
    """L1: a line whose log call has returned is there, whole and once."""
    trial = Trial(tmp_path, processes=6, lines=5000, file_megabytes=0.1, seed=7)
    judgement = trial.carry_out(kills=12, pause=0.03)
    assert (judgement.lost, judgement.doubled, judgement.broken) == (0, 0, [])
    assert judgement.promised >= 6 * 5000
    assert judgement.kills >= 3
    assert judgement.files > 20
    assert not [path for path in trial.folder.iterdir() if path.name.endswith(".tmp")]


def test_the_judgement_sees_what_goes_wrong(tmp_path: Path) -> None:
    """A lost line, a doubled one, half of one, and two in one."""
    trial = Trial(tmp_path, processes=1, lines=20, file_megabytes=1, seed=7)
    assert trial.carry_out(kills=0, pause=0.01).is_flawless
    (file,) = trial.folder.glob("*.log")
    lines = file.read_text().splitlines()
    assert lines == [text_for("w0g0", number) for number in range(20)]
    file.write_text("\n".join([*lines[2:], lines[5], lines[6][:-3], lines[7] + lines[8]]) + "\n")
    judgement = trial._judge()
    assert (judgement.lost, judgement.doubled, len(judgement.broken)) == (2, 1, 2)
