"""An engine is built once, from pinned inputs, into place in one step; a failure says what and where."""

from __future__ import annotations

import fcntl
import os
import subprocess
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from otel_forge.errors import EngineUnavailable
from otel_forge.stack.engine_build import (
    Toolchain,
    build,
    build_environment,
    cached_binary,
    content_hash,
    find_toolchain,
    is_package,
)
from otel_forge.stack.engine_progress import BuildProgress
from otel_forge.stack.engine_table import Engine
from tests.conftest import require_tool

HELLO = Engine(
    name="hello",
    version="1.2.3",
    module="engines/hello",
    package=".",
    binary="hello",
    minimums=((1, 0, 0),),
    tags=("netgo",),
    version_symbol="main.version",
)
TOOLCHAIN = Toolchain(go=Path("/usr/bin/go"), release="1.26.8", system="linux/amd64")

# Does for these tests what the go command does for otel-forge, in no time, and writes down that it was called.
FAKE_GO = r"""
#!/bin/sh
echo "$1" >> "$CALLS"
case "$1" in
env) printf 'go1.26.8\nlinux\namd64\n' ;;
list)
    echo 'go: downloading example.test/a v1.0.0' >&2
    echo 'go: downloading example.test/b v1.0.0' >&2
    printf 'stale\tbuild ID mismatch\n'
    printf 'stale\tnot installed but available in build cache\n'
    printf 'stale\tstale dependency: example.test/a\n'
    ;;
build)
    while [ "$1" != -o ]; do shift; done
    printf 'example.test/a\nexample.test/hello\n' >&2
    printf 'built' > "$2"; chmod +x "$2"
    ;;
esac
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A bundle with one engine, a program that prints its version and needs no module but its own."""
    module = tmp_path / "bundle" / HELLO.module
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module example.test/hello\n\ngo 1.21\n")
    (module / "go.sum").write_text("")
    (module / "main.go").write_text(
        textwrap.dedent(
            """\
            package main

            import "fmt"

            var version = "none"

            func main() { fmt.Println("hello, version " + version) }
            """
        )
    )
    return tmp_path / "bundle"


@pytest.fixture
def fake(tmp_path: Path) -> dict[str, str]:
    """An environment whose go is a stand-in that is done at once."""
    programs = tmp_path / "programs"
    programs.mkdir()
    go = programs / "go"
    go.write_text(FAKE_GO.lstrip())
    go.chmod(0o755)
    return {**os.environ, "PATH": f"{programs}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls")}


def calls(environ: dict[str, str]) -> list[str]:
    """Return what the stand-in for go was called for."""
    return Path(environ["CALLS"]).read_text().split()


class Readings(list[BuildProgress]):
    """Keeps every reading, and lets another thread wait for a step."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Event()

    def __call__(self, progress: BuildProgress) -> None:
        self.append(progress)
        if progress.step == "waiting":
            self.waiting.set()

    def run(self, root: Path, cache: Path, environ: dict[str, str], engine: Engine = HELLO) -> Path:
        """Build into `cache`, keeping the readings."""
        toolchain = find_toolchain(root / engine.module, environ)
        assert toolchain is not None
        return build(engine, root=root, cache=cache, toolchain=toolchain, environ=environ, report=self)


def test_hash_stays_as_long_as_nothing_changes(root: Path) -> None:
    assert content_hash(HELLO, root, TOOLCHAIN) == content_hash(HELLO, root, TOOLCHAIN)


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "main.go", "tools.go"])
def test_hash_changes_with_every_file_that_is_built(root: Path, name: str) -> None:
    before = content_hash(HELLO, root, TOOLCHAIN)
    with (root / HELLO.module / name).open("a") as file:
        file.write("\n// changed\n")
    assert content_hash(HELLO, root, TOOLCHAIN) != before


def test_hash_does_not_change_with_a_readme(root: Path) -> None:
    before = content_hash(HELLO, root, TOOLCHAIN)
    (root / HELLO.module / "README.md").write_text("about the pins")
    assert content_hash(HELLO, root, TOOLCHAIN) == before


def test_hash_changes_with_the_manifest(root: Path) -> None:
    manifest = root / "builder.yaml"
    manifest.write_text("dist: {}")
    collector = replace(HELLO, manifest="builder.yaml")
    before = content_hash(collector, root, TOOLCHAIN)
    manifest.write_text("dist: {name: x}")
    assert content_hash(collector, root, TOOLCHAIN) != before


@pytest.mark.parametrize(
    "other",
    [
        replace(HELLO, tags=("netgo", "remove_all_sd")),
        replace(HELLO, version="1.2.4"),
        replace(HELLO, package="./cmd/hello"),
    ],
    ids=["tags", "link flags", "package"],
)
def test_hash_changes_with_the_recipe(root: Path, other: Engine) -> None:
    assert content_hash(other, root, TOOLCHAIN) != content_hash(HELLO, root, TOOLCHAIN)


def test_hash_changes_with_go_and_machine_but_not_with_a_patch_of_go(root: Path) -> None:
    before = content_hash(HELLO, root, TOOLCHAIN)
    assert content_hash(HELLO, root, replace(TOOLCHAIN, release="1.26.9")) == before
    assert content_hash(HELLO, root, replace(TOOLCHAIN, release="1.27.0")) != before
    assert content_hash(HELLO, root, replace(TOOLCHAIN, system="linux/arm64")) != before


def test_build_environment_fixes_the_result_and_leaves_the_sources_to_the_user() -> None:
    environ = build_environment(
        {"GOOS": "plan9", "GOFLAGS": "-mod=mod", "GOWORK": "/x", "GOPROXY": "off", "HOME": "/h"}
    )
    assert environ == {
        "HOME": "/h",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
        "GO111MODULE": "on",
        "GOFLAGS": "-buildvcs=false -mod=readonly",
        "GOTOOLCHAIN": "auto",
        "GOWORK": "off",
    }


def test_real_go_builds_a_program_with_the_version_stamped_in(root: Path, tmp_path: Path) -> None:
    require_tool("go")
    readings = Readings()
    binary = readings.run(root, tmp_path / "cache", dict(os.environ))
    printed = subprocess.run([binary], capture_output=True, text=True, check=True).stdout
    assert printed == "hello, version 1.2.3\n"
    assert readings[-1].step == "ready"
    assert sorted(path.suffix for path in binary.parent.parent.iterdir()) == ["", "", ".lock"]  # result, logs, lock


def test_progress_counts_modules_and_then_the_packages_that_the_cache_lacks(
    root: Path, tmp_path: Path, fake: dict[str, str]
) -> None:
    readings = Readings()
    readings.run(root, tmp_path / "cache", fake)
    seen = [(reading.step, reading.done, reading.total) for reading in readings]
    distinct = [reading for index, reading in enumerate(seen) if index == 0 or reading != seen[index - 1]]
    assert distinct == [
        ("fetching", 0, 0),
        ("fetching", 1, 0),
        ("fetching", 2, 0),
        ("compiling", 0, 2),
        ("compiling", 1, 2),
        ("linking", 2, 2),
        ("ready", 0, 0),
    ]


def test_second_build_is_answered_from_the_cache(root: Path, tmp_path: Path, fake: dict[str, str]) -> None:
    first = Readings().run(root, tmp_path / "cache", fake)
    readings = Readings()
    assert readings.run(root, tmp_path / "cache", fake) == first
    assert calls(fake) == ["env", "list", "build", "env"]
    assert readings == []


def test_two_builders_build_once(root: Path, tmp_path: Path, fake: dict[str, str]) -> None:
    """The second waits for the lock, says so, and takes what the first has built."""
    target = cached_binary(HELLO, root, tmp_path / "cache", TOOLCHAIN)
    target.parent.parent.mkdir(parents=True)
    readings = Readings()
    with target.parent.with_suffix(".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=readings.run, args=(root, tmp_path / "cache", fake))
        second.start()
        assert readings.waiting.wait(10)
        target.parent.mkdir()
        target.write_text("built by the first")
    second.join(10)
    assert not second.is_alive()
    assert target.read_text() == "built by the first"
    assert calls(fake) == ["env"]


def test_what_a_killed_builder_left_is_cleared_away(root: Path, tmp_path: Path, fake: dict[str, str]) -> None:
    target = cached_binary(HELLO, root, tmp_path / "cache", TOOLCHAIN)
    left = target.parent.with_suffix(".partial")
    (left / "result").mkdir(parents=True)
    (left / "result" / "hello").write_text("half a program")
    target.parent.mkdir()  # and a folder without the program
    assert Readings().run(root, tmp_path / "cache", fake).read_text() == "built"
    assert not left.exists()


def test_failed_build_names_engine_step_last_lines_and_log(root: Path, tmp_path: Path) -> None:
    require_tool("go")
    (root / HELLO.module / "main.go").write_text("package main\n\nfunc main() { undefinedThing() }\n")
    with pytest.raises(EngineUnavailable) as raised:
        Readings().run(root, tmp_path / "cache", dict(os.environ))
    message = str(raised.value)
    assert message.startswith("hello 1.2.3 could not be built: compiling ended with exit status 1.\n")
    assert "undefined: undefinedThing" in message
    log = next((tmp_path / "cache" / "engines" / "logs").iterdir())
    assert f"The whole log is {log}." in message
    assert "undefined: undefinedThing" in log.read_text()


def test_failed_build_leaves_nothing_that_looks_like_an_engine(
    root: Path, tmp_path: Path, fake: dict[str, str]
) -> None:
    go = Path(fake["PATH"].split(":")[0]) / "go"
    go.write_text(FAKE_GO.lstrip().replace('printf \'built\' > "$2"; chmod +x "$2"', "printf 'half' > \"$2\"; exit 7"))
    with pytest.raises(EngineUnavailable, match="compiling ended with exit status 7"):
        Readings().run(root, tmp_path / "cache", fake)
    left = [path.name for path in (tmp_path / "cache" / "engines").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == ["logs"]


def test_missing_module_sum_is_a_failure_of_fetching(root: Path, tmp_path: Path) -> None:
    """Pins are complete, or the build fails; it never adds to them."""
    require_tool("go")
    source = root / HELLO.module / "main.go"
    source.write_text(source.read_text().replace('import "fmt"', 'import (\n"fmt"\n_ "golang.org/x/none"\n)'))
    with pytest.raises(EngineUnavailable, match="could not be built: fetching ended with exit status 1"):
        Readings().run(root, tmp_path / "cache", dict(os.environ))


def test_go_too_old_to_fetch_a_newer_one_is_refused(root: Path, fake: dict[str, str]) -> None:
    go = Path(fake["PATH"].split(":")[0]) / "go"
    go.write_text(FAKE_GO.lstrip().replace("go1.26.8", "go1.19.8"))
    with pytest.raises(EngineUnavailable, match=r"is Go 1\.19\.8, too old .* Install Go 1\.26 or newer"):
        find_toolchain(root / HELLO.module, fake)


def test_no_go_is_no_toolchain(root: Path, tmp_path: Path) -> None:
    assert find_toolchain(root / HELLO.module, {"PATH": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("github.com/grafana/loki/v3/pkg/logql", True),
        ("fmt", True),
        ("gopkg.in/yaml.v2", True),
        ("go: downloading github.com/x/y v1.2.3", False),
        ("# github.com/x/y", False),
        ("./main.go:3:15: undefined: undefinedThing", False),
        ("", False),
    ],
)
def test_lines_of_a_build_that_name_a_package_are_told_from_messages(line: str, expected: bool) -> None:
    assert is_package(line) is expected
