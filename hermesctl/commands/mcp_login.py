"""``hermesctl mcp login | logout | reauth``: a person signs in to a server; files are written here, not by the daemon.

The daemon notices new tokens by itself; it is asked for the server afterwards only to say how that went.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from hermesd.errors import HermesError, NotFoundError, UnreachableError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Mapping

    from hermesctl.context import Context
    from hermesd.config.schema import McpServerConfig
    from hermesd.home import Profile
    from hermesd.mcp.oauth.logout import LogoutResult
    from hermesd.mcp.oauth.manager import OAuthManager

T = TypeVar("T")

ACTIONS = {
    "login": "sign in to a server: a browser, or an address to open and to paste back",
    "logout": "give the tokens of a server back and delete them",
    "reauth": "sign in again, to one server or to all that need it",
}
EXIT_FAILED = 1
EXIT_TERMINATED = 143


class Target(NamedTuple):
    """A server that is signed in to, as its profile configures it."""

    profile: Profile
    name: str
    config: McpServerConfig
    manager: OAuthManager


def register(verbs: Mapping[str, argparse.ArgumentParser]) -> None:
    """The arguments of the three actions."""
    for action in ("login", "logout"):
        verbs[action].add_argument("name", metavar="NAME")
    verbs["reauth"].add_argument("name", nargs="?", default="", metavar="NAME")
    verbs["reauth"].add_argument("--all", action="store_true", help="every server that requires signing in")
    for action in ("login", "reauth"):
        verbs[action].add_argument("--no-browser", action="store_true", help="only print the address to open")


def run(args: argparse.Namespace, context: Context, profile: Profile) -> int:
    """Do the action; its result is printed."""
    if args.action == "logout":
        return _logout(context, _target(profile, args.name))
    if args.action == "login" or args.name:
        return _login(context, _target(profile, args.name), may_open=not args.no_browser)
    if not args.all:
        raise UsageError("no server is named", next_step="hermesctl mcp reauth NAME, or --all")
    return _reauth_all(context, profile, may_open=not args.no_browser)


def offer(name: str, context: Context, profile: Profile) -> int:
    """After ``add``: sign in at once, if the server wants that and a person at the terminal does too."""
    from hermesctl.output import confirm, is_interactive

    if context.json or not is_interactive() or not is_signed_in_to(profile, name):
        return 0
    if not confirm(f"Sign in to {name} now?", default=True):
        return 0
    return _login(context, _target(profile, name), may_open=True)


def is_signed_in_to(profile: Profile, name: str) -> bool:
    """Whether the server is one that people sign in to."""
    from hermesd.config.load import load_settings

    config = load_settings(profile).config.mcp_servers.get(name)
    return config is not None and _signs_in(config)


def forgetting(profile: Profile, name: str) -> Callable[[], str]:
    """Before ``remove`` takes its settings away: what afterwards gives its tokens back and deletes all of its files."""
    from hermesd.config.load import load_settings

    try:
        config = load_settings(profile).config.mcp_servers.get(name)
    except HermesError:
        config = None  # without settings nobody can be asked to revoke anything

    def forget() -> str:
        manager = _sign_ins(profile)

        async def work() -> str:
            told = ""
            if config is not None and _signs_in(config):
                told = _told(await manager.logout(name, config.url, config))
            return f"; its sign-in is deleted{told}" if await manager.remove(name) or told else ""

        return _in_trio(work)

    return forget


# -- which server ------------------------------------------------------------------------------------------------------


def _target(profile: Profile, name: str) -> Target:
    """Raises NotFoundError, and UsageError for a server that nobody signs in to."""
    from hermesd.config.load import load_settings
    from hermesd.mcp.typed import mcp_command

    servers = load_settings(profile).config.mcp_servers
    if name not in servers:
        known = ", ".join(key for key, config in servers.items() if _signs_in(config)) or "none"
        raise NotFoundError(f"there is no MCP server {name[:80]!r}", next_step=f"with a sign-in: {known}")
    config = servers[name]
    if not config.url:
        test = mcp_command(profile.told_name, "test", name)
        step = f"see whether it works with `{test}`; what it needs goes into its env"
        raise UsageError(f"{name} is a program; there is nothing to sign in to", next_step=step)
    if not _signs_in(config):
        step = mcp_command(profile.told_name, "configure", name, "--set", "auth=oauth")
        raise UsageError(f"{name} is not set up for signing in", where=f"mcp_servers.{name}.auth", next_step=step)
    return Target(profile, name, config, _sign_ins(profile))


def _manager(profile: Profile) -> OAuthManager:
    from hermesd.mcp.oauth.manager import OAuthManager

    return OAuthManager(profile.root / "mcp-tokens", profile=profile.told_name)


def _sign_ins(profile: Profile) -> OAuthManager:
    """With the names of the profile's servers, by which files of hermes-agent's are found."""
    from hermesd.mcp.configure import configured

    manager = _manager(profile)
    manager.configured = configured(profile)
    return manager


def _signs_in(config: McpServerConfig) -> bool:
    return config.auth == "oauth" and bool(config.url)


# -- the actions -------------------------------------------------------------------------------------------------------


def _login(context: Context, target: Target, *, may_open: bool) -> int:
    _sign_in(context, target, may_open=may_open)
    done = f"signed in to {target.name}"
    if not context.json:
        print(done, end="", flush=True)  # the daemon may take a while to reach the server
    word = _daemons_word(context, target)
    return context.show({"name": target.name, "signed_in": True, "message": f"{done}{word}"}, word)


def _sign_in(context: Context, target: Target, *, may_open: bool) -> None:
    """Raises McpError when it fails; then everything is as before."""
    from hermesd.mcp.oauth.login import Surface
    from hermesd.mcp.typed import mcp_command

    out = sys.stderr if context.json else sys.stdout
    surface = Surface(
        say=lambda text: print(text, file=out, flush=True),
        open_url=_browser() if may_open else None,
        paste_fd=0 if sys.stdin is not None and sys.stdin.isatty() else None,
    )
    try:
        _in_trio(lambda: target.manager.login(target.name, target.config.url, target.config, surface))
    except HermesError as error:
        again = mcp_command(target.profile.told_name, "login", target.name)
        error.next_step = error.next_step or f"nothing has changed; try again: {again}"
        raise


def _logout(context: Context, target: Target) -> int:
    found = _in_trio(lambda: target.manager.logout(target.name, target.config.url, target.config))
    message = f"nobody was signed in to {target.name}"
    if found.removed:
        message = f"signed out of {target.name}{_told(found)}"
    result = {"name": target.name, "removed": found.removed, "revoked": found.revoked, "message": message}
    return context.show(result)


def _told(found: LogoutResult) -> str:
    if found.revoked:
        return "; the authorization server has revoked its tokens"
    return f"; its tokens may be good until they expire: {found.why}" if found.why else ""


def _reauth_all(context: Context, profile: Profile, *, may_open: bool) -> int:
    """One after the other; one that fails does not keep the others from being asked for."""
    failed: dict[str, str] = {}
    out = sys.stderr if context.json else sys.stdout
    names = _waiting(context, profile)
    for name in names:
        target = _target(profile, name)
        try:
            _sign_in(context, target, may_open=may_open)
        except HermesError as error:
            failed[name] = error.what
            print(f"{name}: {error.what}", file=sys.stderr)
        else:
            print(f"signed in to {name}{_daemons_word(context, target)}", file=out)
    done = [name for name in names if name not in failed]
    message = "" if names else "no server requires signing in"
    context.show({"signed_in": done, "failed": failed, "message": message})
    return EXIT_FAILED if failed else 0


def _waiting(context: Context, profile: Profile) -> list[str]:
    """The servers that need a person: as the daemon says, or without one those that have no tokens."""
    from hermesd.config.load import load_settings

    servers = load_settings(profile).config.mcp_servers
    able = [name for name, config in servers.items() if config.enabled and _signs_in(config)]
    try:
        rows = context.call("mcp.list", profile=profile.name)["servers"]
    except UnreachableError:
        manager = _sign_ins(profile)
        return [name for name in able if not manager.has_tokens(name)]
    waiting = {row["name"] for row in rows if row["state"] == "auth"}
    return [name for name in able if name in waiting]


def _daemons_word(context: Context, target: Target) -> str:
    """How the daemon fares with the server now. The sign-in is done already, so nothing of this is an error."""
    try:
        result = context.act("mcp.test", name=target.name, profile=target.profile.name)
    except UnreachableError:
        return "; no daemon is running, the next one will use it"
    except HermesError as error:
        return f"; the daemon says: {error.what}"
    if result["ok"]:
        return f"; it is ready, {result.get('tools', 0)} tools"
    return f"; the server is {result['state']}: {result.get('error', '')}".rstrip(": ")


# -- the browser, and the loop -----------------------------------------------------------------------------------------


def _browser() -> Callable[[str], bool] | None:
    """What opens a browser for the person at this terminal; None where there is no display to show one."""
    has_display = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not has_display or sys.stdout is None or not sys.stdout.isatty():
        return None
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return None
    if type(browser) is webbrowser.GenericBrowser and not os.environ.get("BROWSER"):
        return None  # one for text, which would take this terminal

    def open_url(url: str) -> bool:
        import threading

        if not may_be_opened(url):
            return False
        threading.Thread(target=browser.open, args=(url,), daemon=True).start()  # some return when they are closed
        return True

    return open_url


def may_be_opened(url: str) -> bool:
    """Whether a browser may get it: https, or http on a loopback host. ``webbrowser`` runs programs without a shell."""
    from urllib.parse import urlsplit

    from hermesd.mcp.oauth.ssrf import is_loopback_host

    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(parts.hostname or ""))


def _in_trio(work: Callable[[], Awaitable[T]]) -> T:
    """Run to the end, or to Ctrl-C (KeyboardInterrupt) or SIGTERM; what is being saved is saved nevertheless."""
    import signal

    import trio

    results: list[T] = []
    problems: list[HermesError] = []
    received: list[int] = []

    async def main() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:

                async def listen() -> None:
                    async for number in signals:
                        received.append(number)
                        nursery.cancel_scope.cancel()

                nursery.start_soon(listen)
                try:
                    results.append(await work())
                except HermesError as error:  # kept out of the nursery, which would wrap it in a group
                    problems.append(error)
                nursery.cancel_scope.cancel()

    trio.run(main)
    if results:
        return results[0]
    if problems:
        raise problems[0]
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    raise SystemExit(EXIT_TERMINATED)
