"""E-mail: one message with a plain and an HTML part, over SMTP with STARTTLS or TLS (RFC 5321, RFC 3207, RFC 8314).

User and password are only sent over an encrypted connection, unless the address of the server says ``starttls=never``
or it is on this machine.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from otel_forge.alerts.alert import Alert, worst_first
from otel_forge.alerts.notifiers.letter import html_of, subject_of, text_of
from otel_forge.alerts.sending import Later, NotDelivered, Refused

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class MailServer:
    """A mail server; `starttls` is required, offered (used if the server has it) or never."""

    host: str
    port: int
    is_tls: bool
    starttls: str
    user: str
    password: str = field(repr=False)

    @property
    def wants_tls(self) -> bool:
        """Whether nothing may be sent without TLS: ``offered`` is no leave to show a password to the network."""
        is_secret = bool(self.user) and self.host not in _LOOPBACK
        return self.starttls == "required" or (self.starttls == "offered" and is_secret)

    @classmethod
    def of(cls, url: str) -> MailServer:
        """Return the server that an address names; raises ValueError for one that is none."""
        parts = urlsplit(url)
        host, scheme = parts.hostname or "", parts.scheme.lower()
        usual = "offered" if host in _LOOPBACK else "required"
        [starttls] = parse_qs(parts.query).get("starttls", [usual])
        port = parts.port or _PORTS[scheme]
        return cls(
            host,
            port,
            scheme == "smtps",
            starttls.lower(),
            unquote(parts.username or ""),
            unquote(parts.password or ""),
        )


class Email:
    """Tells the mailboxes `recipients`; `context` is what TLS goes by, the system's certificates by default."""

    name = "email"

    def __init__(
        self,
        url: str,
        sender: str,
        recipients: Sequence[str],
        *,
        wall: Callable[[], float] = time.time,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._server = MailServer.of(url)
        self._sender = sender
        self._recipients = tuple(recipients)
        self._wall = wall
        self._context = context
        self.place = f"e-mail to {', '.join(recipients)} (by {self._server.host}:{self._server.port})"

    def messages(self, alerts: Sequence[Alert]) -> Sequence[EmailMessage]:
        """Return one message, whatever the number of alerts."""
        ordered = worst_first(list(alerts))
        return [self._message(ordered)] if ordered else []

    def _message(self, alerts: Sequence[Alert]) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = subject_of(alerts)
        message["From"] = self._sender
        message["To"] = ", ".join(self._recipients)
        message["Date"] = formatdate(self._wall())
        domain = parseaddr(self._sender)[1].rpartition("@")[2]
        message["Message-ID"] = f"<{alerts[0].key}.{alerts[0].state}.{self._wall():.0f}@{domain}>"
        if len(alerts) == 1:  # so that mail programs show what is resolved below what fired
            message["References"] = f"<{alerts[0].key}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        message.set_content(text_of(alerts), cte="quoted-printable")
        message.add_alternative(html_of(alerts), subtype="html", cte="quoted-printable")
        message.set_boundary(f"=_{alerts[0].key}")
        return message

    def send(self, message: EmailMessage, timeout: float) -> None:
        """Send a message to all recipients. Raises Later or Refused."""
        try:
            self._send(message, timeout)
        except NotDelivered:
            raise
        except Exception as error:  # noqa: BLE001 - of smtplib, ssl, sockets: its text may hold what the server echoes
            failure = _failure(error)
        else:
            return
        raise failure from None

    def _send(self, message: EmailMessage, timeout: float) -> None:
        connection = self._connected(timeout)
        try:
            if self._server.user:
                connection.login(self._server.user, self._server.password)
            refused = connection.send_message(message, self._sender, self._recipients)
            with suppress(Exception):  # what was taken is taken, however the server says good-bye
                connection.quit()
        finally:
            connection.close()
        if refused:
            codes = ", ".join(sorted({str(code) for code, _ in refused.values()}))
            raise Refused(
                f"{len(refused)} of {len(self._recipients)} recipients are refused ({codes}); the others have it"
            )

    def _connected(self, timeout: float) -> smtplib.SMTP:
        """Return a connection that is as safe as it has to be."""
        server, name = self._server, _own_name()
        if server.is_tls:
            return smtplib.SMTP_SSL(server.host, server.port, name, timeout=timeout, context=self._tls())
        connection = smtplib.SMTP(server.host, server.port, name, timeout=timeout)
        try:
            connection.ehlo_or_helo_if_needed()
            if server.starttls != "never" and connection.has_extn("starttls"):
                connection.starttls(context=self._tls())
            elif server.wants_tls:
                raise Refused("the mail server offers no STARTTLS, and the address does not say starttls=never")
        except BaseException:
            connection.close()
            raise
        return connection

    def _tls(self) -> ssl.SSLContext:
        return self._context or ssl.create_default_context()


def _own_name() -> str:
    """Return what we call ourselves, without asking a name server."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"


def _failure(error: Any) -> NotDelivered:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = {int(code) for code, _ in error.recipients.values()}
        said = f"all recipients are refused ({', '.join(map(str, sorted(codes)))})"
        return Later(said) if any(400 <= code < 500 for code in codes) else Refused(said)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        said = f"the mail server does not accept user and password ({error.smtp_code})"
        return Later(said) if 400 <= error.smtp_code < 500 else Refused(said)
    if isinstance(error, smtplib.SMTPResponseException):
        said = f"the mail server answers {error.smtp_code}"
        return Later(said) if 400 <= error.smtp_code < 500 or error.smtp_code < 0 else Refused(said)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Refused("the mail server does not offer what is needed (AUTH or STARTTLS)")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused("the certificate of the mail server is not trusted")
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return Later("no answer in time")
    if isinstance(error, ConnectionRefusedError):
        return Later("connection refused")
    if isinstance(error, socket.gaierror):
        return Later("unknown host")
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return Later("the mail server has closed the connection")
    return Later(type(error).__name__)
