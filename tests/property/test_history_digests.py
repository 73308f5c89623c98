"""A digest is of what is read back as of what was written, and of nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ums_core import Draft, LocalStore, UnifiedSettings, open_store
from ums_core.storage.ink import Ink

# Whatever may be stored, among it what SQLite, JSON and hashing might take for one another.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABELS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
SIGNED = st.floats(-1, 1) | st.sampled_from([-0.0, 0.0, 1e-300, -5e-324])
SHARES = st.floats(0, 1) | st.sampled_from([0.0, 5e-324, 1.0])
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # made aware
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "role": LABELS,
    "tags": st.lists(LABELS, max_size=3, unique=True).map(tuple),
    "metadata": st.dictionaries(LABELS, TEXTS | st.integers(-(2**53), 2**53) | SIGNED | st.none(), max_size=2),
    "level": st.integers(0, 2**63 - 1),
    "importance": SHARES,
    "emotional_intensity": SHARES,
    "valence": SIGNED,
    "caption": LABELS.filter(str.strip),
    "speaker": LABELS,
    "session": LABELS,
    "position": st.integers(0, 2**63 - 1),
    "occurred_at": MOMENTS,
    "valid_from": MOMENTS,
    "ttl_s": st.floats(1, 1e9),
    "pinned": st.booleans(),
    "source_ids": st.lists(LABELS, max_size=2, unique=True).map(tuple),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStore]:
    path = tmp_path_factory.mktemp("history") / "memory.db"
    chosen = UnifiedSettings.for_testing(
        database={"url": f"sqlite:///{path}", "backend": "exact"}, model={"embedder": "hashing:16", "vector_dim": 16}
    )
    with open_store(chosen) as made:
        yield made


@given(st.lists(st.tuples(TEXTS, st.fixed_dictionaries({}, optional=FIELDS)), min_size=1, max_size=8))
@settings(deadline=None, max_examples=25)
def test_what_is_read_back_is_what_was_written(store: LocalStore, given_: list[tuple[str, dict[str, Any]]]) -> None:
    store.delete([memory.id for memory in store.scan(limit=1000).memories])
    store.add([Draft(text=text if text.strip() else "x", **fields) for text, fields in given_])
    assert store.verify_history() == []


ROW: tuple[Any, ...] = (
    *(1, 1, 1, "a", "b", "c", '["d"]', '{"e":1}', 0, "text", 0.5, 0.0, 0.0, 5, 6, 7, None, '["h"]', 0, "f", "g", 3, 4),
    *(None, 0, 0, None, None, "i"),
)
JSON = {6, 7, 17}
# Which do not say what a memory says: row id, birth, last use, expiry, finality, spans, uses.
ELSEWHERE = {0, 1, 15, 16, 18, 23, 25}


def test_every_part_counts_and_none_runs_into_another() -> None:
    ink, salt = Ink(bytes(32)), bytes(16)
    rows = [ROW]
    for place, value in enumerate(ROW):
        other = {str: f"{value} ", int: 9, float: 0.25, type(None): 8}[type(value)]
        rows.append((*ROW[:place], other, *ROW[place + 1 :]))
        if isinstance(value, str) and place not in JSON:
            # The end of one is the beginning of the next.
            rows.append((*ROW[:place], f"{value}\0{ROW[4]}", *ROW[place + 1 :]))
        if place in {5, 19, 20, 28}:
            rows += [(*ROW[:place], none, *ROW[place + 1 :]) for none in (None, "")]
    digests = [ink.digest(row, salt) for row in rows]
    same = [digest == digests[0] for digest in digests[1:]]
    assert same.count(True) == len(ELSEWHERE)
    assert len(set(digests)) == len(digests) - len(ELSEWHERE)
    assert ink.digest(ROW, b"1" * 16) != ink.digest(ROW, salt) != Ink(b"1" * 32).digest(ROW, salt)
