"""The applications that traffic can be made for."""

from __future__ import annotations

from collections.abc import Mapping

from asset_forge.traffic import asset_mix, httpbin_mix
from asset_forge.traffic.plan import Target

TARGETS: Mapping[str, Target] = {
    "asset-forge": Target("asset-forge", "http://127.0.0.1:3004", asset_mix.CYCLE),
    "httpbin": Target("httpbin", "http://127.0.0.1:3007", httpbin_mix.CYCLE),
}
