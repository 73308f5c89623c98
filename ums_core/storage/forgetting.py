"""What there is to forget, and what would go with it, as SQL."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from ums_core.ports.forgetting import Standing
from ums_core.records import Filter, Namespace
from ums_core.records.match import micros
from ums_core.storage import shelf
from ums_core.storage.allowed import condition_sql
from ums_core.storage.connect import Connection
from ums_core.storage.table import chunked, decode_namespace

__all__ = ["erasable", "named", "standing"]


def standing(connection: Connection, namespace: Namespace, condition: Filter | None, now: datetime) -> Standing:
    """All that live under a namespace prefix and meet a condition, in the order in which they were first stored.

    Costs one pass over the table or over the namespace, and about 200 bytes a row while it is read.
    """
    sql, values = condition_sql(namespace, condition)
    rows = connection.execute(
        "SELECT m.rid, m.importance, m.emotional_intensity, m.valence, m.last_accessed_at, m.accesses, m.pinned "
        f"FROM memories m WHERE (m.expires_at IS NULL OR m.expires_at > ?) {f'AND {sql}' if sql else ''} "
        "ORDER BY m.birth",
        (micros(now), *values),
    ).fetchall()
    columns = np.array(rows, np.float64).reshape(len(rows), 7)
    rids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    used = np.fromiter((row[4] for row in rows), np.int64, len(rows))
    return Standing(rids, columns[:, 1:4], used, columns[:, 5], columns[:, 6] == 1)


def named(connection: Connection, rids: Sequence[int]) -> dict[int, tuple[Namespace, str]]:
    """Which memories those rows are, as far as they still exist."""
    found: dict[int, tuple[Namespace, str]] = {}
    paths: dict[str, Namespace] = {}
    for part in chunked(rids):
        places = ",".join("?" * len(part))
        for rid, path, id_ in connection.execute(
            "SELECT m.rid, n.path, m.id FROM main.memories m JOIN namespaces n ON n.nid = m.nid "
            f"WHERE m.rid IN ({places})",
            part,
        ):
            namespace = paths.setdefault(path, decode_namespace(path))
            found[rid] = namespace, id_
    return found


def erasable(connection: Connection, nid: int, ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids that go with each id, itself first: of a summary, all that is archived under it, and so on.

    Left out are ids of which something was made that is not to go.
    """
    parts = {id_: _with_sources(connection, nid, id_) for id_ in ids}
    made = {
        str(id_): set(json.loads(sources))
        for table in ("memories", "archived")
        for id_, sources in connection.execute(
            f"SELECT id, source_ids FROM {table} WHERE nid = ? AND source_ids IS NOT NULL", (nid,)
        )
    }
    while spared := _named_by_others(parts, made):
        parts = {id_: part for id_, part in parts.items() if id_ not in spared}
    return parts


def _with_sources(connection: Connection, nid: int, id_: str) -> list[str]:
    found = [id_]
    wave = [id_]
    while wave:
        wave = [source for _, source, _ in shelf.under(connection, nid, wave)]
        found += wave
    return found


def _named_by_others(parts: Mapping[str, Sequence[str]], made: Mapping[str, set[str]]) -> set[str]:
    going = {id_ for part in parts.values() for id_ in part}
    needed = {source for id_, sources in made.items() if id_ not in going for source in sources}
    return {id_ for id_, part in parts.items() if needed.intersection(part)}
