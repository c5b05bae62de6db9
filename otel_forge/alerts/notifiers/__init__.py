"""Notifiers: how Slack, PagerDuty, a mail server or a webhook is told of alerts.

Each makes messages of alerts, which is pure, and sends one message, once; trying again is the business of
`otel_forge.alerts.sending`. What an alert says has been made presentable before (`otel_forge.alerts.texts`); a notifier
escapes it for its medium and keeps to the limits of its service.
"""
