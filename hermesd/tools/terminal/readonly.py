"""Which commands are certainly read-only: by a strict parse of the whole command, never by its beginning.

A command qualifies when it consists of plain words (or '…' texts) only, its program and every option stand in the
table below, and its paths are relative without ``..``. It is then started directly with those words and no shell, so
what was judged is what runs; paths are checked again against the workspace before that. Everything else is unsafe.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLAIN = re.compile(r"(?:[A-Za-z0-9_@%+=:,./^~ -]|'[^'\x00-\x1f\x7f]*')+", re.ASCII)
NUMBER = re.compile(r"-?[0-9]{1,6}", re.ASCII)
MAX_COMMAND = 2000

Operands = Literal["none", "text", "paths", "pattern", "format"]
"""none; text: never read as a file; paths: files; pattern: a text, then files; format: one word beginning with +."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a program may be given: letters after one dash, whole options, options with a number, operands."""

    letters: str = ""
    options: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    operands: Operands = "none"


COMMANDS: dict[str, Rule] = {
    "cat": Rule("AbEnsTv", operands="paths"),
    "date": Rule("uIR", operands="format"),
    "df": Rule("hT"),
    "du": Rule("abchkmsx", numbers=("-d", "--max-depth"), operands="paths"),
    "echo": Rule("neE", operands="text"),
    "grep": Rule("EFchHilnovwx", numbers=("-A", "-B", "-C", "-m"), operands="pattern"),
    "head": Rule("qv", numbers=("-n", "-c"), operands="paths"),
    "hostname": Rule(),
    "id": Rule("ungG"),
    "ls": Rule("1AFRSacdghilnopqrstux", ("--all", "--recursive", "--human-readable"), operands="paths"),
    "nproc": Rule(),
    "pwd": Rule("LP"),
    "stat": Rule(operands="paths"),
    "tail": Rule("qv", numbers=("-n", "-c"), operands="paths"),
    "uname": Rule("amnoprsv"),
    "uptime": Rule("ps"),
    "wc": Rule("Lclmw", operands="paths"),
    "which": Rule("a", operands="text"),
    "whoami": Rule(),
}

DIFF = ("--stat", "--name-only", "--name-status", "--numstat", "--shortstat", "--staged", "--cached")
GIT: dict[str, Rule] = {
    "branch": Rule("arv", ("--all", "--list", "--remotes", "--show-current", "-vv")),
    "diff": Rule("pw", DIFF, ("-U",), "paths"),
    "log": Rule("p", (*DIFF[:5], "--all", "--decorate", "--graph", "--oneline"), ("-n",), "paths"),
    "ls-files": Rule("cdmos", ("--others", "--exclude-standard"), (), "paths"),
    "remote": Rule("v"),
    "rev-parse": Rule("", ("--abbrev-ref", "--show-toplevel", "--short", "HEAD")),
    "show": Rule("p", (*DIFF[:5], "--oneline"), (), "paths"),
    "status": Rule("bs", ("--short", "--branch", "--porcelain"), (), "paths"),
}
GIT_GUARD = (
    "--no-optional-locks",
    "--no-pager",
    *("-c", "core.fsmonitor=false"),
    *("-c", "log.showSignature=false"),
    *("-c", "protocol.allow=never"),
    *("-c", "safe.bareRepository=explicit"),
)
"""A repository's config can name programs to run (git-config(1)); these keep read-only subcommands from that."""
GIT_DIFF_GUARD = ("--no-ext-diff", "--no-textconv")


@dataclass(frozen=True, slots=True)
class ReadOnlyCommand:
    """A command that may be run without a shell. ``paths`` are the operands that must lie in the workspace."""

    argv: tuple[str, ...]
    paths: tuple[str, ...]


def parse(command: str) -> ReadOnlyCommand | None:
    """The command if it is certainly read-only, otherwise None."""
    if len(command) > MAX_COMMAND or not PLAIN.fullmatch(command):
        return None
    words = shlex.split(command)
    if not words:
        return None
    if words[0] == "git":
        return _git(words[1:])
    rule = COMMANDS.get(words[0])
    paths = _check(rule, words[1:]) if rule else None
    return None if paths is None else ReadOnlyCommand(tuple(words), paths)


def _git(words: list[str]) -> ReadOnlyCommand | None:
    rule = GIT.get(words[0]) if words else None
    paths = _check(rule, words[1:]) if rule else None
    if paths is None:
        return None
    guard = GIT_DIFF_GUARD if words[0] in ("diff", "log", "show") else ()
    return ReadOnlyCommand(("git", *GIT_GUARD, words[0], *guard, *words[1:]), paths)


def _check(rule: Rule, words: list[str]) -> tuple[str, ...] | None:
    """The path operands, or None when a word is not allowed."""
    operands: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-":
            if word not in rule.options:
                operands.append(word)
        elif word in rule.numbers:
            if not NUMBER.fullmatch(next(rest, "")):
                return None
        elif not _option(rule, word):
            return None
    return _operands(rule, operands)


def _option(rule: Rule, word: str) -> bool:
    if word == "--" or word in rule.options:
        return word != "--"
    name, _, value = word.partition("=")
    if name in rule.numbers and NUMBER.fullmatch(value):
        return True
    if word[:2] in rule.numbers and NUMBER.fullmatch(word[2:]):
        return True
    if rule.numbers and "-n" in rule.numbers and NUMBER.fullmatch(word[1:]):
        return True
    return not word.startswith("--") and all(letter in rule.letters for letter in word[1:])


def _operands(rule: Rule, operands: list[str]) -> tuple[str, ...] | None:
    match rule.operands:
        case "none":
            return None if operands else ()
        case "text":
            return ()
        case "format":
            return () if all(word.startswith("+") for word in operands) else None
        case "pattern":
            operands = operands[1:]
    return tuple(operands) if all(_inside(word) for word in operands) else None


def _inside(path: str) -> bool:
    """Whether a path can only lie below the working directory, symbolic links apart."""
    return not path.startswith(("/", "~")) and ".." not in path.split("/")


def program(name: str, env: Mapping[str, str], workspace: Path) -> str | None:
    """The program's path by PATH; entries that are relative or in the workspace, where a model writes, do not count."""
    real = os.path.realpath(workspace)
    for entry in env.get("PATH", os.defpath).split(os.pathsep):
        if not entry.startswith("/"):
            continue
        found = os.path.realpath(os.path.join(entry, name))  # noqa: PTH118 - os.path throughout, on the hot path
        inside = found == real or found.startswith(real.rstrip("/") + "/")
        if not inside and os.access(found, os.X_OK):
            return os.path.join(entry, name)  # noqa: PTH118 - not the real one: busybox goes by its name
    return None
