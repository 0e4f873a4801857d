"""Answers sent to Slack, Discord and by text message: Crabline's and mockpost's servers take them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hermesd.config.schema import DiscordConfig, SlackConfig, SmsConfig
from hermesd.gateway.outlets import Outlet
from hermesd.gateway.outlets_discord import DiscordOutlet, nonce
from hermesd.gateway.outlets_slack import SlackOutlet
from hermesd.gateway.outlets_sms import SmsOutlet
from hermesd.gateway.platform import PlatformError
from hermesd.store.records import Address, OutboxRow
from tests.servers import crabline, mockpost
from tests.servers.crabline import Crabline
from tests.servers.daemon import Daemon

LONG = "A line of twenty-one.\n" * 1000


def row(chat: str, text: str = "Grüße *✓*", *, thread: str = "", ref: str = "", repeat: bool = False) -> OutboxRow:
    return OutboxRow(
        id=1,
        profile="default",
        address=Address(platform="x", chat=chat, thread=thread),
        text=text,
        idempotency_key="reply:turn-1",
        state="pending",
        created_at=1_800_000_000.0,
        ref=ref,
        repeat=repeat,
    )


class Progress:
    """Remembers the refs it is told."""

    def __init__(self) -> None:
        self.refs: list[str] = []

    async def __call__(self, ref: str) -> None:
        self.refs.append(ref)


@pytest.fixture(scope="module")
def slack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crabline]:
    """A Slack of its own for this file."""
    with crabline.serving("slack", tmp_path_factory.mktemp("slack")) as server:
        yield server


@pytest.fixture(scope="module")
def discord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crabline]:
    """A Discord of its own for this file."""
    with crabline.serving("discord", tmp_path_factory.mktemp("discord")) as server:
        yield server


def slack_config(server: Crabline) -> SlackConfig:
    return SlackConfig(token=server.token, base_url=server.base_url, home_channel="C0123456789")


def discord_config(server: Crabline) -> DiscordConfig:
    return DiscordConfig(token=server.token, base_url=f"{server.base_url}/v10", home_channel=channel(server))


def channel(server: Crabline) -> str:
    return str(server.manifest["fixture"]["channelId"])


async def test_a_slack_message_goes_as_markdown_and_alarms_nobody(slack: Crabline) -> None:
    """The thread is kept; what would mention a whole channel is text."""
    outlet, progress = SlackOutlet(lambda: slack_config(slack)), Progress()
    first = await outlet.send(row("C0000000001", "**bold** <!channel> & <b>"), progress=progress)
    await outlet.send(row("C0000000001", "below", thread=first.ref), progress=progress)
    head, below = [call for call in slack.calls("chat.postMessage") if call["channel"] == "C0000000001"]
    assert head["blocks"] == [{"type": "markdown", "text": "**bold** &lt;!channel> & <b>"}]
    assert head["text"] == "**bold** &lt;!channel&gt; &amp; &lt;b&gt;"
    assert below["thread_ts"] == first.ref
    assert progress.refs[0] == first.ref


async def test_a_long_slack_answer_goes_on_where_a_crash_cut_it(slack: Crabline) -> None:
    """Two parts; the one that the ref names is not sent again."""
    outlet = SlackOutlet(lambda: slack_config(slack))
    whole = await outlet.send(row("C0000000002", LONG), progress=Progress())
    assert len(whole.ref.split(",")) == 2
    rest = await outlet.send(row("C0000000002", LONG, ref=whole.ref.split(",")[0], repeat=True), progress=Progress())
    texts = [call["text"] for call in slack.calls("chat.postMessage") if call["channel"] == "C0000000002"]
    assert len(texts) == 3
    assert "".join(texts[:2]) == LONG
    assert texts[2] == "(may be a repeat)\n" + texts[1]
    assert rest.ref.split(",")[0] == whole.ref.split(",")[0]


async def test_a_discord_message_has_a_nonce_and_mentions_nobody(discord: Crabline) -> None:
    """One nonce for a part, whatever the attempt; a thread is a channel."""
    outlet = DiscordOutlet(lambda: discord_config(discord))
    sent = await outlet.send(row("1", "x" * 2500 + " @everyone", thread=channel(discord)), progress=Progress())
    calls = [call for call in discord.calls("messages") if call.get("nonce") == nonce("reply:turn-1", 0)]
    assert len(calls) == 1
    assert calls[0]["enforce_nonce"] is True
    assert calls[0]["allowed_mentions"] == {"parse": []}
    assert len(sent.ref.split(",")) == 2


async def test_a_text_message_goes_through_twilio(tmp_path: Path) -> None:
    """From, to and text; 1,600 characters at most in each."""
    with mockpost.twilio(tmp_path) as server:
        config = SmsConfig(account_sid="AC1", auth_token="geheim", sender="+15550000001", base_url=server.url)
        sent = await SmsOutlet(lambda: config).send(row("+15551234567", "y" * 2000), progress=Progress())
        taken = server.messages()
    assert [len(message["body"]) <= 1600 for message in taken] == [True, True]
    assert {(message["sender"], message["recipient"]) for message in taken} == {("+15550000001", "+15551234567")}
    assert len(sent.ref.split(",")) == 2


# -- refusals ----------------------------------------------------------------------------------------------------------


@contextmanager
def answering(status: int, body: dict[str, Any], headers: dict[str, str]) -> Iterator[str]:
    """The URL of a server that says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            data = msgspec.json.encode(body)
            self.send_response(status)
            for name, text in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def outlet(name: str, url: str) -> tuple[Outlet, str]:
    """An outlet at this URL, and a place to send to."""
    if name == "slack":
        return SlackOutlet(lambda: SlackConfig(token="xoxb-geheim", base_url=url)), "C1"
    if name == "discord":
        return DiscordOutlet(lambda: DiscordConfig(token="geheim", base_url=url)), "1"
    config = SmsConfig(account_sid="AC1", auth_token="geheim", sender="+15550000001", base_url=url)
    return SmsOutlet(lambda: config), "+15551234567"


@pytest.mark.parametrize(
    ("name", "status", "body", "permanent", "certainty", "words"),
    [
        ("slack", 200, {"ok": False, "error": "invalid_auth"}, True, "not_sent", "SLACK_BOT_TOKEN"),
        ("slack", 200, {"ok": False, "error": "not_in_channel"}, True, "not_sent", "invite"),
        ("slack", 200, {"ok": False, "error": "internal_error"}, False, "unknown", "internal_error"),
        ("slack", 429, {"ok": False, "error": "ratelimited"}, False, "not_sent", "429"),
        ("slack", 502, {}, False, "unknown", "502"),
        ("discord", 401, {"message": "401: Unauthorized"}, True, "not_sent", "DISCORD_BOT_TOKEN"),
        ("discord", 404, {"message": "Unknown Channel"}, True, "not_sent", "Unknown Channel"),
        ("discord", 429, {"retry_after": 3.0}, False, "not_sent", "429"),
        ("discord", 500, {}, False, "unknown", "500"),
        ("sms", 400, {"code": 21211, "message": "Invalid 'To'"}, True, "not_sent", "21211"),
        ("sms", 401, {"code": 20003}, True, "not_sent", "TWILIO_AUTH_TOKEN"),
        ("sms", 429, {"code": 20429}, False, "not_sent", "429"),
        ("sms", 503, {}, False, "unknown", "503"),
    ],
)
async def test_refusals_are_told_apart(
    name: str, status: int, body: dict[str, Any], permanent: bool, certainty: str, words: str
) -> None:
    """Final with a next step, or tried again when the service says; nothing secret in the words."""
    with answering(status, body, {"retry-after": "3"}) as url:
        sender, chat = outlet(name, url)
        with pytest.raises(PlatformError) as caught:
            await sender.send(row(chat), progress=Progress())
    error = caught.value
    assert (error.permanent, error.certainty) == (permanent, certainty)
    assert words in f"{error.what} {error.next_step}"
    assert bool(error.next_step) == permanent
    assert error.retry_after_s == (0.0 if permanent else 3.0)
    assert "geheim" not in f"{error.what}{error.where}{error.next_step}"


@pytest.mark.parametrize("name", ["slack", "discord", "sms"])
async def test_nobody_there_is_tried_again(name: str) -> None:
    """Nothing was sent."""
    sender, chat = outlet(name, "http://127.0.0.1:9")
    with pytest.raises(PlatformError, match="no connection") as caught:
        await sender.send(row(chat), progress=Progress())
    assert (caught.value.permanent, caught.value.certainty) == (False, "not_sent")


@pytest.mark.parametrize(
    ("sender", "chat", "step"),
    [
        (SlackOutlet(SlackConfig), "C1", "SLACK_BOT_TOKEN"),
        (DiscordOutlet(DiscordConfig), "1", "DISCORD_BOT_TOKEN"),
        (SmsOutlet(SmsConfig), "+1555", "TWILIO_ACCOUNT_SID"),
        (DiscordOutlet(lambda: DiscordConfig(token="x")), "../gateway", "channel id"),
        (SmsOutlet(lambda: SmsConfig(account_sid="a", auth_token="b", sender="+1")), "555", "sms:+"),
    ],
)
async def test_what_is_missing_is_said_before_anything_is_sent(sender: Outlet, chat: str, step: str) -> None:
    """The next step names the variable, or the form of the address."""
    with pytest.raises(PlatformError) as caught:
        await sender.send(row(chat), progress=Progress())
    assert caught.value.permanent
    assert step in caught.value.next_step


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_a_jobs_answer_goes_to_slack_and_discord_at_once(daemon: Daemon, slack: Crabline, discord: Crabline) -> None:
    """By their home channels, with the variables of a hermes-agent .env; each is its own row of the outbox."""
    variables = {
        "SLACK_BOT_TOKEN": slack.token,
        "SLACK_HOME_CHANNEL": "C0000000003",
        "DISCORD_BOT_TOKEN": discord.token,
        "DISCORD_HOME_CHANNEL": channel(discord),
    }
    daemon.home.mkdir(mode=0o700, exist_ok=True)
    (daemon.home / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    (daemon.home / ".env").chmod(0o600)
    daemon.write_config(
        f"platforms:\n  slack: {{base_url: '{slack.base_url}'}}\n  discord: {{base_url: '{discord.base_url}/v10'}}\n"
    )
    scripts = daemon.home / "scripts"
    scripts.mkdir()
    (scripts / "say.py").write_text("print('from the job')\n")
    daemon.start()
    made = daemon.ctl(
        "cron", "create", "0 9 * * 1", "--no-agent", "--script", "say.py", "--deliver", "slack,discord", "--name", "j"
    )
    assert made.returncode == 0, made.stderr
    with daemon.connect() as wire:
        wire.send("events.watch", since=0)
        assert daemon.ctl("cron", "run", "j").returncode == 0
        while len(daemon.call("outbox.list", states=["sent"])["rows"]) < 2:
            wire.until("events.event")
    assert [call["text"] for call in slack.calls("chat.postMessage") if call["channel"] == "C0000000003"] == [
        "from the job"
    ]
    assert [call["content"] for call in discord.calls("messages") if call.get("content") == "from the job"]
