"""Field mode: how its key is exchanged row by row, cut off at any step, beside others at work."""

import threading
from pathlib import Path

import pytest
from sealed_samples import WORDS, assert_whole, bare, draft, envelope_of, filled, opened, settings, under

from ums_core import Draft, Patch, Query, restore_store
from ums_core.channels.upkeep import ring_of
from ums_core.storage.connect import Connection
from ums_core.storage.rotation import rotate_fields, share_under
from ums_core.storage.sealed_columns import rows_in
from ums_core.testing.sealed import SEALED as PAGES

pytestmark = pytest.mark.needs_sqlcipher


def test_a_rotation_that_another_one_overtook_ends_and_destroys_no_key_in_use(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as store, opened(tmp_path) as other:
        keys: list[str] = []

        def overtake(_done: int, _total: int) -> None:
            # Once this one is under way: the other one finishes it, and then does a rotation of its own.
            if not keys:
                keys.append(other.rotate().active)
                keys.append(other.rotate().active)

        state = store.rotate(progress=overtake)
        assert len(set(keys)) == 2
        assert (state.active, state.pending, state.former) == (keys[1], None, ())
        assert under(tmp_path) == {keys[1]}
        for each in (store, other):
            each.add([draft(12)])
            assert_whole(each, 13)
        assert under(tmp_path) == {keys[1]}
    with opened(tmp_path) as store:
        assert_whole(store, 13)
        assert store.verify() == []


def test_a_rotation_takes_every_value_and_every_word_along(tmp_path: Path) -> None:
    filled(tmp_path)
    (former,) = under(tmp_path)
    told: list[tuple[int, int]] = []
    with opened(tmp_path) as store:
        with bare(tmp_path) as connection:
            words = {row[0] for row in _words(connection)}
        state = store.rotate(progress=lambda done, total: told.append((done, total)))
        assert (state.pending, state.former, state.done) == (None, (), 1.0)
        assert under(tmp_path) == {state.active} != {former}
        assert told[-1][0] == told[-1][1] == 31
        with bare(tmp_path) as connection:
            shared = words & {row[0] for row in _words(connection)}
        assert {word for word in shared if not word.startswith("ns")} == set()
        assert_whole(store)
    with opened(tmp_path) as store:
        assert_whole(store)
    assert former not in {key.key_id for key in envelope_of(tmp_path).keys}


def _words(connection: Connection) -> list[tuple[str]]:
    connection.execute("CREATE VIRTUAL TABLE temp.held USING fts5vocab(main, terms, row)")
    return list(connection.execute("SELECT term FROM temp.held"))


def _cut_off(place: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A rotation that ends at a step, and what is true meanwhile."""
    calls = 0

    def stopped(*_: object, **__: object) -> None:
        nonlocal calls
        calls += 1
        if step != "ums_core.storage.rotation._reseal" or calls > 2:
            raise InterruptedError

    monkeypatch.setattr("ums_core.storage.rotation._BATCH", 3)
    with opened(place) as store, monkeypatch.context() as patched:
        if step == "batch":
            done = 0

            def enough(*_: int) -> None:
                nonlocal done
                done += 1
                if done == 2:
                    raise InterruptedError

            with pytest.raises(InterruptedError):
                store.rotate(progress=enough)
            state = store.key_state()
            assert 0 < state.done < 1
            assert state.pending is not None
        else:
            patched.setattr(step, stopped)
            with pytest.raises(InterruptedError):
                store.rotate()
        assert_whole(store)
        store.update([Patch(id="1", namespace=("u", "1"), changes={"text": f"{WORDS} 1"})])
        store.update([Patch(id="11", namespace=("u", "1"), changes={"text": f"{WORDS} 11"})])
        assert_whole(store)


@pytest.mark.parametrize(
    "step",
    [
        "ums_core.storage.rotation._turn",
        "batch",
        "ums_core.storage.rotation._left_over",
        "ums_core.channels.sealed.Keys.promote",
        "ums_core.pipeline.indexing.Indexes.save",
        "ums_core.channels.sealed.Keys.retire",
    ],
)
def test_a_rotation_cut_off_at_any_step_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    filled(tmp_path)
    (former,) = under(tmp_path)
    _cut_off(tmp_path, monkeypatch, step)
    with opened(tmp_path) as store:
        assert_whole(store)
        state = store.rotate()
        assert (state.pending, state.former) == (None, ())
        assert_whole(store)
    assert under(tmp_path) == {state.active}
    assert state.active != former


def test_another_store_on_the_file_goes_on_through_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ums_core.storage.rotation._BATCH", 3)
    filled(tmp_path)
    with opened(tmp_path) as one, opened(tmp_path) as two:
        numbers = iter(range(100, 200))

        def meanwhile(*_: int) -> None:
            number = next(numbers)
            two.add([Draft(id=f"{number}", text=f"word{number}")])
            assert [hit.memory.id for hit in two.search(Query(text=f"word{number}", mode="keyword"))] == [f"{number}"]
            assert len(two.search(Query(text="zebra", mode="keyword", k=100))) == 12
            two.update([Patch(id="1", namespace=("u", "1"), changes={"text": f"{WORDS} 1"})])

        state = one.rotate(progress=meanwhile)
        two.add([Draft(id="last", text="last")])
        assert under(tmp_path) == {state.active}
        assert len(two.search(Query(text="zebra", mode="keyword", k=100))) == 12
        assert two.backup(tmp_path / "kept" / "backup").memories == two.count()
        assert (one.verify(), two.verify()) == ([], [])
    with opened(tmp_path) as store:
        assert store.health().status == "ok"
    restore_store(tmp_path / "kept/backup", settings(tmp_path), replace=True)


def test_searches_go_on_while_the_key_is_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ums_core.storage.rotation._BATCH", 2)
    filled(tmp_path)
    problems: list[object] = []
    with opened(tmp_path) as store:
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                found = len(store.search(Query(text="zebra", mode="keyword", k=100)))
                if found != 12:
                    problems.append(found)

        asking = threading.Thread(target=ask)
        asking.start()
        for _ in range(3):
            store.rotate()
        over.set()
        asking.join()
    assert problems == []


def test_an_update_of_a_readable_column_leaves_a_row_under_its_key(tmp_path: Path) -> None:
    """A row goes under another key together with its terms, or not at all."""
    filled(tmp_path)
    (former,) = under(tmp_path)
    with opened(tmp_path) as store:
        database, codec = store._database, store._database.codec
        ring = ring_of(database)
        assert codec is not None
        assert ring is not None
        pending = ring.begin().key_id
        database.write(lambda tx: codec.turn_to(tx.connection, pending, former))
        database.write(lambda tx: tx.connection.execute("UPDATE memories SET spans = spans, level = 1 WHERE id = '4'"))
        store.add([draft(12)])
        assert under(tmp_path) == {former, pending}
        with database.reader() as connection:
            assert share_under(connection, codec) == pytest.approx(2 / rows_in(connection))
        assert store.get(["4"], namespace=("u", "0"))[0].level == 1  # type: ignore[union-attr]  # it is there
        store.delete(["4"], namespace=("u", "0"))
        assert len(store.search(Query(text="zebra", mode="keyword", k=100))) == 12
        rotate_fields(database, codec, ring)
        assert under(tmp_path) == {pending}
        assert store.verify() == []


def test_an_empty_database_is_under_its_key_as_a_whole(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        codec = store._database.codec
        assert codec is not None
        with store._database.reader() as connection:
            assert 0 <= share_under(connection, codec) <= 1
        assert store.search(Query(text="zebra", mode="keyword")) == []
        assert store.rotate().done == 1.0


def test_pages_tell_no_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, PAGES) as store:
        monkeypatch.setattr("ums_core.channels.sealed.Keys.promote", _interrupted)
        with pytest.raises(InterruptedError):
            store.rotate()
        monkeypatch.undo()
        assert store.key_state().done == 0.0
        assert store.rotate().done == 1.0


def _interrupted(*_: object, **__: object) -> str:
    raise InterruptedError
