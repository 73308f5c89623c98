"""A store against a dict: any sequence of writes, questions, reopenings and kills must leave both telling the same."""

from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ums_core.errors import MemoryNotFound
from ums_core.records import Draft, Filter, Hit, Memory, Namespace, Patch, Query
from ums_core.records.match import matches
from ums_core.testing.samples import cosine, unit
from ums_core.testing.store_case import Abandon, MakeStore, everything
from ums_core.testing.strategies import WORDS, conditions, fields

__all__ = ["StoreMachine", "check_against_dict"]

Identity = tuple[Namespace, str]

_NAMESPACES: tuple[Namespace, ...] = ((), ("a",), ("ab",), ("a", "b"), ("a", "b/c"))
_PREFIXES = (*_NAMESPACES, ("nowhere",))
_namespaces = st.sampled_from(_NAMESPACES)
_prefixes = st.sampled_from(_PREFIXES)
_ids = st.sampled_from(("1", "2", "3", "é/%"))
_seeds = st.integers(0, 9)
_drafts = st.lists(
    st.tuples(_namespaces, _ids, _seeds, fields()), min_size=1, max_size=4, unique_by=lambda item: item[:2]
)


class StoreMachine(RuleBasedStateMachine):
    """Rules over one store and its model.

    Args:
        make_store: opens the store.
        abandon: leaves it as a kill would; None where that cannot be done.
        place: where the store is; empty.
        dim: number of components of its vectors.
    """

    def __init__(self, make_store: MakeStore, abandon: Abandon | None, place: str, dim: int) -> None:
        super().__init__()
        self._make_store = make_store
        self._abandon = abandon
        self._place = place
        self._dim = dim
        # In the order of first storing, which a dict keeps when a value is replaced.
        self.memories: dict[Identity, Memory] = {}
        self.seeds: dict[Identity, int] = {}
        self.seq = 0
        self.store = make_store(place)

    @rule(batch=_drafts, keyed=st.booleans())
    def add(self, batch: list[tuple[Namespace, str, int, dict[str, Any]]], *, keyed: bool) -> None:
        """New memories, and new content for old ones."""
        drafts = [
            Draft(namespace=namespace, id=id_, embedding=self._vector(seed), **given)
            for namespace, id_, seed, given in batch
        ]
        key = f"key-{len(self.memories)}-{self.seq}" if keyed else None
        stored = self.store.add(drafts, idempotency_key=key)
        for draft, memory, (namespace, id_, seed, given) in zip(drafts, stored, batch, strict=True):
            assert (memory.namespace, memory.id, memory.text) == (namespace, id_, draft.text)
            assert {name: getattr(memory, name) for name in given} == given
            old = self.memories.get((namespace, id_))
            assert old is None or (old.created_at == memory.created_at and old.updated_at < memory.updated_at)
            self.memories[namespace, id_] = memory
            self.seeds[namespace, id_] = seed
        if keyed:
            assert self.store.add(drafts, idempotency_key=key) == stored

    @rule(namespace=_namespaces, id_=_ids, given=fields())
    def change_fields(self, namespace: Namespace, id_: str, given: dict[str, Any]) -> None:
        """Some fields, but not what the vector stands for."""
        given.pop("text", None)
        self._update(Patch(namespace=namespace, id=id_, changes=given))

    @rule(namespace=_namespaces, id_=_ids, seed=_seeds, text=st.sampled_from(("", *WORDS)))
    def change_content(self, namespace: Namespace, id_: str, seed: int, text: str) -> None:
        """Text and vector together."""
        changes = {"text": text, "embedding": self._vector(seed)}
        if self._update(Patch(namespace=namespace, id=id_, changes=changes)):
            self.seeds[namespace, id_] = seed

    @rule(namespace=_namespaces, ids=st.lists(_ids, max_size=3))
    def delete(self, namespace: Namespace, ids: list[str]) -> None:
        """Some that exist and some that do not."""
        gone = {(namespace, id_) for id_ in ids} & set(self.memories)
        assert self.store.delete(ids, namespace=namespace) == len(gone)
        for identity in gone:
            del self.memories[identity], self.seeds[identity]

    @rule(seed=_seeds, prefix=_prefixes, condition=st.none() | conditions(), spare=st.integers(0, 5))
    def search_vector(self, seed: int, prefix: Namespace, condition: Filter | None, spare: int) -> None:
        """Everything under a prefix, in the order of its cosines."""
        expected = self._meeting(prefix, condition)
        k = len(expected) + spare or 1
        hits = self.store.search(Query(vector=self._vector(seed), namespace=prefix, filter=condition, k=k))
        assert sorted(map(_identity, hits)) == sorted(expected)
        assert [hit.memory for hit in hits] == [self.memories[_identity(hit)] for hit in hits]
        cosines = [cosine(self._vector(seed), self._vector(self.seeds[_identity(hit)])) for hit in hits]
        assert [hit.similarity for hit in hits] == pytest.approx(cosines, abs=1e-5)
        assert cosines == pytest.approx(sorted(cosines, reverse=True), abs=1e-5)

    @precondition(lambda self: self.memories)
    @rule(data=st.data())
    def search_own_vector(self, data: st.DataObject) -> None:
        """A memory is the first hit for its vector, but for those that share it."""
        identity = data.draw(st.sampled_from(list(self.memories)))
        (hit,) = self.store.search(Query(vector=self._vector(self.seeds[identity]), namespace=identity[0], k=1))
        assert hit.similarity == pytest.approx(1, abs=1e-5)
        assert self.seeds[_identity(hit)] == self.seeds[identity]

    @rule(word=st.sampled_from(WORDS), prefix=_prefixes, condition=st.none() | conditions())
    def search_words(self, word: str, prefix: Namespace, condition: Filter | None) -> None:
        """Exactly the texts that hold the word."""
        expected = [i for i in self._meeting(prefix, condition) if word in self.memories[i].text]
        hits = self.store.search(Query(text=word, mode="keyword", namespace=prefix, filter=condition, k=50))
        assert sorted(map(_identity, hits)) == sorted(expected)

    @rule(prefix=_prefixes, condition=st.none() | conditions(), page=st.integers(1, 4))
    def scan(self, prefix: Namespace, condition: Filter | None, page: int) -> None:
        """Every memory under a prefix as it was stored, in the order of first storing."""
        expected = [self.memories[identity] for identity in self._meeting(prefix, condition)]
        assert everything(self.store, prefix, condition, page=page) == expected
        back = self.store.scan(namespace=prefix, filter=condition, limit=page, descending=True).memories
        assert back == expected[::-1][:page]
        assert self.store.count(namespace=prefix, filter=condition) == len(expected)

    @rule(prefix=_prefixes, condition=st.none() | conditions())
    def namespaces(self, prefix: Namespace, condition: Filter | None) -> None:
        """Those that hold a memory which meets the filter."""
        expected = sorted({identity[0] for identity in self._meeting(prefix, condition)})
        assert self.store.namespaces(prefix=prefix, filter=condition) == expected

    @rule(identities=st.lists(st.tuples(_namespaces, _ids), max_size=3))
    def get(self, identities: list[Identity]) -> None:
        """One by one, with the vectors they were given."""
        for namespace, id_ in identities:
            (memory,) = self.store.get([id_], namespace=namespace, vectors=True)
            assert memory == self.memories.get((namespace, id_))
            if memory is not None:
                expected = self._vector(self.seeds[namespace, id_])
                assert np.allclose(np.asarray(memory.passages[0].vector), expected, atol=1e-6)

    @rule()
    def reopen(self) -> None:
        """Close and open."""
        self.store.close()
        self.store = self._make_store(self._place)

    @precondition(lambda self: self._abandon is not None)
    @rule()
    def kill(self) -> None:
        """Leave without closing, and open again."""
        assert self._abandon is not None
        self._abandon(self.store)
        self.store = self._make_store(self._place)

    @invariant()
    def counts_agree(self) -> None:
        """The number of memories is that of the model, and the change number never falls."""
        health = self.store.health()
        assert health.status == "ok"
        assert health.memories == len(self.memories)
        assert health.seq >= self.seq
        self.seq = health.seq

    def teardown(self) -> None:
        """Close the store."""
        self.store.close()

    def _update(self, patch: Patch) -> bool:
        identity = patch.namespace, patch.id
        old = self.memories.get(identity)
        if old is None:
            with pytest.raises(MemoryNotFound):
                self.store.update([patch])
            return False
        (memory,) = self.store.update([patch])
        changed = {name: value for name, value in patch.changes.items() if name != "embedding"}
        assert {name: getattr(memory, name) for name in changed} == changed
        kept = [name for name in vars(old) if name not in {*changed, "updated_at"}]
        assert [getattr(memory, name) for name in kept] == [getattr(old, name) for name in kept]
        self.memories[identity] = memory
        return True

    def _meeting(self, prefix: Namespace, condition: Filter | None) -> list[Identity]:
        return [
            identity
            for identity, memory in self.memories.items()
            if identity[0][: len(prefix)] == prefix and (condition is None or matches(condition, memory))
        ]

    def _vector(self, seed: int) -> Any:  # noqa: ANN401  # a row of numpy, for which records have no name
        return unit(f"seed {seed}", self._dim)


def check_against_dict(
    make_store: MakeStore, abandon: Abandon | None, *, dim: int, examples: int = 60, steps: int = 30
) -> None:
    """Run the machine, each example on a place of its own.

    Raises:
        AssertionError: store and model differ; hypothesis prints the shortest way there that it found.
    """
    places = count()

    class Example(StoreMachine):
        def __init__(self) -> None:
            super().__init__(make_store, abandon, f"example-{next(places)}", dim)

    run_state_machine_as_test(
        Example,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def _identity(hit: Hit) -> Identity:
    return hit.memory.namespace, hit.memory.id
