"""The command line of read-only verbs, from a small table: what ``hermesctl`` sends unparsed.

Its verbs and flags are those of hermesctl's parsers for the same verbs (tests compare the two).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hermesd.errors import UsageError

COMMON = {"-p": "profile", "--profile": "profile", "--json": "json"}
LIMIT = {"-n": "limit", "--limit": "limit"}
ROWS = {**LIMIT, "--state": "state", "-a": "all", "--all": "all"}
FLAGS = frozenset({"json", "all", "dead"})
NUMBERS = frozenset({"limit", "since", "lines"})
MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Grammar:
    """A verb: its options (flag → name), and how many words it takes."""

    options: dict[str, str] = field(default_factory=dict)
    least: int = 0
    most: int = 0
    words: str = ""


GRAMMARS: dict[str, Grammar] = {
    "status": Grammar(),
    "tree": Grammar(most=1, words="SERVICE"),
    "doctor": Grammar(),
    "version": Grammar({"--client": "client"}),
    "events": Grammar({**LIMIT, "--since": "since"}),
    "logs": Grammar({"-n": "lines", "--lines": "lines", "--level": "level", "--service": "service"}),
    "sessions list": Grammar(LIMIT),
    "sessions show": Grammar(LIMIT, 1, 1, "SESSION"),
    "sessions search": Grammar(LIMIT, 1, 100, "WORD …"),
    "inbox list": Grammar(ROWS),
    "inbox show": Grammar({}, 1, 1, "ID"),
    "outbox list": Grammar({**ROWS, "--dead": "dead"}),
    "outbox show": Grammar({}, 1, 1, "ID"),
    "profile list": Grammar(),
    "profile show": Grammar(most=1, words="NAME"),
    "mcp list": Grammar(),
    "mcp show": Grammar({}, 1, 1, "NAME"),
    "mcp tools": Grammar(most=1, words="NAME"),
    "plugins list": Grammar(),
    "plugins show": Grammar({}, 1, 1, "NAME"),
    "cron list": Grammar({"-a": "all", "--all": "all"}),
    "cron show": Grammar({}, 1, 1, "JOB"),
    "cron runs": Grammar(LIMIT, 0, 1, "JOB"),
    "watch list": Grammar({"-a": "all", "--all": "all"}),
    "watch show": Grammar({}, 1, 1, "WATCH"),
    "watch runs": Grammar(LIMIT, 0, 1, "WATCH"),
    "webhook list": Grammar(),
    "webhook show": Grammar({}, 1, 1, "NAME"),
    "gateway list": Grammar(),
    "gateway status": Grammar(most=1, words="PROFILE"),
    "config show": Grammar(),
    "config get": Grammar({}, 1, 1, "KEY"),
}
DEFAULT_ACTIONS = {
    "sessions": "list",
    "inbox": "list",
    "outbox": "list",
    "profile": "list",
    "gateway": "list",
    "mcp": "list",
    "plugins": "list",
    "cron": "list",
    "watch": "list",
    "webhook": "list",
    "config": "show",
}

ALIASES = {"ls": "list"}
"""Other words for an action."""


@dataclass(slots=True)
class Call:
    """A parsed command line. ``verb`` is a key of ``GRAMMARS``."""

    verb: str
    words: list[str]
    values: dict[str, str] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)

    @property
    def profile(self) -> str:
        """``-p``, or ''."""
        return self.values.get("profile", "")

    @property
    def json(self) -> bool:
        """Whether the result is wanted as JSON."""
        return "json" in self.values

    def number(self, name: str, default: int) -> int:
        """An option's whole number; UsageError when it is none or below zero."""
        return whole_number(self.values[name], f"--{name}") if name in self.values else default


def parse(argv: list[str]) -> Call:
    """Raises UsageError for an unknown verb, an unknown option, and a missing or superfluous word."""
    call = Call("", [])
    pending = list(argv)
    while pending:
        word = pending.pop(0)
        if word == "--":
            call.words += pending
            break
        if word.startswith("-") and word != "-":
            _option(call, word, pending)
        else:
            call.words.append(word)
            if not call.verb:
                _choose_verb(call)
    if not call.verb:
        _take_default_action(call)
    grammar = GRAMMARS[call.verb]
    if not grammar.least <= len(call.words) <= grammar.most:
        wanted = f"{call.verb} {grammar.words}".strip()
        raise UsageError(
            f"`{call.verb}` was given {len(call.words)} words", next_step=f"usage: hermesctl {wanted}, or see --help"
        )
    return call


def whole_number(text: str, name: str) -> int:
    """A number of at least zero; UsageError otherwise."""
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > MAX_NUMBER:
        raise UsageError(f"{name} takes a whole number, not {text[:40]!r}")
    return int(text)


def _choose_verb(call: Call) -> None:
    """Take the verb from the front of the words as soon as it is known."""
    name = " ".join([*call.words[:1], *(ALIASES.get(word, word) for word in call.words[1:])])
    if name in GRAMMARS:
        call.verb, call.words = name, []
    elif len(call.words) > 1 or name not in DEFAULT_ACTIONS:
        raise _no_verb(call)


def _take_default_action(call: Call) -> None:
    if len(call.words) != 1 or call.words[0] not in DEFAULT_ACTIONS:
        raise _no_verb(call)
    call.verb, call.words = f"{call.words[0]} {DEFAULT_ACTIONS[call.words[0]]}", []


def _option(call: Call, word: str, pending: list[str]) -> None:
    flag, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
    known = {**COMMON, **_options_of(call)}
    name = known.get(flag)
    if name is None or (name in FLAGS and equals):
        raise UsageError(f"unknown option {word[:40]!r}", next_step=f"see `hermesctl {_verb_word(call)} --help`")
    if name in FLAGS:
        call.values[name] = ""
        return
    if not equals:
        if not pending:
            raise UsageError(f"{flag} needs a value")
        value = pending.pop(0)
    if name == "state":
        call.states.append(value)
    call.values[name] = value


def _options_of(call: Call) -> dict[str, str]:
    """The options of the verb; of a verb alone (``inbox -a``) those of its default action, which it thereby means."""
    if not call.verb and call.words and call.words[0] in DEFAULT_ACTIONS:
        return GRAMMARS[f"{call.words[0]} {DEFAULT_ACTIONS[call.words[0]]}"].options
    return GRAMMARS[call.verb].options if call.verb else {}


def _verb_word(call: Call) -> str:
    return (call.verb or " ".join(call.words)).partition(" ")[0]


def _no_verb(call: Call) -> UsageError:
    return UsageError(f"{' '.join(call.words)[:80]!r} is not a read-only verb", next_step="see `hermesctl --help`")
