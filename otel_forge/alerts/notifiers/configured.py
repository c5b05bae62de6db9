"""The notifiers that the settings name."""

from __future__ import annotations

from collections.abc import Mapping

from otel_forge.alerts.sending import Notifier
from otel_forge.settings import AlertSettings

NEEDED: Mapping[str, tuple[str, ...]] = {
    "slack": ("OTEL_FORGE_ALERTS_SLACK_URL",),
    "pagerduty": ("OTEL_FORGE_ALERTS_PAGERDUTY_KEY",),
    "email": ("OTEL_FORGE_ALERTS_SMTP_URL", "OTEL_FORGE_ALERTS_EMAIL_TO"),
    "webhook": ("OTEL_FORGE_ALERTS_WEBHOOK_URL",),
}
"""By name of a notifier the variables that it cannot do without."""


def build_notifier(name: str, settings: AlertSettings) -> Notifier | None:
    """Return the notifier `name`; None where a setting that it needs is missing."""
    if name == "slack" and settings.slack_url:
        from otel_forge.alerts.notifiers.slack import Slack

        return Slack(settings.slack_url)
    if name == "pagerduty" and settings.pagerduty_key:
        from otel_forge.alerts.notifiers.pagerduty import PagerDuty

        return PagerDuty(settings.pagerduty_key, settings.pagerduty_url)
    if name == "email" and settings.smtp_url and settings.email_to:
        from otel_forge.alerts.notifiers.mail import Email

        return Email(settings.smtp_url, settings.email_from, settings.email_to)
    if name == "webhook" and settings.webhook_url:
        from otel_forge.alerts.notifiers.webhook import Webhook

        return Webhook(settings.webhook_url, settings.webhook_secret)
    return None


def build_notifiers(settings: AlertSettings) -> list[tuple[Notifier, str]]:
    """Return every notifier that is configured, with the lowest severity that goes to it."""
    built = [(build_notifier(name, settings), settings.lowest[name]) for name in NEEDED]
    return [(notifier, lowest) for notifier, lowest in built if notifier is not None]


def half_configured(settings: AlertSettings) -> str:
    """Return a line about a notifier of which only a part is set; empty if there is none."""
    if bool(settings.smtp_url) == bool(settings.email_to):
        return ""
    server, recipients = NEEDED["email"]
    there, missing = (server, recipients) if settings.smtp_url else (recipients, server)
    return f"{there} is set and {missing} is not: alerts are not mailed."
