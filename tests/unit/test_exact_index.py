import logging
from pathlib import Path

import numpy as np
import pytest

from ums_core.errors import StorageError
from ums_core.index.exact import ExactIndex
from ums_core.index.rows import Growing, Rows, held
from ums_core.index.snapshot import Home, read, section, write
from ums_core.ports.index import RowSet
from ums_core.testing.index_case import added, changed, clustered


def test_memory_stays_linear_while_rows_come_one_by_one() -> None:
    growing, vectors = Growing.empty(4), clustered(1000, 4, seed=0, clusters=3)[0]
    for rid, vector in enumerate(vectors):
        growing.apply(changed(rid, vector[None], [rid]))
    assert len(growing._matrix) <= 1.5 * 1000
    assert np.array_equal(growing.rows.vectors, vectors)


def test_a_view_taken_before_a_write_stays_as_it_was() -> None:
    growing, vectors = Growing.empty(4), clustered(100, 4, seed=0, clusters=3)[0]
    growing.apply(changed(1, vectors[:50], range(50)))
    before = growing.rows
    growing.apply(changed(2, vectors[50:], range(50, 100), removed=range(10)))
    assert (before.live, len(before.rids), before.dead) == (50, 50, None)
    assert np.array_equal(before.vectors, vectors[:50])


def test_rows_are_compacted_when_more_than_a_quarter_is_dead() -> None:
    growing, vectors = Growing.empty(4), clustered(100, 4, seed=0, clusters=3)[0]
    growing.apply(changed(1, vectors, range(100)))
    growing.apply(changed(2, vectors[:0], [], removed=range(25)))
    assert len(growing.rows.rids) == 100
    growing.apply(changed(3, vectors[:0], [], removed=[25]))
    assert (len(growing.rows.rids), growing.rows.dead) == (74, None)
    growing.apply(changed(4, vectors[:0], [], removed=range(100)))
    assert (len(growing.rows.rids), growing.last) == (0, 99)
    with pytest.raises(ValueError, match="greater than 99"):
        growing.apply(changed(5, vectors[:1], [99]))


def test_a_filter_gives_the_same_answer_however_far_apart_its_rows_lie() -> None:
    index, vectors = ExactIndex(8), clustered(5000, 8, seed=0, clusters=20)[0]
    added(index, vectors)
    for rows in (np.arange(100, 300), np.arange(0, 5000, 50), np.arange(5000, dtype=np.int64)):
        rids, cosines = index.search(vectors[7], 20, RowSet(rows))
        order = np.lexsort((rows, -index.scores(vectors[7], rows)))[:20]
        assert rids.tolist() == rows[order].tolist()
        assert np.array_equal(cosines, index.scores(vectors[7], rids))


def test_many_equal_vectors_rank_by_row_id() -> None:
    index, vector = ExactIndex(8), np.eye(8, dtype=np.float32)[0]
    added(index, np.repeat(vector[None], 9000, axis=0))
    assert index.search(vector, 3)[0].tolist() == [0, 1, 2]


def test_rows_that_do_not_fit_are_refused() -> None:
    vectors = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match="do not fit"):
        Rows.over(vectors, np.arange(2))
    with pytest.raises(ValueError, match="do not fit"):
        Rows.over(vectors, np.arange(3), np.zeros(2, np.bool_))
    with pytest.raises(ValueError, match="ascend"):
        Rows.over(vectors, np.array([0, 2, 1]))


def test_nothing_is_held_by_an_empty_set() -> None:
    assert held(np.empty(0, np.int64), np.arange(3)).tolist() == [False] * 3
    assert held(np.array([1, 5]), np.array([0, 1, 5, 6])).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("name", "rids", "vectors"),
    [
        ("rids", np.array([1, 0]), np.zeros((2, 4), np.float32)),
        ("rids", np.array([0, 1, 2]), np.zeros((2, 4), np.float32)),
        ("rids", np.array([0]), np.zeros(5, np.float32)),
        ("ids", np.array([0]), np.zeros((1, 4), np.float32)),
    ],
)
def test_a_whole_snapshot_of_impossible_rows_is_not_loaded(
    tmp_path: Path, name: str, rids: np.ndarray, vectors: np.ndarray
) -> None:
    header = {"index": "exact", "dim": 4, "binding": {}, "seq": 1, "mark": 1}
    sections = [section(name, [rids], rids.nbytes), section("vectors", [vectors], vectors.nbytes)]
    write(tmp_path / "index", header, sections)
    assert read(tmp_path / "index", header) is not None
    index = ExactIndex(4)
    assert not index.load(tmp_path / "index")
    assert (len(index), index.seq) == (0, 0)


def test_an_index_that_cannot_be_saved_says_so_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index, vectors = ExactIndex(4, home=Home(tmp_path / "missing" / "index")), clustered(5, 4, seed=0, clusters=3)[0]
    added(index, vectors)
    with caplog.at_level(logging.WARNING):
        index.settle()
    assert "not saved" in caplog.text
    assert len(index.search(vectors[0], 3)[0]) == 3
    with pytest.raises(StorageError, match="cannot be written"):
        index.save(tmp_path / "missing" / "index")
    index.close()


def test_an_index_without_changes_does_not_touch_its_file(tmp_path: Path) -> None:
    index = ExactIndex(4, home=Home(tmp_path / "index"))
    index.settle()
    index.close()
    assert not (tmp_path / "index").exists()
    other = ExactIndex(4, home=Home(tmp_path / "index"))
    added(other, clustered(5, 4, seed=0, clusters=3)[0])
    other.save(tmp_path / "elsewhere")
    other.settle()
    (tmp_path / "index").unlink()
    other.close()
    assert not (tmp_path / "index").exists()


def test_what_was_loaded_from_elsewhere_is_saved_to_its_own_path(tmp_path: Path) -> None:
    one = ExactIndex(4)
    added(one, clustered(5, 4, seed=0, clusters=3)[0])
    one.save(tmp_path / "elsewhere")
    with ExactIndex(4, home=Home(tmp_path / "index")).recovery():
        pass
    other = ExactIndex(4, home=Home(tmp_path / "index"))
    assert other.load(tmp_path / "elsewhere")
    other.close()
    assert ExactIndex(4).load(tmp_path / "index")
