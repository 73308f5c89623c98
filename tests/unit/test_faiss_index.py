import gc
import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from ums_core.errors import StoreClosed
from ums_core.index.snapshot import Home, section, write
from ums_core.ports.index import RowSet
from ums_core.testing.index_case import added, changed, clustered, recall, same

faiss = pytest.importorskip("faiss")

from ums_core.index.exact import ExactIndex  # noqa: E402  # after the check that FAISS is there
from ums_core.index.faiss import FaissIndex  # noqa: E402
from ums_core.index.faiss_tuning import DEFAULT_PARAMS, HnswParams  # noqa: E402
from ums_core.index.generation import Generation  # noqa: E402
from ums_core.index.graph import Graph  # noqa: E402

pytestmark = pytest.mark.needs_faiss
_DIM = 16
_SMALL = HnswParams(exact_below=300, merge_rows=50, few=50)


def _generation(index: FaissIndex) -> Generation:
    generation = index._open().generation
    assert generation is not None
    return generation


def _filled(n: int, params: HnswParams = _SMALL, *, clusters: int = 20) -> tuple[FaissIndex, ExactIndex, np.ndarray]:
    """A settled index, an exact one of the same rows, and the vectors."""
    index, exact, vectors = FaissIndex(_DIM, params), ExactIndex(_DIM), clustered(n, _DIM, seed=0, clusters=clusters)[0]
    added(index, vectors)
    added(exact, vectors)
    index.settle()
    return index, exact, vectors


def test_a_graph_answers_above_the_crossover_only() -> None:
    index, _, vectors = _filled(300)
    assert index.kind == "exact"
    added(index, vectors[:1], first=300)
    index.settle()
    assert (index.kind, len(_generation(index).rows.rids), index._open().tail.live) == ("hnsw", 301, 0)


def test_the_cosine_of_a_row_is_that_of_graph_or_tail_whichever_holds_it() -> None:
    index, exact, vectors = _filled(400)
    rids = np.array([3, 399, 400, 900])
    for query in vectors[:3]:
        np.testing.assert_allclose(index.scores(query, rids), exact.scores(query, rids), atol=1e-6)
    for target in (index, exact):
        added(target, vectors[7:8], first=400)
    for query in vectors[:3]:
        np.testing.assert_allclose(index.scores(query, rids), exact.scores(query, rids), atol=1e-6)


def test_a_tail_is_merged_once_it_is_long_enough() -> None:
    index, exact, _ = _filled(400)
    more = clustered(151, _DIM, seed=1, clusters=20)[0]
    for target in (index, exact):
        added(target, more[:50], first=400)
        target.settle()
    assert (len(_generation(index).rows.rids), index._open().tail.live) == (400, 50)
    for target in (index, exact):
        added(target, more[50:], first=450)
        target.settle()
    assert (len(_generation(index).rows.rids), index._open().tail.live) == (551, 0)
    found = [index.search(query, 10) for query in more]
    assert recall(found, [exact.search(query, 10) for query in more]) >= 0.98


def test_rows_removed_while_a_graph_is_built_stay_removed() -> None:
    index, vectors = FaissIndex(_DIM, _SMALL), clustered(5000, _DIM, seed=0, clusters=20)[0]
    added(index, vectors)
    for rid in range(0, 5000, 100):
        index.apply(changed(rid + 2, vectors[:0], [], removed=[rid]))
        assert rid not in index.search(vectors[rid], 20)[0]
    index.settle()
    assert index.kind == "hnsw"
    assert np.array_equal(index.rids(), np.flatnonzero(np.arange(5000) % 100))
    assert all(rid not in index.search(vectors[rid], 20)[0] for rid in range(0, 5000, 100))


def test_a_graph_dead_by_a_quarter_is_rebuilt_and_a_small_one_given_up() -> None:
    index, exact, vectors = _filled(1000)
    for target in (index, exact):
        target.apply(changed(2, vectors[:0], [], removed=range(250)))
        target.settle()
    assert _generation(index).rows.live == 750 < len(_generation(index).rows.rids)
    for target in (index, exact):
        target.apply(changed(3, vectors[:0], [], removed=[250]))
        target.settle()
    assert len(_generation(index).rows.rids) == 749
    for target in (index, exact):
        target.apply(changed(4, vectors[:10], range(1000, 1010), removed=range(251, 720)))
        target.settle()
    assert (index.kind, len(index)) == ("exact", 290)
    assert all(same(index.search(vector, 10), exact.search(vector, 10)) for vector in vectors[::50])
    with pytest.raises(ValueError, match="greater than 1009"):
        added(index, vectors[:1], first=1009)


def test_dead_neighbours_do_not_hide_the_living_behind_them() -> None:
    index, exact, vectors = _filled(4000)
    mark = vectors[0]
    near = index.search(mark, 200)[0]
    for target in (index, exact):
        target.apply(changed(2, vectors[:0], [], removed=np.sort(near)))
    assert index._open().generation is not None
    assert same(index.search(mark, 10), exact.search(mark, 10))
    far = exact.search(mark, 2800)[0]
    for target in (index, exact):
        target.apply(changed(3, vectors[:0], [], removed=np.sort(far[:790])))
    assert same(index.search(mark, 10), exact.search(mark, 10))


def test_passages_of_few_rows_do_not_hide_the_rows_behind_them() -> None:
    index, exact = FaissIndex(_DIM, _SMALL), ExactIndex(_DIM)
    vectors, rids = clustered(2000, _DIM, seed=0, clusters=4)[0], np.repeat(np.arange(10), 200)
    for target in (index, exact):
        target.apply(changed(1, vectors, rids))
        target.settle()
    assert index.kind == "hnsw"
    for k in (3, 9, 10, 50):
        assert same(index.search(vectors[5], k), exact.search(vectors[5], k))


def test_a_very_wide_search_is_answered_exactly() -> None:
    index, exact, vectors = _filled(3000)
    for k in (60, 1000, 3000, 5000):
        assert same(index.search(vectors[5], k), exact.search(vectors[5], k))


def test_a_filter_that_the_nearest_rows_miss_is_scanned_from_a_copy() -> None:
    index, exact, _ = _filled(20_000, clusters=200)
    cluster = clustered(20_000, _DIM, seed=0, clusters=200)[1]
    allowed, queries = RowSet(np.flatnonzero(cluster < 40)), clustered(60, _DIM, seed=5, clusters=200)[0]
    generation = _generation(index)
    for query in queries:
        assert recall([index.search(query, 10, allowed)], [exact.search(query, 10, allowed)]) == 1
    (family,) = generation.memory.families.values()
    assert family.copy is not None
    assert family.misses >= 2
    index.apply(changed(9, queries[:0], [], removed=allowed.rids[::5]))
    exact.apply(changed(9, queries[:0], [], removed=allowed.rids[::5]))
    assert all(same(index.search(query, 10, allowed), exact.search(query, 10, allowed)) for query in queries)


def test_equal_vectors_that_half_precision_cannot_tell_apart_are_still_ranked_exactly() -> None:
    index, exact = FaissIndex(_DIM, HnswParams(exact_below=300, few=50, probe_width=0)), ExactIndex(_DIM)
    vectors = clustered(4000, _DIM, seed=0, clusters=20)[0]
    vectors[1000:3000] = vectors[1000]
    for target in (index, exact):
        added(target, vectors)
        target.settle()
    allowed = RowSet(np.arange(900, 2100))
    for _ in range(3):
        for k in (5, 200):
            assert same(index.search(vectors[1000], k, allowed), exact.search(vectors[1000], k, allowed))


def test_a_row_set_that_grew_by_newer_rows_keeps_what_is_known_of_it() -> None:
    index, exact, vectors = _filled(4000, HnswParams(exact_below=300, few=50, probe_width=0))
    rows, memory = np.arange(0, 4000, 2), _generation(index).memory
    for first in range(4000, 4020):
        for target in (index, exact):
            added(target, vectors[first - 4000 : first - 3999], first=first)
        rows = np.append(rows, first)
        allowed = RowSet(rows)
        assert same(index.search(vectors[first - 4000], 5, allowed), exact.search(vectors[first - 4000], 5, allowed))
    (family,) = memory.families.values()
    assert family.seen == 20
    assert family.copy is not None


def test_copies_stay_within_their_share_of_memory_and_the_unused_make_room() -> None:
    params = HnswParams(exact_below=300, few=50, probe_width=0, hot_share=0.2)
    index, _, vectors = _filled(10_000, params, clusters=4)
    sets = [RowSet(np.arange(part, 10_000, 8)) for part in range(3)]
    generation = _generation(index)

    def held() -> list[bool]:
        return [generation._family(rows).copy is not None for rows in sets]

    for rows in sets:
        for _ in range(5):
            index.search(vectors[0], 10, rows)
    assert held() == [True, True, False], "there is no room for a third while both are in use"
    for _ in range(80):
        index.search(vectors[0], 10, sets[1])
    index.search(vectors[0], 10, sets[2])
    assert held() == [False, True, True]
    reserved = sum(family.reserved for family in generation.memory.families.values())
    assert reserved <= 0.2 * generation.rows.vectors.nbytes


def test_one_thread_at_a_time_makes_a_copy_and_the_others_go_on_without() -> None:
    index, exact, vectors = _filled(4000, HnswParams(exact_below=300, few=50, probe_width=0))
    allowed, generation = RowSet(np.arange(0, 4000, 2)), _generation(index)
    index.search(vectors[0], 5, allowed)
    family = generation._family(allowed)
    assert generation._reserve(family)
    assert same(index.search(vectors[0], 5, allowed), exact.search(vectors[0], 5, allowed))
    assert family.copy is None


def test_what_is_known_of_row_sets_is_bounded() -> None:
    index, _, vectors = _filled(2000)
    memory = _generation(index).memory
    for first in range(200):
        index.search(vectors[0], 5, RowSet(np.arange(first, 2000, 3)))
    gc.collect()
    assert len(memory.families) == 64
    assert (len(memory.keys), len(_generation(index).rows.known)) == (0, 0)


def test_a_filter_of_many_unknown_rows_finds_the_few_known() -> None:
    index, exact, vectors = _filled(2000)
    allowed = RowSet(np.concatenate((np.arange(0, 2000, 100), np.arange(10_000, 20_000))))
    assert same(index.search(vectors[0], 50, allowed), exact.search(vectors[0], 50, allowed))
    assert len(index.search(vectors[0], 50, allowed)[0]) == 20


def test_a_filter_of_everything_is_no_filter() -> None:
    index, _, vectors = _filled(2000)
    everything = RowSet(np.arange(5000))
    assert all(same(index.search(vector, 10, everything), index.search(vector, 10)) for vector in vectors[:20])


def test_the_vectors_of_a_graph_outlive_it() -> None:
    index, _, vectors = _filled(1000)
    lent = _generation(index).graph.vectors
    index.close()
    gc.collect()
    assert np.array_equal(lent, vectors)
    assert not lent.flags.writeable


def test_a_searching_thread_keeps_to_one_thread_of_its_own() -> None:
    index, _, vectors = _filled(1000)
    seen: list[int] = []

    def look() -> None:
        faiss.omp_set_num_threads(2)
        index.search(vectors[0], 3)
        seen.append(faiss.omp_get_max_threads())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [1]


def test_a_graph_that_was_restored_grows_in_memory_of_its_own() -> None:
    vectors = clustered(500, _DIM, seed=0, clusters=20)[0]
    made = Graph.grown(None, [vectors[:400]], _SMALL, dim=_DIM, threads=lambda: 1)
    blocks: list[bytes] = []
    made.write(lambda block: blocks.append(bytes(block)))
    content = np.frombuffer(b"".join(blocks), np.uint8)
    restored = Graph.restored(content, _SMALL, _DIM)
    grown = Graph.grown(restored, [vectors[400:]], _SMALL, dim=_DIM, threads=lambda: 1)
    assert (len(restored), len(grown)) == (400, 500)
    np.testing.assert_array_equal(grown.vectors, vectors)
    assert content.tobytes() == b"".join(blocks)
    assert grown.nearest(vectors[450], 1, 50).tolist() == [450]
    assert restored.nearest(vectors[150], 1, 50).tolist() == [150]


def test_recovery_lasts_until_one_graph_holds_all_rows() -> None:
    index, vectors = FaissIndex(_DIM, _SMALL), clustered(6000, _DIM, seed=0, clusters=20)[0]
    with index.recovery():
        added(index, vectors[:300])
        assert not index.recovering
        added(index, vectors[300:], first=300)
        assert (index.recovering, index.kind) == (True, "exact")
    index.settle()
    assert (index.recovering, index.kind, len(_generation(index).rows.rids)) == (False, "hnsw", 6000)


def test_recovery_of_few_rows_is_none() -> None:
    index, vectors = FaissIndex(_DIM, _SMALL), clustered(300, _DIM, seed=0, clusters=20)[0]

    def break_off() -> None:
        with index.recovery():
            added(index, vectors)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert not index.recovering
    added(index, vectors[:1], first=300)
    assert not index.recovering
    index.settle()
    with index.recovery():
        index.close()


def test_a_build_that_is_given_up_changes_nothing() -> None:
    index = FaissIndex(_DIM, _SMALL)
    with index.recovery():
        added(index, clustered(1000, _DIM, seed=0, clusters=20)[0])
        state = index._open()
        # As one that was begun before something else was loaded.
        index._grow(state, index._epoch - 1, merge=False)
        assert (index._open() is state, index.recovering) == (True, True)
    index.settle()
    assert (index.kind, len(index), index.recovering) == ("hnsw", 1000, False)


def test_closing_gives_up_a_build_and_saves_what_is_there(tmp_path: Path) -> None:
    params = HnswParams(exact_below=300, ef_construction=400)
    index, vectors = (
        FaissIndex(64, params, home=Home(tmp_path / "index")),
        clustered(40_000, 64, seed=0, clusters=9)[0],
    )
    added(index, vectors)
    index.close()
    with pytest.raises(StoreClosed):
        len(index)
    with pytest.raises(StoreClosed):
        added(index, vectors)
    other = FaissIndex(64, HnswParams(exact_below=10**6, ef_construction=400))
    assert other.load(tmp_path / "index")
    assert (other.kind, len(other)) == ("exact", 40_000)


def test_loading_replaces_what_is_being_built(tmp_path: Path) -> None:
    one, _, _ = _filled(400)
    one.save(tmp_path / "index")
    index = FaissIndex(_DIM, _SMALL)
    added(index, clustered(20_000, _DIM, seed=0, clusters=9)[0])
    assert index.load(tmp_path / "index")
    index.settle()
    assert (len(index), index.kind, index.rids().tolist()) == (400, "hnsw", list(range(400)))


def test_a_graph_saves_itself_after_a_tenth_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index, vectors = FaissIndex(_DIM, _SMALL, home=Home(path)), clustered(1200, _DIM, seed=0, clusters=20)[0]
    added(index, vectors[:1000])
    with index._changed:
        index._background._wait()
    other = FaissIndex(_DIM, _SMALL)
    assert other.load(path)
    assert len(other) == 1000
    added(index, vectors[1000:1090], first=1000)
    with index._changed:
        index._background._wait()
    assert len(_generation(index).rows.rids) == 1090
    assert other.load(path)
    assert len(other) == 1000
    added(index, vectors[1090:], first=1090)
    with index._changed:
        index._background._wait()
    assert other.load(path)
    assert len(other) == 1200
    index.close()


def test_a_failure_in_the_background_is_logged_and_tried_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "missing"
    index, vectors = (
        FaissIndex(_DIM, _SMALL, home=Home(folder / "index")),
        clustered(700, _DIM, seed=0, clusters=9)[0],
    )
    with caplog.at_level(logging.WARNING):
        added(index, vectors[:400])
        index.settle()
    assert "in the background" in caplog.text
    assert "not saved" in caplog.text
    assert (index.kind, len(index.search(vectors[0], 5)[0])) == ("hnsw", 5)
    folder.mkdir()
    for rid in range(400, 700):
        added(index, vectors[rid : rid + 1], first=rid)
    with index._changed:
        index._background._wait()
    assert (folder / "index").exists()
    folder.joinpath("index").unlink()
    folder.rmdir()
    index.apply(changed(999, vectors[:0], [], removed=[3]))
    index.close()
    assert not folder.exists()


def test_other_parameters_of_building_need_another_graph(tmp_path: Path) -> None:
    one, _, _ = _filled(400)
    one.save(tmp_path / "index")
    assert FaissIndex(_DIM, HnswParams(ef_search=200)).load(tmp_path / "index")
    assert not FaissIndex(_DIM, HnswParams(m=16)).load(tmp_path / "index")
    assert not ExactIndex(_DIM).load(tmp_path / "index")


def _graph(kind: str) -> np.ndarray:
    vectors = clustered(30, _DIM, seed=0, clusters=3)[0]
    index = faiss.IndexFlatIP(_DIM) if kind == "flat" else faiss.IndexHNSWFlat(_DIM, 8, faiss.METRIC_INNER_PRODUCT)
    if kind == "l2":
        index = faiss.IndexHNSWFlat(_DIM, 8)
    if kind != "empty":
        index.add(vectors)
    content = faiss.serialize_index(index)
    return content[: len(content) // 2] if kind == "cut" else content


@pytest.mark.parametrize("kind", ["flat", "l2", "empty", "cut", "few ids", "no ids"])
def test_a_whole_snapshot_of_another_graph_is_not_loaded(tmp_path: Path, kind: str) -> None:
    header = {"index": "faiss", "dim": _DIM, "binding": {}, "params": DEFAULT_PARAMS.build, "seq": 1, "mark": 1}
    rids, dead = np.arange(29 if kind == "few ids" else 30), np.zeros(30, np.bool_)
    parts = {"graph_rids": rids, "dead": dead, "rids": rids[:0], "vectors": np.empty((0, _DIM), np.float32)}
    parts["graph"] = _graph(kind)
    if kind == "no ids":
        del parts["graph_rids"]
    write(tmp_path / "index", header, [section(name, [part], part.nbytes) for name, part in parts.items()])
    index = FaissIndex(_DIM)
    assert not index.load(tmp_path / "index")
    assert (len(index), index.kind, index.seq) == (0, "exact", 0)
