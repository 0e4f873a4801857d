"""What a verb knows of its call: the home, ``-p``, ``--json``, and the way to the daemon."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from hermesd.errors import UnreachableError
from hermesd.home import PROFILE_NAME, Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermesctl.client import Client

OF_THE_HOME = frozenset(
    {"gateway", "profile", "service", "stop", "config", "setup", "plan", "apply", "container", "upgrade-check"}
    | {"activate", "managed"}
)
"""Verbs for the daemon that owns the home, whichever profile they name."""

HOW_TO_START = "start it with `hermesd --detach`, or talk at once with `hermesctl chat --spawn`"


class Context:
    """One call of hermesctl. ``argv`` is everything after the program's name; ``profile`` is '' for the current one."""

    __slots__ = ("argv", "home", "json", "profile")

    def __init__(self, argv: list[str], profile: str = "", *, json: bool = False, home: Home | None = None) -> None:
        self.argv = argv
        self.profile = profile
        self.json = json
        self.home = home or Home.from_environment()

    def at_its_own_daemon(self, verb: str) -> Context:
        """This call, for the daemon of the profile's own where ``isolation: process`` has given it one that runs."""
        if self.profile == self.home.root.name and self.home.default_profile.told_name == self.profile:
            return Context(_without_profile(self.argv), json=self.json, home=self.home)  # that very home is meant
        if not self.profile or verb in OF_THE_HOME or not PROFILE_NAME.fullmatch(self.profile):
            return self
        home = Home(self.home.profile_root(self.profile))
        if not os.path.exists(home.socket_path):  # noqa: PTH110 - False where we may not look, as a member of the group
            return self
        return Context(_without_profile(self.argv), json=self.json, home=home)

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """A connection to the daemon; UnreachableError says how to start one when none runs."""
        from hermesctl.client import Client

        try:
            client = Client.connect(self.home)
        except UnreachableError as error:
            error.next_step = _how_to_start(self.home)
            raise
        with contextlib.closing(client):
            yield client

    # A wire message is a JSON object whose type stands in hermesd.rpc.wire; this client does not load those types.
    def call(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
        """One request on a connection of its own; its result as plain data."""
        with self.client() as client:
            return client.call(method, params)

    def stream(self, method: str, on_update: Callable[[dict[str, Any]], None], **params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
        """A request answered by updates; its final result."""
        with self.client() as client:
            return client.stream(method, params, on_update)

    def act(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
        """``call`` for what may have to wait for running turns: without a limit of time, Ctrl-C ends the wait."""
        with self.client() as client:
            return client.stream(method, params)

    def show(self, result: dict[str, Any], text: str = "") -> int:
        """Print a result: as JSON when asked for, else ``text`` or the result's own message. Returns 0.

        What it warns of goes to standard error, where no program takes it for the result; in JSON it has its place.
        """
        for warning in () if self.json else result.get("warnings", ()):
            print(f"hermesctl: warning: {warning['what']}\n  → {warning['next_step']}", file=sys.stderr)
        if self.json:
            import json

            print(json.dumps(result, ensure_ascii=False, indent=2))
        elif text := text or str(result.get("message", "")):
            print(text)
        return 0

    def render(self) -> int:
        """Let the daemon render this read-only call as it stands on the command line, and print it."""
        from hermesctl.output import columns, use_color

        result = self.call("console.run", argv=self.argv, width=columns(), color=use_color())
        status, text = int(result["status"]), str(result["text"])
        is_error = status != 0 and text.startswith(("hermesctl: ", '{"error":'))
        print(text, end="", file=sys.stderr if is_error else sys.stdout)
        return status


def _without_profile(argv: list[str]) -> list[str]:
    """The arguments less ``-p NAME``: that daemon's default profile is the one that is meant."""
    words = iter(argv)
    kept = []
    for word in words:
        if word in ("-p", "--profile"):
            next(words, None)
        elif word == "--":
            kept += [word, *words]
        elif not word.startswith("--profile=") and not (word.startswith("-p") and not word.startswith("--")):
            kept.append(word)
    return kept


def _how_to_start(home: Home) -> str:
    """By its service, where this home has one: a daemon started by hand would be in its way."""
    from hermesctl.daemon_service import start_command

    command = start_command(home)
    return f"start it: {command}" if command else HOW_TO_START
