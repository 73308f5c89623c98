"""Vectors stored in fewer bytes: what comes back, and that the index holds the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store
from ums_core.bench import __main__ as cli
from ums_core.encoders.hashing import HashingEmbedder
from ums_core.ports.ledger import VectorType
from ums_core.storage.vectors import pack, unpack, unpack_all
from ums_core.testing.sealed import SEALED

TYPES: list[VectorType] = ["float32", "float16", "int8"]
BYTES = {"float32": 4, "float16": 2, "int8": 1}


def units(n: int, dim: int) -> np.ndarray:
    rows = np.random.default_rng(dim).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6, 7, 8, 384])
def test_a_vector_comes_back_as_it_was_within_its_precision(kind: VectorType, dim: int) -> None:
    rows = units(20, dim)
    blobs = [pack(row, kind) for row in rows]
    assert {len(blob) for blob in blobs} <= {
        BYTES[kind] * dim + rest for rest in (range(1, 5) if kind != "float32" else [0])
    }
    back = unpack_all(blobs)
    assert back.dtype == np.float32
    assert (1.0 - np.einsum("ij,ij->i", rows, back) < 2e-4).all()
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1.0, rtol=1e-6)
    # One by one as together: an index takes them up in either way.
    np.testing.assert_array_equal(np.array([unpack(blob) for blob in blobs]), back)
    if kind != "float16":
        assert [pack(row, kind) for row in back] == blobs


def test_types_may_stand_beside_each_other() -> None:
    rows = units(6, 12)
    back = unpack_all([pack(row, TYPES[place % 3]) for place, row in enumerate(rows)])
    np.testing.assert_allclose(back, rows, atol=0.01)


def opened(path: Path, kind: VectorType, **more: object) -> LocalStore:
    database = {"url": f"sqlite:///{path}/m.db", "vector_type": kind}
    return open_store(UnifiedSettings(database=database, **({"model": {"embedder": "hashing"}} | more)))  # type: ignore[arg-type]  # checked by the settings


TEXTS = [f"the {'boat' if n % 2 else 'bread'} number {n} and w{n * 7 % 31}" for n in range(60)]


def answers(store: LocalStore) -> list[tuple[str, float]]:
    return [(hit.memory.id, hit.score) for hit in store.search(Query(text="a boat with w9", mode="vector", k=60))]


@pytest.mark.parametrize("more", [{}, pytest.param({"security": SEALED}, marks=pytest.mark.needs_sqlcipher)])
@pytest.mark.parametrize("kind", TYPES)
def test_index_and_storage_agree_also_when_the_index_is_made_anew(
    tmp_path: Path, kind: VectorType, more: dict[str, object]
) -> None:
    with opened(tmp_path, kind, **more) as store:
        store.add([Draft(id=f"m{n}", text=text) for n, text in enumerate(TEXTS)])
        store.delete(["m3"])
        store.add([Draft(id="m4", text="another boat")])
        before = answers(store)
        assert store.verify() == []
        (memory,) = store.get(["m4"], vectors=True)
        assert memory is not None
        vector = np.array(memory.passages[0].vector)
        index = store._indexes.held()["text"]
        rids = index.rids()
        np.testing.assert_array_equal(index.scores(vector, rids)[-1:], [np.vecdot(vector, vector)])
    for file in tmp_path.glob("*.index"):
        file.unlink()
    with opened(tmp_path, kind, **more) as store:
        assert answers(store) == before
        assert len(before) == 59


def test_another_type_is_taken_for_what_is_new_and_reembedding_moves_the_rest(tmp_path: Path) -> None:
    def sizes(store: LocalStore) -> list[int]:
        with store._database.reader() as connection:
            return [row[0] for row in connection.execute("SELECT length(vector) FROM passages ORDER BY pid")]

    with opened(tmp_path, "float32") as store:
        store.add([Draft(id="a", text="a boat")])
    with opened(tmp_path, "int8") as store:
        store.add([Draft(id="b", text="a boat")])
        first, second = sizes(store)
        assert first == 4 * (second - 2)
        assert [hit.memory.id for hit in store.search(Query(text="a boat", mode="vector"))] == ["a", "b"]
        store.reembed(HashingEmbedder(40))
        assert sizes(store) == [42, 42]
        assert store.verify() == []


def test_an_erased_vector_is_looked_for_in_both_forms(tmp_path: Path) -> None:
    with opened(tmp_path, "int8", model={"embedder": "none"}) as store:
        store.add([Draft(id=f"m{n}", embedding=row) for n, row in enumerate(units(9, 384))])
        with store._database.reader() as connection:
            (blob,) = connection.execute("SELECT vector FROM passages LIMIT 1").fetchone()
        receipt = store.erase(["m0"])
        assert store.verify_erased(receipt) == []
        for name, left in (("left", blob), ("former.index", unpack(blob).tobytes())):
            (tmp_path / f"m.db.{name}").write_bytes(left)
        assert [said.partition(" ")[0] for said in store.verify_erased(receipt)] == ["m.db.former.index", "m.db.left"]


@pytest.mark.bench
def test_the_benchmark_prints_recall_and_size_of_each_type(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["vectors", "--memories", "300", "--queries", "5"]
    assert cli.main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["kind"] for row in rows] == TYPES
    assert rows[0]["recall"] == 1.0
    assert all(row["recall"] > 0.9 and row["apart"] < 0.01 for row in rows)
    assert rows[0]["file_mib"] > rows[1]["file_mib"] > rows[2]["file_mib"]
    assert cli.main(arguments) == 0
    assert "recall@10" in capsys.readouterr().out


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_alike_is_merged_whatever_the_type(tmp_path: Path, kind: VectorType) -> None:
    with opened(tmp_path, kind, model={"embedder": "none"}) as store:
        one, other = units(2, 384)
        store.add([Draft(id=f"m{n}", text=f"tea {n}", embedding=one if n % 2 else other) for n in range(6)])
        done = store.consolidate()
        assert sorted(len(cluster.ids) for cluster in done.clusters) == [3, 3]
        (summary,) = [hit.memory for hit in store.search(Query(vector=one, mode="vector", k=1))]
        assert summary.level == 1
        # Its sources are live again.
        store.delete([summary.id])
        assert store.count() == 4
        assert store.verify() == []
