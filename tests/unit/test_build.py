"""The composition root: what stands behind a store, and what is said when a package is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from ums_core import Draft, Query, UnifiedSettings, open_store
from ums_core.encoders.hashing import HashingEmbedder
from ums_core.errors import NotADatabase, SettingsError

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
"""
LITE = """
from ums_core import Draft, Query, UnifiedSettings, open_store

for _ in range(2):
    settings = UnifiedSettings(database={"url": "sqlite:///./memory.db"}, model={"embedder": "hashing"})
    with open_store(settings) as store:
        store.add([Draft(text="exact is enough")])
        print(store.search(Query(text="exact", k=1))[0].memory.text, store.health().index, store.health().driver)
"""


def run(code: str, place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)


def test_without_faiss_every_search_is_exact_and_that_is_said_once(tmp_path: Path) -> None:
    done = run(BLOCK.format(blocked={"faiss"}) + LITE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("exact is enough {'text': 'exact'}") == 2
    assert done.stderr.count("pip install 'ums-core[faiss]'") == 1


def test_without_sqlcipher3_the_standard_library_drives(tmp_path: Path) -> None:
    done = run(BLOCK.format(blocked={"sqlcipher3"}) + LITE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sqlite3 (SQLite") == 2


def test_without_its_package_the_embedder_names_the_extra(tmp_path: Path) -> None:
    code = LITE.replace("hashing", "static")
    done = run(BLOCK.format(blocked={"wordllama"}) + code, tmp_path)
    assert done.returncode == 1
    assert "pip install 'ums-core[lite]'" in done.stderr


def test_an_embedder_object_takes_the_place_of_the_named_one(tmp_path: Path) -> None:
    settings = UnifiedSettings(database={"url": f"sqlite:///{tmp_path}/m.db"}, model={"embedder": "none"})
    with open_store(settings, embedder=HashingEmbedder(8)) as store:
        store.add([Draft(text="eight numbers")])
        assert store.health().embedder == {"text": "hashing@1 (8-d)"}
        assert store.search(Query(text="eight numbers", mode="vector"))


def test_an_unknown_embedder_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    settings = UnifiedSettings(database={"url": f"sqlite:///{tmp_path}/m.db"}, model={"embedder": "statics"})
    with pytest.raises(SettingsError, match="static"):
        open_store(settings)
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_opened_lets_go_of_the_file(tmp_path: Path) -> None:
    settings = UnifiedSettings(database={"url": f"sqlite:///{tmp_path}/m.db"}, model={"embedder": "hashing"})
    (tmp_path / "m.db").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(NotADatabase):
        open_store(settings)
    (tmp_path / "m.db").unlink()
    with open_store(settings) as store:
        store.add([Draft(text="now it works")])
