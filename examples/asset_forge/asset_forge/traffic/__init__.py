"""Traffic that knows exactly what it sent: a seeded mix of requests, in phases, with a ledger at the end."""

from __future__ import annotations

from asset_forge.traffic.ledger import Ledger, Tally
from asset_forge.traffic.plan import Phase, Planned, Request, Target, planned_requests
from asset_forge.traffic.runner import Traffic, TrafficSettings
from asset_forge.traffic.sender import Address, NotLoopback, Outcome, loopback_address, send
from asset_forge.traffic.targets import TARGETS

__all__ = [
    "TARGETS",
    "Address",
    "Ledger",
    "NotLoopback",
    "Outcome",
    "Phase",
    "Planned",
    "Request",
    "Tally",
    "Target",
    "Traffic",
    "TrafficSettings",
    "loopback_address",
    "planned_requests",
    "send",
]
