"""Rate limits, watched: every decision of a limiter is counted, shown on the span and told to the client.

Flask-Limiter is watched where it asks its strategy (``limits.strategies.RateLimiter``: `hit`, `test`), so each limit
of a request is seen, exceeded or not, and so is a store that fails. Any other limiter says it by `RateLimits.observe`.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable
from threading import RLock
from typing import Any, Literal

import flask
from flask import Flask, Response
from flask.typing import ResponseReturnValue
from opentelemetry import trace
from werkzeug.exceptions import TooManyRequests

from otel_forge.fork import on_fork_in_child
from otel_forge.guard import guard
from otel_forge.instruments import spans
from otel_forge.logs.record import FIELDS
from otel_forge.metrics.rate_limits import Counters, counters
from otel_forge.notices import notice
from otel_forge.settings import Settings
from otel_forge.web.decisions import DECISIONS, Decided, Decision, OfRequest, judged, of_request, tightest
from otel_forge.web.exceeding import LOGGER, Exceeding, KeyHash
from otel_forge.web.limit_answers import STATUS, add_headers, refusal

Mode = Literal["fail_open", "fail_closed", "fallback"]
_MODES: dict[Mode, str] = {
    "fail_open": "requests are let through unlimited",
    "fail_closed": "requests are refused",
    "fallback": "limits are kept in the memory of each process",
}
_EXTENSION = "otel_forge_rate_limits"
_WATCHED = "otel_forge_watched"
_STORE = "store"
_OTHER = "other"
_MOST_NAMES = 100


class RateLimits:
    """Watches the limiter of an app: ``RateLimits(app, limiter)`` with one of Flask-Limiter, or `init_app` later.

    Without a limiter, `observe` is told what another one decides. `headers` says which answers tell the client about
    its limits: those that are "exceeded", or "always". `ask_remaining` is what near_limit and `remaining` rest on and
    costs one more question to the limiter's store; without it only a limit that is exceeded asks. Raises ValueError
    for other `headers`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        limiter: Any = None,
        *,
        headers: Literal["exceeded", "always"] = "exceeded",
        ask_remaining: bool = True,
        counters: Counters | None = None,
        exceeding: Exceeding | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if headers not in ("exceeded", "always"):
            raise ValueError(f"headers={headers!r} is not one of exceeded, always.")
        self._limiter = limiter
        self._tells_always = headers == "always"
        self._asks_remaining = ask_remaining
        self._counters = counters
        self._exceeding = exceeding or Exceeding()
        self._hash = KeyHash(Settings.from_env(os.environ).rate_limit_secret)
        self._clock = clock
        self._store = _Store()
        self._names: set[str] = set()
        self._lock = RLock()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, limiter: Any = None) -> None:
        """Watch the limiter of `app`; its limiter may be initialised before or after."""
        self._limiter = limiter or self._limiter
        if _EXTENSION in app.extensions:
            raise ValueError(f"The rate limits of {app.name!r} are watched already.")
        app.extensions[_EXTENSION] = self
        app.before_request_funcs.setdefault(None, []).insert(0, self._begin)  # before the limiter's own
        app.after_request(self._answered)
        app.teardown_request(self._torn_down)
        if not app.error_handler_spec[None][STATUS]:
            app.register_error_handler(TooManyRequests, self._refused)

    def observe(
        self,
        *,
        limit: int | None = None,
        remaining: int | None = None,
        reset: float | None = None,
        window: int | None = None,
        decision: Decision | None = None,
        key: str | None = None,
        name: str = "default",
    ) -> None:
        """Say what a limiter has decided about the request that is being served. Never raises.

        The limit called `name` allows `limit` requests in `window` seconds, `remaining` are left, and all are back in
        `reset` seconds. `decision` is allowed, near_limit, exceeded or store_failing; without one, the numbers say
        whether an allowed request is near the limit. `key` is who is limited: it is hashed for the log and goes
        nowhere else.
        """
        with guard("observing a rate limit"):
            if decision is not None and decision not in DECISIONS:
                notice(
                    f"decision={decision!r} of a rate limit is not one of {', '.join(DECISIONS)}; it is not counted."
                )
                return
            judgement = decision or judged(limit, remaining)
            self._note(Decided(name, judgement, limit, remaining, reset, window), key, name)

    # -- the way of a request --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Watch the strategy that the limiter uses now: another one while its store fails."""
        limiter = self._limiter
        if limiter is None:
            return
        try:
            if limiter.enabled and limiter.initialized:
                self._watch(limiter.limiter)
        except Exception:  # noqa: BLE001 - the request is limited as ever
            spans.complain("watching the limiter")

    def _answered(self, response: Response) -> Response:
        """Tell the client how it stands."""
        with guard("telling of rate limits"):
            self._exceeding.look()
            known = of_request(flask.request.environ)
            if known.failure is not None and not known.is_told:
                self._tell_failure(known, "fail_closed" if response.status_code >= 500 else self._mode(known))
            if known.by_limit and (self._tells_always or response.status_code == STATUS):
                add_headers(response, known.by_limit.values())
        return response

    def _torn_down(self, error: BaseException | None = None) -> None:
        """End the request; one whose exception left the app had no answer."""
        with guard("telling of rate limits"):
            known = of_request(flask.request.environ)
            if known.failure is not None and not known.is_told:
                self._tell_failure(known, "fail_closed")
            span = trace.get_current_span()
            if known.by_limit and span.is_recording():
                span.set_attributes(tightest(known.by_limit.values()).attributes())

    def _refused(self, error: TooManyRequests) -> ResponseReturnValue:
        """Answer a request that exceeds a limit; an ``abort(429)`` of the application's own stays."""
        return refusal(error, of_request(flask.request.environ))

    # -- Flask-Limiter ---------------------------------------------------------------------------------------------

    def _watch(self, strategy: Any) -> None:
        """Stand between the limiter and its strategy, which is asked about each limit of each request."""
        if getattr(strategy, _WATCHED, False):
            return
        with self._lock:
            if not getattr(strategy, _WATCHED, False):
                strategy.hit = functools.partial(self._asked, strategy, strategy.hit)
                strategy.test = functools.partial(self._asked, strategy, strategy.test)
                setattr(strategy, _WATCHED, True)

    def _asked(self, strategy: Any, ask: Callable[..., bool], item: Any, *identifiers: str, **options: Any) -> bool:
        """Ask, and note the answer; what the store raises is the limiter's to deal with."""
        try:
            passed = ask(item, *identifiers, **options)
        except Exception as error:
            self._failed(strategy, error)
            raise
        try:
            self._passed(strategy, item, identifiers, passed)
        except Exception:  # noqa: BLE001 - the decision stands, noted or not
            spans.complain("noting the decision of a limiter")
        return passed

    def _passed(self, strategy: Any, item: Any, identifiers: tuple[str, ...], passed: bool) -> None:
        """Note a decision, once for each limit of a request: some are tested first and hit afterwards."""
        if self._store.is_well_again(strategy):
            _say_recovered()
        where = str(item.key_for(*identifiers))
        before = of_request(flask.request.environ).by_limit.get(where) if flask.has_request_context() else None
        if before is not None and (passed or before.decision == "exceeded"):
            return
        remaining, reset = None, None
        if self._asks_remaining or not passed:
            remaining, reset = self._window(strategy, item, identifiers)
        judgement = judged(item.amount, remaining) if passed else "exceeded"
        key = identifiers[-2] if len(identifiers) > 1 else "".join(identifiers)
        self._note(Decided(str(item), judgement, item.amount, remaining, reset, item.get_expiry()), key, where)

    def _window(self, strategy: Any, item: Any, identifiers: tuple[str, ...]) -> tuple[int | None, float | None]:
        """Return what is left and in how many seconds all is back; unknown if the store fails just now."""
        try:
            reset_at, remaining = strategy.get_window_stats(item, *identifiers)
        except Exception:  # noqa: BLE001 - it will fail again for the limiter, which then decides
            return None, None
        return remaining, max(reset_at - self._clock(), 0.0)

    # -- a store that fails ----------------------------------------------------------------------------------------

    def _failed(self, strategy: Any, error: Exception) -> None:
        """Remember that the store has failed; what the limiter makes of it is known when the request is over."""
        with guard("noting the store of a limiter"):
            self._store.fails(strategy)
            if flask.has_request_context():
                known = of_request(flask.request.environ)
                known.failure, known.failed = error, strategy

    def _mode(self, known: OfRequest) -> Mode:
        """Return how a request got through without the store."""
        return "fail_open" if self._limiter is None or self._limiter.limiter is known.failed else "fallback"

    def _tell_failure(self, known: OfRequest, mode: Mode) -> None:
        known.is_told = True
        self._note(Decided(_STORE, "store_failing"), None, _STORE)
        if self._store.is_news(mode):
            kind = type(known.failure).__qualname__
            fields = {
                "otel.event.name": "otel_forge.rate_limit.store_failing",
                "otel_forge.rate_limit.mode": mode,
                "error.type": kind,
            }
            message = "the store of the rate limiter fails (%s): %s"
            logging.getLogger(LOGGER).error(message, kind, _MODES[mode], extra={FIELDS: fields})

    # -- what becomes of a decision --------------------------------------------------------------------------------

    def _note(self, decided: Decided, key: str | None, where: str) -> None:
        """Count a decision, keep it for the end of the request, and warn if it says that a limit is exceeded.

        `where` tells limits of the same name apart.
        """
        route = ""
        if flask.has_request_context():
            rule = flask.request.url_rule
            route = "" if rule is None else rule.rule
            of_request(flask.request.environ).by_limit[where] = decided
        (self._counters or counters()).decided(decided.decision, route, self._label(decided.name))
        if decided.decision == "exceeded":
            self._exceeding.exceeded(route, self._hash(key or ""), decided)

    def _label(self, name: str) -> str:
        """Return the name of a limit as a label value: a limit may be computed, and then has any name."""
        if name not in self._names:
            if len(self._names) >= _MOST_NAMES:
                return _OTHER
            self._names.add(name)
        return name


class _Store:
    """Whether a store works, so that only changes are said."""

    def __init__(self) -> None:
        self._begin_anew()
        on_fork_in_child(self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = RLock()
        self._failing: Any = None
        self._said: Mode | None = None

    def fails(self, strategy: Any) -> None:
        """Note that the store behind `strategy` fails."""
        self._failing = strategy

    def is_well_again(self, strategy: Any) -> bool:
        """Note that the store behind `strategy` works; return whether the contrary has been said."""
        if self._failing is not strategy:
            return False
        with self._lock:
            self._failing = None
            said, self._said = self._said, None
        return said is not None

    def is_news(self, mode: Mode) -> bool:
        """Return whether `mode` has not been said yet."""
        with self._lock:
            said, self._said = self._said, mode
        return said != mode


def _say_recovered() -> None:
    fields = {"otel.event.name": "otel_forge.rate_limit.store_recovered"}
    logging.getLogger(LOGGER).warning("the store of the rate limiter works again", extra={FIELDS: fields})
