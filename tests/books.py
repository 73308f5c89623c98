"""What must be in a database, by the ledgers of the workloads of ``ums_core.testing.workload``."""

import json
from pathlib import Path

from ums_core import LocalStore, Memory, Query
from ums_core.testing.samples import assert_found, unit
from ums_core.testing.workload import NOTES, Effect, Place, perform, version_of

__all__ = ["Books", "assert_sound", "everything"]

Call = tuple[str, str, Effect]


class Books:
    """What must be in a database, by the ledgers of all who wrote to it.

    Attributes:
        versions: by id, of what was acknowledged.
        notes: keys of acknowledged writes of made-up ids.
        open_calls: key, verb and effect of the calls that nobody saw return.
    """

    def __init__(self, versions: dict[str, int] | None = None) -> None:
        self.versions = dict(versions or {})
        self.notes: set[str] = set()
        self.open_calls: list[Call] = []

    def read(self, ledger: Path) -> int:
        """Take up a ledger and return how many calls it acknowledges."""
        begun: dict[str, Call] = {}
        acknowledged = 0
        for line in ledger.read_text().splitlines():
            stage, key, verb, effect = json.loads(line)
            if stage == "begin":
                begun[key] = (key, verb, effect)
            elif stage == "end":
                self.apply(begun.pop(key))
                acknowledged += 1
        self.open_calls += begun.values()
        return acknowledged

    def apply(self, call: Call) -> None:
        key, verb, effect = call
        if verb == "note":
            self.notes.add(key)
        for id_, version in effect.items():
            self.versions.pop(id_, None)
            if version is not None:
                self.versions[id_] = version

    def audit(self, store: LocalStore, place: Place) -> None:
        """Everything acknowledged is there, whole and right; of each open call, all or nothing."""
        memories = everything(store)
        notes = [memory.metadata["key"] for memory in memories if memory.namespace == NOTES]
        held = {memory.id: version_of(memory, place.dim) for memory in memories if memory.namespace != NOTES}
        assert len(notes) == len(set(notes))
        assert len(held) == len(memories) - len(notes)
        for call in self.open_calls:
            key, verb, effect = call
            after = {id_: held.get(id_) for id_ in effect}
            if (verb == "note" and key in notes) or (effect and after == effect):
                self.apply(call)
            else:
                assert after == {id_: self.versions.get(id_) for id_ in effect}, f"half of {call}"
        assert held == self.versions
        assert set(notes) == self.notes

    def finish_open_calls(self, store: LocalStore, place: Place) -> None:
        """Repeat each open call under its key: it is done now, and was done once."""
        for key, verb, effect in self.open_calls:
            perform(store, place, verb, effect, key)
            self.apply((key, verb, effect))
        self.open_calls = []


def everything(store: LocalStore) -> list[Memory]:
    memories: list[Memory] = []
    cursor: int | None = None
    while True:
        page = store.scan(limit=2000, cursor=cursor)
        memories += page.memories
        if (cursor := page.cursor) is None:
            return memories


def assert_sound(store: LocalStore, books: Books, place: Place, sample: list[str]) -> None:
    assert store.health().status == "ok"
    assert store.verify() == []
    assert store.verify_history() == []
    books.audit(store, place)
    for id_ in sample:
        version = books.versions.get(id_)
        if version is not None:
            assert_found(store.search(Query(vector=unit(f"{id_}#{version}", place.dim), k=1)), id_)
            (memory,) = store.get([id_], namespace=place.draft(id_, version).namespace, vectors=True)
            assert memory is not None
            assert version_of(memory, place.dim) == version
