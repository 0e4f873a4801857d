"""Commands that destroy, take over or open a machine, recognised in what a shell would make of the text.

A find only ever makes the daemon ask a person, so the rules lean towards finding. The text is read in time linear in
its length: quoting is removed (``r\\m``, ``"rm"`` and ``bash -c 'rm …'`` all come to the same), it is cut into simple
commands at every separator and substitution, and each program's rule looks at the words after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from hermesd.turns.danger_rules import BY_PROGRAM, TEXTS, Words

MAX_LENGTH = 20_000
MAX_WORDS = 2000
MAX_PROGRAMS = 200
TOO_LONG = "is too long to be judged"

SHELLS = frozenset({"sh", "bash", "zsh", "dash", "ksh", "ash", "csh", "tcsh", "fish"})
INTERPRETERS = frozenset({"python", "python2", "python3", "perl", "ruby", "node", "deno", "bun", "php", "lua"})
EVALUATORS = frozenset({"eval", "source", "."})
DOWNLOADERS = frozenset({"curl", "wget", "fetch", "aria2c", "http", "https", "nc", "ncat", "socat"})
CARRIERS = SHELLS | {
    *(
        "sudo",
        "doas",
        "su",
        "env",
        "nohup",
        "exec",
        "command",
        "builtin",
        "time",
        "timeout",
        "nice",
        "ionice",
        "setsid",
    ),
    *(
        "xargs",
        "parallel",
        "find",
        "ssh",
        "watch",
        "busybox",
        "stdbuf",
        "chroot",
        "nsenter",
        "unshare",
        "docker",
        "podman",
    ),
    *("then", "do", "else", "if", "while", "until", "!", "eval", "crontab", "at", "batch", "systemd-run"),
}
"""Programs and keywords that run other words of their line: behind them every word may be a program."""

SUBSTITUTIONS = frozenset({"$(", "`", "<("})
SEPARATOR = re.compile(r"(\$\(|<\(|>\(|\|&|\|\||&&|[;&|(){}`\n])")
COMMAND_STARTS = frozenset({"", ";", "&&", "||", "|", "\n"})


class Simple(msgspec.Struct, frozen=True):
    """One simple command: the separator before it, and its words without assignments and redirections in front.

    ``blank`` says that there is nothing at all, not even an assignment.
    """

    before: str
    words: tuple[str, ...]
    blank: bool = False

    def programs(self) -> list[tuple[str, int]]:
        """Each word that may be a program, by its base name, with its place."""
        names = [(word.rpartition("/")[2] or word, index) for index, word in enumerate(self.words)]
        return names if names and names[0][0] in CARRIERS else names[:1]

    def after(self, index: int) -> Words:
        """What follows a program."""
        return Words(self.words[index + 1 :])


def danger(text: str) -> str | None:
    """Why a command line is dangerous, as a phrase ("removes a whole tree"), or None.

    A text of more than MAX_LENGTH characters is dangerous for that alone: nobody has read it.
    """
    if len(text) > MAX_LENGTH:
        return TOO_LONG
    plain = unquoted(text)
    for pattern, reason in TEXTS:
        if pattern.search(plain):
            return reason
    if _is_fork_bomb(plain):
        return "is a fork bomb"
    commands = list(simple_commands(plain))
    if any(len(command.words) > MAX_WORDS for command in commands):
        return TOO_LONG
    return _foreign_code(commands) or _by_rules(commands)


def unquoted(text: str) -> str:
    """The text without quotes, escapes and line continuations, ``$IFS`` as a space, ``{a,b}`` and ``${x}`` opened."""
    text = re.sub(r"\\\r?\n", "", text)
    text = re.sub(r"\$\{?IFS\b\}?|\$'\\[nt]'", " ", text)
    text = re.sub(r"""["'\\]""", "", text)
    text = re.sub(r"\$\{(\w{1,64})\}", r"$\1", text)
    return re.sub(r"\{([^{},\s]*,[^{}\s]*)\}", lambda found: found[1].replace(",", " "), text)


def simple_commands(plain: str) -> Iterator[Simple]:
    """The simple commands of a text, in order; substitutions are commands as well."""
    before = ""
    for index, part in enumerate(SEPARATOR.split(plain)):
        if index % 2:
            before = part
            continue
        words = part.split()
        while words and re.match(r"\w+=|[0-9]*[<>]", words[0]):
            del words[0]
        yield Simple(before, tuple(words), blank=not part.strip())


def _by_rules(commands: list[Simple]) -> str | None:
    looked_at = 0
    for command in commands:
        for name, index in command.programs():
            if name.startswith("mkfs"):
                return "formats or partitions a disk"
            for test, reason in BY_PROGRAM.get(name, ()):
                looked_at += 1
                if looked_at > MAX_PROGRAMS:
                    return TOO_LONG
                if test(command.after(index)):
                    return reason
    return None


def _foreign_code(commands: list[Simple]) -> str | None:
    """Whether the text runs code that stands nowhere in it: piped, computed, or downloaded."""
    downloaded = runs = False
    previous = Simple("", ("",))
    for command in commands:
        if found := _computed(command, previous):
            return found
        names = [name for name, _ in command.programs()]
        fetches = any(name in DOWNLOADERS for name in names)
        if fetches and runs and command.before in SUBSTITUTIONS:
            return "runs what it downloads"
        executes = any(name in SHELLS or name in EVALUATORS or _interpreter(name) for name in names)
        piped = command.before in ("|", "|&")  # into a program of its own: _computed has looked at that
        if downloaded and not piped and (executes or _makes_executable(command)):
            return "downloads something and then runs something"
        downloaded, runs, previous = downloaded or fetches, runs or executes, command
    return None


def _computed(command: Simple, previous: Simple) -> str | None:
    """Whether this command's program, or its program's text, is made by another command."""
    if not command.words:
        return None
    if command.before in ("|", "|&") and (found := _reads_program(command)):
        return found
    if command.before in ("$(", "`") and previous.blank:
        return "runs whatever another command prints"
    if command.before in COMMAND_STARTS and command.words[0].startswith("$"):
        return "runs a program that only a variable names"
    return "evaluates a computed command" if any(name == "eval" for name, _ in command.programs()) else None


def _reads_program(command: Simple) -> str | None:
    """Whether a command at the end of a pipe takes its program from there."""
    for name, index in command.programs():
        if name in SHELLS:
            return "pipes into a shell"
        if _interpreter(name) and set(command.after(index).all) <= {"-"}:
            return "pipes into an interpreter"
    return None


def _interpreter(name: str) -> bool:
    return re.sub(r"[\d.]+$", "", name) in INTERPRETERS


def _makes_executable(command: Simple) -> bool:
    return command.words[:1] == ("chmod",) and any(
        re.match(r"\+?[augo]*\+?x|[0-7]*[1357]", w) for w in command.words[1:2]
    )


def _is_fork_bomb(plain: str) -> bool:
    """Whether a function is defined that pipes itself into itself."""
    dense = re.sub(r"\s+", "", plain)
    for found in re.finditer(r"([\w:.@-]{1,64})\(\)\{", dense):
        name, body = found[1], dense[found.end() : found.end() + 400]
        if f"{name}|{name}" in body or f"{name}&{name}" in body:
            return True
    return False


def dangerous_arguments(arguments: Mapping[str, object]) -> str | None:
    """The first danger in any text of a call's arguments, whatever the tool calls them."""
    for text in _texts(arguments, 0):
        if found := danger(text):
            return found
    return None


def _texts(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth > 16:
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item, depth + 1)
    elif isinstance(value, list | tuple):
        if value and all(isinstance(item, str) for item in value):
            yield " ".join(value)  # an argv
        for item in value:
            yield from _texts(item, depth + 1)
