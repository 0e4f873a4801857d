"""One activation: a lock, a plan of everything, and then its steps; what was applied is remembered around them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermesd.activation import config_file, environment, gateway_state, managed_marker, routines
from hermesd.activation import ledger as ledgers
from hermesd.activation.additions import Addition, links, sidecar
from hermesd.activation.agent import PROFILES, Agent
from hermesd.activation.ledger import Ledger, State
from hermesd.activation.manifest import ProfilePart
from hermesd.activation.steps import Step
from hermesd.activation.targets import place
from hermesd.activation.text_diff import of_texts
from hermesd.config.lock import locked
from hermesd.errors import ConfigError, DeniedError
from hermesd.home import DEFAULT_PROFILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.activation.manifest import Manifest
    from hermesd.activation.targets import Place

OTHERS_WRITE = 0o022


@dataclass(slots=True)
class Report:
    """What was done, or would be: ``steps``, then ``additions``. ``notices`` are for people."""

    steps: list[Step] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def changes(self) -> list[Step | Addition]:
        """All of it, in order."""
        return [*self.steps, *self.additions]


def activate(manifest: Manifest, where: str, *, dry_run: bool = False) -> Report:
    """Make the home what the manifest, which is called ``where`` in errors, declares.

    Raises ConfigError for what stands in the way, before anything is changed; DeniedError for another's home;
    ConflictError when somebody changed a file meanwhile, or keeps config.yaml and .env for himself; OSError.
    """
    _check_user(manifest.home)
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(place(manifest.home))
        if home.fd is None and not dry_run:
            _Run(manifest, where, home, stack).plan()  # what is refused leaves not even an empty home behind
            home.make(PurePosixPath())
        if home.fd is not None:
            _check_home(home, home.fd)
            fcntl.flock(home.fd, fcntl.LOCK_EX)
        run = _Run(manifest, where, home, stack)
        report = run.plan()
        if not dry_run:
            run.take()
        return report


def _check_user(home: str) -> None:
    """Files are made as the user whose home it is: there is no chown, and root has nothing to do here."""
    nearest = PurePosixPath(home)
    while True:
        try:
            owner = os.stat(nearest, follow_symlinks=False).st_uid  # noqa: PTH116 - a pure path
        except FileNotFoundError:
            nearest = nearest.parent
            continue
        except OSError as error:
            raise ConfigError(f"cannot be used: {error.strerror}", where=str(nearest), next_step="look at it") from None
        break
    if os.geteuid() != owner and (os.geteuid() == 0 or str(nearest) == home):
        raise DeniedError(f"belongs to uid {owner}", where=str(nearest), next_step="run it as that user")


def _check_home(home: Place, fd: int) -> None:
    if os.fstat(fd).st_mode & OTHERS_WRITE:
        raise ConfigError("others may write to it", where=home.path, next_step=f"chmod go-w {home.path}")


class _Run:
    """The parts of one activation."""

    def __init__(self, manifest: Manifest, where: str, home: Place, stack: contextlib.ExitStack) -> None:
        self._manifest = manifest
        self._where = where
        self._home = home
        self._stack = stack
        self._places: dict[str, Place] = {}
        self._ledger = Ledger()
        self._before: bytes | None = None
        self._state = State()
        self.report = Report()

    def plan(self) -> Report:
        """Find out everything that is to be done."""
        found = self._home.read(ledgers.PATH)
        self._before = found.data if found else None
        self._ledger = ledgers.read(found, self.report.notices)
        agents = self._agents()
        for agent in agents:
            self.report.steps += agent.steps()
        self._state = State({agent.name: agent.remembered() for agent in agents if agent.name in self._declared})
        self.report.steps += self._routines(agents)
        self.report.steps += self._marker(agents)
        self.report.steps += self._gateways(agents)
        for agent in agents:
            self.report.additions += links(self._home, agent.above, agent.part.plugins, self._where)
        self.report.additions += sidecar(self._home, self._manifest.sidecar, self._where)
        return self.report

    @property
    def _declared(self) -> dict[str, ProfilePart]:
        return self._manifest.agents()

    def _agents(self) -> list[Agent]:
        """Those of the manifest, and those that were in it the last time."""
        parts = dict(self._declared)
        for name in dict.fromkeys(name for state in self._ledger.applied for name in state.profiles):
            if name not in parts and self._home.is_directory(PROFILES / name):
                parts[name] = ProfilePart()
                step = f"remove it with `hermesctl profile delete {name}`"
                self.report.notices.append(f"the profile {name} is not declared any more, and stays: {step}")
        is_contained = self._manifest.container is not None
        state_dir = (
            (self._manifest.state_dir or str(PurePosixPath(self._manifest.home).parent)) if is_contained else None
        )
        return [
            Agent(
                name,
                part,
                self._home,
                self._ledger.of(name),
                where=self._where,
                places=self._placed,
                state_dir=state_dir,
            )
            for name, part in parts.items()
        ]

    def _placed(self, directory: str) -> Place:
        if directory not in self._places:
            self._places[directory] = self._stack.enter_context(place(directory))
        return self._places[directory]

    def _routines(self, agents: list[Agent]) -> Iterator[Step]:
        """One file for each daemon."""
        together = {agent.name: agent.part for agent in agents if not agent.is_apart}
        yield from self._written(routines.PATH, routines.routines_text(together, self._where))
        for agent in agents:
            if agent.name != DEFAULT_PROFILE:
                own = {DEFAULT_PROFILE: agent.part} if agent.is_apart else {}
                yield from self._written(agent.above / routines.PATH, routines.routines_text(own, self._where))

    def _written(self, target: PurePosixPath, data: bytes | None) -> Iterator[Step]:
        live = self._home.read(target)
        before = live.data if live else None
        if data is not None and data != before:
            yield Step("write", self._home, target, data, before=before, details=of_texts(before or b"", data))
        elif data is None and before is not None:
            yield Step("remove", self._home, target, before=before)

    def _marker(self, agents: list[Agent]) -> Iterator[Step]:
        declared = [each for agent in agents if agent.name in self._declared for each in agent.declared()]
        data = managed_marker.marker_text(self._manifest.manager, declared).encode()
        for step in self._written(managed_marker.MANAGED, data):
            yield replace(step, details=())

    def _gateways(self, agents: list[Agent]) -> Iterator[Step]:
        for agent in agents:
            if agent.name in self._declared:
                yield from gateway_state.steps(self._home, agent.above / gateway_state.GATEWAY_STATE)

    def take(self) -> None:
        """Make every step, in their order."""
        with self._alone():
            self._sweep()
            after = Ledger(applied=[self._state]).encode()
            if self.report.steps and after != self._before:
                self._remember(self._ledger.before(self._state).encode())
            for step in self.report.steps:
                step.take()
            self._remember(after)
        for addition in self.report.additions:
            if warning := addition.make():
                self.report.notices.append(warning)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes a config.yaml or .env that this run is about to write. Raises ConflictError."""
        names = (config_file.CONFIG.name, environment.ENV.name)
        steps = [step for step in self.report.steps if step.place is self._home and step.target.name in names]
        with contextlib.ExitStack() as stack:
            for above in dict.fromkeys(step.target.parent for step in steps):
                self._home.make(above)
                fd = stack.enter_context(self._home.directory(above))
                assert fd is not None
                stack.enter_context(locked(fd, self._home.where(above)))
            yield

    def _remember(self, data: bytes) -> None:
        if data != self._before:
            self._home.write(ledgers.PATH, data, mode=0o600)
            self._before = data

    def _sweep(self) -> None:
        """Take away what runs that were killed have left of files that they were writing."""
        directories = {(self._home.path, each): self._home for each in (PurePosixPath(), ledgers.PATH.parent)}
        for step in self.report.steps:
            directories[step.place.path, step.target.parent] = step.place
        for (_, directory), at in directories.items():
            at.sweep(directory)
