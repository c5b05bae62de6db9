"""Addresses of clients, without the part that tells one household from the next."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from otel_forge.instruments.bounded import Bounded

_KEPT_BITS = {4: 24, 6: 48}
_MOST = 4096
_ZONE = "%"
_truncated = Bounded(_MOST)


def truncated(address: str) -> str | None:
    """Return `address` with all but its first 24 bits (IPv4) or 48 bits (IPv6) zero; None for what is no address.

    These are the lengths that privacy practice has settled on: a network, not a person.
    """
    known: str | None = _truncated.get(address)
    if known is None:
        known = _worked_out(address)
        if known is not None and _ZONE not in address:  # what may be long is not kept: a zone, or no address at all
            _truncated.keep(address, known)
    return known


def whole(address: str) -> str | None:
    """Return `address` if it is one: what a client or a proxy has made up says nothing."""
    parsed = _parsed(address)
    return None if parsed is None else str(parsed)


def _worked_out(address: str) -> str | None:
    parsed = _parsed(address)
    if parsed is None:
        return None
    dropped = parsed.max_prefixlen - _KEPT_BITS[parsed.version]
    return str(type(parsed)(int(parsed) >> dropped << dropped))


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """Return the address that the text stands for; an IPv4 address in the clothes of IPv6 is one of IPv4.

    A zone (``fe80::1%eth0``) goes: it means something on one machine only, and may be any text.
    """
    try:
        parsed = ip_address(address.partition(_ZONE)[0])
    except ValueError:  # the path of a socket, a name, nothing
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed
