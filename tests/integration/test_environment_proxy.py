"""Which requests go through the proxy that the environment names."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hermesd.config.schema import GithubConfig, SlackConfig
from hermesd.gateway.outlets import Outlet
from hermesd.gateway.outlets_github import GithubOutlet
from hermesd.gateway.outlets_slack import SlackOutlet
from hermesd.gateway.outlets_webhook import WebhookOutlet
from hermesd.gateway.platform import PlatformError
from hermesd.gateway.platforms.telegram_api import connect
from hermesd.providers.base import Message, ModelRequest, ProviderError
from hermesd.providers.http import Endpoint
from hermesd.providers.openai import OpenAIProvider
from hermesd.proxies import uses_environment_proxy
from hermesd.store.records import Address, OutboxRow

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


class Proxy:
    """Notes what it is asked for, and lets nobody through."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def refuse(self) -> None:
                proxy.asked.append(f"{self.command} {self.path}")
                self.send_error(502)

            do_CONNECT = do_POST = do_GET = refuse  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    found = Proxy()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, found.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


async def refused(outlet: Outlet, chat: str) -> PlatformError:
    async def progress(_ref: str) -> None:
        """Nothing gets out."""

    address = Address(platform="x", chat=chat)
    row = OutboxRow(
        id=1, profile="default", address=address, text="hi", idempotency_key="k", state="pending", created_at=1.0
    )
    with pytest.raises(PlatformError) as caught:
        await outlet.send(row, progress=progress)
    return caught.value


async def test_outlets_of_configured_services_use_it(proxy: Proxy) -> None:
    """A proxy that does not connect has sent nothing: no mark of a repeat is needed."""
    slack = SlackConfig(token="t", base_url="https://slack.example/api")
    github = GithubConfig(token="t", base_url="https://github.example")
    for outlet, chat in ((SlackOutlet(lambda: slack), "C1"), (GithubOutlet(lambda: github), "a/b#1")):
        error = await refused(outlet, chat)
        assert (error.certainty, error.permanent) == ("not_sent", False)
    assert proxy.asked == ["CONNECT slack.example:443", "CONNECT github.example:443"]


async def test_models_and_telegram_use_it(proxy: Proxy) -> None:
    """Whoever sits behind a proxy reaches nothing without."""
    request = ModelRequest(model="m", system="", messages=[Message(role="user", text="hi")])
    async with aclosing(OpenAIProvider(Endpoint("https://model.example/v1", headers={}), model="m")) as provider:
        with pytest.raises(ProviderError):
            await provider.complete(request, on_delta=lambda _: None)
    async with connect("https://telegram.example", "1:a") as api:
        with pytest.raises(PlatformError):
            await api.call("getMe")
    assert proxy.asked == ["CONNECT model.example:443", "CONNECT telegram.example:443"]


async def test_what_checks_its_addresses_and_this_machine_do_not(proxy: Proxy) -> None:
    """An answer to a URL that anybody may have written, and a server of one's own."""
    await refused(WebhookOutlet(secret=lambda: SECRET, private=lambda: True), "https://127.0.0.1:1/x")
    slack = SlackConfig(token="t", base_url="http://127.0.0.1:1/api")
    await refused(SlackOutlet(lambda: slack), "C1")
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("url", "uses"),
    [
        ("https://api.example/v1", True),
        ("http://10.0.0.1/v1", True),
        ("http://localhost:11434/v1", False),
        ("http://x.localhost./v1", False),
        ("http://127.8.8.8/v1", False),
        ("http://[::1]:1/v1", False),
        ("http://[", False),
    ],
)
def test_this_machine_is_none_that_a_proxy_leads_to(url: str, uses: bool) -> None:
    """However loopback is spelled."""
    assert uses_environment_proxy(url) is uses
