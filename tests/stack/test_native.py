"""The engine `native`: what it lays out, what it runs, and what it says, with small servers in the binaries' place."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import requests
import yaml

from otel_forge.errors import EngineUnavailable, PortTaken, StackError
from otel_forge.stack.components import NAMES
from otel_forge.stack.differences import differences
from otel_forge.stack.native import NativeBackend
from otel_forge.stack.settings import StackSettings
from otel_forge.stack.state import StackState
from tests.stack.bench import free_port, wait_for
from tests.stack.world import World


def test_up_runs_all_components_and_prints_where_they_are(world: World) -> None:
    """Everything is ready when it returns, on the ports that were set."""
    status = world.backend().up(timeout=30)
    assert status.status == "running"
    assert [component.name for component in status.components] == [name for name in NAMES if name != "grafana"]
    assert status.addresses["Prometheus"] == f"http://127.0.0.1:{world.port('PROMETHEUS')}"
    assert "Grafana" not in status.addresses
    assert "Grafana is not on PATH" in status.notes[0]
    assert world.asked == ["alertmanager", "prometheus", "loki", "tempo", "collector"]


def test_a_second_up_finds_the_stack_running(world: World) -> None:
    """It changes nothing and says so."""
    first = world.backend().up(timeout=30)
    second = world.backend().up(timeout=30)
    assert second.already_running and not first.already_running
    assert [c.pid for c in second.components] == [c.pid for c in first.components]
    assert second.addresses == first.addresses


def test_two_ups_at_the_same_time_make_one_stack(world: World) -> None:
    """One starts it, the other waits and finds it running."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(world.backend().up(timeout=30))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status.already_running for status in results) == [False, True]
    assert [c.pid for c in results[0].components] == [c.pid for c in results[1].components]
    assert any("another `otel-forge up` was at work" in line for line in world.said)


def test_up_with_other_ports_says_what_to_do(world: World) -> None:
    """A running stack is not moved behind the user's back."""
    world.backend().up(timeout=30)
    other, before = str(free_port()), world.port("LOKI")
    with pytest.raises(StackError) as failure:
        world.backend(OTEL_FORGE_PORT_LOKI=other).up(timeout=30)
    assert f"OTEL_FORGE_PORT_LOKI={other} (it runs on {before})" in str(failure.value)
    assert "Run `otel-forge down` and then `otel-forge up` to change that." in str(failure.value)


def test_up_with_another_configuration_says_what_to_do(world: World) -> None:
    """Saying "already running" would hide that the edited files are not used."""
    world.backend().up(timeout=30)
    with pytest.raises(StackError, match=f"OTEL_FORGE_CONFIG_DIR={world.home} .it runs with"):
        world.backend(OTEL_FORGE_CONFIG_DIR=str(world.home)).up(timeout=30)


CHANGED = [
    ("OTEL_FORGE_RETENTION", "3d", "15d"),
    ("OTEL_FORGE_RETENTION_SIZE", "1GB", "4GB"),
    ("OTEL_FORGE_RETENTION_LOGS", "24h", "168h"),
    ("OTEL_FORGE_RETENTION_TRACES", "4h", "48h"),
    ("OTEL_FORGE_ALERTING", "grafana", "prometheus"),
]


def test_up_with_another_retention_or_lane_says_what_to_do(world: World) -> None:
    """Each setting that is fixed at the start is named, with what the stack has instead."""
    world.backend().up(timeout=30)
    with pytest.raises(StackError) as failure:
        world.backend(**{name: value for name, value, _ in CHANGED}).up(timeout=30)
    for name, value, before in CHANGED:
        assert f"{name}={value} (it runs with {before})" in str(failure.value)
    assert str(failure.value).endswith("Run `otel-forge down` and then `otel-forge up` to change that.")


@pytest.mark.parametrize(("name", "value", "before"), [*CHANGED, ("OTEL_FORGE_PORT_TEMPO", "20001", "")])
def test_a_restart_refuses_what_only_a_new_start_can_change(world: World, name: str, value: str, before: str) -> None:
    """Nothing is restarted, so nobody takes the old setting for the new one."""
    before = before or f"{world.port('TEMPO')}"
    first = world.backend().up(timeout=30)
    with pytest.raises(StackError) as failure:
        world.backend(**{name: value}).restart([], timeout=30)
    assert f"{name}={value} (it runs " in str(failure.value) and f" {before})" in str(failure.value)
    assert str(failure.value).endswith("Run `otel-forge down` and then `otel-forge up` to change that.")
    assert [c.pid for c in world.backend().status().components] == [c.pid for c in first.components]


def test_a_restart_from_a_shell_without_the_settings_keeps_them_and_says_so(world: World) -> None:
    """What the environment does not say was not asked for."""
    world.backend(OTEL_FORGE_RETENTION="3d", OTEL_FORGE_ALERTING="grafana").up(timeout=30)
    del world.environ["OTEL_FORGE_RETENTION"], world.environ["OTEL_FORGE_ALERTING"]
    world.backend().restart(["prometheus"], timeout=30)
    kept = "the stack keeps what it was started with: OTEL_FORGE_RETENTION=3d, OTEL_FORGE_ALERTING=grafana"
    assert kept in world.said
    assert "--storage.tsdb.retention.time=3d" in world.started("prometheus")[0]
    targets = world.home / "state" / "config" / "prometheus" / "targets"
    assert yaml.safe_load((targets / "alertmanager.yaml").read_text()) == []


def test_a_state_without_retention_and_lane_differs_in_nothing(world: World) -> None:
    """A stack that an older release has started can still be restarted."""
    settings = StackSettings.from_env({**world.environ, "OTEL_FORGE_RETENTION": "3d", "OTEL_FORGE_ALERTING": "grafana"})
    assert differences(settings, StackState(engine="native", status="running")) == []


def test_up_during_a_down_waits_and_starts_anew(world: World) -> None:
    """Nobody should have to guess when a stop is over."""
    backend = world.backend()
    first = backend.up(timeout=30)
    owner = backend.folder.owner()
    assert owner is not None
    os.kill(owner.pid, 15)
    wait_for(lambda: (state := backend.folder.read()) is not None and state.status != "running")
    second = backend.up(timeout=30)
    assert not second.already_running
    assert not {c.pid for c in first.components} & {c.pid for c in second.components}


def test_a_stack_of_an_older_release_is_pointed_out(world: World) -> None:
    """After an upgrade the old servers still run."""
    backend = world.backend()
    backend.up(timeout=30)
    state = backend.folder.read()
    assert state is not None
    state.version = "0.0.9"
    backend.folder.write(state)
    assert "It was started by otel-forge 0.0.9" in backend.up(timeout=30).notes[-1]


def test_prometheus_gets_its_flags(world: World) -> None:
    """OTLP, remote write, exemplars, retention and a loopback address."""
    world.backend(OTEL_FORGE_RETENTION="3d").up(timeout=30)
    arguments, _ = world.started("prometheus")
    state = world.home / "state"
    assert arguments == [
        f"--config.file={state}/config/prometheus/prometheus.yaml",
        f"--storage.tsdb.path={state}/data/prometheus",
        "--storage.tsdb.retention.time=3d",
        "--storage.tsdb.retention.size=4GB",
        f"--web.listen-address=127.0.0.1:{world.port('PROMETHEUS')}",
        "--web.enable-otlp-receiver",
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage",
    ]


def test_prometheus_scrapes_what_runs_on_the_ports_that_are_set(world: World) -> None:
    """The working copy has its own target files; the relative paths of the configuration resolve."""
    world.backend().up(timeout=30)
    copy = world.home / "state" / "config" / "prometheus"
    targets = yaml.safe_load((copy / "targets" / "stack.yaml").read_text())
    found = {group["labels"]["job"]: group["targets"] for group in targets}
    assert found == {
        "prometheus": [f"127.0.0.1:{world.port('PROMETHEUS')}"],
        "collector": [f"127.0.0.1:{world.port('COLLECTOR_METRICS')}"],
        "loki": [f"127.0.0.1:{world.port('LOKI')}"],
        "tempo": [f"127.0.0.1:{world.port('TEMPO')}"],
        "alertmanager": [f"127.0.0.1:{world.port('ALERTMANAGER')}"],
    }
    assert (copy / "rules").is_dir()


def test_scrape_targets_of_others_stay_over_restart_and_up(world: World) -> None:
    """The demo puts its file there; the folder exists from the first `up` on, as Prometheus wants it."""
    folder = world.home / "state" / "config" / "prometheus" / "targets" / "scrape"
    world.backend().up(timeout=30)
    assert list(folder.glob("*.yaml")) == []
    (folder / "demo.yaml").write_text("[]\n")
    world.backend().restart(["prometheus"], timeout=30)
    assert (folder / "demo.yaml").read_text() == "[]\n"
    world.backend().down(data=False)
    world.backend().up(timeout=30)
    assert (folder / "demo.yaml").read_text() == "[]\n"


def test_a_scrape_target_of_the_configuration_follows_it(world: World) -> None:
    """Removed there, it is removed from the working copy, and what others put beside it stays."""
    own = world.home / "own"
    bundle = Path(__file__).resolve().parents[2]
    for folder in ("collector", "backends"):
        shutil.copytree(bundle / folder, own / folder)
    source = own / "backends" / "prometheus" / "targets" / "scrape" / "mine.yaml"
    source.write_text("[]\n")
    copy = world.home / "state" / "config" / "prometheus" / "targets" / "scrape"
    world.backend(OTEL_FORGE_CONFIG_DIR=str(own)).up(timeout=30)
    (copy / "demo.yaml").write_text("[]\n")
    assert (copy / "mine.yaml").is_file()
    source.unlink()
    world.backend().restart(["prometheus"], timeout=30)
    assert [file.name for file in copy.glob("*.yaml")] == ["demo.yaml"]


def test_prometheus_notifies_where_no_grafana_does(world: World) -> None:
    """Exactly one lane: without Grafana that of Prometheus, and the setting overrules."""
    file = world.home / "state" / "config" / "prometheus" / "targets" / "alertmanager.yaml"
    world.backend().up(timeout=30)
    assert yaml.safe_load(file.read_text()) == [{"targets": [f"127.0.0.1:{world.port('ALERTMANAGER')}"]}]
    world.backend().down(data=False)
    world.backend(OTEL_FORGE_ALERTING="grafana").up(timeout=30)
    assert yaml.safe_load(file.read_text()) == []


def test_configs_get_addresses_folders_and_ports_by_environment(world: World) -> None:
    """The names are those that the configuration files use."""
    world.backend().up(timeout=30)
    _, collector = world.started("collector")
    assert collector["FORGE_BIND"] == "127.0.0.1"
    assert collector["FORGE_STATE"] == str(world.home / "state" / "data" / "collector")
    assert collector["FORGE_PROMETHEUS_URL"] == f"http://127.0.0.1:{world.port('PROMETHEUS')}"
    assert collector["FORGE_LOKI_URL"] == f"http://127.0.0.1:{world.port('LOKI')}"
    assert collector["FORGE_TEMPO_ENDPOINT"] == f"127.0.0.1:{world.port('TEMPO_OTLP')}"
    assert collector["FORGE_OTLP_SELF"] == f"http://127.0.0.1:{world.port('OTLP_HTTP')}"
    assert collector["OTEL_FORGE_PORT_OTLP_GRPC"] == world.port("OTLP_GRPC")
    _, tempo = world.started("tempo")
    assert tempo["OTEL_FORGE_PORT_TEMPO_OTLP"] == world.port("TEMPO_OTLP")
    assert tempo["OTEL_FORGE_RETENTION_TRACES"] == "48h"


def test_the_servers_do_not_see_the_settings_of_the_users_sdk(world: World) -> None:
    """Tempo, Grafana and the Collector would obey OTEL_* for themselves."""
    world.backend(OTEL_EXPORTER_OTLP_ENDPOINT="http://elsewhere:1", OTEL_RESOURCE_ATTRIBUTES="a=b").up(timeout=30)
    for name in ("tempo", "loki", "collector", "prometheus"):
        _, environment = world.started(name)
        assert [key for key in environment if key.startswith("OTEL_") and not key.startswith("OTEL_FORGE_")] == []


@pytest.mark.parametrize(("version", "file"), [("3.0.3", "tempo.yaml"), ("2.2.0", "tempo-2.yaml")])
def test_tempo_gets_the_file_of_its_major_version(world: World, version: str, file: str) -> None:
    """The two have different configuration files; the command line is one."""
    world.tempo_version = version
    backend = world.backend()
    backend.up(timeout=30)
    arguments, _ = world.started("tempo")
    used = Path(arguments[0].removeprefix("-config.file="))
    bundle = Path(__file__).resolve().parents[2]
    assert used.read_text() == (bundle / "backends" / "tempo" / file).read_text()


def test_an_operators_own_copy_of_the_configuration_is_used(world: World) -> None:
    """And a restart reads it anew."""
    own = world.home / "own"
    bundle = Path(__file__).resolve().parents[2]
    for folder in ("collector", "backends"):
        shutil.copytree(bundle / folder, own / folder)
    loki = own / "backends" / "loki" / "loki.yaml"
    loki.write_text("# first\n" + loki.read_text())
    backend = world.backend(OTEL_FORGE_CONFIG_DIR=str(own))
    backend.up(timeout=30)
    used = world.home / "state" / "config" / "loki" / "loki.yaml"
    assert used.read_text().startswith("# first\n")
    loki.write_text("# second\n" + loki.read_text())
    del world.environ["OTEL_FORGE_CONFIG_DIR"]
    world.backend().restart(["loki"], timeout=30)
    assert used.read_text().startswith("# second\n")


def test_a_config_folder_that_is_not_complete_is_named(world: World) -> None:
    """Before anything is started."""
    (world.home / "own").mkdir()
    with pytest.raises(StackError, match=r"own/backends/alertmanager is missing: .* is no complete configuration"):
        world.backend(OTEL_FORGE_CONFIG_DIR=str(world.home / "own")).up(timeout=30)


def test_restart_of_one_component_keeps_the_others(world: World) -> None:
    """The pids tell."""
    before = {c.name: c.pid for c in world.backend().up(timeout=30).components}
    assert world.backend().restart(["loki"], timeout=30) == ["loki"]
    after = {c.name: c.pid for c in world.backend().status().components}
    assert {name for name in before if before[name] != after[name]} == {"loki"}


def test_restarting_an_unknown_component_names_those_there_are(world: World) -> None:
    """Also when Grafana is meant and none is there."""
    world.backend().up(timeout=30)
    with pytest.raises(StackError, match="grafana is not a component here; there are alertmanager, prometheus"):
        world.backend().restart(["grafana"], timeout=30)


def test_a_taken_port_stops_up_before_anything_is_built_or_started(world: World) -> None:
    """The message names port, holder and setting."""
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(world.port("TEMPO"))))
        holder.listen()
        with pytest.raises(PortTaken, match=f"taken by pid {os.getpid()}.*OTEL_FORGE_PORT_TEMPO"):
            world.backend().up(timeout=30)
    assert world.asked == []
    assert not world.backend().folder.is_owned()


def test_an_engine_that_cannot_be_had_leaves_nothing_behind(world: World) -> None:
    """The engines' own message reaches the user."""

    def nothing(names: Sequence[str]) -> Mapping[str, Path]:
        raise EngineUnavailable("install Go")

    settings = StackSettings.from_env(world.environ)
    with pytest.raises(EngineUnavailable, match="install Go"):
        NativeBackend(settings, world.environ, nothing).up(timeout=30)
    assert not world.backend().folder.is_owned()


def test_a_state_folder_that_cannot_be_written_is_a_clear_error(world: World) -> None:
    """Below a file there can be no folder, for root neither."""
    (world.home / "file").touch()
    with pytest.raises(StackError) as failure:
        world.backend(OTEL_FORGE_STATE_DIR=str(world.home / "file" / "state")).up(timeout=30)
    assert "file/state cannot be written (Not a directory)" in str(failure.value)
    assert "Choose another one with --state-dir or OTEL_FORGE_STATE_DIR." in str(failure.value)
    world.environ["OTEL_FORGE_STATE_DIR"] = str(world.home / "state")


def test_down_keeps_the_data_and_removes_it_when_told(world: World) -> None:
    """Data is never removed by the way."""
    backend = world.backend()
    backend.up(timeout=30)
    kept = backend.folder.data / "loki" / "chunk"
    kept.write_text("logs")
    assert backend.down(data=False) is True
    assert kept.exists()
    assert backend.down(data=True) is False
    assert not kept.exists()


def test_status_of_a_killed_supervisor_says_what_to_do(world: World) -> None:
    """The state file alone is not believed."""
    backend = world.backend()
    backend.up(timeout=30)
    owner = backend.folder.owner()
    assert owner is not None
    os.kill(owner.pid, 9)
    wait_for(lambda: not backend.folder.is_owned())
    status = backend.status()
    assert status.status == "stopped"
    assert "its supervisor was killed; `otel-forge up` starts it again" in status.detail
    assert backend.up(timeout=30).status == "running"


def test_status_notices_a_component_that_hangs(world: World) -> None:
    """It runs, but nobody gets an answer."""
    import psutil

    backend = world.backend()
    status = backend.up(timeout=30)
    pid = next(c.pid for c in status.components if c.name == "loki")
    assert pid is not None
    psutil.Process(pid).suspend()
    try:
        found = backend.status()
        loki = next(c for c in found.components if c.name == "loki")
        assert (found.status, loki.status) == ("degraded", "not answering")
        assert loki.detail == "no answer within 2 s"
    finally:
        psutil.Process(pid).resume()


def test_logs_show_the_last_lines_of_each_component_by_name(world: World) -> None:
    """One alone needs no name in front."""
    backend = world.backend()
    backend.up(timeout=30)
    requests.get(f"http://127.0.0.1:{world.port('LOKI')}/log?hello-from-loki", timeout=5)
    wait_for(lambda: "hello-from-loki" in backend.folder.log_file("loki").read_text())
    alone = list(backend.logs(["loki"], lines=1, follow=False, errors=False))
    assert alone == ["hello-from-loki"]
    several = list(backend.logs(["loki", "tempo"], lines=1, follow=False, errors=False))
    assert several == ["loki  | hello-from-loki", "tempo | tempo starts"]
    with pytest.raises(StackError, match="nginx is not a component here"):
        list(backend.logs(["nginx"], lines=1, follow=False, errors=False))


def test_logs_can_be_followed(world: World) -> None:
    """New lines come as they are written, after the last old ones."""
    backend = world.backend()
    backend.up(timeout=30)
    lines = backend.logs(["loki"], lines=1, follow=True, errors=False)
    assert next(lines) == "loki starts"
    requests.get(f"http://127.0.0.1:{world.port('LOKI')}/log?new", timeout=5)
    assert next(lines) == "new"


def test_grafana_on_path_runs_with_the_same_provisioning_and_a_password_of_its_own(world: World) -> None:
    """No default password, nobody anonymous, the files of the chosen lane only."""
    world.install_grafana()
    status = world.backend().up(timeout=30)
    arguments, environment = world.started("grafana")
    assert arguments == ["server", f"--homepath={world.home / 'grafana-home'}"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert environment["FORGE_LOKI_URL"] == f"http://127.0.0.1:{world.port('LOKI')}"
    provisioning = Path(environment["GF_PATHS_PROVISIONING"])
    bundle = Path(__file__).resolve().parents[2]
    source = bundle / "grafana" / "provisioning" / "alerting" / "grafana" / "forge.yaml"
    assert [path.name for path in (provisioning / "alerting").iterdir()] == ["forge.yaml"]
    assert (provisioning / "alerting" / "forge.yaml").read_text() == source.read_text()
    assert list(Path(environment["FORGE_DASHBOARDS"]).glob("*.json"))
    password = Path(environment["GF_SECURITY_ADMIN_PASSWORD__FILE"])
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert len(password.read_text()) >= 20
    assert status.password_file == str(password)
    assert status.notes == []


def test_the_password_stays_the_same_over_restarts_of_the_stack(world: World) -> None:
    """Grafana takes it on its first start only."""
    world.install_grafana()
    backend = world.backend()
    backend.up(timeout=30)
    first = backend.folder.password_file.read_text()
    backend.down(data=False)
    backend.up(timeout=30)
    assert backend.folder.password_file.read_text() == first


def test_a_grafana_without_its_home_folder_is_a_clear_error(world: World) -> None:
    """A bare binary cannot run."""
    world.stand_in("grafana", world.path_folder / "grafana")
    with pytest.raises(StackError, match="its home folder .* is not at .* Set GF_PATHS_HOME"):
        world.backend().up(timeout=30)


def test_the_supervisor_outlives_the_process_that_started_it(world: World) -> None:
    """It is of no session of ours, and not our child."""
    import psutil

    backend = world.backend()
    backend.up(timeout=30)
    owner = backend.folder.owner()
    assert owner is not None
    assert psutil.Process(owner.pid).ppid() != os.getpid()
    assert os.getsid(owner.pid) != os.getsid(0)
