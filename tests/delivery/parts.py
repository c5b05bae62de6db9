"""What tests of the pipelines share: a back end in memory, and the parts that a pipeline is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from otel_forge.delivery.accounts import Account, Accounts
from otel_forge.delivery.answers import Outcome, Verdict
from otel_forge.delivery.batch import Fragment, Packer
from otel_forge.delivery.courier import Courier
from otel_forge.delivery.outbox import Outbox
from otel_forge.delivery.patience import nothing
from otel_forge.delivery.spool import Quota, Spool, SpoolDirectory
from otel_forge.otlp.envelope import EncodedResource, assemble_fragments
from otel_forge.settings import Signal

DELIVERED = Outcome(Verdict.DELIVERED)
LATER = Outcome(Verdict.LATER, "connection refused")


class Sending:
    """A back end in memory; `answer` decides what becomes of a body."""

    address = "http://back.end"

    def __init__(self, answer: Callable[[bytes], Outcome] = lambda body: DELIVERED) -> None:
        self.answer = answer
        self.bodies: list[bytes] = []
        self.ids: list[Sequence[str]] = []
        self.closed = Event()

    def send(
        self,
        body: bytes,
        timeout: float | None = None,
        *,
        ids: Sequence[str] = (),
        idle: Callable[[], object] = nothing,
    ) -> Outcome:
        outcome = self.answer(body)
        if outcome.verdict is Verdict.DELIVERED:
            self.bodies.append(body)
            self.ids.append(ids)
        return outcome

    def close(self) -> None:
        self.closed.set()


class Parts:
    """Accounts, outbox, courier and packer of one signal, with a spool in `folder` if there is one.

    The requests are the bare bytes of the records, one after the other.
    """

    def __init__(self, sending: Any, *, signal: Signal = "traces", folder: Path | None = None, **outbox: Any) -> None:
        self.signal = signal
        self.accounts = Accounts()
        self.said: list[str] = []
        self.packer = Packer(signal, joined)
        self.spool = None if folder is None else spool(folder, signal)
        self.outbox = Outbox(signal, self.accounts, self.spool, say=self.said.append, **outbox)
        self.courier = Courier(sending, self.outbox)

    @property
    def account(self) -> Account:
        """The account, having checked that it adds up."""
        account = self.accounts.of(self.signal)
        for column in (account, account.in_bytes):
            assert column.created == column.delivered + column.held + column.lost
        return account

    @property
    def counts(self) -> dict[str, Any]:
        """The counts that are not zero."""
        account = self.account
        counts = {
            "created": account.created,
            "delivered": account.delivered,
            "waiting": account.waiting,
            "in_memory": account.in_memory,
            "on_disk": account.on_disk,
            "taken_over": account.taken_over,
            **{str(reason.value): items for reason, items in account.dropped.items()},
        }
        return {name: count for name, count in counts.items() if count}


def spool(folder: Path, signal: Signal = "traces", *, capacity: int = 1 << 20, **options: Any) -> Spool:
    """Return a spool of its own, as of another process."""
    return Spool(SpoolDirectory(folder, "service"), signal, quota=Quota(capacity), max_age=86400, **options)


def joined(fragments: Sequence[Fragment]) -> bytes:
    """Return bare records one after the other."""
    return b"".join([data for _, data, _ in fragments])


def request_of(fragments: Sequence[Fragment]) -> bytes:
    """Return a proper request."""
    from opentelemetry.sdk.resources import Resource

    return assemble_fragments(EncodedResource(Resource({"service.name": "s"})), fragments)
