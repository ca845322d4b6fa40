"""The tables of the embedded store, and the one statement that claims.

Times are whole microseconds since 1970 in UTC, intervals whole microseconds: they compare and add up in SQL without
rounding. Fence and generation belong to the network, not to its Strategy: they go on growing when it is replaced. Names
belong to a network, too: only the key of a Transformation is the same wherever it stands. What may be long stands in a
table of its own, so that looking for what is due reads little.
"""

from __future__ import annotations

SCHEMA_VERSION = 1

APPLICATION_ID = 0x414C5354
"""Tells a file of ours from any other SQLite file: "ALST"."""

SCHEMA = """
CREATE TABLE network (
    key            TEXT PRIMARY KEY,
    name           TEXT NOT NULL,
    created        INTEGER NOT NULL,
    generation     INTEGER NOT NULL DEFAULT 0,
    fence          INTEGER NOT NULL DEFAULT 0,
    owner          TEXT,
    lease_expires  INTEGER
) STRICT;

CREATE TABLE transformation (
    key  TEXT PRIMARY KEY
) STRICT;

CREATE TABLE network_transformation (
    network         TEXT NOT NULL REFERENCES network (key),
    position        INTEGER NOT NULL,
    transformation  TEXT NOT NULL REFERENCES transformation (key),
    name            TEXT NOT NULL,
    state_a         TEXT NOT NULL,
    state_b         TEXT NOT NULL,
    leg             TEXT NOT NULL,
    leg_a           TEXT NOT NULL,
    leg_b           TEXT NOT NULL,
    PRIMARY KEY (network, position),
    UNIQUE (network, transformation)
) STRICT, WITHOUT ROWID;

CREATE TABLE strategy (
    network                       TEXT PRIMARY KEY REFERENCES network (key),
    mode                          TEXT NOT NULL,
    max_tasks_per_transformation  INTEGER NOT NULL,
    max_tasks_per_network         INTEGER,
    task_scaling                  TEXT NOT NULL,
    extends_preference            REAL NOT NULL,
    sleep_interval                INTEGER NOT NULL,
    mode_before_pause             TEXT,
    edited_at                     INTEGER,
    status                        TEXT NOT NULL,
    iterations                    INTEGER NOT NULL,
    last_iteration                INTEGER,
    result_count                  INTEGER,
    newest_result                 INTEGER,
    retries                       INTEGER NOT NULL,
    retry_at                      INTEGER
) STRICT;

CREATE TABLE strategy_text (
    network  TEXT PRIMARY KEY REFERENCES network (key),
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    content  TEXT NOT NULL,
    health   TEXT NOT NULL
) STRICT;

CREATE TABLE task (
    key             TEXT PRIMARY KEY,
    transformation  TEXT NOT NULL REFERENCES transformation (key),
    status          TEXT NOT NULL,
    priority        INTEGER NOT NULL DEFAULT 10,
    created         INTEGER NOT NULL,
    extends         TEXT REFERENCES task (key)
) STRICT;
CREATE INDEX task_by_transformation ON task (transformation, created, key);
CREATE INDEX task_by_status ON task (status, priority, created, key);

CREATE TABLE action (
    task     TEXT NOT NULL REFERENCES task (key),
    network  TEXT NOT NULL REFERENCES network (key),
    weight   REAL NOT NULL DEFAULT 0.5,
    PRIMARY KEY (task, network)
) STRICT, WITHOUT ROWID;

CREATE TABLE result (
    id              INTEGER PRIMARY KEY,
    transformation  TEXT NOT NULL REFERENCES transformation (key),
    task            TEXT REFERENCES task (key),
    ok              INTEGER NOT NULL,
    repeat          INTEGER,
    estimate        REAL,
    uncertainty     REAL,
    created         INTEGER NOT NULL,
    UNIQUE (transformation, repeat)
) STRICT;
CREATE INDEX result_by_transformation ON result (transformation, ok, created);
CREATE INDEX result_by_task ON result (task, ok);

CREATE TABLE iteration (
    network    TEXT NOT NULL REFERENCES network (key),
    iteration  INTEGER NOT NULL,
    record     TEXT NOT NULL,
    PRIMARY KEY (network, iteration)
) STRICT, WITHOUT ROWID;
"""

RESULTS_SEEN = """
    SELECT count(*), max(r.created)
    FROM network_transformation AS nt JOIN result AS r ON r.transformation = nt.transformation
    WHERE nt.network = {network} AND r.ok = 1
"""

NEWEST_RESULT = """
    SELECT max(r.created)
    FROM network_transformation AS nt JOIN result AS r ON r.transformation = nt.transformation
    WHERE nt.network = {network} AND r.ok = 1
"""

# Since when a network is due: a dormant one since the result came that woke it, and not since it went to rest.
DUE_SINCE = f"""
    min(
        ifnull(s.edited_at, :now),
        coalesce(
            s.retry_at,
            max(
                s.last_iteration + max(s.sleep_interval, :minimum_interval),
                iif(s.status = 'dormant', ifnull(({NEWEST_RESULT.format(network="s.network")}), 0), 0)
            ),
            :now
        )
    )
"""

# A dormant network is looked at only once it has rested: the row value compares number and newest time at once, and IS
# takes NULL for a value like any other.
CLAIM_DUE = f"""
UPDATE network
SET fence = fence + 1, owner = :owner, lease_expires = :now + :lease
WHERE key IN (
    SELECT n.key
    FROM strategy AS s JOIN network AS n ON n.key = s.network
    WHERE s.mode <> 'disabled' AND s.status <> 'error'
      AND (n.lease_expires IS NULL OR n.lease_expires <= :now)
      AND (:every_network OR n.key IN (SELECT value FROM json_each(:networks)))
      AND (
        s.edited_at IS NOT NULL
        OR s.retry_at <= :now
        OR s.retry_at IS NULL
           AND (s.last_iteration IS NULL OR s.last_iteration + max(s.sleep_interval, :minimum_interval) <= :now)
           AND (s.status = 'awake' OR (s.result_count, s.newest_result) IS NOT ({RESULTS_SEEN.format(network="n.key")}))
      )
    ORDER BY {DUE_SINCE}, n.key
    LIMIT :limit
)
RETURNING key
"""  # noqa: S608 - nothing but our own text goes in

# What RETURNING gives comes in no order.
CLAIMED_IN_ORDER = f"""
    SELECT network
    FROM strategy AS s
    WHERE network IN (SELECT value FROM json_each(:claimed))
    ORDER BY {DUE_SINCE}, network
"""  # noqa: S608 - nothing but our own text goes in

_STRATEGY = """
    SELECT s.*, t.kind, t.name, t.content, t.health, n.name AS network_name, n.generation
    FROM strategy AS s JOIN strategy_text AS t ON t.network = s.network JOIN network AS n ON n.key = s.network
"""
STRATEGY = f"{_STRATEGY} WHERE s.network = ?"
STRATEGIES = f"{_STRATEGY} ORDER BY n.name, n.key"

ADD_RESULT = """
    INSERT INTO result (transformation, ok, repeat, estimate, uncertainty, created)
    VALUES (?, 1, ?, ?, ?, ?)
    ON CONFLICT (transformation, repeat) DO NOTHING
"""

TASKS = """
    SELECT t.transformation, t.key, t.status, t.created, t.extends, a.weight,
           (SELECT count(*) FROM result AS r WHERE r.task = t.key),
           (SELECT count(*) FROM result AS r WHERE r.task = t.key AND r.ok = 1)
    FROM network_transformation AS nt
         JOIN task AS t ON t.transformation = nt.transformation
         LEFT JOIN action AS a ON a.task = t.key AND a.network = nt.network
    WHERE nt.network = ?
    ORDER BY nt.position, t.created, t.key
"""

TRANSFORMATIONS = """
    SELECT transformation, name, state_a, state_b, leg, leg_a, leg_b
    FROM network_transformation
    WHERE network = ?
    ORDER BY position
"""

SUCCESSES = """
    SELECT r.transformation, count(*), min(r.created), max(r.created)
    FROM network_transformation AS nt JOIN result AS r ON r.transformation = nt.transformation
    WHERE nt.network = ? AND r.ok = 1
    GROUP BY r.transformation
"""

ESTIMATES = """
    SELECT r.transformation, r.estimate, r.uncertainty
    FROM network_transformation AS nt JOIN result AS r ON r.transformation = nt.transformation
    WHERE nt.network = ? AND r.ok = 1
    ORDER BY nt.position, r.created, r.id
"""

CLAIMABLE_TASK = """
    SELECT t.key, t.transformation, t.extends,
           (SELECT count(*) FROM task AS older
            WHERE older.transformation = t.transformation AND (older.created, older.key) < (t.created, t.key))
    FROM task AS t
    WHERE t.status = 'waiting'
      AND EXISTS (SELECT 1 FROM action AS a WHERE a.task = t.key AND a.weight > 0)
      AND (t.extends IS NULL OR EXISTS (SELECT 1 FROM task AS p WHERE p.key = t.extends AND p.status = 'complete'))
    ORDER BY t.priority, t.created, t.key
    LIMIT 1
"""
