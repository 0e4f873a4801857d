"""What a part of the benchmarks found: figures with what they stand beside, kept as one JSON file a part."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``other`` is the value, in the same unit, of what it stands ``beside`` in the same run."""

    what: str
    value: float | None
    unit: str = ""
    beside: str = ""
    other: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by the other."""
        return self.value / self.other if self.value is not None and self.other else None


def beside(
    what: str,
    value: float,
    unit: str,
    name: str,
    other: float,
    *,
    at_most: float = math.inf,
    at_least: float = -math.inf,
    note: str = "",
) -> Figure:
    """Ours beside another in one run; the bounds are on the ratio ours ÷ other."""
    target = f"≤ {at_most:g} ×" if at_most < math.inf else f"≥ {at_least:g} ×" if at_least > -math.inf else ""
    met = at_least <= value / other <= at_most if target else None
    return Figure(what, value, unit, name, other, target, met, note)


def plain(
    what: str, value: float, unit: str, *, at_most: float = math.inf, at_least: float = -math.inf, note: str = ""
) -> Figure:
    """A figure that stands for itself; the bounds are on the value."""
    target = (
        f"≤ {at_most:,g} {unit}" if at_most < math.inf else f"≥ {at_least:,g} {unit}" if at_least > -math.inf else ""
    )
    return Figure(
        what, value, unit, target=target.strip(), met=at_least <= value <= at_most if target else None, note=note
    )


def not_run(what: str, reason: str) -> Figure:
    """A figure that could not be had here, and why."""
    return Figure(what, None, note=reason)


def machine() -> str:
    """Processor, cores, memory, kernel and Python."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = os.cpu_count()
    return f"{model}, {cores} cores, {gib:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def save(part: str, figures: list[Figure], *, seconds: float) -> Path:
    """Replace the part's result file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{part}.json"
    record = {
        "part": part,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "others": 0.0,
        "seconds": round(seconds, 1),
        "figures": [asdict(figure) for figure in figures],
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path


def note_other_work(part: str, share: float) -> None:
    """Add to a result file how much of the processors other programs had meanwhile."""
    path = RESULTS / f"{part}.json"
    record = json.loads(path.read_text()) | {"others": round(share, 3)}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def load(part: str) -> tuple[dict[str, object], list[Figure]] | None:
    """The part's last results: its record without the figures, and these; None when it has never run."""
    with contextlib.suppress(FileNotFoundError):
        record = json.loads((RESULTS / f"{part}.json").read_text())
        return record, [Figure(**row) for row in record.pop("figures")]
    return None
