"""The tables. Times are ISO 8601 in UTC with microseconds, so that they sort as text; money is whole micro-USD."""

from __future__ import annotations

VERSION = 1  # PRAGMA user_version
OURS = 0x53544B52  # PRAGMA application_id, "STKR": another program's file is never written to
MAY_BILL = "('intended', 'sent', 'unclear', 'created')"

# One open wish per run, one attempt per wish that may bill: the file itself refuses a second one, whoever asks.
TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE runs (
  name TEXT PRIMARY KEY, profile TEXT NOT NULL, image TEXT NOT NULL, plan TEXT NOT NULL, usd INTEGER, usd_hour INTEGER,
  hours REAL, idle_minutes REAL, policy TEXT NOT NULL, remote TEXT NOT NULL, parent TEXT NOT NULL, state TEXT NOT NULL,
  made TEXT NOT NULL, words TEXT NOT NULL) STRICT;
CREATE TABLE wishes (
  id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES runs(name), why TEXT NOT NULL, made TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'open', outcome TEXT NOT NULL DEFAULT '', closed TEXT) STRICT;
CREATE UNIQUE INDEX one_open_wish ON wishes(run) WHERE state = 'open';
CREATE TABLE attempts (
  tag TEXT PRIMARY KEY, wish INTEGER NOT NULL REFERENCES wishes(id), run TEXT NOT NULL, provider TEXT NOT NULL,
  offer TEXT NOT NULL, usd_hour INTEGER NOT NULL, most_usd_hour INTEGER NOT NULL, digest TEXT NOT NULL,
  state TEXT NOT NULL, made TEXT NOT NULL, sent TEXT, instance TEXT NOT NULL DEFAULT '',
  because TEXT NOT NULL DEFAULT '', words TEXT NOT NULL DEFAULT '') STRICT;
CREATE UNIQUE INDEX one_attempt ON attempts(wish) WHERE state IN {MAY_BILL};
CREATE INDEX attempts_of_run ON attempts(run);
CREATE TABLE instances (
  provider TEXT NOT NULL, id TEXT NOT NULL, tag TEXT NOT NULL, run TEXT NOT NULL, state TEXT NOT NULL,
  body TEXT NOT NULL, first TEXT NOT NULL, seen TEXT NOT NULL, missed INTEGER NOT NULL DEFAULT 0, missed_since TEXT,
  unpriced INTEGER NOT NULL DEFAULT 0, adopted INTEGER NOT NULL DEFAULT 0,
  ending TEXT NOT NULL DEFAULT '', ended TEXT, why TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (provider, id)) STRICT;
CREATE INDEX instances_of_run ON instances(run);
CREATE TABLE segments (
  id INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, instance TEXT NOT NULL, since TEXT NOT NULL,
  until TEXT NOT NULL, usd_hour INTEGER NOT NULL, assumed INTEGER NOT NULL) STRICT;
CREATE INDEX segments_of_instance ON segments(provider, instance);
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, run TEXT NOT NULL, instance TEXT NOT NULL, kind TEXT NOT NULL,
  words TEXT NOT NULL) STRICT;
CREATE INDEX events_of_run ON events(run);
CREATE TABLE checkpoints (
  run TEXT NOT NULL, step INTEGER NOT NULL, url TEXT NOT NULL, digest TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (run, step, url, digest)) STRICT;
CREATE TABLE bad_machines (
  provider TEXT NOT NULL, machine TEXT NOT NULL, why TEXT NOT NULL, at TEXT NOT NULL, until TEXT NOT NULL,
  PRIMARY KEY (provider, machine)) STRICT;
CREATE TABLE snapshots (provider TEXT PRIMARY KEY, at TEXT NOT NULL, rows TEXT NOT NULL) STRICT;
"""
NAMES = ("meta", "runs", "wishes", "attempts", "instances", "segments", "events", "checkpoints", "bad_machines")
