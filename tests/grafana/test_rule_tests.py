"""The real promtool: the rules are valid, their tests pass, and their tests notice wrong changes."""

from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.src.alerts import ALERTS, RECORDINGS
from grafana.src.rule_tests import CASES, SLOW
from tests.grafana.mutations import Mutant, Rules, changed_expressions, mutants

RULES = "backends/prometheus/rules/forge.yaml"
TESTS = "backends/prometheus/tests"
WANTED = ("fires", "does not fire", "just below", "no data", "resolves")
# Watchdog always fires: there is nothing below its limit, no end to it and no data that would stop it.
ALWAYS_FIRING = {"Watchdog": ("fires", "no data")}

ABOUT = {alert.runbook: alert for alert in ALERTS}
# How many promtools judge at the same time.
AT_ONCE = 2
PASSED = re.compile(r"Processing test file:\s+(\S+)\s+SUCCESS")


def run(promtool: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool and return what it said."""
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=280, check=False)


def test_the_rules_are_valid(promtool: Path, repository: Path) -> None:
    """`promtool check rules` has no complaint, the stricter ones included."""
    done = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", repository / RULES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS) + len(RECORDINGS)} rules found" in done.stdout


def test_a_broken_rule_is_refused(promtool: Path, tmp_path: Path) -> None:
    """promtool is really asked."""
    broken = tmp_path / "rules.yaml"
    broken.write_text("groups: [{name: x, rules: [{alert: X, expr: 'sum(('}]}]", encoding="utf-8")
    assert run(promtool, "check", "rules", broken).returncode != 0


def test_every_rule_test_passes(promtool: Path, repository: Path) -> None:
    """`promtool test rules` over all files, as a person would run it."""
    files = sorted((repository / TESTS).glob("*.yaml"))
    assert files
    done = run(promtool, "test", "rules", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(files)


@pytest.mark.parametrize("alert", ALERTS, ids=[alert.name for alert in ALERTS])
def test_every_alert_is_tested_in_every_way(alert: Any) -> None:
    """Fires, does not fire, just below, no data, resolves."""
    shown = {what for case in CASES[alert] for what in case.shows.split(", ")}
    assert set(ALWAYS_FIRING.get(alert.name, WANTED)) <= shown
    assert any(moment.firing for case in CASES[alert] for moment in case.moments)


@pytest.mark.gate
@pytest.mark.timeout(900)
def test_wrong_changes_to_the_rules_are_noticed(promtool: Path, repository: Path, tmp_path: Path) -> None:
    """Gate A1: of all changed thresholds, operators and durations at least 95 % make a rule test fail.

    Two changes cannot be told from the original: Watchdog's `1 >= 0`, and a longer look back for the newest
    sample of a service, which the look back for its requests ends first.
    """
    rules = yaml.safe_load((repository / RULES).read_text(encoding="utf-8"))
    made = list(mutants(rules))
    assert len(made) > 50
    survivors = unnoticed(promtool, repository, tmp_path, made)
    told = "\n".join(f"{mutant.rule}: {mutant.change}" for mutant in survivors)
    assert len(survivors) <= 0.05 * len(made), f"{len(survivors)} of {len(made)} went unnoticed:\n{told}"


def test_rules_without_a_change_go_unnoticed(promtool: Path, repository: Path, tmp_path: Path) -> None:
    """The way mutants are judged lets the right rules pass: a test that fails everything proves nothing."""
    rules = yaml.safe_load((repository / RULES).read_text(encoding="utf-8"))
    unchanged = [Mutant(rule, "none", rules) for rule in _names()]
    assert unnoticed(promtool, repository, tmp_path, unchanged) == unchanged


def unnoticed(promtool: Path, repository: Path, folder: Path, made: list[Mutant]) -> list[Mutant]:
    """Return the mutants that pass every rule test; the tests that take hours of rule time come last."""
    left = dict(enumerate(made))
    for test in sorted((repository / TESTS).glob("*.yaml"), key=lambda path: (SLOW in path.stem, path.stem)):
        concerned = {number: mutant for number, mutant in left.items() if _concerns(test, mutant)}
        passed = _passing(promtool, test, folder / test.stem, concerned)
        left = {number: mutant for number, mutant in left.items() if number not in concerned or number in passed}
    return list(left.values())


def _concerns(test: Path, mutant: Mutant) -> bool:
    """Return whether a test is about the changed rule, or about an alert that is measured by it."""
    alert = ABOUT[test.stem.removesuffix(SLOW)]
    return mutant.rule in (alert.name, *used_by(alert.measured))


def used_by(expr: str) -> set[str]:
    """Return the recordings that an expression uses, directly or through another."""
    direct = [recording for recording in RECORDINGS if recording.name in expr]
    return {name for r in direct for name in (r.name, *used_by(r.expr))}


def _passing(promtool: Path, test: Path, folder: Path, made: dict[int, Mutant]) -> set[int]:
    """Return the numbers of the mutants that pass a test, judged by a few promtools at once."""
    files = {_lay(folder, number, mutant, test): number for number, mutant in made.items()}
    paths = list(files)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        shares = [paths[share::AT_ONCE] for share in range(AT_ONCE) if paths[share::AT_ONCE]]
        said = "".join(pool.map(lambda share: run(promtool, "test", "rules", *share).stdout, shares))
    return {files[Path(path)] for path in PASSED.findall(said)}


def _names() -> list[str]:
    """Return the name of every rule."""
    return [*(recording.name for recording in RECORDINGS), *(alert.name for alert in ALERTS)]


def _lay(folder: Path, number: int, mutant: Mutant, test: Path) -> Path:
    """Lay a mutant and a rule test side by side, in folders like those of the repository."""
    place = folder / str(number)
    (place / "rules").mkdir(parents=True)
    (place / "tests").mkdir()
    rules = yaml.safe_dump(_needed(test, mutant.rules))
    (place / "rules" / "forge.yaml").write_text(rules, encoding="utf-8")
    return Path(shutil.copy(test, place / "tests"))


def _needed(test: Path, rules: Rules) -> Rules:
    """Return the rules that a test is about and nothing else: the rest would only cost time."""
    alert = ABOUT[test.stem.removesuffix(SLOW)]
    names = {alert.name, *used_by(alert.measured)}
    (group,) = rules["groups"]
    kept = [rule for rule in group["rules"] if (rule.get("alert") or rule["record"]) in names]
    return {"groups": [{**group, "rules": kept}]}


def test_mutations_change_thresholds_operators_and_durations_only() -> None:
    """Names, labels and matchers stay as they are."""
    changes = dict(changed_expressions('sum by (a) (rate(x_total{b=~"5.."}[5m])) > 0.5'))
    assert set(changes.values()) == {
        'max by (a) (rate(x_total{b=~"5.."}[5m])) > 0.5',
        'sum by (a) (rate(x_total{b=~"5.."}[240s])) > 0.5',
        'sum by (a) (rate(x_total{b=~"5.."}[375s])) > 0.5',
        'sum by (a) (rate(x_total{b=~"5.."}[5m])) >= 0.5',
        'sum by (a) (rate(x_total{b=~"5.."}[5m])) < 0.5',
        'sum by (a) (rate(x_total{b=~"5.."}[5m])) > 0.4',
        'sum by (a) (rate(x_total{b=~"5.."}[5m])) > 0.625',
    }
