"""Names of log files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_forge.logs.files.names import age_in_days, day_of, files_of, parse, stem_of, written_path
from tests.logs.files.conftest import NOON


def test_files_come_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    """Days, then numbers as numbers, logrotate's the other way round, and last what is written to."""
    in_order = [
        "shop-2026-11-21.log.gz",
        "shop-2026-11-22.1.log.gz",
        "shop-2026-11-22.2.log",
        "shop-2026-11-22.10.log.gz",
        "shop-2026-11-22.log.2.gz",
        "shop-2026-11-22.log.1",
        "shop-2026-11-22.log",
        "shop-2026-11-23.log",
    ]
    for name in [
        *reversed(in_order),
        "shop-eu-2026-11-23.log",
        "shop.log",
        "notes.txt",
        "shop-2026-11-23.1.log.gz.tmp",
    ]:
        (tmp_path / name).touch()
    assert [file.path.name for file in files_of(tmp_path, "shop")] == in_order
    assert [file.path.name for file in files_of(tmp_path, "shop-eu")] == ["shop-eu-2026-11-23.log"]


def test_no_folder_is_no_files(tmp_path: Path) -> None:
    """Not an error: nothing was logged yet."""
    assert files_of(tmp_path / "none", "shop") == []


@given(st.text(max_size=300))
def test_no_service_name_leads_out_of_the_folder(service: str) -> None:
    """Nor hides its file, nor is too long for a file system, nor is read back as another service's."""
    path = written_path(Path("/logs"), service, "2026-11-23")
    assert path.parent == Path("/logs")
    assert not path.name.startswith(".")
    assert len(path.name.encode()) < 200
    parsed = parse(path)
    assert parsed is not None
    assert (parsed.service, parsed.day, parsed.is_written) == (stem_of(service), "2026-11-23", True)
    assert stem_of(parsed.service) == parsed.service


@given(st.floats(min_value=0, max_value=4e9))
def test_an_age_in_days_is_the_difference_of_utc_days(now: float) -> None:
    """Whatever the machine's time zone: days do not get longer or shorter."""
    assert age_in_days(day_of(now), now) == 0
    assert age_in_days(day_of(now), now + 86400) == 1


@pytest.mark.parametrize("day", ["2026-13-01", "2026-02-30"])
def test_a_name_with_no_date_is_never_old(day: str) -> None:
    """It is not for us to remove."""
    assert age_in_days(day, NOON) == 0
