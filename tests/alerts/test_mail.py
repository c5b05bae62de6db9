"""A5: mail in real SMTP conversations: TLS, users and passwords, and servers that refuse."""

from __future__ import annotations

import email
import logging
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from otel_forge.alerts.notifiers.mail import Email, MailServer
from otel_forge.alerts.sending import Patience, deliver
from tests.alerts.samples import CASES, NOW
from tests.conftest import require_tool
from tests.otlp_receiver import free_port

pytestmark = pytest.mark.gate

QUICK = Patience(attempt=5.0, total=10.0, first_pause=0.01, longest_pause=0.05)
ONCE = Patience(attempt=5.0, total=10.0, first_pause=60.0, longest_pause=60.0)
USER, PASSWORD = "app%40example.com", "pass%2Fword" + "-7731"
FROM, TO = "alerts@example.com", ("ops@example.com", "boss@example.com")


class Mailbox:
    """What a server was told: mails with their recipients; `answers` are given to RCPT and DATA first."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], Any]] = []
        self.logins: list[tuple[str, str]] = []
        self.rcpt: dict[str, str] = {}
        self.data: list[str] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.rcpt:
            return self.rcpt[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.data:
            return self.data.pop(0)
        message = email.message_from_bytes(envelope.content, policy=default)
        self.mails.append((envelope.mail_from, list(envelope.rcpt_tos), message))
        return "250 taken"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        login, password = data.login.decode(), data.password.decode()
        self.logins.append((login, password))
        return AuthResult(success=password == "pass/word-7731", handled=False)


@contextmanager
def listening(mailbox: Mailbox, host: str = "127.0.0.1", **options: Any) -> Iterator[int]:
    """Listen on a free port, which is yielded."""
    controller = Controller(mailbox, hostname=host, port=free_port(), **options)
    controller.start()
    try:
        yield int(controller.port)
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, with its key in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([str(require_tool("openssl")), *command.split(), *files], check=True, capture_output=True)
    return folder


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    """How the server speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    """How a client speaks TLS that knows the authority."""
    return ssl.create_default_context(cafile=str(certificate / "cert.pem"))


@pytest.fixture
def mailbox() -> Mailbox:
    """A mailbox, empty."""
    return Mailbox()


def notifier(url: str, context: ssl.SSLContext | None = None) -> Email:
    return Email(url, FROM, TO, wall=lambda: NOW, context=context)


def test_a_mail_arrives_at_all_recipients(mailbox: Mailbox) -> None:
    """A5: firing and resolved belong to one conversation, with both parts."""
    with listening(mailbox) as port:
        chat = notifier(f"smtp://127.0.0.1:{port}")
        assert deliver(chat, CASES["firing"], QUICK) == deliver(chat, CASES["resolved"], QUICK) == ""
    (sender, recipients, first), (_, _, second) = mailbox.mails
    assert (sender, recipients) == (FROM, list(TO))
    assert (first["Subject"], second["Subject"]) == (
        "[asset-forge-api] FIRING High Error Rate (high)",
        "[asset-forge-api] RESOLVED High Error Rate (high)",
    )
    assert first["References"] == second["References"] and first["Message-ID"] != second["Message-ID"]
    assert [part.get_content_type() for part in first.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize("case", ["hostile", "500"])
def test_hostile_alerts_and_many_of_them_are_one_sound_mail(mailbox: Mailbox, case: str) -> None:
    """A5: no header and no recipient comes out of an alert."""
    with listening(mailbox) as port:
        assert deliver(notifier(f"smtp://127.0.0.1:{port}"), CASES[case], QUICK) == ""
    [(_, recipients, message)] = mailbox.mails
    assert recipients == list(TO)
    assert message["Bcc"] is None and message["To"] == ", ".join(TO)
    assert message.defects == []


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_user_and_password_go_over_tls(
    mailbox: Mailbox, scheme: str, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """By STARTTLS or from the first byte; what is percent-encoded in the address is decoded."""
    tls: dict[str, Any] = {"ssl_context": server_tls} if scheme == "smtps" else {"tls_context": server_tls}
    tls["require_starttls"] = scheme == "smtp"
    with listening(mailbox, authenticator=mailbox.authenticate, auth_require_tls=scheme == "smtp", **tls) as port:
        address = f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{port}?starttls=required"
        assert deliver(notifier(address, trusting), CASES["firing"], QUICK) == ""
    assert mailbox.logins == [("app@example.com", "pass/word-7731")]
    assert len(mailbox.mails) == 1


def test_a_wrong_password_is_said_and_not_tried_again(
    mailbox: Mailbox, server_tls: ssl.SSLContext, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    """An account must not be locked by us; the password is in no text."""
    with (
        caplog.at_level(logging.DEBUG),
        listening(mailbox, authenticator=mailbox.authenticate, tls_context=server_tls) as port,
    ):
        wrong = notifier(f"smtp://app:not-the-one@127.0.0.1:{port}", trusting)
        reason = deliver(wrong, CASES["firing"], QUICK)
    assert reason == "the mail server does not accept user and password (535)"
    assert mailbox.logins == [("app", "not-the-one")] * 2, "smtplib tries each mechanism once"
    said = [record.getMessage() for record in caplog.records if not record.name.startswith(("mail.log", "asyncio"))]
    assert "not-the-one" not in " ".join([*said, reason, wrong.place, repr(wrong), repr(wrong.__dict__["_server"])])


def test_without_tls_nothing_is_sent_to_a_server_elsewhere(mailbox: Mailbox) -> None:
    """Unless the address says so; on this machine TLS is used where it is offered."""
    with listening(mailbox) as port:
        strict = deliver(notifier(f"smtp://127.0.0.1:{port}?starttls=required"), CASES["firing"], QUICK)
        assert strict == "the mail server offers no STARTTLS, and the address does not say starttls=never"
        assert mailbox.mails == []
        assert deliver(notifier(f"smtp://127.0.0.1:{port}?starttls=never"), CASES["firing"], QUICK) == ""
    assert (MailServer.of("smtp://mail.test").starttls, MailServer.of("smtp://mail.test").port) == ("required", 587)
    assert (MailServer.of("smtps://mail.test").is_tls, MailServer.of("smtps://mail.test").port) == (True, 465)


def test_no_password_goes_to_a_server_elsewhere_without_tls() -> None:
    """Who strips STARTTLS gets none, unless the address says starttls=never; mail without a user goes."""
    mailbox, elsewhere = Mailbox(), "127.0.0.2"  # not one of the names of this machine
    with listening(mailbox, elsewhere, authenticator=mailbox.authenticate, auth_require_tls=False) as port:
        server = f"{elsewhere}:{port}"
        refused = deliver(notifier(f"smtp://{USER}:{PASSWORD}@{server}?starttls=offered"), CASES["firing"], QUICK)
        assert refused == "the mail server offers no STARTTLS, and the address does not say starttls=never"
        assert not mailbox.logins and not mailbox.mails
        assert deliver(notifier(f"smtp://{server}?starttls=offered"), CASES["firing"], QUICK) == ""
        assert deliver(notifier(f"smtp://{USER}:{PASSWORD}@{server}?starttls=never"), CASES["firing"], QUICK) == ""
    assert (len(mailbox.logins), len(mailbox.mails)) == (1, 2)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_certificate_that_is_not_trusted_ends_it(mailbox: Mailbox, scheme: str, server_tls: ssl.SSLContext) -> None:
    """Nothing is sent to whoever shows it."""
    tls: dict[str, Any] = {"ssl_context": server_tls} if scheme == "smtps" else {"tls_context": server_tls}
    with listening(mailbox, **tls) as port:
        reason = deliver(notifier(f"{scheme}://127.0.0.1:{port}"), CASES["firing"], QUICK)
    assert reason == "the certificate of the mail server is not trusted"
    assert mailbox.mails == []


def test_what_is_refused_for_the_moment_is_tried_again(mailbox: Mailbox) -> None:
    """A5: 4xx later, 5xx never."""
    mailbox.data = ["451 greylisted", "421 too busy"]
    with listening(mailbox) as port:
        chat = notifier(f"smtp://127.0.0.1:{port}")
        assert deliver(chat, CASES["firing"], QUICK) == ""
        mailbox.data = ["554 looks like spam"] * 5
        assert deliver(chat, CASES["firing"], QUICK) == "the mail server answers 554"
    assert len(mailbox.mails) == 1 and len(mailbox.data) == 4


@pytest.mark.parametrize(
    ("answers", "reason", "mails"),
    [
        ({TO[0]: "550 no such user", TO[1]: "550 no such user"}, "all recipients are refused (550)", 0),
        ({TO[0]: "450 busy", TO[1]: "550 no such user"}, "all recipients are refused (450, 550)", 0),
        ({TO[0]: "550 no such user"}, "1 of 2 recipients are refused (550); the others have it", 1),
    ],
)
def test_recipients_that_are_refused_are_said(
    mailbox: Mailbox, answers: dict[str, str], reason: str, mails: int
) -> None:
    """How many, and with which code."""
    mailbox.rcpt = answers
    with listening(mailbox) as port:
        assert deliver(notifier(f"smtp://127.0.0.1:{port}"), CASES["firing"], ONCE) == reason
    assert len(mailbox.mails) == mails


def test_nobody_listens() -> None:
    """A5: said in words."""
    assert deliver(notifier(f"smtp://127.0.0.1:{free_port()}"), CASES["firing"], ONCE) == "connection refused"


def test_a_server_that_hangs_is_given_up_in_time() -> None:
    """A5: it accepts and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reason = deliver(notifier(f"smtp://127.0.0.1:{port}"), CASES["firing"], Patience(0.1, 0.3, 0.01, 0.01))
    assert reason.startswith("no answer in time")


def test_the_password_is_not_in_what_a_server_looks_like() -> None:
    """Somebody may print it."""
    assert "word-7731" not in repr(MailServer.of(f"smtp://{USER}:{PASSWORD}@mail.test"))
