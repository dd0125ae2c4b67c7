"""What is said to PostgreSQL: one statement a verb, and what makes the table."""

from __future__ import annotations

TABLE = "lumin_record"
"""The table's name where no other is given; `schema.table` is one, too."""

# A key may be longer than an index takes (2,704 bytes), so a digest of it stands there.
SCHEMA = """\
CREATE TABLE IF NOT EXISTS {table} (key bytea PRIMARY KEY, value bytea NOT NULL, expires_at timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at);
"""
"""What makes the table, and the index by which clean-up finds what has expired."""

# Of several containers that start together all but one would fail, "if not exists" or not.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext(%(table)s))"

# `clock_timestamp()` is read when a row is ours; `now()` would be the time at which we began to wait for it.
SELECT = "SELECT value FROM {table} WHERE key = %(key)s AND expires_at > clock_timestamp()"
CREATE = """\
INSERT INTO {table} AS held (key, value, expires_at)
VALUES (%(key)s, %(new)s, clock_timestamp() + %(ttl)s * interval '1 second')
ON CONFLICT (key) DO UPDATE
SET value = excluded.value, expires_at = clock_timestamp() + %(ttl)s * interval '1 second'
WHERE held.expires_at <= clock_timestamp()"""
REPLACE = """\
UPDATE {table} SET value = %(new)s, expires_at = clock_timestamp() + %(ttl)s * interval '1 second'
WHERE key = %(key)s AND value = %(old)s AND expires_at > clock_timestamp()"""
DELETE = "DELETE FROM {table} WHERE key = %(key)s AND value = %(old)s AND expires_at > clock_timestamp()"
CLEAN_UP = """\
DELETE FROM {table} WHERE key IN (
SELECT key FROM {table} WHERE expires_at <= clock_timestamp() LIMIT 256 FOR UPDATE SKIP LOCKED)"""


def schema(table: str = TABLE) -> str:
    """The SQL that makes the table and its index, where they are not there."""
    return SCHEMA.format(table=table, index=f"{table.rpartition('.')[2]}_expires_at")
