"""What every pass wrote, and on what right: a table of the campaign's own in the store's file.

It is written in the very transaction that applies, so it tells of exactly those passes that were committed.
"""

TABLE = """
CREATE TABLE campaign_trace (
    id                 INTEGER PRIMARY KEY,
    network            TEXT NOT NULL,
    owner              TEXT NOT NULL,
    fence              INTEGER NOT NULL,
    generation         INTEGER NOT NULL,
    stored_owner       TEXT,
    stored_fence       INTEGER NOT NULL,
    stored_generation  INTEGER NOT NULL,
    as_stored          INTEGER NOT NULL,
    mode               TEXT NOT NULL,
    most               INTEGER,
    finished           INTEGER NOT NULL,
    reserved           INTEGER NOT NULL,
    before             INTEGER NOT NULL,
    after              INTEGER NOT NULL
) STRICT
"""
INDEX = "CREATE INDEX campaign_trace_by_claim ON campaign_trace (network, fence)"

# Counted by SQLite, and by nobody who is tested.
IN_FLIGHT = """
    SELECT count(*) FROM action AS a JOIN task AS t ON t.key = a.task
    WHERE a.network = ? AND t.status IN ('waiting', 'running')
"""


def violations_of(rows):
    """What is wrong with the traces, which are mappings of column to value in the order in which they were written."""
    newest = {}
    for row in rows:
        what = f"{row['network']}: the pass of {row['owner']} with fence {row['fence']}"
        before = newest.get(row["network"], 0)
        if row["fence"] == before:
            yield "applied twice", f"{what} was applied twice"
        elif row["fence"] < before:
            yield "fence decreased", f"{what} was applied after fence {before}"
        newest[row["network"]] = max(before, row["fence"])
        if row["stored_fence"] != row["fence"]:
            yield "stale holder wrote", f"{what} was applied while fence {row['stored_fence']} was the valid one"
        elif row["stored_owner"] != row["owner"]:
            yield "no owner", f"{what} was applied while {row['stored_owner']} held the claim"
        if row["stored_generation"] != row["generation"]:
            yield "edit overlooked", f"{what} knew generation {row['generation']}, not {row['stored_generation']}"
        elif not row["as_stored"]:
            yield "edit overlooked", f"{what} knew another specification than the stored one"
        yield from (("limit", f"{what}: {wrong}") for wrong in _over_the_limit(row))


def _over_the_limit(row):
    after, most = row["after"], row["most"]
    match row["mode"]:
        case "full" if row["finished"]:
            if after:
                yield f"{after} Tasks are left though the Strategy has no more to ask"
        case "full":
            if most is not None and after > max(most, row["reserved"]):
                yield f"{after} Tasks in full mode, the limit is {most}, {row['reserved']} are reserved"
        case "partial":
            if most is not None and after > max(most, row["before"]):
                yield f"{after} Tasks in partial mode, the limit is {most}, there were {row['before']}"
        case mode:
            yield f"a pass was applied in mode {mode}"
