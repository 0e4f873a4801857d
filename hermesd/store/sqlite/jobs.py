"""Jobs and their runs: an occurrence is taken up once, with the job's next instant, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.sqlite import inbox, outbox
from hermesd.store.sqlite.rows import JOB_COLUMNS, RUN_COLUMNS, job_row, run_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import Firing, JobRow, NewEvent, NewOutbox, Occurrence, RunKind, RunRow, RunState
    from hermesd.store.sqlite.transaction import Transaction, View

UNDER_WAY = "an earlier run was still under way"
CUT = "the daemon was killed while the script ran"

_OPEN = (
    "SELECT EXISTS (SELECT 1 FROM runs r LEFT JOIN inbox i ON i.id = r.inbox_id WHERE r.job_id = ? AND "
    "(r.state IN ('queued', 'script') OR (r.state = 'handed' AND i.state IN ('pending', 'running', 'parked'))))"
)


def put(tx: Transaction, job: JobRow) -> JobRow:
    """Insert a job or replace the one with its id; raises ConflictError for a name that another has."""
    other = tx.value("SELECT id FROM jobs WHERE profile = ? AND name = ? AND id <> ?", job.profile, job.name, job.id)
    if other:
        raise ConflictError(
            f"there is a job {job.name!r} already ({other})", next_step=f"name it otherwise, or edit {other}"
        )
    tx.run(
        f"INSERT INTO jobs ({JOB_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constant
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name, spec = excluded.spec, state = excluded.state, "
        "due_at = excluded.due_at, next_at = excluded.next_at, updated_at = excluded.updated_at",
        job.id,
        job.profile,
        job.name,
        job.spec,
        job.state,
        job.due_at,
        job.next_at,
        job.fired,
        tx.now,
        tx.now,
    )
    kept = get(tx, job.id)
    _tell(tx, kept)
    return kept


def _tell(tx: Transaction, job: JobRow) -> None:
    tx.event(
        "job.changed",
        job.id,
        job.profile,
        {"id": job.id, "name": job.name, "state": job.state, "next_at": job.next_at, "fired": job.fired},
    )


def delete(tx: Transaction, job_id: str) -> JobRow:
    """Remove a job; its runs stay. Raises NotFoundError."""
    job = get(tx, job_id)
    tx.run("DELETE FROM jobs WHERE id = ?", job_id)
    tx.event("job.removed", job_id, job.profile, {"id": job_id, "name": job.name})
    return job


def get(view: View, job_id: str) -> JobRow:
    """One job; raises NotFoundError."""
    row = view.one(f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?", job_id)  # noqa: S608 - constant
    if row is None:
        raise NotFoundError(f"no job {job_id[:80]!r}", next_step="see `hermesctl cron list`")
    return job_row(row)


def listing(view: View, profile: str | None) -> list[JobRow]:
    """Every job, of one profile or of all, in the order they were made."""
    where, values = ("WHERE profile = ?", (profile,)) if profile is not None else ("", ())
    rows = view.all(f"SELECT {JOB_COLUMNS} FROM jobs {where} ORDER BY created_at, id", *values)  # noqa: S608 - constants
    return [job_row(row) for row in rows]


def timetable(view: View) -> list[tuple[float, str]]:
    """``(next_at, id)`` of every active job that has a next instant."""
    rows = view.all("SELECT next_at, id FROM jobs WHERE state = 'active' AND next_at > 0")
    return [(row[0], row[1]) for row in rows]


def fire(tx: Transaction, firings: Sequence[Firing]) -> list[RunRow]:
    """Take up what is due and move each job on; nothing of one that is not as expected any more (edited, gone)."""
    return [run for firing in firings for run in _fire_one(tx, firing)]


def _fire_one(tx: Transaction, firing: Firing) -> list[RunRow]:
    moved = tx.run(
        "UPDATE jobs SET due_at = ?, next_at = ?, state = ?, fired = fired + ? "
        "WHERE id = ? AND state = 'active' AND next_at = ?",
        firing.due_at,
        firing.next_at,
        firing.state,
        sum(not each.skip for each in firing.occurrences),
        firing.job_id,
        firing.expected,
    )
    if not moved:
        return []
    job = get(tx, firing.job_id)
    runs = [run for each in firing.occurrences if (run := _take_up(tx, job, each)) is not None]
    if job.state != "active":
        _tell(tx, job)
    return runs


def start(tx: Transaction, job_id: str, occurrence: Occurrence) -> RunRow:
    """A run by hand, whatever the schedule says. Raises NotFoundError, ConflictError (one is under way)."""
    job = get(tx, job_id)
    run = _take_up(tx, job, occurrence)
    if run is None or run.state == "skipped":
        raise ConflictError(
            f"job {job.name!r} was not started: {run.error if run else 'it has run at this instant'}",
            next_step=f"see `hermesctl cron runs {job_id}`",
        )
    return run


def _take_up(tx: Transaction, job: JobRow, occurrence: Occurrence) -> RunRow | None:
    """Record an occurrence, and hand over its event; None when it is here already."""
    skip = occurrence.skip
    if not skip and occurrence.alone and tx.value(_OPEN, job.id):
        skip = UNDER_WAY
    state: RunState = "skipped" if skip else "queued"
    added = tx.run(
        "INSERT INTO runs (job_id, profile, due_at, state, fired_at, ended_at, error) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        job.id,
        job.profile,
        occurrence.due_at,
        state,
        tx.now,
        tx.now if skip else 0.0,
        skip,
    )
    if not added:
        return None
    run = run_of(tx, tx.last_id())
    if occurrence.event is not None and not skip:
        return hand_over(tx, run.id, occurrence.event)
    _tell_run(tx, run)
    return run


def hand_over(tx: Transaction, run_id: int, event: NewEvent, *, output: str = "") -> RunRow:
    """The run goes on as an event of the inbox."""
    [accepted] = inbox.accept(tx, [event], None)
    tx.run(
        "UPDATE runs SET state = 'handed', inbox_id = ?, output = ?, started_at = "
        "CASE started_at WHEN 0 THEN ? ELSE started_at END WHERE id = ?",
        accepted.id,
        output,
        tx.now,
        run_id,
    )
    run = run_of(tx, run_id)
    _tell_run(tx, run)
    return run


def begin_script(tx: Transaction, run_id: int) -> RunRow:
    """Before the script starts. Raises NotFoundError, ConflictError (it is not queued)."""
    changed = tx.run(
        "UPDATE runs SET state = 'script', started_at = ? WHERE id = ? AND state = 'queued'", tx.now, run_id
    )
    run = run_of(tx, run_id)
    if not changed:
        raise ConflictError(f"run {run_id} is {run.state}")
    _tell_run(tx, run)
    return run


def end(
    tx: Transaction, run_id: int, *, state: RunState, output: str, error: str, messages: Sequence[NewOutbox]
) -> RunRow:
    """A run that needs no turn is over; what it has to say goes out with that. Raises NotFoundError, ConflictError."""
    changed = tx.run(
        "UPDATE runs SET state = ?, ended_at = ?, output = ?, error = ? WHERE id = ? AND state IN ('queued', 'script')",
        state,
        tx.now,
        output,
        error,
        run_id,
    )
    run = run_of(tx, run_id)
    if not changed:
        raise ConflictError(f"run {run_id} is {run.state}")
    outbox.offer(tx, messages)
    _tell_run(tx, run)
    return run


def unfinished(view: View, profile: str | None) -> list[RunRow]:
    """Runs whose script has yet to run, or was cut by a crash; oldest first."""
    rows = view.all(
        f"SELECT {RUN_COLUMNS} FROM runs WHERE state IN ('queued', 'script') "  # noqa: S608 - constant
        "AND (?1 IS NULL OR profile = ?1) ORDER BY id",
        profile,
    )
    return [run_row(row) for row in rows]


def run_of(view: View, run_id: int) -> RunRow:
    """One run; raises NotFoundError."""
    row = view.one(f"SELECT {RUN_COLUMNS} FROM runs WHERE id = ?", run_id)  # noqa: S608 - constant
    if row is None:
        raise NotFoundError(f"no run {run_id}", next_step="see `hermesctl cron runs`")
    return run_row(row)


def runs(view: View, job_id: str | None, profile: str | None, kind: RunKind, limit: int) -> list[RunRow]:
    """Newest first; of ``kind`` where no id is named."""
    clauses: list[str] = []
    values: list[str] = []
    for column, value in (("job_id", job_id), ("profile", profile), ("kind", kind if job_id is None else None)):
        if value is not None:
            clauses.append(f"{column} = ?")
            values.append(value)
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    rows = view.all(f"SELECT {RUN_COLUMNS} FROM runs {where} ORDER BY id DESC LIMIT ?", *values, limit)  # noqa: S608 - constants
    return [run_row(row) for row in rows]


def last_output(view: View, job_id: str) -> str:
    """What the job's newest finished run said: its script alone, or the answer of its turn."""
    rows = view.all(
        "SELECT r.output, r.state, i.turn_id FROM runs r LEFT JOIN inbox i ON i.id = r.inbox_id "
        "WHERE r.job_id = ? AND (r.state IN ('done', 'silent') OR (r.state = 'handed' AND i.state = 'done')) "
        "ORDER BY r.id DESC LIMIT 1",
        job_id,
    )
    if not rows:
        return ""
    output, state, turn_id = rows[0]
    if state != "handed":
        return str(output)
    found = view.value(
        "SELECT text FROM messages WHERE turn_id = ? AND role = 'assistant' ORDER BY id DESC LIMIT 1", turn_id
    )
    return str(found or "")


def _tell_run(tx: Transaction, run: RunRow) -> None:
    data: dict[str, object] = {"id": run.id, "job_id": run.job_id, "due_at": run.due_at, "state": run.state}
    if run.inbox_id:
        data["inbox_id"] = run.inbox_id
    if run.error:
        data["error"] = run.error
    tx.event(f"run.{run.state}", run.job_id, run.profile, data)
