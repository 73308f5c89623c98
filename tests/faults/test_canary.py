"""A sealed data directory says nothing, whatever was done to it; the same search finds everything in a plain one."""

import shutil
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ums_core.cli.app import app
from ums_core.settings.database import url_of
from ums_core.testing.sealed import SEALED, SEALED_FIELDS, TEST_KEY
from ums_core.testing.worker import Worker, WorkerError
from ums_core.testing.workload import Place, draft_of, rare_word

pytestmark = [pytest.mark.faults, pytest.mark.no_cover, pytest.mark.needs_sqlcipher]

BACKENDS = ["exact", pytest.param("faiss", marks=pytest.mark.needs_faiss)]
IDS = [f"a-{number}" for number in range(40)]
ALL = {"text", "word", "speaker", "metadata", "vector"}
# What a log could tell. The control writes it there on purpose.
LOGGED = {"text", "word", "speaker", "metadata", "digits", "key"}


class Canaries:
    """What would give a memory away, and what of it is found in a directory."""

    def __init__(self, vectors: dict[str, str]) -> None:
        self.needles: dict[str, list[bytes]] = {kind: [] for kind in ALL | LOGGED}
        key = urlsafe_b64decode(TEST_KEY)
        self.needles["key"] = [TEST_KEY.encode(), key, key.hex().encode(), repr(key).encode()]
        for id_, digits in vectors.items():
            draft = draft_of(id_, 0, 16)
            self.needles["text"].append(draft.text.encode())
            self.needles["word"].append(rare_word(id_, 0)[-8:].encode())
            self.needles["speaker"].append(rare_word(id_, -1)[-8:].encode())
            self.needles["metadata"].append(b'"filler":"xxxx')
            stored = np.frombuffer(bytes.fromhex(digits), np.float32)
            self.needles["vector"] += [stored[:6].tobytes(), stored[:6].astype(np.float16).tobytes()]
            self.needles["digits"].append(f"{stored[0]:.6f}".encode())

    def found(self, directory: Path, name: str = "*") -> set[str]:
        contents = [path.read_bytes() for path in sorted(directory.rglob(name)) if path.is_file()]
        return {kind for kind, all_ in self.needles.items() for n in all_ if any(n in content for content in contents)}


def _life(place: Place, look: Callable[[str], None], careless: list[str]) -> None:
    """Everything that happens to a store, with a look at the directory after each step, where all is logged too."""
    log, snapshot = place.path.replace("memory.db", "ums.log"), Path(f"{place.path}.text.index")
    with Worker.obeying(place) as worker:
        worker.ask("log", path=log, lines=careless)
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
    # What cannot be saved is logged, with all that led to it.
    snapshot.unlink()
    snapshot.mkdir()
    with Worker.obeying(place) as worker:
        worker.ask("log", path=log)
        worker.ask("add", effect={IDS[15]: 0})
        worker.ask("settle")
        snapshot.rmdir()
        worker.ask("delete", effect={IDS[15]: None})
        with pytest.raises(WorkerError, match="memory_not_found"):
            worker.ask("update", effect={IDS[16]: 0})
        look("a snapshot could not be saved")
        assert worker.ask("count") == 30
        if place.security:
            worker.ask("rotate")
            look("rotated")
        worker.ask("add", effect=dict.fromkeys(IDS[:5], 0))
        look("open again")
        assert worker.ask("backup", path=f"{place.path}.backup") == 30
        look("backed up")
        worker.order("backup", path=f"{place.path}.later")
        time.sleep(0.02)
        worker.kill()
    look("killed in a backup")
    with Worker.obeying(place) as worker:
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

        careless = [n for k in sorted(LOGGED) for n in canaries.needles[k] if n.isascii() and n.decode().isprintable()]
        _life(place, look, [] if security else [line.decode() for line in careless])
        said[kind]["logged"] = canaries.found(tmp_path / kind, "ums.log")
        assert b"the index was not saved" in (tmp_path / kind / "ums.log").read_bytes()
    yield said
    shutil.rmtree(tmp_path)


def test_nothing_is_ever_readable_in_a_sealed_directory_and_all_of_it_in_a_plain_one(
    looks: dict[str, dict[str, set[str]]],
) -> None:
    assert looks["plain"].pop("logged") == LOGGED
    for kind in ("pages", "fields"):
        assert looks[kind].pop("logged") == set()
        assert len(looks[kind]) == len(looks["plain"]) + 1 == 11
        assert {step: found for step, found in looks[kind].items() if found} == {}
    assert {step: ALL - found for step, found in looks["plain"].items() if ALL - found} == {}


@pytest.mark.parametrize("security", [SEALED, SEALED_FIELDS, {}], ids=["pages", "fields", "plain"])
def test_commands_print_nothing_of_a_memory_but_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: dict[str, object]
) -> None:
    place = Place(str(tmp_path / "data" / "memory.db"), security=security)
    with place.open() as store:
        store.add([place.draft(id_, 0) for id_ in IDS[:5]])
    monkeypatch.chdir(tmp_path)
    environment = {"AI_DATABASE__URL": url_of(Path(place.path)), "AI_DATABASE__BACKEND": "exact"}
    environment |= {"AI_MODEL__EMBEDDER": "none", "AI_MODEL__VECTOR_DIM": "16"}
    environment |= {f"AI_SECURITY__{name.upper()}": str(value) for name, value in security.items()}

    def printed(*arguments: str) -> str:
        return CliRunner().invoke(app, arguments, env=environment).output

    said = "".join(
        printed(*command.split())
        for command in (
            "db info",
            "db verify",
            "db backup data/backup",
            "db restore data/backup",
            "db restore data/backup --replace",
            "keys status",
            "search nothing --filter {",
            "db erase a-0 --namespace a",
        )
    )
    (tmp_path / "data" / "out").write_text(said)
    canaries = Canaries({})
    canaries.needles["word"] = [rare_word(id_, 0)[-8:].encode() for id_ in IDS[:5]]
    assert "5 memories" in said
    assert "erased 1 memories" in said
    assert canaries.found(tmp_path / "data", "out") == set()
    (tmp_path / "data" / "out").write_text(printed("search", place.draft("a-1", 0).text) + TEST_KEY)
    assert canaries.found(tmp_path / "data", "out") == {"word", "key"}
