"""The actions of ``hermesctl container`` on a host: a manifest, and the backend as a program.

Imported by that verb alone, so it may import the room of the daemon that it is the hands of.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from hermesctl.routing.backend import UNANSWERED
from hermesctl.routing.marker import Marker
from hermesd.deploy.container import commands, lifecycle
from hermesd.deploy.container.identity import identity
from hermesd.deploy.container.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from hermesd.errors import ConfigError, HermesError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from hermesctl.context import Context
    from hermesctl.routing.backend import Seen

TIMEOUT_S = 60.0
CHANGE_TIMEOUT_S = 1800.0
"""A pull may take long."""


class Programs:
    """Runs commands; in a dry run those that change something are printed instead (``lifecycle.Runner``)."""

    def __init__(self, *, dry_run: bool, quiet: bool) -> None:
        self.dry_run = dry_run
        self._quiet = quiet
        self.changes: list[str] = []

    def look(self, argv: list[str]) -> lifecycle.Done:
        """Run a command that changes nothing."""
        return _run(argv, TIMEOUT_S)

    def change(self, argv: list[str]) -> None:
        """Run a command that changes something, or print it."""
        if self.dry_run:
            self.say(shlex.join(argv))
            return
        done = _run(argv, CHANGE_TIMEOUT_S)
        if done.status:
            raise HermesError(
                f"{argv[0]} {argv[1]} failed: {lifecycle.last_words(done)}",
                next_step="look at the whole command: repeat this with --dry-run",
            )

    def say(self, text: str) -> None:
        """Tell a change."""
        self.changes.append(text)
        if not self._quiet:
            print(text)


def _run(argv: list[str], timeout_s: float) -> lifecycle.Done:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise UnreachableError(f"{argv[0]} is not installed", where="PATH", next_step=f"install {argv[0]}") from None
    except subprocess.TimeoutExpired:
        raise UnreachableError(
            f"{argv[0]} {argv[1]} did not end within {timeout_s:.0f} s", next_step=f"see `{argv[0]} info`"
        ) from None
    return lifecycle.Done(
        done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    )


def _not_running(backend: str, name: str, seen: Seen) -> HermesError:
    """Why no program can be run in it."""
    if seen.state == lifecycle.ABSENT:
        step = "create it: hermesctl container ensure --manifest FILE"
        return NotFoundError(f"there is no container {name}", where=backend, next_step=step)
    if seen.state == UNANSWERED:
        what, step = f"{backend} does not answer: {seen.detail}", f"see `{backend} info`"
    else:
        what = f"the container is not running ({seen.state})"
        step = "start it: hermesctl container start --manifest FILE"
    return UnreachableError(what, where=f"container {name}", next_step=step)


class HostContainer:
    """One manifest's container. Every action returns an exit status and raises HermesError."""

    def __init__(self, manifest: Manifest, context: Context, *, dry_run: bool) -> None:
        self._manifest = manifest
        self._context = context
        self._runner = Programs(dry_run=dry_run, quiet=context.json)

    @classmethod
    def of(cls, path: str, context: Context, *, dry_run: bool) -> HostContainer:
        """Read the manifest. Raises ConfigError."""
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - a path as it was typed
                data = file.read(MAX_MANIFEST_BYTES + 1)
        except OSError as error:
            raise ConfigError(
                f"cannot be read: {error.strerror}", where=path, next_step="name a manifest that is there"
            ) from None
        return cls(parse_manifest(data, path), context, dry_run=dry_run)

    def ensure(self) -> int:
        """Make everything as declared."""
        return self._tell(lifecycle.ensure(self._manifest, self._runner))

    def recreate(self) -> int:
        """A fresh container."""
        return self._tell(lifecycle.recreate(self._manifest, self._runner))

    def start(self, *, attach: bool) -> int:
        """Start it; with ``attach`` stay with it, and end with its status."""
        if not attach:
            return self._tell("started" if lifecycle.start(self._manifest, self._runner) else "running")
        lifecycle.may_start(self._manifest, self._runner)  # one that runs already is attached to
        argv = commands.start(self._manifest, attach=True)
        if self._runner.dry_run:
            self._runner.say(shlex.join(argv))
            return 0
        from hermesctl.routing.attend import attend, quietly

        def pass_on(number: signal.Signals) -> bool:
            # not left to the client: that of docker 28 ends at once on TERM, without the container's status
            if number == signal.SIGHUP:
                return quietly(commands.kill(self._manifest, "HUP"), TIMEOUT_S)[0] == 0
            return quietly(commands.stop(self._manifest), commands.STOP_S + TIMEOUT_S)[0] == 0

        sys.stdout.flush()
        return attend(argv, pass_on, has_terminal=False)

    def stop(self) -> int:
        """Stop it."""
        return self._tell("stopped" if lifecycle.stop(self._manifest, self._runner) else "not running")

    def status(self) -> int:
        """What is there against what is declared."""
        found = lifecycle.find(self._manifest, self._runner)
        wanted = identity(self._manifest)
        is_right = found.state == lifecycle.RUNNING and found.identity == wanted
        drift = "as declared" if found.identity == wanted else "not as declared: run `hermesctl container ensure`"
        result = {
            "name": self._manifest.container.name,
            "state": found.state,
            "identity": found.identity,
            "declared": wanted,
            "package": self._manifest.package,
        }
        text = f"{result['name']}: {found.state}" + (f", {drift}" if found.state != lifecycle.ABSENT else "")
        self._context.show(result, text)
        return 0 if is_right else 1

    def exec(self, words: list[str], *, user: str) -> int:
        """Run a program inside as the agent or somebody else, as a routed call is run."""
        from hermesctl.routing.backend import reach
        from hermesctl.routing.call import exec_argv, run
        from hermesctl.routing.marker import check_value

        container = self._manifest.container
        check_value("exec_user", user or container.user, "--user")
        marker = Marker(container.backend, container.name, user or container.user, f"{commands.PACKAGE}/bin/hermesctl")
        has_terminal = os.isatty(0) and os.isatty(1)
        if self._runner.dry_run:
            argv = exec_argv(
                marker._replace(hermes_bin=words[0]), (container.backend,), words[1:], has_terminal=has_terminal
            )
            self._runner.say(shlex.join(argv))
            return 0
        reached = reach(container.backend, container.name)
        if reached.seen.state != lifecycle.RUNNING:
            raise _not_running(container.backend, container.name, reached.seen)
        argv = exec_argv(marker._replace(hermes_bin=words[0]), reached.prefix, words[1:], has_terminal=has_terminal)
        return run(marker, reached.prefix, argv, words[1:], has_terminal=has_terminal)

    def _tell(self, outcome: str) -> int:
        result = {"name": self._manifest.container.name, "outcome": outcome, "changes": self._runner.changes}
        if self._runner.dry_run:
            outcome = f"would be {outcome}" if outcome not in ("kept", "running", "not running") else outcome
        return self._context.show(result, f"{self._manifest.container.name}: {outcome}")
