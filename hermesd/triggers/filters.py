"""Filters of a webhook route: conditions over the payload that all must hold, in hermes-agent's form.

``{field: a.b, OPERATOR: VALUE}`` with ``exists``, ``missing``, ``equals``, ``not_equals``, ``contains``, ``in``,
``in_file`` or ``regex``, and the groups ``{all: […]}``, ``{any: […]}``, ``{not: …}`` (of a list: none of them holds).
A field that begins with ``payload.`` is looked up in the payload's own ``payload`` if it has one, else in the whole;
``event`` and ``event_type`` mean the type of the event, ``headers.NAME`` a header field.

Everything is checked and bounded when it is compiled. At a request nothing can fail: what is not there does not hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.errors import ConfigError
from hermesd.home import read_bounded
from hermesd.triggers.patterns import MAX_SEEN, compile_pattern
from hermesd.triggers.templates import look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hermesd.web.message import Headers

    Test = Callable[["Seen"], bool]

MAX_CONDITIONS = 64
MAX_DEPTH = 8
MAX_LISTED = 1000
MAX_TEXT = 1000
MAX_FILE_BYTES = 1024 * 1024
GROUPS = ("all", "any", "not")
OPERATORS = ("exists", "missing", "equals", "not_equals", "contains", "in", "in_file", "regex")
_SCALARS = (str, int, float, bool)
_OPERATORS_TOLD = f"give field and one of {', '.join(OPERATORS)}, or one of {', '.join(GROUPS)}"
_ABSENT = object()
_PATH = re.compile(r"[^\s.]{1,200}(?:\.[^\s.]{1,200}){0,15}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a request shows to filters. ``files``: the members that each ``in_file`` lists now."""

    payload: dict[str, object]
    event: str
    headers: Headers
    files: Mapping[Path, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Filters:
    """A route's conditions, ready to be asked. ``files`` must be read (``read_files``) for each request."""

    tests: tuple[tuple[str, Test], ...] = ()
    files: tuple[Path, ...] = ()

    def refusal(self, seen: Seen) -> str:
        """The place of the first condition that does not hold, like ``filters[0]``; '' when all do."""
        return next((place for place, test in self.tests if not test(seen)), "")


def compile_filters(conditions: Sequence[object], *, where: str, home: Path | None = None) -> Filters:
    """Raises ConfigError that names the place below ``where`` of what is no condition, or of a file that is no list.

    ``home`` is what ``~/.hermes`` means in the names of files, and where other names without a root begin.
    """
    compiler = _Compiler(where, home or Path("~/.hermes").expanduser())
    tests = [(f"filters[{at}]", compiler.condition(each, f"filters[{at}]", 1)) for at, each in enumerate(conditions)]
    files = tuple(dict.fromkeys(path for path, _ in compiler.files))
    for path, place in compiler.files:
        try:
            read_file(path)
        except (OSError, ValueError) as error:
            raise compiler.error(place, f"names {str(path)[:200]!r}, which cannot be used: {error}", "") from None
    return Filters(tuple(tests), files)


def read_files(paths: Sequence[Path]) -> dict[Path, frozenset[str]]:
    """What the files list now; blocks. One that has gone or broken since the start lists nothing."""
    found = {}
    for path in paths:
        try:
            found[path] = read_file(path)
        except (OSError, ValueError):
            found[path] = frozenset()
    return found


def read_file(path: Path) -> frozenset[str]:
    """Members: of a JSON list, the keys of a JSON object, or the lines of a text. Raises OSError, ValueError."""
    try:
        data = read_bounded(path, max_bytes=MAX_FILE_BYTES, follow=True)
    except ConfigError as error:
        raise ValueError(error.what) from None
    if data.lstrip()[:1] in (b"[", b"{"):
        members = msgspec.json.decode(data)  # DecodeError is a ValueError
        return frozenset(map(_text, members))
    return frozenset(line.strip() for line in data.decode().splitlines() if line.strip())


class _Compiler:
    def __init__(self, where: str, home: Path) -> None:
        self._where = where
        self._home = home
        self._count = 0
        self.files: list[tuple[Path, str]] = []

    def error(self, place: str, what: str, next_step: str) -> ConfigError:
        return ConfigError(f"{place} {what}", where=self._where, next_step=next_step or "correct it")

    def condition(self, given: object, place: str, depth: int) -> Test:
        self._count += 1
        if self._count > MAX_CONDITIONS or depth > MAX_DEPTH:
            raise self.error(
                place, "is too much", f"{MAX_CONDITIONS} conditions at most, {MAX_DEPTH} of them within each other"
            )
        if not isinstance(given, dict):
            raise self.error(place, "is no condition", _OPERATORS_TOLD)
        names = [str(name) for name in given]
        if len(names) == 1 and names[0] in GROUPS:
            return self._group(names[0], given[names[0]], place, depth)
        operators = [name for name in names if name in OPERATORS]
        if "field" not in given or len(names) != 2 or len(operators) != 1:
            unknown = next((name for name in names if name not in (*OPERATORS, *GROUPS, "field")), "")
            said = f"has an unknown operator {unknown[:40]!r}" if unknown else "is no condition"
            raise self.error(place, said, _OPERATORS_TOLD)
        return self._comparison(given["field"], operators[0], given[operators[0]], place)

    def _group(self, kind: str, given: object, place: str, depth: int) -> Test:
        below = given if isinstance(given, list) else [given]
        if kind != "not" and not isinstance(given, list):
            raise self.error(f"{place}.{kind}", "is no list of conditions", _OPERATORS_TOLD)
        tests = [
            self.condition(each, f"{place}.{kind}[{at}]" if isinstance(given, list) else f"{place}.{kind}", depth + 1)
            for at, each in enumerate(below)
        ]
        if kind == "all":
            return lambda seen: all(test(seen) for test in tests)
        if kind == "any":
            return lambda seen: any(test(seen) for test in tests)
        return lambda seen: not any(test(seen) for test in tests)

    def _comparison(self, path: object, operator: str, wanted: object, place: str) -> Test:
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise self.error(f"{place}.field", "is no field", "write names with dots, like pull_request.user.login")
        get = _getter(path)
        at = f"{place}.{operator}"
        match operator:
            case "exists" | "missing":
                if not isinstance(wanted, bool):
                    raise self.error(at, "is neither true nor false", f"write {operator}: true")
                there = wanted == (operator == "exists")
                return lambda seen: (get(seen) is not _ABSENT) == there
            case "in":
                listed = self._list(wanted, at)
                return lambda seen: any(_same(each, get(seen)) for each in listed)
            case "in_file":
                return self._in_file(get, wanted, at)
            case "regex":
                return self._regex(get, wanted, at)
        scalar = self._scalar(wanted, at)
        if operator == "contains":
            return lambda seen: _contains(get(seen), scalar)
        equal = operator == "equals"
        return lambda seen: _same(scalar, get(seen)) == equal

    def _in_file(self, get: Callable[[Seen], object], wanted: object, at: str) -> Test:
        if not isinstance(wanted, str) or not wanted.strip():
            raise self.error(at, "is no path", "name a file that lists values")
        path = self._home / Path(wanted.removeprefix("~/.hermes/")).expanduser()
        self.files.append((path, at))
        return lambda seen: _text(get(seen)) in seen.files.get(path, frozenset())

    def _regex(self, get: Callable[[Seen], object], wanted: object, at: str) -> Test:
        try:
            pattern = compile_pattern(wanted if isinstance(wanted, str) else "")
        except ValueError as error:
            raise self.error(at, str(error), "make it simpler, or use equals, contains and any") from None

        def test(seen: Seen) -> bool:
            found = get(seen)
            return isinstance(found, _SCALARS) and pattern.search(_text(found)[:MAX_SEEN]) is not None

        return test

    def _list(self, wanted: object, at: str) -> list[Any]:
        if not isinstance(wanted, list) or not 0 < len(wanted) <= MAX_LISTED:
            raise self.error(at, "is no list of values", f"write [a, b], {MAX_LISTED} at most")
        return [self._scalar(each, f"{at}[{index}]") for index, each in enumerate(wanted)]

    def _scalar(self, wanted: object, at: str) -> Any:  # noqa: ANN401 - text, number or truth value
        if not isinstance(wanted, _SCALARS) or (isinstance(wanted, str) and len(wanted) > MAX_TEXT):
            raise self.error(at, "is no value", f"give a text ({MAX_TEXT} characters at most), a number, true or false")
        return wanted


def _getter(path: str) -> Callable[[Seen], object]:
    if path in ("event", "event_type"):
        return lambda seen: seen.event or _ABSENT
    first, _, rest = path.partition(".")
    if first == "headers" and rest:
        name = rest.lower()
        return lambda seen: seen.headers.get(name) if name in seen.headers else _ABSENT

    def get(seen: Seen) -> object:
        wanted = path
        if first == "payload" and rest and not isinstance(seen.payload.get("payload"), dict):
            wanted = rest
        known, value = look_up(seen.payload, wanted)
        return value if known else _ABSENT

    return get


def _same(wanted: object, found: object) -> bool:
    """A text is also the number or truth value that is written so; a number never is the text."""
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found or (isinstance(wanted, str) and isinstance(found, bool) and wanted == _text(found))
    if isinstance(wanted, str) and isinstance(found, (int, float)):
        return wanted == _text(found)
    return found is not _ABSENT and wanted == found


def _contains(found: object, wanted: object) -> bool:
    if isinstance(found, str):
        return _text(wanted) in found
    if isinstance(found, list):
        return any(_same(wanted, each) for each in found)
    return isinstance(found, dict) and _text(wanted) in found


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode() if isinstance(value, (int, float, bool, type(None))) else ""
