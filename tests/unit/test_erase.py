"""What an erasure takes with it, what its receipt says, and what a search of the raw files finds after."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ums_core import Draft, LocalStore, Passage, Query, Receipt, UnifiedSettings, open_store
from ums_core.errors import IdempotencyConflict, InvalidInput
from ums_core.settings.database import url_of
from ums_core.storage.traces import blocks_of, fingerprints, found

TOLD = "the wedding of Ines and Bruno is on the 12th of September in Porto"


def opened(place: Path, **database: object) -> LocalStore:
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact", **database},
        model={"embedder": "hashing:16", "vector_dim": 16},
    )
    return open_store(settings)


def test_an_erased_memory_takes_with_it_all_that_was_derived_from_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add(
            [
                Draft(id="a", text=TOLD, namespace=("n",), tags=("family",), metadata={"where": "Porto, Portugal"}),
                Draft(id="b", text="Ines likes fado", namespace=("n",)),
                Draft(id="sum", text="a summary of both", namespace=("n",), source_ids=("a", "b")),
                Draft(id="sum2", text="a summary of summaries", namespace=("n",), source_ids=("sum",)),
                Draft(id="other", text="a summary elsewhere", namespace=("m",), source_ids=("a",)),
                Draft(id="a", text=TOLD + " too", namespace=("m",)),
            ]
        )
        receipt = store.erase(["a", "unknown"], namespace=("n",))
        assert (receipt.ids, receipt.derived) == (("a", "sum", "sum2"), ("sum", "sum2"))
        assert receipt.folded
        assert receipt.seq == store.health().seq
        assert [memory.id for memory in store.scan().memories] == ["b", "other", "a"]
        assert store.search(Query(text="wedding", mode="keyword", namespace=("n",))) == []
        assert Receipt.from_dict(receipt.to_dict()) == receipt
        # The copy in the other namespace says nearly the same.
        assert store.verify_erased(receipt) == []
        assert store.verify() == []


def test_a_receipt_holds_no_word_of_what_was_erased(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(id="a", text=TOLD, speaker="Ines Almeida")])
        receipt = store.erase(["a"])
    assert receipt.traces
    said = str(receipt.to_dict())
    assert not [word for word in (*TOLD.split(), "Almeida") if len(word) > 4 and word in said]


@pytest.mark.parametrize("kind", ["text", "caption", "metadata", "vector", "passage", "short"])
def test_a_copy_that_was_kept_is_found(tmp_path: Path, kind: str) -> None:
    vector = np.random.default_rng(1).normal(size=16).astype(np.float32)
    vector /= np.linalg.norm(vector)
    with opened(tmp_path) as store:
        draft = Draft(
            id="a", text=TOLD, metadata={"note": "nobody else knows"}, speaker="Filomena",
            caption="Filomena beside a green door",
            passages=(Passage(text="what only the passage says", vector=vector),),
        )  # fmt: skip
        store.add([draft])
        kept = {
            "text": TOLD.encode(),
            "caption": b"Filomena beside a green door",
            "metadata": b'{"note":"nobody else knows"}',
            "vector": store.get(["a"], vectors=True)[0].passages[0].vector.tobytes(),  # type: ignore[union-attr]
            "passage": b"what only the passage says",
            "short": b"Filomena",
        }[kind]
        receipt = store.erase(["a"])
        assert store.verify_erased(receipt) == []
        (tmp_path / "memory.db.kept").write_bytes(b"\1" * 37 + kept + b"\2" * 5)
        (said,) = store.verify_erased(receipt)
        assert said.startswith("memory.db.kept still holds")


def test_a_row_that_came_back_is_found(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(id="a", text=TOLD), Draft(id="b", text="something else entirely")])
        store._database.fold()
        shutil.copy(tmp_path / "memory.db", tmp_path / "older")
        receipt = store.erase(["a"])
    # An older copy in the place of the database, as a backup that was restored would be.
    (tmp_path / "memory.db").write_bytes((tmp_path / "older").read_bytes())
    (tmp_path / "older").unlink()
    with opened(tmp_path) as store:
        said = store.verify_erased(receipt)
        assert any("index still holds 1" in line for line in said)
        assert any("database still holds" in line for line in said)


def test_a_repeated_erasure_gives_the_same_receipt(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(id="a", text=TOLD)])
        first = store.erase(["a"], idempotency_key="k")
        store.add([Draft(id="a", text="something new")])
        assert store.erase(["a"], idempotency_key="k") == first
        assert store.count() == 1
        with pytest.raises(IdempotencyConflict):
            store.erase(["b"], idempotency_key="k")


def test_nothing_to_erase_is_a_receipt_of_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(id="a", text=TOLD)])
        seq = store.health().seq
        for namespace in ((), ("nowhere",)):
            receipt = store.erase(["b"], namespace=namespace)
            assert (receipt.ids, receipt.traces, receipt.seq) == ((), (), seq)
            assert store.verify_erased(receipt) == []
        assert store.health().seq == seq


def test_a_receipt_of_another_database_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(id="a", text=TOLD)])
        receipt = store.erase(["a"])
        with pytest.raises(InvalidInput, match="open that one"):
            store.verify_erased(replace(receipt, database_id="0" * 32))
    for garbage in ({}, {"at": "yesterday"} | {name: 1 for name in receipt.to_dict() if name != "at"}):
        with pytest.raises(InvalidInput, match="not a receipt"):
            Receipt.from_dict(garbage)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rids", ["x"]),
        ("rids", [2**62]),
        ("rids", 5),
        ("seq", "x"),
        ("ids", [5]),
        ("ids", ["\ud800"]),
        ("namespace", "n"),
        ("traces", ["16:zzzzz:0"]),
        ("folded", 1),
    ],
)
def test_a_receipt_that_was_changed_is_refused(tmp_path: Path, name: str, value: object) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(id="a", text=TOLD)])
        told = store.erase(["a"]).to_dict()
    assert Receipt.from_dict(told).to_dict() == told
    with pytest.raises(InvalidInput, match="not a receipt"):
        Receipt.from_dict(told | {name: value})


@pytest.mark.parametrize("way", ["erased", "deleted", "added anew", "brought back and erased"])
def test_nothing_of_what_was_archived_waits_for_another_embedder(tmp_path: Path, way: str) -> None:
    def killed(_done: int, _total: int) -> None:
        raise InterruptedError

    with opened(tmp_path) as store:
        store.add([Draft(id="a", caption=TOLD, importance=0.0), Draft(id="b", text="the tram is late")])
        batch = store.forget(retain_fraction=0.5).batch or ""
        with pytest.raises(InterruptedError):
            store.reembed("hashing:32", progress=killed)
        assert TOLD.encode() in contents(tmp_path)
        if way == "deleted":
            store.delete(["a"])
        elif way == "added anew":
            store.add([Draft(id="a", text="the tram is here")])
        else:
            if way != "erased":
                store.undo(batch)
            assert store.verify_erased(store.erase(["a"])) == []
        with store._database.reader() as connection:
            assert connection.execute("SELECT count(*) FROM reembedded").fetchone() == (1,)
        assert store.reembed("hashing:32") == 1 + (way == "added anew")
    assert TOLD.encode() not in contents(tmp_path)


def contents(place: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(place.iterdir()))


def test_a_moment_that_others_share_is_no_trace(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        # The answer under the key tells when it was stored, as does the summary of what is alike.
        store.add([Draft(id=f"{n}", text=f"{TOLD} {n}") for n in range(3)], idempotency_key="k")
        (cluster,) = store.consolidate(threshold=0.5).clusters
        receipt = store.erase([cluster.summary_id or "", *cluster.ids])
        assert len(receipt.ids) == 4
        assert store.verify_erased(receipt) == []


def test_a_label_of_a_namespace_is_no_trace_of_a_session_that_is_called_alike(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        place = ("users", "ana.example.org", "conversation-0815")
        store.add([Draft(id="a", text=TOLD, speaker=place[1], session=place[2], namespace=place)])
        store.add([Draft(id="of-another-memory", text="the tram is late"), Draft(id="b", text="of-another-memory")])
        for id_, namespace in (("a", place), ("b", ())):
            assert store.verify_erased(store.erase([id_], namespace=namespace)) == []


def test_a_reader_that_holds_the_log_is_said(tmp_path: Path) -> None:
    with opened(tmp_path, busy_timeout=0.2) as store:
        store.add([Draft(id="a", text=TOLD)])
        with store._database.snapshot():
            receipt = store.erase(["a"])
        assert not receipt.folded
        # Nothing was folded, so the pages that were are still beside the log.
        assert store.verify_erased(receipt) != []
        assert store._database.fold()
        assert store.verify_erased(receipt) == []


def test_remembered_embeddings_are_forgotten(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": url_of(tmp_path / "memory.db")})
    with open_store(settings) as store:
        store.add([Draft(id="a", text=TOLD)])
        embedder = store._ingest.embedder
        assert TOLD in embedder._documents._vectors  # type: ignore[union-attr]
        store.erase(["a"])
        assert TOLD not in embedder._documents._vectors  # type: ignore[union-attr]
        assert store.add([Draft(text="still embeds")])


def test_a_window_on_the_border_of_two_blocks_is_found(tmp_path: Path) -> None:
    key = bytes(range(32))
    piece = b"0123456789abcdefghij"
    traces = fingerprints(key, [piece, b"tiny", b"aaaaaaaaaaaaaaaaaaaa"])
    assert len(traces) == 1
    for start in range(70, 130):
        (tmp_path / "f").write_bytes(b"\0" * start + piece)
        assert found(key, traces, blocks_of(tmp_path / "f", 100)) == set(traces)
        assert found(b"x" * 32, traces, blocks_of(tmp_path / "f", 100)) == set()
    assert list(blocks_of(tmp_path / "gone")) == []
    assert found(key, traces, [b"short"]) == set()
