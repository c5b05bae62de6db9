"""Grafana's side of otel-forge: dashboards, data sources and alerts, made by Python, committed as files."""
