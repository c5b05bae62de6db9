"""Headers that a caller may send, and what W3C Trace Context (level 1 and 2) wants a service to make of them.

Written from the recommendation: sections "Traceparent Header", "Versioning of traceparent" and "Tracestate Header".
"""

from __future__ import annotations

from dataclasses import dataclass

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"
NEW = "03"
"""Flags of a trace that begins here: sampled, and with a random id."""


@dataclass(frozen=True)
class Case:
    """Headers that came in; whether the trace goes on; the flags and tracestate that should go out.

    `departs` says why no tracestate goes out instead: upstream's propagator, which both pipelines use, drops it all.
    """

    name: str
    headers: tuple[tuple[str, str], ...]
    continues: bool
    flags: str = "01"
    state: str = ""
    departs: str = ""


def _parent(name: str, value: str, continues: bool, flags: str = "") -> Case:
    return Case(name, (("traceparent", value),), continues, flags or ("01" if continues else NEW))


def _state(name: str, *values: str, goes_on: str = "", departs: str = "") -> Case:
    """Return a case of a valid traceparent with `values` as tracestate headers, of which `goes_on` goes out."""
    headers = (("traceparent", VALID), *(("tracestate", value) for value in values))
    return Case(name, headers, True, "01", goes_on, departs)


def _members(count: int) -> str:
    return ",".join(f"v{number}={number}" for number in range(count))


def _long(count: int, last: str, length: int = 250) -> str:
    """Return a state of `count` members with long values and a last one."""
    return ",".join(
        [*(f"{chr(ord('a') + number % 26) * (1 + number // 26)}={'v' * length}" for number in range(count)), last]
    )


_KEY_LONGEST, _VALUE_LONGEST = "k" * 256, "v" * 256
_ALL_KEY = "0az_-*/@b"
_ALL_VALUE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")[1:]

TRACEPARENT = (
    Case("none", (), False, NEW),
    _parent("valid", VALID, True),
    _parent("not sampled", f"00-{TRACE}-{PARENT}-00", True, "00"),
    _parent("random", f"00-{TRACE}-{PARENT}-03", True, "03"),
    _parent("random, not sampled", f"00-{TRACE}-{PARENT}-02", True, "02"),
    _parent("flags reserved for the future are cleared", f"00-{TRACE}-{PARENT}-ff", True, "03"),
    _parent("only flags reserved for the future", f"00-{TRACE}-{PARENT}-fc", True, "00"),
    Case("name in upper case", (("TRACEPARENT", VALID),), True),
    Case("name in mixed case", (("TraceParent", VALID),), True),
    Case("another name", (("trace-parent", VALID),), False, NEW),
    _parent("blanks around", f" \t{VALID} \t", True),
    _parent("empty", "", False),
    _parent("no fields", "00", False),
    _parent("version ff", f"ff-{TRACE}-{PARENT}-01", False),
    _parent("version of one digit", f"0-{TRACE}-{PARENT}-01", False),
    _parent("version of three digits", f"000-{TRACE}-{PARENT}-01", False),
    _parent("version with a dot", f".0-{TRACE}-{PARENT}-01", False),
    _parent("version in upper case", f"CC-{TRACE}-{PARENT}-01", False),
    _parent("version 00 and more", f"{VALID}-more", False),
    _parent("version 00 and a dot", f"{VALID}.", False),
    _parent("version 00 and a dash", f"{VALID}-", False),
    _parent("future version", f"cc-{TRACE}-{PARENT}-01", True),
    _parent("future version and more", f"cc-{TRACE}-{PARENT}-01-what-comes-next", True),
    _parent("future version and a dash", f"cc-{TRACE}-{PARENT}-01-", True),
    _parent("future version, flags not ended", f"cc-{TRACE}-{PARENT}-01.what-comes-next", False),
    _parent("future version, too short", f"cc-{TRACE}-{PARENT}-0", False),
    _parent("future version, no trace", f"cc-{'0' * 32}-{PARENT}-01", False),
    _parent("trace id of zeros", f"00-{'0' * 32}-{PARENT}-01", False),
    _parent("trace id in upper case", f"00-{TRACE.upper()}-{PARENT}-01", False),
    _parent("trace id with a dot", f"00-.{TRACE[1:]}-{PARENT}-01", False),
    _parent("trace id too long", f"00-{TRACE}0-{PARENT}-01", False),
    _parent("trace id too short", f"00-{TRACE[1:]}-{PARENT}-01", False),
    _parent("parent id of zeros", f"00-{TRACE}-{'0' * 16}-01", False),
    _parent("parent id in upper case", f"00-{TRACE}-{PARENT.upper()}-01", False),
    _parent("parent id with a dot", f"00-{TRACE}-{PARENT[:-1]}.-01", False),
    _parent("parent id too long", f"00-{TRACE}-{PARENT}0-01", False),
    _parent("parent id too short", f"00-{TRACE}-{PARENT[1:]}-01", False),
    _parent("flags too long", f"00-{TRACE}-{PARENT}-001", False),
    _parent("flags too short", f"00-{TRACE}-{PARENT}-1", False),
    _parent("flags with a dot", f"00-{TRACE}-{PARENT}-.1", False),
    _parent("flags in upper case", f"00-{TRACE}-{PARENT}-0A", False),
    _parent("another delimiter", VALID.replace("-", "_"), False),
    Case("twice", (("traceparent", VALID), ("traceparent", f"00-{TRACE[::-1]}-{PARENT}-01")), False, NEW),
    Case("twice the same", (("traceparent", VALID), ("traceparent", VALID)), False, NEW),
)

TRACESTATE = (
    Case("state without a parent", (("tracestate", "a=1"),), False, NEW),
    Case("state of a broken parent", (("traceparent", "00"), ("tracestate", "a=1")), False, NEW),
    Case("state not sampled", (("traceparent", f"00-{TRACE}-{PARENT}-00"), ("tracestate", "a=1")), True, "00", "a=1"),
    Case("state of a future version", (("traceparent", f"cc-{TRACE}-{PARENT}-01-x"), ("tracestate", "a=1")), True,
         "01", "a=1"),
    Case("state name in upper case", (("traceparent", VALID), ("TRACESTATE", "a=1")), True, "01", "a=1"),
    _state("one member", "a=1", goes_on="a=1"),
    _state("order is kept", "z=1,a=2,m=3", goes_on="z=1,a=2,m=3"),
    _state("several headers", "a=1,b=2", "c=3", goes_on="a=1,b=2,c=3"),
    _state("blanks around members", "a=1 \t , \t b=2", goes_on="a=1,b=2"),
    _state("blanks around all", " \ta=1 \t", goes_on="a=1"),
    _state("blanks inside a value", "a=1 2", goes_on="a=1 2"),
    _state("blanks before a value", "a= 1,b=2", goes_on="a= 1,b=2"),
    _state("state empty", ""),
    _state("state blank", " \t "),
    _state("empty members", "a=1,,b=2, ,", goes_on="a=1,b=2"),
    _state("an empty header before", "", "a=1", goes_on="a=1"),
    _state("an empty header behind", "a=1", "", goes_on="a=1"),
    _state("duplicated keys", "a=1,b=2,a=3", goes_on="a=1,b=2",
           departs="the recommendation forbids to send it, and leaves open what becomes of it"),
    _state("all characters", f"{_ALL_KEY}={_ALL_VALUE}", goes_on=f"{_ALL_KEY}={_ALL_VALUE}"),
    _state(
        "key begins with a digit",
        "1a=1",
        goes_on="1a=1",
        departs="opentelemetry-api knows the keys of level 1, and this is one of level 2 only",
    ),
    _state("key of a tenant", "fw529a3039@dt=1", goes_on="fw529a3039@dt=1"),
    _state("longest key", f"{_KEY_LONGEST}=1", goes_on=f"{_KEY_LONGEST}=1"),
    _state("key too long", f"{_KEY_LONGEST}k=1,b=2"),
    _state("key in upper case", "A=1,b=2"),
    _state("key with a dot", "a.b=1,b=2"),
    _state("key with a blank", "a =1,b=2"),
    _state("key begins with a dash", "-a=1,b=2"),
    _state("key begins with an at sign", "@a=1,b=2"),
    _state("no key", "=1,b=2"),
    _state("no value", "a=,b=2"),
    _state("no equals sign", "a,b=2"),
    _state("two equals signs", "a=1=2,b=2"),
    _state("a tab in a value", "a=1\t2,b=2"),
    _state("longest value", f"a={_VALUE_LONGEST}", goes_on=f"a={_VALUE_LONGEST}"),
    _state("value too long", f"a={_VALUE_LONGEST}v,b=2"),
    _state("32 members", _members(32), goes_on=_members(32)),
    _state("32 members in two headers", _members(31), "last=1", goes_on=f"{_members(31)},last=1"),
    _state("33 members", _members(33)),
    _state("512 characters", _long(2, "zz=123"), goes_on=_long(2, "zz=123")),
    _state("513 characters", _long(2, "zz=1234"), goes_on=_long(2, "zz=1234")),
    _state("8 KB", _long(31, "zz=1"), goes_on=_long(31, "zz=1")),
    _state("more than 8 KB", _long(31, f"zz={'v' * 250}", 256), goes_on=_long(31, f"zz={'v' * 250}", 256),
           departs="512 characters are the least that should be passed on; upstream draws a line at 8192"),
)  # fmt: skip

CASES = (*TRACEPARENT, *TRACESTATE)
