"""ensure, start, stop, recreate: what is there against what the manifest declares."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hermesd.deploy.container import commands
from hermesd.deploy.container.host_users import link_homes, outsiders
from hermesd.deploy.container.identity import identity
from hermesd.deploy.container.state_dir import state_dir
from hermesd.errors import ConflictError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from hermesd.deploy.container.manifest import Manifest

RUNNING = "running"
ABSENT = "absent"


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    output: str
    error: str


class Runner(Protocol):
    """Runs the backend. ``change`` only says what it would run when nothing is to be changed."""

    dry_run: bool

    def look(self, argv: list[str]) -> Done:
        """Run a command that changes nothing."""
        ...

    def change(self, argv: list[str]) -> None:
        """Run a command; raises HermesError with its own words when it fails."""
        ...

    def say(self, text: str) -> None:
        """Tell a change of files."""
        ...


class Found(NamedTuple):
    """A container: its state as the backend calls it ('absent': none), and the identity it was created with."""

    state: str
    identity: str = ""


def find(manifest: Manifest, runner: Runner, name: str = "") -> Found:
    """The container of this name (by default the manifest's). Raises UnreachableError when the backend cannot tell."""
    done = runner.look(commands.inspect(manifest, name or manifest.container.name))
    if done.status == 0:
        state, _, label = done.output.strip().partition(" ")
        return Found(state, "" if label == "<no value>" else label)
    low = done.error.lower()
    if "no such" in low or "no container with" in low:
        return Found(ABSENT)
    backend = manifest.container.backend
    raise UnreachableError(f"{backend} does not tell: {last_words(done)}", next_step=f"see `{backend} info`")


def last_words(done: Done) -> str:
    """Of a command that failed, bounded and printable."""
    said = next((line for line in reversed(done.error.splitlines()) if line.strip()), f"status {done.status}")
    return "".join(character if character.isprintable() else " " for character in said)[:300]


def ensure(manifest: Manifest, runner: Runner) -> str:
    """Make files and container as declared; what became of the container: ``kept``, ``created`` or ``recreated``.

    A container with another identity is replaced, and its writable layer is lost; a running one runs again afterwards.
    """
    return _become(manifest, runner, keep=True)


def recreate(manifest: Manifest, runner: Runner) -> str:
    """Replace the container whatever its identity: a fresh writable layer."""
    return _become(manifest, runner, keep=False)


def _become(manifest: Manifest, runner: Runner, *, keep: bool) -> str:
    """``keep``: leave one of the same identity as it is.

    Nothing is written before the backend has answered, and for a container that is not ours nothing is at all: the
    marker in the home would lead every call of hermesctl into it.
    """
    found = find(manifest, runner)
    if found.state != ABSENT:
        _check_ours(manifest, found)
    _prepare(manifest, runner)
    if found.state == ABSENT:
        _pull(manifest, runner)
        runner.change(commands.create(manifest, manifest.container.name))
        return "created"
    if keep and found.identity == identity(manifest):
        return "kept"
    _replace(manifest, runner, found)
    return "recreated"


def start(manifest: Manifest, runner: Runner) -> bool:
    """Start it, once its mounts are known to be directories; False when it ran already. Raises NotFoundError."""
    if not may_start(manifest, runner):
        return False
    runner.change(commands.start(manifest))
    return True


def may_start(manifest: Manifest, runner: Runner) -> bool:
    """Whether it is to be started; False when it runs.

    Raises ConfigError if something was put in the place of a directory that will be mounted, NotFoundError.
    """
    if existing(manifest, runner).state == RUNNING:
        return False
    _verify(manifest)
    return True


def _verify(manifest: Manifest) -> None:
    with state_dir(manifest) as found:
        found.verify()


def stop(manifest: Manifest, runner: Runner) -> bool:
    """Stop it in order; False when it did not run. Raises NotFoundError."""
    if existing(manifest, runner).state != RUNNING:
        return False
    runner.change(commands.stop(manifest))
    return True


def existing(manifest: Manifest, runner: Runner) -> Found:
    """The container as it is. Raises NotFoundError, ConflictError when it is not ours, UnreachableError."""
    found = find(manifest, runner)
    if found.state == ABSENT:
        raise NotFoundError(
            f"there is no container {manifest.container.name}",
            where=manifest.container.backend,
            next_step="create it: hermesctl container ensure --manifest FILE",
        )
    _check_ours(manifest, found)
    return found


def _check_ours(manifest: Manifest, found: Found) -> None:
    if not found.identity:
        name = manifest.container.name
        raise ConflictError(
            f"a container {name} is there that hermesctl has not created",
            where="container.name",
            next_step=f"remove it ({manifest.container.backend} rm {name}), or set container.name",
        )


def _prepare(manifest: Manifest, runner: Runner) -> None:
    if runner.dry_run and not os.path.lexists(manifest.state_dir):
        runner.say(f"make {manifest.state_dir} and what belongs into it")
        return
    with state_dir(manifest, dry_run=runner.dry_run, make=True) as directory:
        directory.prepare()
    for change in (*directory.changes, *link_homes(manifest, dry_run=runner.dry_run)):
        runner.say(change)
    for notice in outsiders(manifest):
        runner.say(notice)
    if root := commands.gc_root(manifest):
        runner.change(root)


def _pull(manifest: Manifest, runner: Runner) -> None:
    wanted = manifest.container.pull
    if wanted == "always" or (wanted == "missing" and runner.look(commands.has_image(manifest)).status != 0):
        runner.change(commands.pull(manifest))


def _replace(manifest: Manifest, runner: Runner, found: Found) -> None:
    """The new one is there before the old one goes: an image or option that is refused leaves all as it was."""
    name = manifest.container.name
    following = f"{name}.next"
    _pull(manifest, runner)
    if find(manifest, runner, following).state != ABSENT:
        runner.change(commands.remove(manifest, following))  # left by a call that was killed
    runner.change(commands.create(manifest, following))
    if found.state == RUNNING:
        runner.change(commands.stop(manifest))
        if not runner.dry_run:
            _verify(manifest)
    runner.change(commands.remove(manifest, name))
    runner.change(commands.rename(manifest, following))
    if found.state == RUNNING:
        runner.change(commands.start(manifest))
