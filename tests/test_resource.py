"""The resource: who is speaking."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_forge.resource import ServiceName, build_resource, guess_service_name, service_name
from otel_forge.settings import Settings


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python billing.py", "billing"),
        ("python app.py", "shop"),
        ("python src/app.py", "shop"),
        ("python -X dev -m billing.server --port 3", "billing"),
        ("python -m flask --app warehouse run", "warehouse"),
        ("python -m flask run", "shop"),
        ("python /venv/bin/gunicorn -w 4 warehouse.wsgi:app", "warehouse"),
        ("python /venv/bin/gunicorn app:app", "shop"),
        ("python /venv/bin/gunicorn warehouse:create_app()", "warehouse"),
        ("python /venv/bin/flask --app warehouse.web:app run", "warehouse"),
        ("python /venv/bin/celery -A warehouse.tasks worker", "warehouse"),
        ("python manage.py runserver", "shop"),
        ("python -c pass", "shop"),
        ("python", "shop"),
        ("python /venv/bin/reindex --all", "reindex"),
        ("python app.py --bind host:80", "shop"),
    ],
)
def test_a_service_name_is_guessed_from_the_command_line(tmp_path: Path, command: str, name: str) -> None:
    """Package before script before folder; names that say nothing give way."""
    folder = tmp_path / "shop"
    (folder / "src").mkdir(parents=True)
    assert guess_service_name(command.split(), folder) == name


@pytest.mark.parametrize(
    "environ", [{"OTEL_SERVICE_NAME": "till"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=till,team=red"}]
)
def test_a_name_that_was_set_is_not_guessed(tmp_path: Path, environ: dict[str, str]) -> None:
    """Both standard ways of naming a service count."""
    assert service_name(Settings.from_env(environ), ["python", "x.py"], tmp_path) == ServiceName("till", guessed=False)


def test_the_resource_holds_the_users_attributes_and_the_distro() -> None:
    """What the user set wins; the distro says its name and version; each process has an instance id."""
    settings = Settings.from_env({"OTEL_RESOURCE_ATTRIBUTES": "team=red,service.instance.id=pod-7"})
    attributes = build_resource(settings, ServiceName("till", guessed=False), "9.9").attributes
    expected = {
        "team": "red",
        "service.name": "till",
        "service.instance.id": "pod-7",
        "telemetry.distro.name": "otel-forge",
        "telemetry.distro.version": "9.9",
        "telemetry.sdk.language": "python",
    }
    assert expected.items() <= dict(attributes).items()
