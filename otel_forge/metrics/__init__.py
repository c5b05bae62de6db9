"""Metrics: the scrape endpoint for a Prometheus that pulls."""
