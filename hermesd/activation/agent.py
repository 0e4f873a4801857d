"""One profile of a manifest: what has to be done about it, and what is to be remembered of it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hermesd.activation import auth_seed, config_file, documents, environment
from hermesd.activation.ledger import Applied
from hermesd.activation.manifest import FilePart
from hermesd.activation.merge import normal
from hermesd.activation.steps import Step
from hermesd.activation.targets import Found, Place
from hermesd.activation.text_diff import of_edits, of_variables
from hermesd.config.load import examine_contents
from hermesd.config.managed import Declared
from hermesd.config.plain import leaves, tree_of
from hermesd.errors import ConfigError, HermesError
from hermesd.home import DEFAULT_PROFILE, Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from hermesd.activation.manifest import ProfilePart

    Planned = Generator[Step, None, bytes | None]

PROFILES = PurePosixPath("profiles")
IN_CONTAINER = PurePosixPath("/data")
"""Where a container has what lies in the state directory."""


class Agent:
    """One profile. ``places`` opens a directory that is not in the home; ``state_dir`` is that of a container."""

    def __init__(
        self,
        name: str,
        part: ProfilePart,
        home: Place,
        applied: list[Applied],
        *,
        where: str,
        places: Callable[[str], Place],
        state_dir: str | None = None,
    ) -> None:
        self.name = name
        self.part = part
        self.above = PurePosixPath() if name == DEFAULT_PROFILE else PROFILES / name
        self._home = home
        self._applied = applied
        self._where = where
        self._places = places
        self._state_dir = state_dir
        self._has_env = state_dir is None or name != DEFAULT_PROFILE
        self._config = self._declared_config()
        self._env = environment.declared_variables(part.env) if self._has_env else {}
        self._files = documents.declared_files([*part.files, *self._description()])
        self._documents = documents.declared_files(part.documents)
        self._digest = ""
        self.is_apart = False
        """Whether it is a process of its own, which applies its routines itself; ``steps`` finds out."""

    # -- what is declared ----------------------------------------------------------------------------------------------

    def remembered(self) -> Applied:
        """What a later run has to know."""
        return Applied(
            config=self._config,
            config_digest=self._digest,
            env={name: environment.digest_of(name, value) for name, value in sorted(self._env.items())},
            files={str(target): config_file.digest(data) for target, (data, _) in sorted(self._files.items())},
            documents={self._directory: {str(each): config_file.digest(data) for each, (data, _) in found}}
            if (found := sorted(self._documents.items()))
            else {},
        )

    def declared(self) -> Iterator[Declared]:
        """What is the manager's, for ``.managed``."""
        if self.name != DEFAULT_PROFILE:
            yield Declared("profile", self.name, self.name)
        paths = [path for path, _ in leaves(normal(self._config))]
        paths += [("platforms", "webhook", "routes", str(each["name"])) for each in self.part.webhooks]
        for path in paths:
            yield Declared("key", self.name, ".".join(path))
        for name in self._env:
            yield Declared("variable", self.name, name)
        for each in self.part.cron:
            yield Declared("job", self.name, str(each["name"]))
        for each in self.part.watches:
            yield Declared("watch", self.name, str(each["name"]))
        for target in self._files:
            yield Declared("file", self.name, str(target))
        for target in self._documents:
            full, root = PurePosixPath(self._directory) / target, self._home.where(self.above)
            yield Declared("file", self.name, str(full.relative_to(root) if full.is_relative_to(root) else full))

    @property
    def _directory(self) -> str:
        """Where documents go."""
        return self.part.working_directory or self._home.where(self.above / "workspace")

    def _declared_config(self) -> dict[str, Any]:
        """With the working directory as the one that commands start in, unless the manifest says otherwise."""
        tree = config_file.declared_tree(self.part.config, self._where)
        directory = self.part.working_directory
        if directory and not (self.part.config.source and not self.part.config.is_merged):
            terminal = tree.get("terminal", {})
            if isinstance(terminal, dict):
                tree["terminal"] = {"cwd": self._inside(directory), **terminal}
        return tree

    def _inside(self, directory: str) -> str:
        """As hermesd sees it."""
        if self._state_dir and PurePosixPath(directory).is_relative_to(self._state_dir):
            return str(IN_CONTAINER / PurePosixPath(directory).relative_to(self._state_dir))
        return directory

    def _description(self) -> list[FilePart]:
        if not self.part.description or self.name == DEFAULT_PROFILE:
            return []
        words = "".join(char if char.isprintable() else " " for char in self.part.description)
        quoted = words.replace("\\", "\\\\").replace('"', '\\"')
        return [FilePart("profile.yaml", text=f'description: "{quoted}"\n')]

    # -- what is to be done --------------------------------------------------------------------------------------------

    def steps(self) -> Iterator[Step]:
        """In their order: a ``${VAR}`` in config.yaml is never unset. Raises ConfigError for what cannot be."""
        if self.name != DEFAULT_PROFILE and not self._home.is_taken(self.above / "workspace"):
            yield Step("make", self._home, self.above / "workspace", mode=0o700)
        env_path, config_path = self.above / environment.ENV, self.above / config_file.CONFIG
        env, config = self._home.read(env_path), self._home.read(config_path)
        new_env = yield from self._env_steps(env_path, env)
        new_config = yield from self._config_steps(config_path, config)
        self._check((env, config), (new_env, new_config))
        self.is_apart = self.name != DEFAULT_PROFILE and _says_apart(new_config, self._home.where(config_path))
        yield from documents.steps(self._home, self.above, [each.files for each in self._applied], self._files)
        yield from self._document_steps()
        yield from auth_seed.steps(self._home, self.above / auth_seed.AUTH, self.part.auth)

    def _env_steps(self, target: PurePosixPath, live: Found | None) -> Planned:
        """Returns the contents as they will be."""
        where = self._home.where(target)
        before = environment.variables_of(live, where)
        if not self._has_env:
            return live.data if live else None
        changes = environment.changed_variables(before, [each.env for each in self._applied], self._env)
        is_open = live is not None and live.mode != environment.MODE
        if not changes and not is_open:
            return live.data if live else None
        try:
            data = environment.contents(live, changes)
        except HermesError as error:
            raise ConfigError(error.what, where=where, next_step=error.next_step) from None
        details = of_variables(before, changes)
        yield Step("write", self._home, target, data, environment.MODE, live.data if live else None, details)
        return data

    def _config_steps(self, target: PurePosixPath, live: Found | None) -> Planned:
        """Returns the contents as they will be."""
        part, where = self.part.config, self._home.where(target)
        applied = [each.config for each in self._applied]
        self._digest = next((each.config_digest for each in reversed(self._applied)), "")
        if part.is_merged:
            if not self._config and not any(applied):
                return live.data if live else None
            change = config_file.merged(live, applied, self._config, where)
        else:
            known = [each.config_digest for each in self._applied]
            change = config_file.replaced(live, known, part, self._config, where)
        data = change.data if change.data is not None else change.live
        self._digest = config_file.digest(data) if data is not None and not part.is_merged else ""
        if change.data is None:
            return change.live
        if change.keeps_old and live is not None:
            yield from documents.kept(self._home, target, live)
        yield Step("write", self._home, target, change.data, 0o600, change.live, of_edits(change.edits))
        return change.data

    def _check(self, before: tuple[Found | None, Found | None], after: tuple[bytes | None, bytes | None]) -> None:
        """Raise ConfigError for a problem that this would bring; what was wrong before is left to its user."""
        env, config = (found.data if found else None for found in before)
        if after == (env, config):
            return
        profile = Profile(self.name, Path(self._home.where(self.above)))
        problems = examine_contents(profile, after[1], after[0]).problems
        known = {each.what for each in examine_contents(profile, config, env).problems} if problems else set()
        for problem in problems:
            if problem.what not in known:
                raise ConfigError(
                    f"{problem.what} (of the profile {self.name})", where=self._where, next_step=problem.next_step
                )

    def _document_steps(self) -> Iterator[Step]:
        directories = dict.fromkeys(path for each in self._applied for path in each.documents)
        if self._documents:
            directories[self._directory] = None
        for directory in directories:
            applied = [each.documents[directory] for each in self._applied if directory in each.documents]
            wanted = self._documents if directory == self._directory else {}
            place, above = self._placed(directory)
            if place.fd is None and wanted and place is not self._home:
                yield Step("make", place, PurePosixPath(), mode=0o700)
            yield from documents.steps(place, above, applied, wanted)

    def _placed(self, directory: str) -> tuple[Place, PurePosixPath]:
        """A directory of the home is reached from there."""
        pure = PurePosixPath(directory)
        if pure.is_relative_to(self._home.path):
            return self._home, pure.relative_to(self._home.path)
        return self._places(directory), PurePosixPath()


def _says_apart(config: bytes | None, where: str) -> bool:
    try:
        return bool(tree_of(config or b"", where).get("isolation") == "process")
    except ConfigError:
        return False  # it is its user's, and the daemon says what is wrong with it
