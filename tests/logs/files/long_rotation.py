"""Gate L1 at full size: ``python -m tests.logs.files.long_rotation``.

16 processes log 100,000 lines each into files of 1 MB, which are packed meanwhile, and processes are killed at random.
Ends with exit code 1 when a line is lost, doubled, cut or mixed with another.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.logs.files.rotation import Judgement, Trial


def main() -> int:
    """Run the trial and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.2, help="mean seconds between two kills")
    parser.add_argument("--file-mb", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        trial = Trial(
            Path(place), processes=asked.processes, lines=asked.lines, file_megabytes=asked.file_mb, seed=asked.seed
        )
        judgement = trial.carry_out(asked.kills, asked.pause)
    print(text_of(judgement))
    return 0 if judgement.is_flawless else 1


def text_of(judgement: Judgement) -> str:
    """Return the judgement in words."""
    rate = judgement.seconds / judgement.promised * 1e6
    return (
        f"{judgement.promised} lines promised: {judgement.lost} lost, {judgement.doubled} doubled, "
        f"{len(judgement.broken)} broken; {judgement.unpromised} written but not noted; {judgement.kills} kills, "
        f"{judgement.files} files, {judgement.seconds:.0f} s, {rate:.1f} us a line of wall time"
    )


if __name__ == "__main__":
    sys.exit(main())
