"""The security rules that the compose file must keep, over the model that `docker compose config` resolves.

Each rule looks at one service and yields what is wrong with it, in words. `findings` runs them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Service = dict[str, Any]
Rule = Callable[[Service], Iterator[str]]

LOOPBACK = {"127.0.0.1", "::1"}
PASSWORD = re.compile(r"PASSWORD|SECRET|TOKEN|API_KEY", re.IGNORECASE)


def ports_on_loopback(service: Service) -> Iterator[str]:
    """A port is published on loopback, and no service shares the host's network."""
    for port in service.get("ports") or []:
        if port.get("host_ip") not in LOOPBACK:
            yield f"publishes {port.get('published')} on {port.get('host_ip') or 'every address'}"
    if service.get("network_mode") == "host":
        yield "shares the host's network"


def exact_image(service: Service) -> Iterator[str]:
    """An image has an exact version: no tag at all, `latest`, `main` or `3` may change under us."""
    image = str(service.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    if not re.fullmatch(r"v?\d+\.\d+\.\d+", tag) and "@sha256:" not in image:
        yield f"has no exact version: {image}"


def not_root(service: Service) -> Iterator[str]:
    """A numeric user other than 0 is named, so that nobody has to trust the image."""
    user = str(service.get("user", "")).partition(":")[0]
    if not user.isdigit():
        yield "names no user by number"
    elif int(user) == 0:
        yield "runs as root"


def nothing_to_gain(service: Service) -> Iterator[str]:
    """No capabilities, no way to new privileges, no privileged mode, no added capability."""
    if service.get("cap_drop") != ["ALL"]:
        yield "keeps capabilities"
    if service.get("cap_add"):
        yield f"adds capabilities: {service['cap_add']}"
    if "no-new-privileges:true" not in (service.get("security_opt") or []):
        yield "may gain privileges"
    if service.get("privileged"):
        yield "is privileged"


def read_only(service: Service) -> Iterator[str]:
    """The root file system is read-only, configuration too, and the Docker socket stays outside."""
    if service.get("read_only") is not True:
        yield "can write to its root file system"
    for mount in service.get("volumes") or []:
        if mount["type"] == "bind" and not mount.get("read_only"):
            yield f"can write to {mount['source']}"
        if "docker.sock" in str(mount.get("source")):
            yield "holds the Docker socket"


def limited(service: Service) -> Iterator[str]:
    """Memory, processes and the log have limits."""
    if not int(service.get("mem_limit") or 0):
        yield "has no memory limit"
    if not 0 < int(service.get("pids_limit") or 0) <= 4096:
        yield "has no limit on processes"
    options = (service.get("logging") or {}).get("options") or {}
    if not {"max-size", "max-file"} <= set(options):
        yield "has no limit on its log"


def no_password_in_sight(service: Service) -> Iterator[str]:
    """A password comes from a file: not from the environment, where `docker inspect` shows it, nor by default."""
    environment = service.get("environment") or {}
    for name, value in environment.items():
        if PASSWORD.search(name) and not (name.endswith("__FILE") and str(value).startswith("/run/secrets/")):
            yield f"has a password in {name}"
    if "grafana/grafana:" in str(service.get("image")):
        if "GF_SECURITY_ADMIN_PASSWORD__FILE" not in environment:
            yield "starts Grafana with its default password"
        if environment.get("GF_AUTH_ANONYMOUS_ENABLED") != "false":
            yield "lets strangers into Grafana"


def watched(service: Service) -> Iterator[str]:
    """What keeps running has a health check, and all that depends on something waits for it to be healthy."""
    if service.get("restart") != "no" and not (service.get("healthcheck") or {}).get("test"):
        yield "has no health check"
    for name, need in (service.get("depends_on") or {}).items():
        if need["condition"] not in ("service_healthy", "service_completed_successfully"):
            yield f"does not wait until {name} is healthy"


RULES: tuple[Rule, ...] = (
    ports_on_loopback,
    exact_image,
    not_root,
    nothing_to_gain,
    read_only,
    limited,
    no_password_in_sight,
    watched,
)


def findings(model: dict[str, Any]) -> list[str]:
    """Return everything that is wrong with a resolved model, one sentence each."""
    return [
        f"{name} {wrong}" for name, service in model["services"].items() for rule in RULES for wrong in rule(service)
    ]
