"""The health report of the asset API, in the shape that the monitoring handbook asks for."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone
from typing import TypedDict

import psutil
from sqlalchemy.exc import SQLAlchemyError

from asset_forge.assets import AssetStore
from asset_forge.settings import ApiSettings
from asset_forge.upstreams import ImageServer

logger = logging.getLogger(__name__)

IMAGE_SERVER_TIMEOUT_S = 5.0
MEGABYTE = 1 << 20


class Memory(TypedDict):
    """Memory in MB: of the machine (used, total) and of this process (rss)."""

    used: float
    total: float
    rss: float


class Report(TypedDict):
    """The health report; ``uptime`` is in seconds."""

    status: str
    timestamp: str
    uptime: float
    memory: Memory
    services: dict[str, bool]


class Health:
    """Looks at everything the API needs, when asked."""

    def __init__(self, settings: ApiSettings, store: AssetStore, images: ImageServer) -> None:
        self._settings = settings
        self._store = store
        self._images = images
        self._started = time.monotonic()

    def report(self) -> Report:
        """Return the report; ``degraded`` unless every service is there."""
        services = {
            "meshy": bool(self._settings.meshy_api_key),
            "openai": bool(self._settings.openai_api_key),
            "database": self._database_answers(),
            "imageServer": self._images.healthy(IMAGE_SERVER_TIMEOUT_S),
        }
        return {
            "status": "ok" if all(services.values()) else "degraded",
            "timestamp": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "uptime": round(time.monotonic() - self._started, 3),
            "memory": memory(),
            "services": services,
        }

    def _database_answers(self) -> bool:
        try:
            self._store.ping()
        except SQLAlchemyError:
            logger.warning("health check: the database does not answer", exc_info=True)
            return False
        return True


def memory() -> Memory:
    """Measure memory now."""
    machine = psutil.virtual_memory()
    rss = psutil.Process().memory_info().rss
    return {
        "used": round((machine.total - machine.available) / MEGABYTE, 1),
        "total": round(machine.total / MEGABYTE, 1),
        "rss": round(rss / MEGABYTE, 1),
    }
