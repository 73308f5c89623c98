"""What a verb cannot use is named before anything is done, whatever it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ums_core import Draft, LocalStore, UnifiedSettings, open_store
from ums_core.channels.care import decrypt_store, encrypt_store, restore_store
from ums_core.errors import InvalidField, InvalidInput, InvalidQuery

JUNK: tuple[Any, ...] = (0.5, "x", b"x", ["x"], {"x": 1}, object())

CALLBACKS: dict[str, Callable[[LocalStore, Any], object]] = {
    "consolidate, progress": lambda store, junk: store.consolidate(progress=junk),
    "consolidate, cancel": lambda store, junk: store.consolidate(cancel=junk),
    "maintain, progress": lambda store, junk: store.maintain(progress=junk),
    "maintain, cancel": lambda store, junk: store.maintain(cancel=junk),
    "reembed, progress": lambda store, junk: store.reembed(progress=junk),
    "rotate, progress": lambda store, junk: store.rotate(progress=junk),
    "backup, progress": lambda store, junk: store.backup("backup", progress=junk),
    "restore, progress": lambda _, junk: restore_store("backup", progress=junk),
    "encrypt, progress": lambda _, junk: encrypt_store(progress=junk),
    "decrypt, progress": lambda _, junk: decrypt_store(progress=junk),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    path = tmp_path_factory.mktemp("arguments") / "memory.db"
    return open_store(UnifiedSettings.for_testing(database={"url": f"sqlite:///{path}"}))


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: type(junk).__name__)
@pytest.mark.parametrize("where", CALLBACKS)
def test_what_is_to_be_called_meanwhile_is_looked_at_first(store: LocalStore, where: str, junk: object) -> None:
    with pytest.raises(InvalidField, match=f"{where.partition(', ')[2]} must be a function"):
        CALLBACKS[where](store, junk)
    assert store.health().seq == 0


@pytest.mark.parametrize("limit", [0, -1, True, 1.0, "1", None])
def test_a_limit_is_a_whole_number(store: LocalStore, limit: object) -> None:
    for verb in (store.sweep, store.purge, lambda limit: store.scan(limit=limit)):
        with pytest.raises(InvalidQuery, match="limit"):
            verb(cast("Any", limit))


def test_a_limit_beyond_what_storage_counts_to_is_none(store: LocalStore) -> None:
    assert store.sweep(2**63) == store.purge(2**63) == 0


def test_no_receipt_is_not_searched_for(store: LocalStore) -> None:
    for junk in (None, *JUNK):
        with pytest.raises(InvalidInput, match=r"Receipt\.from_dict"):
            store.verify_erased(cast("Any", junk))


@pytest.mark.parametrize("path", ["\ud800", "x" * 300, "a\0b"])
def test_a_backup_that_no_file_can_be_called_is_refused(store: LocalStore, tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidInput, match="no file can be called"):
        store.backup(tmp_path / path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("junk", [None, 0, 1.5, object()])
def test_passages_come_in_a_list(junk: object) -> None:
    with pytest.raises(InvalidField, match="in a list"):
        Draft(text="hello", passages=cast("Any", junk))
