"""The assets that a new database starts with; the same ones, with the same ids, every time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

KINDS = ("building", "character", "prop", "terrain", "vehicle")

_FIRST_DAY = datetime(2026, 1, 5, 9, 0, 0)

_NAMES: tuple[tuple[str, str, int], ...] = (
    ("Harbour crane", "building", 18200),
    ("Lighthouse keeper", "character", 24100),
    ("Copper kettle", "prop", 3100),
    ("Basalt cliff", "terrain", 52000),
    ("Night mail wagon", "vehicle", 33800),
    ("Clock tower", "building", 27400),
    ("Stone mason", "character", 21900),
    ("Ship's lantern", "prop", 4200),
    ("Salt marsh", "terrain", 61000),
    ("Ferry", "vehicle", 45600),
    ("Grain silo", "building", 9700),
    ("Bell ringer", "character", 23300),
    ("Brass compass", "prop", 2800),
    ("Glacier tongue", "terrain", 74500),
    ("Cable car", "vehicle", 19900),
    ("Water mill", "building", 22600),
    ("Map maker", "character", 20800),
    ("Iron anvil", "prop", 1900),
    ("Dune field", "terrain", 48300),
    ("Survey airship", "vehicle", 38700),
    ("Glass house", "building", 31200),
    ("Beacon warden", "character", 25500),
    ("Oak barrel", "prop", 1400),
    ("River delta", "terrain", 68800),
)


def _row(number: int, name: str, kind: str, polygons: int) -> Mapping[str, object]:
    return {
        "id": number,
        "name": name,
        "kind": kind,
        "polygons": polygons,
        "description": f"{name}: a {kind} of {polygons} polygons from the first collection.",
        "source": "seed",
        "has_thumbnail": False,
        "created_at": _FIRST_DAY + timedelta(days=number),
    }


SEED_ASSETS: tuple[Mapping[str, object], ...] = tuple(
    _row(number, *entry) for number, entry in enumerate(_NAMES, start=1)
)
