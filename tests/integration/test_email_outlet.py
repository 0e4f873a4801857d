"""Answers mailed through a real SMTP server (aiosmtpd) on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from hermesd.config.schema import EmailConfig
from hermesd.gateway.outlets_email import EmailOutlet
from hermesd.gateway.platform import PlatformError
from hermesd.store.records import Address, OutboxRow


class Mailbox:
    """Keeps what it takes; refuses recipients as ``code`` says."""

    def __init__(self) -> None:
        self.mails: list[Any] = []  # Any: the email package's message class depends on its policy
        self.code = 250

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.code == 250:
            envelope.rcpt_tos.append(address)
        return f"{self.code} as told"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"


@pytest.fixture
def box() -> Iterator[tuple[Mailbox, EmailConfig]]:
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=0)
    import socket

    with socket.socket() as free:  # the controller cannot say which port it was given for 0
        free.bind(("127.0.0.1", 0))
        controller.port = free.getsockname()[1]
    controller.start()
    try:
        yield mailbox, EmailConfig(host="127.0.0.1", port=controller.port, sender="bot@example.org", starttls=False)
    finally:
        controller.stop()


def row(key: str = "k", text: str = "Wöchentlich\nEin Satz.") -> OutboxRow:
    return OutboxRow(id=1, profile="default", address=Address(platform="email", chat="ann@example.org"), text=text,
                     idempotency_key=key, state="pending", created_at=1_800_000_000.0)  # fmt: skip


async def ignore(ref: str) -> None:
    """Nobody is shown the progress."""


async def test_a_mail_arrives_and_a_repeat_has_its_message_id(box: tuple[Mailbox, EmailConfig]) -> None:
    """Subject, text and addresses as sent; the id is made from the key."""
    mailbox, config = box
    for key in ("a", "a", "b"):
        await EmailOutlet(lambda: config).send(row(key), progress=ignore)
    first, repeat, other = mailbox.mails
    assert (first["Subject"], first["From"], first["To"]) == ("Wöchentlich", "bot@example.org", "ann@example.org")
    assert first.get_content().splitlines() == ["Wöchentlich", "Ein Satz."]
    assert first["Message-ID"] == repeat["Message-ID"] != other["Message-ID"]


@pytest.mark.parametrize(("code", "permanent"), [(450, False), (550, True)])
async def test_a_refusal_is_final_only_in_class_five(
    box: tuple[Mailbox, EmailConfig], code: int, permanent: bool
) -> None:
    """RFC 5321, 4.2.1."""
    mailbox, config = box
    mailbox.code = code
    with pytest.raises(PlatformError) as caught:
        await EmailOutlet(lambda: config).send(row(), progress=ignore)
    assert (caught.value.permanent, mailbox.mails) == (permanent, [])


async def test_a_password_does_not_go_out_in_clear() -> None:
    """Nothing is connected to; the next step says what to set."""
    config = EmailConfig(host="192.0.2.1", sender="bot@example.org", user="bot", password="x", starttls=False)
    with pytest.raises(PlatformError, match="in clear") as caught:
        await EmailOutlet(lambda: config).send(row(), progress=ignore)
    assert caught.value.permanent
    assert "starttls" in caught.value.next_step
