"""A file that an earlier version wrote opens, and ranks as one of today."""

import sqlite3
from pathlib import Path

from old_schemas import taken_back

from ums_core import Draft, Patch, Query, UnifiedSettings, open_store
from ums_core.pipeline.repeat import draft_parts
from ums_core.ranking.words import ASKS, ENDS_ASKING, FIRST_PERSON, NAMES_TIME


def test_what_texts_do_with_words_is_told_anew(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": f"sqlite:///{tmp_path}/memory.db"})
    texts = {"a": "Where were we last week?", "b": "The boat sails.", "c": ""}
    with open_store(settings) as store:
        store.add([Draft(id=id_, text=text, embedding=[1.0] + [0.0] * 383) for id_, text in texts.items()])
    # As the first schema left them.
    connection = sqlite3.connect(tmp_path / "memory.db")
    connection.execute("UPDATE memories SET asks = instr(text, '?') > 0")
    connection.commit()
    connection.close()
    taken_back(tmp_path / "memory.db", 1)
    with open_store(settings) as store:
        assert [memory.text for memory in store.scan().memories] == list(texts.values())
    connection = sqlite3.connect(tmp_path / "memory.db")
    found = connection.execute("SELECT id, asks FROM memories ORDER BY id").fetchall()
    connection.close()
    assert found == [("a", ASKS | ENDS_ASKING | FIRST_PERSON | NAMES_TIME), ("b", 0), ("c", 0)]


def test_captions_may_be_added_to_what_had_none(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": f"sqlite:///{tmp_path}/memory.db"})
    with open_store(settings) as store:
        store.add([Draft(id=id_, text="Look at that!") for id_ in "ab"])
        store.delete(["b"])
    # All that a draft asked for, as it was told before there were captions.
    assert b"caption" not in b"".join(draft_parts(Draft(text="x")))
    taken_back(tmp_path / "memory.db", 5)
    with open_store(settings) as store:
        assert store.get(["a"])[0].caption is None  # type: ignore[union-attr]
        store.update([Patch(id="a", changes={"caption": "a red kayak"})])
        assert [hit.memory.id for hit in store.search(Query(text="kayak", mode="keyword"))] == ["a"]
        assert store.verify() == []


def test_the_key_of_receipts_moves_to_the_secrets(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": f"sqlite:///{tmp_path}/memory.db"})
    with open_store(settings) as store:
        store.add([Draft(id="a", text="The boat sails at nine tomorrow.")])
        receipt = store.erase(["a"])
    connection = sqlite3.connect(tmp_path / "memory.db")
    connection.execute("INSERT INTO meta SELECT key, value FROM secrets")
    connection.commit()
    connection.close()
    taken_back(tmp_path / "memory.db", 3)
    with open_store(settings) as store:
        store.add([Draft(id="b", text="The boat sails at nine tomorrow, again.")])
        (tmp_path / "memory.db.copy").write_bytes(b"The boat sails at nine tomorrow.")
        store.delete(["b"])
        assert "memory.db.copy still holds" in " ".join(store.verify_erased(receipt))
