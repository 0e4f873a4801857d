"""Tables of state.db and how they grow.

Migrations only expand: they add tables, indexes, and columns with defaults, so that the previous release goes on
reading and writing the file. ``user_version`` counts the migrations applied; ``compatibility.oldest_reader`` is the
lowest version of a release that may still open the file. A migration that contracts raises it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

APPLICATION_ID = 0x48524D44  # "HRMD"


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema. ``oldest_reader`` is the schema version a release must know to live with the result."""

    version: int
    oldest_reader: int
    script: str


_FIRST = """
CREATE TABLE compatibility (oldest_reader INTEGER NOT NULL) STRICT;
INSERT INTO compatibility VALUES (1);

CREATE TABLE inbox (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  profile     TEXT NOT NULL,
  source      TEXT NOT NULL,
  delivery_id TEXT NOT NULL,
  session_key TEXT NOT NULL,
  text        TEXT NOT NULL,
  address     TEXT NOT NULL,
  sender      TEXT NOT NULL,
  untrusted   INTEGER NOT NULL,
  meta        TEXT NOT NULL,
  state       TEXT NOT NULL,
  received_at REAL NOT NULL,
  not_before  REAL NOT NULL DEFAULT 0,
  turn_id     TEXT NOT NULL DEFAULT '',
  error       TEXT NOT NULL DEFAULT '',
  message_key TEXT NOT NULL DEFAULT '',
  UNIQUE (profile, source, delivery_id)
) STRICT;
CREATE UNIQUE INDEX inbox_message ON inbox (profile, source, message_key) WHERE message_key != '';
CREATE INDEX inbox_state ON inbox (state);

CREATE TABLE cursors (
  profile TEXT NOT NULL,
  source  TEXT NOT NULL,
  value   TEXT NOT NULL,
  PRIMARY KEY (profile, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE turns (
  id            TEXT PRIMARY KEY,
  profile       TEXT NOT NULL,
  session_id    TEXT NOT NULL,
  inbox_id      INTEGER NOT NULL,
  state         TEXT NOT NULL,
  started_at    REAL NOT NULL,
  ended_at      REAL NOT NULL DEFAULT 0,
  crashes       INTEGER NOT NULL DEFAULT 0,
  attempts      INTEGER NOT NULL DEFAULT 1,
  model         TEXT NOT NULL DEFAULT '',
  input_tokens  INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  error         TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX turns_inbox ON turns (inbox_id);

CREATE TABLE steps (
  turn_id TEXT NOT NULL,
  seq     INTEGER NOT NULL,
  kind    TEXT NOT NULL,
  name    TEXT NOT NULL,
  state   TEXT NOT NULL,
  effect  TEXT NOT NULL,
  key     TEXT NOT NULL,
  request TEXT NOT NULL,
  result  TEXT NOT NULL,
  at      REAL NOT NULL,
  PRIMARY KEY (turn_id, seq)
) STRICT;

CREATE TABLE outbox (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  profile         TEXT NOT NULL,
  platform        TEXT NOT NULL,
  address         TEXT NOT NULL,
  text            TEXT NOT NULL,
  idempotency_key TEXT NOT NULL UNIQUE,
  turn_id         TEXT NOT NULL,
  kind            TEXT NOT NULL,
  state           TEXT NOT NULL,
  created_at      REAL NOT NULL,
  attempts        INTEGER NOT NULL DEFAULT 0,
  next_at         REAL NOT NULL DEFAULT 0,
  error           TEXT NOT NULL DEFAULT '',
  ref             TEXT NOT NULL DEFAULT '',
  repeat          INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX outbox_state ON outbox (state, profile, next_at);

CREATE TABLE sessions (
  id         TEXT PRIMARY KEY,
  profile    TEXT NOT NULL,
  key        TEXT NOT NULL,
  source     TEXT NOT NULL,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  title      TEXT NOT NULL DEFAULT '',
  messages   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX sessions_recent ON sessions (updated_at);

CREATE TABLE session_keys (
  profile    TEXT NOT NULL,
  key        TEXT NOT NULL,
  session_id TEXT NOT NULL,
  PRIMARY KEY (profile, key)
) STRICT, WITHOUT ROWID;

-- body without its text: the JSON literal of the text is cut out at character body_cut and put back when read.
CREATE TABLE messages (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id TEXT NOT NULL,
  turn_id    TEXT NOT NULL,
  role       TEXT NOT NULL,
  text       TEXT NOT NULL,
  body       TEXT NOT NULL,
  body_cut   INTEGER NOT NULL,
  created_at REAL NOT NULL
) STRICT;
CREATE INDEX messages_session ON messages (session_id);

CREATE VIRTUAL TABLE messages_fts USING fts5 (
  text, content = 'messages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER messages_added AFTER INSERT ON messages BEGIN
  INSERT INTO messages_fts (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
  INSERT INTO messages_fts (messages_fts, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER messages_changed AFTER UPDATE OF text ON messages BEGIN
  INSERT INTO messages_fts (messages_fts, rowid, text) VALUES ('delete', old.id, old.text);
  INSERT INTO messages_fts (rowid, text) VALUES (new.id, new.text);
END;

CREATE TABLE questions (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  turn_id    TEXT NOT NULL,
  session_id TEXT NOT NULL,
  profile    TEXT NOT NULL,
  kind       TEXT NOT NULL,
  key        TEXT NOT NULL,
  text       TEXT NOT NULL,
  options    TEXT NOT NULL,
  state      TEXT NOT NULL,
  answer     TEXT NOT NULL DEFAULT '',
  asked_at   REAL NOT NULL,
  UNIQUE (turn_id, key)
) STRICT;
CREATE INDEX questions_open ON questions (id) WHERE state = 'open';

CREATE TABLE events (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      REAL NOT NULL,
  kind    TEXT NOT NULL,
  subject TEXT NOT NULL,
  profile TEXT NOT NULL,
  data    TEXT NOT NULL
) STRICT;

CREATE TABLE small_values (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""

_JOBS = """
CREATE TABLE jobs (
  id         TEXT PRIMARY KEY,
  profile    TEXT NOT NULL,
  name       TEXT NOT NULL,
  spec       TEXT NOT NULL,
  state      TEXT NOT NULL,
  due_at     REAL NOT NULL,
  next_at    REAL NOT NULL,
  fired      INTEGER NOT NULL DEFAULT 0,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  UNIQUE (profile, name)
) STRICT;

CREATE TABLE runs (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id     TEXT NOT NULL,
  profile    TEXT NOT NULL,
  due_at     REAL NOT NULL,
  state      TEXT NOT NULL,
  fired_at   REAL NOT NULL,
  started_at REAL NOT NULL DEFAULT 0,
  ended_at   REAL NOT NULL DEFAULT 0,
  inbox_id   INTEGER NOT NULL DEFAULT 0,
  output     TEXT NOT NULL DEFAULT '',
  error      TEXT NOT NULL DEFAULT '',
  UNIQUE (job_id, due_at)
) STRICT;
CREATE INDEX runs_open ON runs (profile, state) WHERE state IN ('queued', 'script');
"""

_WATCHES = """
CREATE TABLE watches (
  id         TEXT PRIMARY KEY,
  profile    TEXT NOT NULL,
  name       TEXT NOT NULL,
  spec       TEXT NOT NULL,
  state      TEXT NOT NULL,
  primed     INTEGER NOT NULL DEFAULT 0,
  fired      INTEGER NOT NULL DEFAULT 0,
  last_at    REAL NOT NULL DEFAULT 0,
  open_inbox INTEGER NOT NULL DEFAULT 0,
  error      TEXT NOT NULL DEFAULT '',
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  UNIQUE (profile, name)
) STRICT;

-- What a watch has last seen of each thing it looks at: a file's size and time, a command's output, a unit's state.
CREATE TABLE watch_seen (
  watch_id TEXT NOT NULL,
  thing    TEXT NOT NULL,
  value    TEXT NOT NULL,
  PRIMARY KEY (watch_id, thing)
) STRICT, WITHOUT ROWID;

ALTER TABLE runs ADD COLUMN kind TEXT NOT NULL DEFAULT 'job';
"""

_WEBHOOK_COUNTERS = """
CREATE TABLE webhook_counters (
  profile TEXT NOT NULL,
  route   TEXT NOT NULL,
  outcome TEXT NOT NULL,
  count   INTEGER NOT NULL,
  last_at REAL NOT NULL,
  PRIMARY KEY (profile, route, outcome)
) STRICT, WITHOUT ROWID;
"""

MIGRATIONS: tuple[Migration, ...] = (
    Migration(version=1, oldest_reader=1, script=_FIRST),
    Migration(version=2, oldest_reader=1, script=_JOBS),
    Migration(version=3, oldest_reader=1, script=_WATCHES),
    Migration(version=4, oldest_reader=1, script=_WEBHOOK_COUNTERS),
)


def migrate(db: apsw.Connection, *, where: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the file to the newest schema in one transaction, or leave it as it was.

    A file of a newer release is taken as it is when that release only expanded it; otherwise raises StoreError.
    """
    found = db.pragma("user_version")
    newest = migrations[-1].version
    if found == newest:
        return
    if found > newest:
        _check_newer(db, newest, where)
        return
    with db:  # a transaction: rolled back when a statement fails
        for migration in migrations:
            if migration.version > found:
                db.execute(migration.script)
                db.execute("UPDATE compatibility SET oldest_reader = ?", (migration.oldest_reader,))
        db.pragma("user_version", newest)
        if found == 0:
            db.pragma("application_id", APPLICATION_ID)


def _check_newer(db: apsw.Connection, newest: int, where: str) -> None:
    oldest_reader = db.execute("SELECT oldest_reader FROM compatibility").get
    if not isinstance(oldest_reader, int) or oldest_reader > newest:
        raise StoreError(
            f"the file has schema {db.pragma('user_version')}, this release knows {newest}",
            where=where,
            next_step="run the newer release again, or restore a backup made before it",
        )
