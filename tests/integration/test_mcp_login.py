"""``hermesctl mcp login`` and its like, as a person and the daemon beside it see them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from hermesctl.commands.mcp_login import may_be_opened
from hermesd.config.schema import McpServerConfig
from hermesd.errors import NotFoundError, UsageError
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.remote import RemoteSignIns
from tests.servers.daemon import MCP, Daemon, RpcFailure
from tests.servers.mcp_auth import sdk_server
from tests.servers.oidc import AuthorizationServer, Browser
from tests.servers.person import ADDRESS, Signing, come_back
from tests.servers.terminal import Terminal, at_terminal

pytestmark = pytest.mark.loaded(MCP)

ROOT = Path(__file__).parents[2]
SOAK = bool(os.environ.get("HERMESD_SOAK"))


@pytest.fixture(scope="module")
def protected() -> Iterator[AuthorizationServer]:
    with sdk_server() as server:
        yield server


@pytest.fixture
def signing(daemon: Daemon, protected: AuthorizationServer) -> Signing:
    """A configured server; the daemon is not started."""
    found = Signing(daemon, protected.resource)
    found.configure()
    return found


def hermesctl(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hermesctl", *arguments]


def address(terminal: Terminal) -> str:
    """The address that a person at the terminal is to open; waits until it is there, and for what follows it."""
    terminal.expect("sign in to srv:")
    terminal.expect("paste the address it ends at")
    found = ADDRESS.search(terminal.seen.replace("\r", ""))
    assert found is not None
    return found[1]


def next_event(wire: Any, kind: str) -> dict[str, Any]:
    """The next event of this kind."""
    while True:
        event: dict[str, Any] = wire.until("events.event")["event"]
        if event["kind"] == kind:
            return event


def browser_command(tmp_path: Path) -> str:
    """A browser for $BROWSER: it notes the address, and signs in as a person would."""
    program = tmp_path / "browser.py"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.servers.person import come_back\n"
    program.write_text(f"{code}open({str(tmp_path / 'opened')!r}, 'a').write(sys.argv[1])\ncome_back(sys.argv[1])\n")
    return f"{sys.executable} {program} %s"


# -- the daemon's side -------------------------------------------------------------------------------------------------
def test_a_headless_daemon_asks_in_words_and_goes_on_by_itself(signing: Signing, tmp_path: Path) -> None:
    """O6: state, event, log and doctor name the command and no browser opens; new tokens are noticed without a call."""
    daemon = signing.daemon
    daemon.env = {"DISPLAY": ":0", "BROWSER": browser_command(tmp_path)}
    daemon.start()
    with daemon.connect() as wire:
        wire.send("events.watch", since=0)
        asked = next_event(wire, "mcp.needs_reauth")
        assert asked["data"]["next_step"] == "hermesctl mcp login srv"
        assert signing.state() == "auth"
        assert "profile/default/mcp-oauth" in daemon.ctl("tree", "--json").stdout
        assert "run `hermesctl mcp login srv`" in (daemon.home / "logs/hermesd.log").read_text()
        assert "hermesctl mcp login srv" in daemon.ctl("doctor").stdout
        with pytest.raises(RpcFailure, match="hermesctl mcp login srv"):
            daemon.call("mcp.call", name="srv", tool="add", arguments={"one": 1, "other": 2})
        aside = Signing(Daemon(tmp_path / "aside"), signing.resource)  # a sign-in that tells the daemon nothing
        aside.daemon.home.mkdir(mode=0o700)
        aside.configure()
        assert aside.run("login", "srv").returncode == 0
        for name in ("srv.client.json", "srv.meta.json", "srv.json"):
            (aside.storage.directory / name).rename(signing.storage.directory / name)
        written = time.time()
        next_event(wire, "mcp.tools")
        took = time.time() - written
        print(f"reconnected {took:.3f} s after the tokens were there")
        if SOAK:
            assert took < 1
    assert signing.add(1, 2) == "3"
    assert not (tmp_path / "opened").exists()


def test_every_kind_of_call_recovers_or_says_that_a_person_is_needed(
    signing: Signing, protected: AuthorizationServer
) -> None:
    """An expired token is renewed in passing; when nothing renews it all five return needs_reauth, with one event."""
    calls: dict[str, dict[str, Any]] = {
        "add": {"one": 1, "other": 2},
        "list_resources": {},
        "read_resource": {"uri": "note://one"},
        "list_prompts": {},
        "get_prompt": {"name": "greet", "arguments": {"name": "Ada"}},
    }
    assert signing.run("login", "srv").returncode == 0
    signing.daemon.start()
    assert signing.state() == "ready"
    before = protected.counts()["refresh"]
    for tool, arguments in calls.items():
        signing.expire()
        assert signing.call(tool, **arguments)
    assert protected.counts()["refresh"] == before + len(calls)
    httpx2.get(f"{protected.issuer}/revoke-all", trust_env=False)
    begun = time.monotonic()
    for tool, arguments in calls.items():
        found = signing.daemon.call("mcp.call", name="srv", tool=tool, arguments=arguments)
        print(f"{tool}: needs_reauth {time.monotonic() - begun:.3f} s after the first call began")
        assert found["needs_reauth"]
        body = json.loads(found["text"])
        assert (body["needs_reauth"], body["server"]) == (True, "srv")
        assert "`hermesctl mcp login srv`" in body["error"]
    if SOAK:
        assert time.monotonic() - begun < 2
    assert [signing.state() for _ in range(3)] == ["auth"] * 3  # each asks the server again
    done = signing.run("reauth", "--all")
    assert "signed in to srv; it is ready" in done.stdout
    assert signing.add(1, 2) == "3"
    assert signing.run("reauth", "--all").stdout == "no server requires signing in\n"
    kinds = [event["kind"] for event in signing.daemon.call("events.list")["events"]]
    assert kinds.count("mcp.needs_reauth") == 1


def test_another_profile_is_named_in_the_command(daemon: Daemon, protected: AuthorizationServer) -> None:
    """What a person is told to type is what works."""
    daemon.write_config("{}\n")
    section = json.dumps({"mcp_servers": {"srv": Signing(daemon, protected.resource).section()}})
    daemon.write_config(section, profile="ada")
    daemon.start()
    found = daemon.call("mcp.test", name="srv", profile="ada")
    assert found["next_step"] == "hermesctl -p ada mcp login srv"
    added = daemon.ctl("-p", "ada", "mcp", "add", "other", "--url", protected.resource, "--auth", "oauth").stdout
    assert "sign in with `hermesctl -p ada mcp login other`" in added
    assert "see whether it works with `hermesctl -p ada mcp test other`" in added
    done = Signing(daemon, protected.resource).run("login", "srv", "-p", "ada")
    assert "it is ready" in done.stdout
    assert (daemon.home / "profiles/ada/mcp-tokens/srv.json").exists()


def test_a_client_without_the_files_signs_in_through_the_daemon(signing: Signing) -> None:
    """It gets the address and hands in where the browser ended, on the socket; a wrong one is refused in words."""
    daemon = signing.daemon
    daemon.start()
    with daemon.connect() as wire:
        request = wire.send("mcp.login", name="srv")
        url = wire.until("mcp.login_update")["url"]
        with pytest.raises(RpcFailure, match="a sign-in to srv is under way"):
            daemon.call("mcp.login", name="srv")
        daemon.call("mcp.login_answer", name="srv", address="http://127.0.0.1:1/callback?code=x&state=y")
        while "That was not it" not in wire.until("mcp.login_update").get("text", ""):
            pass
        daemon.call("mcp.login_answer", name="srv", address=Browser().visit(url))
        assert wire.result(request)["message"] == "signed in to srv"
    assert signing.state() == "ready"
    assert signing.add(1, 2) == "3"


async def test_a_sign_in_for_somebody_elsewhere_ends_with_whoever_asked(
    protected: AuthorizationServer, tmp_path: Path
) -> None:
    """Nothing is left of it: no answer is taken, no file is written, and another one can begin."""
    config = McpServerConfig(url=protected.resource, auth="oauth")
    remote = RemoteSignIns(OAuthManager(tmp_path / "mcp-tokens"))
    urls: list[str] = []
    for _ in range(2):
        shown = trio.Event()

        def show(url: str, shown: trio.Event = shown) -> None:
            urls.append(url)
            shown.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda show=show: remote.run("srv", config, say=lambda _: None, show=show))
            await shown.wait()
            for nonsense in ("", "x" * 20_000, "a\nb"):
                with pytest.raises(UsageError):
                    remote.answer("srv", nonsense)
            nursery.cancel_scope.cancel()
        with pytest.raises(NotFoundError, match="no sign-in to 'srv' is under way"):
            remote.answer("srv", urls[-1])
    assert len(set(urls)) == 2
    assert not (tmp_path / "mcp-tokens/srv.json").exists()


# -- at a terminal, as `docker exec -it` and `ssh -t` give one ---------------------------------------------------------
def test_a_pasted_address_signs_in(signing: Signing) -> None:
    """The browser runs elsewhere: the address it ends at is pasted; a wrong one is refused in words."""
    with at_terminal(hermesctl("mcp", "login", "srv"), signing.environment()) as terminal:
        target = Browser().visit(address(terminal))
        terminal.type("http://127.0.0.1:1/callback?code=x&state=y\n")
        terminal.expect("That was not it")
        terminal.type(f"{target}\n")
        terminal.expect("signed in to srv; no daemon is running, the next one will use it")
        assert terminal.wait() == 0
    assert signing.tokens.refresh_token


def test_ctrl_c_leaves_what_was_there(signing: Signing) -> None:
    """Status 130; the three files are as they were, and still work."""
    assert signing.run("login", "srv").returncode == 0
    storage = signing.storage
    before = [path.read_bytes() for path in (storage.tokens_path, storage.client_path, storage.meta_path)]
    with at_terminal(hermesctl("mcp", "login", "srv"), signing.environment()) as terminal:
        address(terminal)
        terminal.type("\x03")
        assert terminal.wait() == 130
    assert [path.read_bytes() for path in (storage.tokens_path, storage.client_path, storage.meta_path)] == before
    assert "Traceback" not in terminal.seen


def test_a_browser_opens_where_there_is_a_display(signing: Signing, tmp_path: Path) -> None:
    """And only then; with --no-browser never."""
    environment = {"BROWSER": browser_command(tmp_path)}
    with at_terminal(hermesctl("mcp", "login", "srv"), signing.environment(DISPLAY=":0", **environment)) as terminal:
        terminal.expect("A browser opens")
        terminal.expect("signed in to srv")
        assert terminal.wait() == 0
    assert (tmp_path / "opened").read_text().startswith(f"{signing.resource.removesuffix('/mcp')}/authorize?")
    (tmp_path / "opened").unlink()
    for arguments, display in ((("--no-browser",), {"DISPLAY": ":0"}), ((), {})):
        command = hermesctl("mcp", "login", "srv", *arguments)
        with at_terminal(command, signing.environment(**display, **environment)) as terminal:
            come_back(address(terminal))
            terminal.expect("signed in to srv")
            assert terminal.wait() == 0
    assert not (tmp_path / "opened").exists()


def test_adding_a_server_offers_to_sign_in(daemon: Daemon, protected: AuthorizationServer) -> None:
    """At a terminal the answer is a keystroke; removing it takes back and deletes all that the sign-in left."""
    daemon.write_config("{}\n")
    signing = Signing(daemon, protected.resource)
    command = hermesctl("mcp", "add", "srv", "--url", signing.resource, "--auth", "oauth")
    with at_terminal(command, signing.environment()) as terminal:
        terminal.expect("Sign in to srv now? [Y/n]")
        terminal.type("\n")
        come_back(address(terminal))
        terminal.expect("signed in to srv")
        assert terminal.wait() == 0
    assert signing.tokens.refresh_token
    revoked = protected.counts()["revoked"]
    done = signing.run("remove", "srv")
    assert "its sign-in is deleted; the authorization server has revoked its tokens" in done.stdout
    assert protected.counts()["revoked"] > revoked
    assert [path.name for path in signing.storage.directory.iterdir() if not path.name.startswith(".")] == []


# -- refusals ----------------------------------------------------------------------------------------------------------
def test_a_sign_out_is_done_whatever_the_server_says(signing: Signing) -> None:
    """Nobody was signed in; then the server is away: the tokens go all the same, and that they may live on is told."""
    assert signing.run("logout", "srv").stdout == "nobody was signed in to srv\n"
    assert signing.run("login", "srv").returncode == 0
    meta = signing.storage.read_meta()
    signing.storage.write_meta({**meta, "revocation_endpoint": "http://127.0.0.1:1/revoke"})
    done = signing.run("logout", "srv")
    assert done.returncode == 0
    assert "signed out of srv; its tokens may be good until they expire" in done.stdout
    assert not signing.storage.tokens_path.exists()
    assert signing.storage.client_path.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody", ["there is no MCP server 'nobody'", "with a sign-in: srv"]),
        ("program", ["program is a program"]),
        ("plain", ["plain is not set up for signing in", "hermesctl mcp configure plain --set auth=oauth"]),
    ],
)
def test_a_server_without_a_sign_in_is_refused_in_words(signing: Signing, name: str, words: list[str]) -> None:
    """What is wrong, and the next step."""
    servers = {"srv": signing.section(), "program": {"command": "true"}, "plain": {"url": "http://127.0.0.1:1/mcp"}}
    signing.daemon.write_config(json.dumps({"mcp_servers": servers}))
    for action in ("login", "logout", "reauth"):
        done = signing.daemon.ctl("mcp", action, name)
        assert done.returncode != 0
        assert all(each in done.stderr for each in words), done.stderr


def test_nobody_comes(signing: Signing) -> None:
    """The sign-in ends by itself after oauth.timeout and says how to begin again."""
    signing.configure(timeout=1)
    done = signing.daemon.ctl("mcp", "login", "srv", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "nobody signed in to 'srv' within 1 s" in done.stderr
    assert "run `hermesctl mcp login srv` again" in done.stderr


@pytest.mark.parametrize(
    ("url", "opens"),
    [
        ("https://issuer.example/authorize?x=1", True),
        ("http://127.0.0.1:9/authorize", True),
        ("http://localhost/authorize", True),
        ("http://issuer.example/authorize", False),
        ("file:///etc/passwd", False),
        ("javascript:alert(1)", False),
        ("-flag", False),
        ("$(touch x)", False),
    ],
)
def test_only_https_and_loopback_are_opened(url: str, opens: bool) -> None:
    """Case 12, at the last place before a browser."""
    assert may_be_opened(url) is opens
