"""How an index comes back: what it saves, and what it refuses to believe."""

# ruff: noqa: D102  # a test's name is the behaviour

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from ums_core.ports.index import RowSet, VectorIndex
from ums_core.testing.index_case import DIM, IndexCase, MakeIndex, added, changed, clustered, same

__all__ = ["IndexSnapshots"]


class IndexSnapshots(IndexCase):
    """Save, load, and every way in which a file can be wrong."""

    def test_a_snapshot_brings_back_the_same_answers(self, make: MakeIndex, tmp_path: Path) -> None:
        one, vectors = make(16), clustered(1000, 16, seed=0, clusters=20)[0]
        added(one, vectors[:900])
        one.settle()
        one.apply(changed(2, vectors[900:], np.arange(900, 1000), removed=np.arange(0, 90, 9)))
        one.save(tmp_path / "index")
        other = make(16)
        assert other.load(tmp_path / "index")
        assert (len(other), other.seq, other.kind) == (len(one), 2, one.kind)
        assert np.array_equal(other.rids(), one.rids())
        allowed = RowSet(np.arange(0, 1000, 3))
        for vector in vectors[::50]:
            assert same(one.search(vector, 10), other.search(vector, 10))
            assert same(one.search(vector, 10, allowed), other.search(vector, 10, allowed))
        added(other, vectors[:600], first=1000)
        other.apply(changed(4, vectors[:0], [], removed=np.arange(0, 500)))
        other.settle()
        assert other.search(vectors[595], 2)[0].tolist() == [595, 1595]
        assert len(other) == len(other.rids()) == 1600 - 500

    def test_an_index_with_a_path_saves_itself(self, make: MakeIndex, tmp_path: Path) -> None:
        path, vectors = tmp_path / "index", clustered(300, DIM, seed=0, clusters=3)[0]
        index = make(DIM, path)
        added(index, vectors[:200])
        index.settle()
        settled = make(DIM)
        assert settled.load(path)
        assert len(settled) == 200
        added(index, vectors[200:], first=200)
        index.close()
        assert settled.load(path)
        assert len(settled) == 300

    def test_a_snapshot_of_something_else_is_not_loaded(self, make: MakeIndex, tmp_path: Path) -> None:
        path, vectors = tmp_path / "index", clustered(60, DIM, seed=0, clusters=3)[0]
        index = make(DIM, None, {"database": "a", "embedder": "static"})
        added(index, vectors)
        index.save(path)
        assert make(DIM, None, {"database": "a", "embedder": "static"}).load(path)
        for other in ({"database": "b", "embedder": "static"}, {"database": "a"}, None):
            assert not make(DIM, None, other).load(path)
        assert not make(DIM + 1, None, {"database": "a", "embedder": "static"}).load(path)
        assert not index.load(tmp_path / "missing")
        assert (len(index), index.seq, index.rids().tolist()) == (0, 0, [])
        assert not index.load(tmp_path)

    @pytest.mark.fuzz
    @pytest.mark.parametrize("damage", ["cut", "flip"])
    def test_a_damaged_snapshot_is_never_believed(self, make: MakeIndex, tmp_path: Path, damage: str) -> None:
        """Every length shorter than the file, and one flipped bit in every byte."""
        path, vectors = tmp_path / "index", clustered(30, DIM, seed=0, clusters=3)[0]
        index = make(DIM)
        added(index, vectors)
        index.settle()
        index.save(path)
        whole, other = path.read_bytes(), make(DIM)
        bits = np.random.default_rng(5).integers(8, size=len(whole))
        with path.open("r+b", buffering=0) as file:
            for at in reversed(range(len(whole))):
                if damage == "cut":
                    file.truncate(at)
                else:
                    os.pwrite(file.fileno(), bytes([whole[at] ^ (1 << int(bits[at]))]), at)
                assert not other.load(path)
                if damage == "flip":
                    os.pwrite(file.fileno(), whole[at : at + 1], at)
        path.write_bytes(whole + b"\0")
        assert not other.load(path)
        assert len(other) == 0
        path.write_bytes(whole)
        assert other.load(path)

    def test_two_that_save_over_one_another_leave_a_whole_snapshot(self, make: MakeIndex, tmp_path: Path) -> None:
        path, vectors = tmp_path / "index", clustered(400, 32, seed=0, clusters=3)[0]
        sizes = (100, 400)
        writers = [make(32) for _ in sizes]
        for index, size in zip(writers, sizes, strict=True):
            added(index, vectors[:size])

        def save(index: VectorIndex) -> None:
            for _ in range(15):
                index.save(path)

        threads = [threading.Thread(target=save, args=(index,)) for index in writers]
        writers[0].save(path)
        for thread in threads:
            thread.start()
        reader = make(32)
        while any(thread.is_alive() for thread in threads):
            assert reader.load(path)
            assert len(reader) in sizes
        assert [left.name for left in tmp_path.iterdir()] == ["index"]
        assert path.stat().st_mode & 0o777 == 0o600
