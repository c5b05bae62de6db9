"""Where the files are that the back end is started from: compose file, configs, engine pins, dashboards."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def bundle_root(package: Path = PACKAGE) -> Path:
    """Return the folder that holds `docker-compose.yml`, `collector/`, `backends/` and `grafana/`.

    A wheel carries them in `_bundle` beside the package's modules; a checkout has them beside the package itself.
    """
    carried = package / "_bundle"
    return carried if carried.is_dir() else package.parent
