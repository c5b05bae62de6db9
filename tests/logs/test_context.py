"""Context fields: on every record of a block or a request, by whatever logger, in whatever thread."""

from __future__ import annotations

import asyncio
import logging
from threading import Thread

from opentelemetry import trace
from opentelemetry.context import attach, detach, get_current
from opentelemetry.sdk.trace import TracerProvider

from otel_forge.logs.context import bind_context, carry, clear_context, context_fields, log_context, unbind_context
from otel_forge.logs.describe import Describer


def test_a_block_adds_fields_to_every_record_in_it() -> None:
    """Of the standard library's loggers, too; a record's own fields win; after the block they are gone."""
    record = logging.makeLogRecord({"msg": "m", "b": "own"})
    with log_context(a=1, b=2), log_context(b=3, name="x"):
        assert Describer()(record)["data"] == {"a": 1, "b": "own", "name": "x"}
    assert dict(context_fields()) == {}


def test_what_is_bound_ends_with_the_surrounding_request() -> None:
    """A request attaches a context and detaches it: the next one on this thread starts clean."""
    token = attach(get_current())
    bind_context(user="ann", tenant="blue")
    bind_context(cart=7)
    unbind_context("tenant", "never")
    assert dict(context_fields()) == {"user": "ann", "cart": 7}
    detach(token)
    assert dict(context_fields()) == {}


def test_everything_can_be_taken_away() -> None:
    """For a worker that has no request around its jobs."""
    with log_context(a=1):
        clear_context()
        assert dict(context_fields()) == {}


def test_a_mutable_value_is_the_callers_own() -> None:
    """The mapping that others read cannot be changed by them."""
    with log_context(a=1):
        fields = context_fields()
        assert not hasattr(fields, "update")


def test_a_span_keeps_the_fields_and_fields_keep_the_span() -> None:
    """They live side by side."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    with log_context(a=1), tracer.start_as_current_span("s") as span, log_context(b=2):
        described = Describer()(logging.makeLogRecord({"msg": "m"}))
        assert described["data"] == {"a": 1, "b": 2}
        assert described["trace_id"] == trace.format_trace_id(span.get_span_context().trace_id)


def test_tasks_have_fields_of_their_own() -> None:
    """What one coroutine binds, the other does not see."""

    async def job(number: int) -> int:
        bind_context(number=number)
        await asyncio.sleep(0)
        return int(context_fields()["number"])

    async def both() -> list[int]:
        return list(await asyncio.gather(job(1), job(2)))

    assert asyncio.run(both()) == [1, 2]


def test_a_function_can_be_carried_by_hand() -> None:
    """With arguments, results and its name."""
    seen: list[object] = []

    def job(name: str) -> None:
        """Do it."""
        seen.append((name, dict(context_fields())))

    with log_context(a=1):
        carried = carry(job)
    thread = Thread(target=carried, args=("n",))
    thread.start()
    thread.join()
    assert seen == [("n", {"a": 1})] and carried.__doc__ == "Do it."
