"""`otel-forge run`: what it hands to the program, and what it says when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from otel_forge.launcher import AUTOSTART, instrumented, main
from tests.otlp_receiver import OtlpReceiver, attributes
from tests.programs import BIN, OUR_LAUNCHER, Programs

FORGE = str(BIN / "otel-forge")
UPSTREAMS = f"{os.sep}x{os.sep}opentelemetry{os.sep}instrumentation{os.sep}auto_instrumentation"
SPAN = "from opentelemetry import trace\ntrace.get_tracer('t').start_span({!r}).end()\n"


@pytest.fixture(autouse=True)
def _launched_by_us(programs: Programs, receiver: OtlpReceiver) -> None:
    programs.launcher = OUR_LAUNCHER
    programs.environ |= {"OTEL_FORGE_PIPELINE": "lean", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}


class Executed:
    """Stands for ``os.execvpe``: notes what would have been run."""

    def __call__(self, file: str, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self.file, self.arguments, self.environ = file, list(arguments), environ


@pytest.mark.parametrize("arguments", [["--", "python", "app.py", "--help"], ["python", "app.py", "--help"]])
def test_the_command_gets_its_arguments_untouched(arguments: list[str]) -> None:
    executed = Executed()
    assert main(arguments, executed) == 0
    assert (executed.file, executed.arguments) == ("python", ["python", "app.py", "--help"])


def test_the_environment_is_handed_on_with_our_folder_and_the_working_one_first() -> None:
    environ = {"OTEL_SERVICE_NAME": "shop", "PYTHONPATH": "/lib"}
    expected = os.pathsep.join([AUTOSTART, "/app", "/lib"])
    assert instrumented(environ, "/app") == {"OTEL_SERVICE_NAME": "shop", "PYTHONPATH": expected}


@pytest.mark.parametrize("path", [AUTOSTART, UPSTREAMS, UPSTREAMS + os.sep])
def test_a_second_launcher_does_not_start_telemetry_twice(path: str) -> None:
    environ = {"PYTHONPATH": os.pathsep.join([path, "/app"])}
    assert instrumented(environ, "/app")["PYTHONPATH"] == os.pathsep.join([AUTOSTART, "/app"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "otel-forge run: which command? For example: otel-forge run python app.py\n"),
        (["--service_name", "shop"], 2, "otel-forge run: no such option: --service_name (settings are environment"),
        (["no-such-program"], 127, "otel-forge run: 'no-such-program': no such command.\n"),
        (["./nowhere/app"], 127, "otel-forge run: './nowhere/app': no such command.\n"),
        (["app.py"], 127, "'app.py': no such command. Did you mean: otel-forge run python app.py\n"),
        (
            ["./app.py", "-v"],
            126,
            "cannot be run: Permission denied. Did you mean: otel-forge run python ./app.py -v\n",
        ),
        (["./folder"], 126, "otel-forge run: './folder' cannot be run: Permission denied.\n"),
        (["./orphan"], 126, "'./orphan' cannot be run: the interpreter that its first line names does not exist.\n"),
        (["./headless"], 126, "otel-forge run: './headless' cannot be run: Exec format error.\n"),
    ],
)
def test_what_cannot_be_run_is_said_with_the_exit_code_of_a_shell(
    programs: Programs, arguments: list[str], code: int, said: str
) -> None:
    programs.write("app.py", "")
    programs.write("orphan", "#!/no/such/interpreter\n").chmod(0o755)
    programs.write("headless", "echo\n").chmod(0o755)
    (programs.folder / "folder").mkdir()
    program = programs.instrumented(*arguments)
    assert program.wait() == code
    assert program.err.endswith(said) or said in program.err.splitlines()[0]
    assert len(program.err.splitlines()) == 1


@pytest.mark.parametrize("asked", [["run", "--help"], ["run", "-h"]])
def test_help_shows_how_to_use_it(asked: list[str]) -> None:
    done = subprocess.run([FORGE, *asked], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: otel-forge run [--] COMMAND [ARGUMENT]...\n")
    assert "127 it does not exist" in done.stdout


def test_the_list_of_all_commands_names_it() -> None:
    done = subprocess.run([FORGE, "--help"], capture_output=True, text=True, check=True)
    assert "  run      Run a program with telemetry on.\n" in done.stdout


def test_the_exit_status_is_the_commands_own(programs: Programs) -> None:
    assert programs.instrumented(sys.executable, "-c", "raise SystemExit(7)").wait() == 7


def test_a_python_process_that_the_program_starts_has_telemetry_too(programs: Programs, receiver: OtlpReceiver) -> None:
    child = programs.write("child.py", SPAN.format("child"))
    parent = programs.write(
        "parent.py",
        SPAN.format("parent") + f"import subprocess, sys\nsubprocess.run([sys.executable, {str(child)!r}], check=True)",
    )
    assert programs.instrumented(sys.executable, str(parent)).wait() == 0
    assert {span.name for span in receiver.received.spans()} == {"parent", "child"}


def test_a_program_that_is_a_file_of_its_own_finds_the_modules_beside_it(programs: Programs) -> None:
    """As under opentelemetry-instrument: `manage`-like programs elsewhere import from the working folder."""
    programs.write("shop.py", "NAME = 'shop'")
    program = programs.instrumented(
        sys.executable, "-c", "import sys; sys.path.remove(''); import shop; print(shop.NAME)"
    )
    assert program.wait() == 0
    assert program.out == "shop\n"


def test_a_sitecustomize_of_the_user_still_runs(programs: Programs, receiver: OtlpReceiver) -> None:
    """Ours hides it from Python, and runs it."""
    (programs.folder / "site").mkdir()
    programs.write("site/sitecustomize.py", "import builtins\nbuiltins.MARK = __name__")
    script = programs.write("app.py", SPAN.format("work") + "import sitecustomize\nprint(MARK, sitecustomize.__file__)")
    program = programs.instrumented(sys.executable, str(script), PYTHONPATH=importable(programs.folder / "site"))
    assert program.wait() == 0
    assert program.out == f"sitecustomize {programs.folder / 'site/sitecustomize.py'}\n"
    assert len(receiver.received.spans()) == 1


def test_a_sitecustomize_that_fails_costs_no_telemetry(programs: Programs, receiver: OtlpReceiver) -> None:
    (programs.folder / "site").mkdir()
    programs.write("site/sitecustomize.py", "raise RuntimeError('half-baked')")
    script = programs.write("app.py", SPAN.format("work"))
    program = programs.instrumented(sys.executable, str(script), PYTHONPATH=importable(programs.folder / "site"))
    assert program.wait() == 0
    assert program.err.count("RuntimeError: half-baked") == 2  # the launcher is a Python program, too
    assert len(receiver.received.spans()) == 1


def test_a_python_without_otel_forge_runs_the_program_and_says_so(programs: Programs) -> None:
    """Another interpreter than the one it is installed for: here one that is told to ignore site-packages."""
    program = programs.instrumented(sys._base_executable, "-s", "-c", "print('ran')", PYTHONPATH="")  # type: ignore[attr-defined]
    assert program.wait() == 0
    assert program.out == "ran\n"
    assert "no telemetry from" in program.err


def importable(folder: Path) -> str:
    """Return a PYTHONPATH with `folder` before what the tests themselves run with."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))


def install(folder: Path, name: str, group: str, code: str) -> str:
    """Install a package that offers `name` in an entry point group; return the folder for PYTHONPATH."""
    info = folder / "site" / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}:Offered\n")
    (folder / "site" / f"{name}.py").write_text(code)
    return importable(folder / "site")


@pytest.mark.parametrize("group", ["opentelemetry_pre_instrument", "opentelemetry_post_instrument"])
def test_hooks_around_the_instrumentations_are_called(programs: Programs, group: str) -> None:
    path = install(programs.folder, "hook", group, "def Offered(): print('called')\n")
    program = programs.instrumented(sys.executable, "-c", "pass", PYTHONPATH=path)
    assert program.wait() == 0
    assert program.out == "called\n"


def test_a_hook_that_raises_costs_only_itself(programs: Programs) -> None:
    code = "def Offered(): raise RuntimeError('half-baked')\n"
    path = install(programs.folder, "hook", "opentelemetry_pre_instrument", code)
    install(programs.folder, "third", "opentelemetry_instrumentor", INSTRUMENTOR)
    program = programs.instrumented(sys.executable, "-c", "pass", PYTHONPATH=path)
    assert program.wait() == 0
    assert program.out == "instrumented {'skip_dep_check': True}\n"
    assert program.notices()[1].startswith("calling 'hook' of opentelemetry_pre_instrument failed;")
    assert "RuntimeError: half-baked" in program.err


INSTRUMENTOR = "class Offered:\n    def instrument(self, **options): print('instrumented', options)\n"


@pytest.mark.parametrize(
    ("disabled", "printed"),
    [("", "instrumented {'skip_dep_check': True}\n"), ("flask, third", ""), ("*", "")],
)
def test_third_party_instrumentations_are_loaded_unless_disabled(
    programs: Programs, disabled: str, printed: str
) -> None:
    path = install(programs.folder, "third", "opentelemetry_instrumentor", INSTRUMENTOR)
    program = programs.instrumented(
        sys.executable, "-c", "pass", PYTHONPATH=path, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled
    )
    assert program.wait() == 0
    assert program.out == printed
    assert len(program.notices()) == 1


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("no-such-library >= 1", []),
        ("flask < 1", ["the instrumentation 'third' is off: This instrumentation only instruments"]),
    ],
)
def test_an_instrumentation_whose_library_does_not_fit_is_left_out(
    programs: Programs, requirement: str, said: list[str]
) -> None:
    """Nothing is said of a library that is missing; one of the wrong version is named."""
    path = install(programs.folder, "third", "opentelemetry_instrumentor", INSTRUMENTOR)
    metadata = programs.folder / "site/third-1.dist-info/METADATA"
    metadata.write_text(f"{metadata.read_text()}Requires-Dist: {requirement}; extra == 'instruments'\n")
    program = programs.instrumented(sys.executable, "-c", "pass", PYTHONPATH=path)
    assert program.wait() == 0
    assert program.out == ""
    assert [line.partition(' "')[0] for line in program.notices()[1:]] == said


def test_another_distro_that_is_asked_for_is_loaded_by_upstreams_loader(programs: Programs) -> None:
    code = """
from opentelemetry.instrumentation.distro import BaseDistro
class Offered(BaseDistro):
    def _configure(self, **options): print('the other distro')
"""
    path = install(programs.folder, "other", "opentelemetry_distro", code)
    program = programs.instrumented(sys.executable, "-c", "pass", PYTHONPATH=path, OTEL_PYTHON_DISTRO="other")
    assert program.wait() == 0
    assert program.out == "the other distro\n"


@pytest.mark.parametrize(
    ("asked", "monkey", "said"),
    [
        ("patch_all", "def patch_all(): print('patched')\n", ("patched\n", [])),
        ("patch_all", "raise ImportError", ("", ["needs gevent, which is not installed; nothing is patched."])),
        ("some", "", ("", ["='some' is not patch_all; nothing is patched."])),
    ],
)
def test_the_standard_library_is_patched_for_gevent_where_asked(
    programs: Programs, asked: str, monkey: str, said: tuple[str, list[str]]
) -> None:
    """Upstream's experimental variable keeps its meaning; gevent is played by a module of that name."""
    (programs.folder / "site/gevent").mkdir(parents=True)
    programs.write("site/gevent/__init__.py", "")
    programs.write("site/gevent/monkey.py", monkey)
    variable = "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH"
    programs.environ |= {variable: asked, "OTEL_FORGE_STARTUP_LINE": "false"}
    program = programs.instrumented(sys.executable, "-c", "pass", PYTHONPATH=importable(programs.folder / "site"))
    assert program.wait() == 0
    heard = [line.removeprefix(variable).removeprefix("=patch_all ") for line in program.notices()]
    assert (program.out, heard) == said


def test_a_misspelt_propagator_is_one_line(programs: Programs, receiver: OtlpReceiver) -> None:
    """Under opentelemetry-instrument nothing would start: the API itself raises when it is imported."""
    script = programs.write("app.py", "import opentelemetry.propagate\n" + SPAN.format("work"))
    program = programs.instrumented(sys.executable, str(script), OTEL_PROPAGATORS="tracecontxt")
    assert program.wait() == 0
    assert program.notices()[0].startswith("OTEL_PROPAGATORS='tracecontxt' is not installed (installed are b3, ")
    assert (len(program.notices()), len(receiver.received.spans())) == (2, 1)


def test_an_instrumentation_that_starts_python_starts_no_endless_chain(programs: Programs) -> None:
    code = """
import os, subprocess, sys
class Offered:
    def instrument(self, **options): subprocess.run([sys.executable, '-c', 'print(1)'], check=True)
"""
    path = install(programs.folder, "third", "opentelemetry_instrumentor", code)
    shown = "import os; print(os.environ['PYTHONPATH'].split(os.pathsep)[0])"
    program = programs.instrumented(sys.executable, "-c", shown, PYTHONPATH=path)
    assert program.wait() == 0
    assert program.out == f"1\n{AUTOSTART}\n"
    assert len(program.notices()) == 1


def test_the_lean_pipeline_starts_without_what_it_does_not_need(programs: Programs) -> None:
    """Start-up is short because of what is not imported; each of these was once there and took 5 to 30 ms."""
    heavy = ["asyncio", "click", "opentelemetry.instrumentation", "packaging", "requests", "wrapt"]
    program = programs.instrumented(
        sys.executable, "-c", f"import sys; print([name for name in {heavy} if name in sys.modules])"
    )
    assert program.wait() == 0
    assert program.out == "[]\n"


def test_the_launcher_itself_imports_next_to_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", FORGE, "run", "true"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    ours = {name for name in imported if name.startswith(("otel_forge", "click", "opentelemetry", "typing"))}
    assert ours == {"otel_forge", "otel_forge.lazily", "otel_forge.version", "otel_forge.cli", "otel_forge.launcher"}


def test_resource_and_service_name_are_those_of_the_program(programs: Programs, receiver: OtlpReceiver) -> None:
    """The launcher leaves no trace of itself: the name is guessed from the program's own command line."""
    script = programs.write("billing.py", SPAN.format("work"))
    assert programs.instrumented(sys.executable, str(script)).wait() == 0
    assert receiver.received.resources()[0]["service.name"] == "billing"
    (span,) = receiver.received.spans()
    assert attributes(span.attributes) == {}
