"""What was deleted is in no file of the data directory: not its text, not its words, not its vector."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ums_core import Draft, Passage, Patch, UnifiedSettings, open_store
from ums_core.encoders.hashing import HashingEmbedder
from ums_core.settings.database import url_of
from ums_core.testing.samples import unit
from ums_core.testing.worker import Worker
from ums_core.testing.workload import Place, draft_of, rare_word

pytestmark = pytest.mark.faults

GRAPH_SIZE = 6500
BACKENDS = ["exact", pytest.param("faiss", marks=pytest.mark.needs_faiss)]
DRIVERS = ["sqlite3", pytest.param("sqlcipher3", marks=pytest.mark.needs_sqlcipher)]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=DRIVERS)
def place(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Place:
    if request.param == "sqlcipher3" and importlib.util.find_spec("sqlcipher3") is None:
        pytest.skip("sqlcipher3 is not installed")
    without = ("sqlcipher3",) if request.param == "sqlite3" else ()
    return Place(str(tmp_path / "memory.db"), backend=backend, without=without)


@contextmanager
def _process(place: Place) -> Iterator[Worker]:
    """A process on the driver that the place names, gone and all its files closed after the block."""
    with Worker.obeying(place) as worker:
        driver = "sqlite3" if place.without else "sqlcipher3"
        assert worker.ask("driver").startswith(driver)
        yield worker
        assert worker.finish() == 0


Traces = dict[str, list[bytes]]
ALL = {"text", "word", "speaker", "vector"}


def _traces(id_: str, version: int, vectors: dict[str, str]) -> Traces:
    """What would give a version away, by kind. Of a word, its end: an index of words may share beginnings."""
    stored = np.frombuffer(bytes.fromhex(vectors[id_]), np.float32)
    assert np.allclose(stored, unit(f"{id_}#{version}", len(stored)), atol=1e-6)
    return {
        "text": [draft_of(id_, version, 1).text.encode()],
        "word": [rare_word(id_, version)[-8:].encode()],
        "speaker": [rare_word(id_, -version - 1)[-8:].encode()],
        # Single or half precision: what an index might keep.
        "vector": [stored[:6].tobytes(), stored[:6].astype(np.float16).tobytes()],
    }


def _found(directory: Path, traces: Traces) -> set[str]:
    contents = [path.read_bytes() for path in directory.iterdir() if path.is_file()]
    return {kind for kind, needles in traces.items() for n in needles for content in contents if n in content}


def test_a_deleted_memory_is_in_no_file_after_close(place: Place, tmp_path: Path) -> None:
    ids = [f"a-{number}" for number in range(60)]
    with _process(place) as worker:
        worker.ask("add", effect=dict.fromkeys(ids, 0), key="key")
        vectors = worker.ask("vectors", ids=ids)
    gone = ids[::3]
    assert all(_found(tmp_path, _traces(id_, 0, vectors)) == ALL for id_ in ids)
    with _process(place) as worker:
        worker.ask("delete", effect=dict.fromkeys(gone), key="another")
    assert all(_found(tmp_path, _traces(id_, 0, vectors)) == (set() if id_ in gone else ALL) for id_ in ids)


def test_one_deleted_in_the_process_that_added_it_is_in_no_file(place: Place, tmp_path: Path) -> None:
    with _process(place) as worker:
        worker.ask("add", effect={"a-1": 0, "a-2": 0})
        worker.ask("settle")
        traces = _traces("a-1", 0, worker.ask("vectors", ids=["a-1"]))
        assert _found(tmp_path, traces) == ALL
        worker.ask("delete", effect={"a-1": None})
    assert _found(tmp_path, traces) == set()


def test_the_last_memory_deleted_is_in_no_file(place: Place, tmp_path: Path) -> None:
    with _process(place) as worker:
        worker.ask("add", effect={"a-1": 0})
        traces = _traces("a-1", 0, worker.ask("vectors", ids=["a-1"]))
    assert _found(tmp_path, traces) == ALL
    with _process(place) as worker:
        worker.ask("delete", effect={"a-1": None})
    assert _found(tmp_path, traces) == set()


def test_what_an_update_or_a_replacement_overwrote_is_in_no_file_after_close(place: Place, tmp_path: Path) -> None:
    ids = [f"a-{number}" for number in range(30)]
    with _process(place) as worker:
        worker.ask("add", effect=dict.fromkeys(ids, 0))
        before = worker.ask("vectors", ids=ids)
    assert all(_found(tmp_path, _traces(id_, 0, before)) == ALL for id_ in ids)
    with _process(place) as worker:
        worker.ask("update", effect=dict.fromkeys(ids[:10], 1), key="key")
        worker.ask("add", effect=dict.fromkeys(ids[10:20], 1))
        after = worker.ask("vectors", ids=ids[:20])
    for id_ in ids[:20]:
        assert _found(tmp_path, _traces(id_, 0, before)) == set()
        assert _found(tmp_path, _traces(id_, 1, after)) == ALL


def test_what_was_deleted_before_a_kill_is_in_no_file_after_the_next_close(place: Place, tmp_path: Path) -> None:
    ids = [f"a-{number}" for number in range(30)]
    with Worker.obeying(place) as worker:
        worker.ask("add", effect=dict.fromkeys(ids, 0))
        vectors = worker.ask("vectors", ids=ids)
        worker.ask("settle")
        worker.ask("delete", effect=dict.fromkeys(ids[:10]))
        worker.kill()
    assert _found(tmp_path, _traces("a-1", 0, vectors)) == ALL
    with _process(place) as worker:
        assert worker.ask("count") == 20
    assert all(_found(tmp_path, _traces(id_, 0, vectors)) == set() for id_ in ids[:10])


def test_the_words_of_a_deleted_passage_are_in_no_file_after_close(tmp_path: Path, backend: str) -> None:
    place = Place(str(tmp_path / "memory.db"), backend=backend)
    passage = Passage(text="only the passage says zqxvbnmkjhgf", vector=unit("p", place.dim))
    with place.open() as store:
        store.add([Draft(id="a", text="words", passages=(passage,)), place.draft("b-1", 0)], idempotency_key="key")
        assert _found(tmp_path, {"passage": [b"zqxvbnmkjhgf"]})
        store.update([Patch(id="a", changes={"level": 1})], idempotency_key="other key")
        assert store.delete(["a"]) == 1
    assert _found(tmp_path, {"passage": [b"zqxvbnmkjhgf"]}) == set()


def test_what_another_process_deleted_is_in_no_file_once_both_have_closed(place: Place, tmp_path: Path) -> None:
    with _process(place) as adder:
        adder.ask("add", effect={"a-1": 0, "a-2": 0})
        traces = _traces("a-1", 0, adder.ask("vectors", ids=["a-1"]))
        with _process(place) as deleter:
            deleter.ask("delete", effect={"a-1": None})
        # The one that closes last has not looked since.
    assert _found(tmp_path, traces) == set()


def test_what_a_killed_save_left_is_gone_after_the_next_close(tmp_path: Path, backend: str) -> None:
    place = Place(str(tmp_path / "memory.db"), backend=backend)
    with place.open() as store:
        store.add([place.draft("a-1", 0), place.draft("a-2", 0)])
    (snapshot,) = tmp_path.glob("*.index")
    shutil.copy(snapshot, tmp_path / f".{snapshot.name}.0123456789abcdef.tmp")
    with place.open() as store:
        (memory,) = store.get(["a-1"], namespace=("a",), vectors=True)
        assert memory is not None
        trace = np.asarray(memory.passages[0].vector).tobytes()
        store.delete(["a-1"], namespace=("a",))
    assert _found(tmp_path, {"vector": [trace]}) == set()


def test_a_memory_deleted_while_a_move_to_another_embedder_waits_is_in_no_file(tmp_path: Path, backend: str) -> None:
    url = url_of(tmp_path / "memory.db")
    settings = UnifiedSettings.for_testing(database={"backend": backend, "url": url}, model={"vector_dim": 16})
    text = "deleted halfway zqxvbnmkjhgf"
    trace = HashingEmbedder(32).embed_documents([text]).tobytes()

    def give_up(_done: int, _of: int) -> None:
        raise InterruptedError

    with open_store(settings) as store:
        store.add([Draft(id="a", text=text), Draft(id="b", text="stays")])
        with pytest.raises(InterruptedError):
            store.reembed("hashing:32", progress=give_up)
    assert _found(tmp_path, {"vector": [trace]})
    with open_store(settings) as store:
        store.delete(["a"])
    assert _found(tmp_path, {"vector": [trace], "text": [b"zqxvbnmkjhgf"]}) == set()


@pytest.mark.needs_faiss
def test_a_vector_deleted_from_a_graph_is_in_no_file_after_close(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"), backend="faiss")
    ids = [f"a-{number}" for number in range(GRAPH_SIZE)]
    with place.open() as store:
        for start in range(0, GRAPH_SIZE, 500):
            store.add([place.draft(id_, 0) for id_ in ids[start : start + 500]])
        store.settle()
        assert store.health().index == {"text": "hnsw"}
        gone = ids[7::1000]
        found = store.get(gone, namespace=("a",), vectors=True)
        traces = [np.asarray(memory.passages[0].vector).tobytes()[:24] for memory in found if memory is not None]
    assert all(_found(tmp_path, {"vector": [trace]}) for trace in traces)
    with place.open() as store:
        store.delete(gone, namespace=("a",))
        store.settle()
    assert not any(_found(tmp_path, {"vector": [trace]}) for trace in traces)
