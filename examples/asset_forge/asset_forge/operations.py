"""What keeps the asset API in operation: its health checks, the rate limit of generating, and its alert rules."""

from __future__ import annotations

from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from asset_forge.assets import AssetStore
from asset_forge.settings import ApiSettings
from otel_forge import alerts, health

IMAGE_SERVER = "imageServer"
IMAGE_SERVER_TIMEOUT_S = 5.0


def add_health_checks(settings: ApiSettings, store: AssetStore) -> None:
    """Register what the API needs: only without the database can it do nothing at all."""
    image_server = health.http(f"{settings.image_server_url}/health", timeout=IMAGE_SERVER_TIMEOUT_S)
    health.check("meshy", health.configured("MESHY_API_KEY", settings.meshy_api_key), required=False)
    health.check("openai", health.configured("OPENAI_API_KEY", settings.openai_api_key), required=False)
    health.check("database", health.sqlalchemy(store.engine))
    health.check(IMAGE_SERVER, image_server, timeout=IMAGE_SERVER_TIMEOUT_S, required=False)
    health.check("disk", health.disk(store.folder), required=False, interval=60)
    health.check("memory", health.memory(), required=False)
    health.check("files", health.file_descriptors(), required=False)
    health.check("telemetry", health.telemetry())


def add_alert_rules() -> None:
    """Add the handbook's three rules, and one for the service that every new asset needs."""
    image_server_down = alerts.AlertRule(
        "Image Server Down",
        image_server_is_down,
        severity="high",
        description="Thumbnails cannot be drawn, and nothing can be generated. Everything else works.",
    )
    alerts.add(*alerts.handbook_rules(), image_server_down)


def image_server_is_down() -> alerts.Finding:
    """Tell what the health check of the image server says."""
    is_down = IMAGE_SERVER in health.down()
    return alerts.Finding(is_down, "the image server does not answer its health check" if is_down else "it answers")


def build_limiter() -> Limiter:
    """Make the limiter, which counts by client address, in the memory of each worker process."""
    return Limiter(get_remote_address, storage_uri="memory://")
