"""The outlet ``email:a@b``: an answer as a mail, handed to an SMTP server (RFC 5321) in a thread.

``Message-ID`` is made from the message's key alone, so a mail sent again after a crash can be told as the same.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import trio

from hermesd.gateway.outlets import refuse
from hermesd.gateway.platform import PlatformError, Sent
from hermesd.triggers.obstacles import mail_obstacle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from email.message import EmailMessage

    from hermesd.config.schema import EmailConfig
    from hermesd.gateway.platform import Certainty
    from hermesd.store.records import OutboxRow

TIMEOUT_S = 30.0
MAX_SUBJECT_CHARS = 78


class EmailOutlet:
    """Mails to the address in a row's ``chat``, with the settings that are in force when it does."""

    def __init__(self, config: Callable[[], EmailConfig]) -> None:
        self._config = config
        self._limiter = trio.CapacityLimiter(2)

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Hand the mail over; raises PlatformError, permanent for a refusal of class 5 (RFC 5321, 4.2.1)."""
        config = self._config()
        refuse(mail_obstacle(config))
        mail = mail_of(row, config.sender)
        await trio.to_thread.run_sync(_hand_over, config, mail, limiter=self._limiter)
        return Sent(mail["Message-ID"])


def mail_of(row: OutboxRow, sender: str) -> EmailMessage:
    """The mail of a row: its first line is the subject."""
    from datetime import UTC, datetime
    from email.message import EmailMessage

    mail = EmailMessage()
    first = next((line.strip() for line in row.text.splitlines() if line.strip()), "")
    mail["Subject"] = "".join(c for c in first if c.isprintable())[:MAX_SUBJECT_CHARS] or f"From {row.profile}"
    mail["From"] = sender
    mail["To"] = row.address.chat
    mail["Date"] = datetime.fromtimestamp(row.created_at, UTC)
    digest = hashlib.sha256(row.idempotency_key.encode()).hexdigest()[:32]
    mail["Message-ID"] = f"<{digest}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nothing shall answer it by itself
    mail.set_content(row.text)
    return mail


def _hand_over(config: EmailConfig, mail: EmailMessage) -> None:
    import smtplib
    import ssl

    connected = False
    try:
        with smtplib.SMTP(config.host, config.port, timeout=TIMEOUT_S) as server:
            if config.starttls:
                server.starttls(context=ssl.create_default_context())
            if config.user:
                server.login(config.user, config.password)
            connected = True
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        code = max(code for code, _ in error.recipients.values())
        raise _refused(code, config.host) from error
    except smtplib.SMTPResponseException as error:
        raise _refused(error.smtp_code, config.host) from error
    except (OSError, smtplib.SMTPException) as error:  # smtplib's errors are OSErrors: the two above come first
        certainty: Certainty = "unknown" if connected else "not_sent"
        words = f"the mail server failed: {type(error).__name__}"
        raise PlatformError(words, where=config.host, certainty=certainty) from error


def _refused(code: int, where: str) -> PlatformError:
    return PlatformError(f"the mail server answered {code}", where=where, permanent=code >= 500)
