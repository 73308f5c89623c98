"""A sealed data directory says nothing, whatever was done to it; the same search finds everything in a plain one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ums_core.testing.sealed import SEALED, SEALED_FIELDS
from ums_core.testing.worker import Worker
from ums_core.testing.workload import Place, draft_of, rare_word

pytestmark = [pytest.mark.faults, pytest.mark.needs_sqlcipher]

BACKENDS = ["exact", pytest.param("faiss", marks=pytest.mark.needs_faiss)]
IDS = [f"a-{number}" for number in range(40)]
ALL = {"text", "word", "speaker", "metadata", "vector"}


class Canaries:
    """What would give a memory away, and what of it is found in a directory."""

    def __init__(self, vectors: dict[str, str]) -> None:
        self.needles: dict[str, list[bytes]] = {kind: [] for kind in ALL}
        for id_, digits in vectors.items():
            draft = draft_of(id_, 0, 16)
            self.needles["text"].append(draft.text.encode())
            self.needles["word"].append(rare_word(id_, 0)[-8:].encode())
            self.needles["speaker"].append(rare_word(id_, -1)[-8:].encode())
            self.needles["metadata"].append(b'"filler":"xxxx')
            stored = np.frombuffer(bytes.fromhex(digits), np.float32)
            self.needles["vector"] += [stored[:6].tobytes(), stored[:6].astype(np.float16).tobytes()]

    def found(self, directory: Path) -> set[str]:
        contents = [path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()]
        return {kind for kind, all_ in self.needles.items() for n in all_ if any(n in content for content in contents)}


def _life(place: Place, look: Callable[[str], None]) -> None:
    """Everything that happens to a store, with a look at the directory after each step."""
    with Worker.obeying(place) as worker:
        worker.ask("add", effect=dict.fromkeys(IDS, 0), key="k")
        look("added, in the log")
        worker.ask("settle")
        look("index saved")
        worker.ask("update", effect=dict.fromkeys(IDS[:10], 1))
        worker.ask("delete", effect=dict.fromkeys(IDS[10:15]))
        look("updated and deleted")
        worker.ask("erase", ids=IDS[15:20])
        look("erased")
        worker.kill()
    look("killed")
    with Worker.obeying(place) as worker:
        assert worker.ask("count") == 30
        if place.security:
            worker.ask("rotate")
            look("rotated")
        worker.ask("add", effect=dict.fromkeys(IDS[:5], 0))
        look("open again")
        assert worker.finish() == 0
    look("closed")


@pytest.fixture(params=BACKENDS)
def looks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, dict[str, set[str]]]]:
    """What was found at each step: where pages are sealed, where fields are, and in a plain directory."""
    said: dict[str, dict[str, set[str]]] = {}
    for kind, security in (("pages", SEALED), ("fields", SEALED_FIELDS), ("plain", {})):
        (tmp_path / kind).mkdir()
        place = Place(str(tmp_path / kind / "memory.db"), backend=request.param, security=security)
        with Worker.obeying(Place(str(tmp_path / "vectors.db"))) as worker:
            worker.ask("add", effect=dict.fromkeys(IDS, 0))
            canaries = Canaries(worker.ask("vectors", ids=IDS))
        (tmp_path / "vectors.db").unlink()
        said[kind] = {}

        def look(step: str, kind: str = kind, canaries: Canaries = canaries) -> None:
            said[kind][step] = canaries.found(tmp_path / kind)

        _life(place, look)
    yield said
    shutil.rmtree(tmp_path)


def test_nothing_is_ever_readable_in_a_sealed_directory_and_all_of_it_in_a_plain_one(
    looks: dict[str, dict[str, set[str]]],
) -> None:
    for kind in ("pages", "fields"):
        assert len(looks[kind]) == len(looks["plain"]) + 1 == 8
        assert {step: found for step, found in looks[kind].items() if found} == {}
    assert {step: ALL - found for step, found in looks["plain"].items() if found != ALL} == {}
