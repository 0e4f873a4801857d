"""Files and documents: put there as declared, removed when they are not declared any more and still as they were."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermesd.activation.config_file import digest
from hermesd.activation.sources import read_source
from hermesd.activation.steps import Step
from hermesd.activation.text_diff import of_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hermesd.activation.manifest import FilePart
    from hermesd.activation.targets import Found, Place

MAX_KEPT = 20
KEPT_MODE = 0o600


def declared_files(files: Sequence[FilePart]) -> dict[PurePosixPath, tuple[bytes, FilePart]]:
    """Contents by target; without those whose source is missing and may be. Raises ConfigError."""
    found = {}
    for file in files:
        data = file.text.encode("utf-8", "surrogatepass") if file.text is not None else read_source(file.source)
        if data is not None:
            found[PurePosixPath(file.target)] = data, file
    return found


def steps(
    place: Place,
    above: PurePosixPath,
    applied: Sequence[dict[str, str]],
    declared: dict[PurePosixPath, tuple[bytes, FilePart]],
) -> Iterator[Step]:
    """What brings them about below ``above``. ``applied``: digests by target. Raises ConfigError for links."""
    for name in sorted({PurePosixPath(name) for digests in applied for name in digests} - declared.keys()):
        live = place.read(above / name)
        if live is not None and digest(live.data) in _known(applied, name):
            yield Step("remove", place, above / name, before=live.data)
    for name, (data, file) in declared.items():
        target = above / name
        live = place.read(target)
        if live is not None and live.data == data and live.mode == file.bits:
            continue
        if live is not None and live.data != data and digest(live.data) not in _known(applied, name):
            yield from kept(place, target, live)
        details = () if file.source else of_texts(live.data if live else b"", data)
        yield Step("write", place, target, data, file.bits, live.data if live else None, details)


def kept(place: Place, target: PurePosixPath, live: Found) -> Iterator[Step]:
    """A copy beside of what somebody has changed: NAME.bak, NAME.bak.2 and so on; the last of them is written again."""
    for number in range(1, MAX_KEPT + 1):
        beside = target.with_name(f"{target.name}.bak{f'.{number}' if number > 1 else ''}")
        there = place.read(beside)
        if there is not None and there.data == live.data:
            return
        if there is None or number == MAX_KEPT:
            yield Step("keep", place, beside, live.data, KEPT_MODE, there.data if there else None)
            return


def _known(applied: Sequence[dict[str, str]], target: PurePosixPath) -> list[str]:
    return [digests[str(target)] for digests in applied if str(target) in digests]
