"""What of a server's lists could not be used, in words for people: bounded, because the server has a say in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.mcp.sanitize import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

FAULTS = "hermesd/left-out"
"""Under this key of a result's ``_meta`` we note what we have left out of it; a server's own is taken away."""

MAX_FAULTS = 20
"""Told one by one; of more, how many."""

MAX_NAME = 80
MAX_WHY = 160


class Faults:
    """Entries left out of a list, perhaps of many pages."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._count = 0

    def add(self, what: str, entry: object, why: str, *, number: int = 0) -> None:
        """An entry (plain data of JSON), which is a ``what``, and the reason; its ``number`` where it has no name."""
        self._count += 1
        if len(self._texts) < MAX_FAULTS:
            self._texts.append(f"{what} {_name(entry) or f'no. {number}'} is left out: {_line(why, MAX_WHY)}")

    def note(self, text: str) -> None:
        """Something else that is not used."""
        self._count += 1
        self._texts.append(text)

    def meta(self) -> dict[str, object]:
        """For a result's ``_meta``; ``take`` reads it."""
        return {"texts": self._texts, "count": self._count}

    def take(self, result: Mapping[str, object]) -> None:
        """Add what was left out of a result that has come through ``sifting``."""
        meta = result.get("_meta")
        noted = meta.get(FAULTS) if isinstance(meta, dict) else None
        if isinstance(noted, dict):
            self._texts += noted["texts"][: max(0, MAX_FAULTS - len(self._texts))]
            self._count += noted["count"]

    def told(self) -> list[str]:
        """One line each; [] when everything could be used."""
        more = self._count - len(self._texts)
        return [*self._texts, f"{more} more are left out"] if more else list(self._texts)


def _name(entry: object) -> str:
    names = (entry.get("name"), entry.get("uri"), entry.get("uriTemplate")) if isinstance(entry, dict) else ()
    found = next((name for name in names if isinstance(name, str) and name), "")
    return repr(_line(found, MAX_NAME)) if found else ""


def _line(text: str, limit: int) -> str:
    return shortened(" ".join(text[: limit * 2].split()), limit)
