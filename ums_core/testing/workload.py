"""A process that works on a store and may be killed at any moment.

``churn`` writes at random and keeps a ledger, one line before each call and one after it. ``obey`` does what it is
told, one JSON object a line, and answers by another. What a memory holds follows from its id and its version alone,
so whoever reads it can tell whether it is right. ``ums_core.testing.worker`` starts both.
"""

import json
import logging
import os
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from threading import Thread
from zlib import crc32

import numpy as np

from ums_core.channels.build import open_store
from ums_core.channels.local import LocalStore
from ums_core.errors import UMSError
from ums_core.records import Draft, Memory, Patch, Query
from ums_core.settings import UnifiedSettings
from ums_core.settings.database import url_of
from ums_core.testing.samples import unit

__all__ = [
    "NOTES",
    "Churn",
    "Effect",
    "Ledger",
    "Place",
    "churn",
    "draft_of",
    "main",
    "perform",
    "rare_word",
    "version_of",
]

# Versions by id after a call; None is deleted.
Effect = Mapping[str, int | None]

NOTES = ("notes",)


@dataclass(frozen=True)
class Place:
    """Where a store is and how it is opened.

    Attributes:
        path: the database file.
        security: settings of that group, such as ``SEALED`` of ``ums_core.testing.sealed``.
        without: packages that the process must do without, such as ``sqlcipher3``.
    """

    path: str
    backend: str = "exact"
    dim: int = 16
    checkpoint_writes: int = 20
    security: Mapping[str, object] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def open(self) -> LocalStore:
        """The store; callers bring their vectors."""
        settings = UnifiedSettings.for_testing(
            database={
                "backend": self.backend,
                "url": url_of(Path(self.path)),
                "wal_checkpoint_writes": self.checkpoint_writes,
            },
            model={
                "embedder": "none",
                "vector_dim": self.dim,
                "modalities": ["text", "image"],
                "vector_dims": {"image": self.dim},
            },
            security=dict(self.security),
        )
        return open_store(settings)

    def to_json(self) -> str:
        """All of it as one argument of a command line."""
        return json.dumps(asdict(self))

    def draft(self, id_: str, version: int) -> Draft:
        """What the id holds in a version."""
        return draft_of(id_, version, self.dim)


def rare_word(id_: str, version: int) -> str:
    """A made-up word that no stemmer touches, and that shares hardly more than two letters with another."""
    letters = random.Random(crc32(f"{id_}#{version}".encode()))  # noqa: S311  # a name, not a secret
    return "zq" + "".join(letters.choices("bcdfghjkmnpqvwxz", k=12))


def draft_of(id_: str, version: int, dim: int) -> Draft:
    """What an id holds in a version: text, speaker, metadata and vector."""
    return Draft(
        id=id_,
        namespace=(id_.partition("-")[0],),
        text=f"{id_} in version {version} says {rare_word(id_, version)}",
        speaker=rare_word(id_, -version - 1),
        metadata={"version": version, "filler": "x" * (crc32(id_.encode()) % 400)},
        embedding=unit(f"{id_}#{version}", dim),
    )


def version_of(memory: Memory, dim: int) -> int:
    """The version that a memory is in.

    Raises:
        AssertionError: it holds what no version of its id holds.
    """
    version = memory.metadata["version"]
    assert isinstance(version, int)
    draft = draft_of(memory.id, version, dim)
    assert (memory.namespace, memory.text, memory.speaker) == (draft.namespace, draft.text, draft.speaker)
    assert memory.metadata == draft.metadata
    for passage in memory.passages:
        if passage.vector is not None:
            assert np.allclose(np.asarray(passage.vector), np.asarray(draft.embedding), atol=1e-6)
    return version


class Ledger:
    """Lines that outlive the process, since each is handed to the kernel whole before the next step."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, stage: str, key: str = "", verb: str = "", effect: Effect | None = None) -> None:
        """Append a line."""
        os.write(self._file, (json.dumps([stage, key, verb, dict(effect or {})]) + "\n").encode())


def perform(store: LocalStore, place: Place, verb: str, effect: Effect, key: str | None = None) -> None:
    """One call that has the effect, under an idempotency key."""
    drafts = [place.draft(id_, version) for id_, version in effect.items() if version is not None]
    if verb == "add":
        store.add(drafts, idempotency_key=key)
    elif verb == "update":
        fields = ("text", "speaker", "metadata", "embedding")
        patches = [
            Patch(id=str(d.id), namespace=d.namespace, changes={name: getattr(d, name) for name in fields})
            for d in drafts
        ]
        store.update(patches, idempotency_key=key)
    elif verb == "delete":
        store.delete(list(effect), namespace=(next(iter(effect)).partition("-")[0],), idempotency_key=key)
    else:
        store.add([Draft(namespace=NOTES, text=f"note {key}", metadata={"key": key})], idempotency_key=key)


@dataclass(frozen=True)
class Churn:
    """How to write.

    Attributes:
        prefix: of all ids, so that no other writer touches them; without ``-``.
        seed: of every choice but when threads meet.
        threads: that write at once, each its own ids.
        batch: memories in a call, at most.
        steps: calls a thread makes.
        inherit: whether to update and delete also what is there already.
    """

    prefix: str
    seed: int
    threads: int = 1
    batch: int = 5
    steps: int = 1_000_000
    inherit: bool = False


def churn(store: LocalStore, place: Place, ledger: Ledger, plan: Churn) -> None:
    """Add, update and delete at random, noting each call before it and after it."""
    there = store.scan(limit=1_000_000).memories if plan.inherit else []

    def write(thread: int) -> None:
        rng = random.Random(f"{plan.seed} {thread}")  # noqa: S311  # repeatable choices, not secrets
        known = {
            memory.id: version_of(memory, place.dim)
            for memory in there
            if memory.namespace != NOTES and crc32(memory.id.encode()) % plan.threads == thread
        }
        for step in range(plan.steps):
            key = f"{plan.prefix}-{thread}-{step}"
            verb = rng.choice(["add", "add", "add", "update", "update", "delete", "note"]) if known else "add"
            size = rng.randint(1, plan.batch)
            some = rng.sample(sorted(known), min(size, len(known)))
            if verb == "add":
                effect: dict[str, int | None] = {f"{key}-{number}": 0 for number in range(size)}
            elif verb == "update":
                effect = {id_: known[id_] + 1 for id_ in some}
            else:
                # A call deletes from one namespace.
                mates = [id_ for id_ in some if place.draft(id_, 0).namespace == place.draft(some[0], 0).namespace]
                effect = dict.fromkeys(mates) if verb == "delete" else {}
            ledger.note("begin", key, verb, effect)
            perform(store, place, verb, effect, key)
            ledger.note("end", key, verb, effect)
            for id_, version in effect.items():
                known.pop(id_, None)
                if version is not None:
                    known[id_] = version

    threads = [Thread(target=write, args=(number,)) for number in range(plan.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _Obey:
    """The verbs of an obedient process."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._store: LocalStore | None = place.open()

    def run(self, orders: Iterable[str], say: Callable[[str], object]) -> None:
        """Answer each line by a line: ``{"answer": …}``, or ``{"error": code}``."""
        say(json.dumps({"answer": "ready"}))
        for line in orders:
            order = json.loads(line)
            try:
                answer: dict[str, object] = {"answer": getattr(self, f"do_{order.pop('verb')}")(**order)}
            except UMSError as error:
                answer = {"error": error.code, "message": str(error)}
            say(json.dumps(answer))
        if self._store is not None:
            self._store.close()

    @property
    def store(self) -> LocalStore:
        if self._store is None:
            self._store = self._place.open()
        return self._store

    def do_add(self, effect: Effect, key: str | None = None) -> None:
        """Add ids in the versions given."""
        perform(self.store, self._place, "add", effect, key)

    def do_update(self, effect: Effect, key: str | None = None) -> None:
        """Bring ids to the versions given."""
        perform(self.store, self._place, "update", effect, key)

    def do_delete(self, effect: Effect, key: str | None = None) -> None:
        """Delete ids of one namespace."""
        perform(self.store, self._place, "delete", effect, key)

    def do_erase(self, ids: Sequence[str]) -> dict[str, object]:
        """Erase ids of one namespace, and give the receipt."""
        return self.store.erase(ids, namespace=draft_of(ids[0], 0, 1).namespace).to_dict()

    def do_rotate(self) -> str:
        """Put the store under a new key, and give its id."""
        return self.store.rotate().active

    def do_backup(self, path: str) -> int:
        """Copy the store into a file, and give the number of memories in it."""
        return self.store.backup(path).memories

    def do_find(self, id: str, version: int, k: int = 1) -> list[str]:  # noqa: A002  # as the field is called
        """The ids nearest to a version of an id."""
        question = Query(vector=unit(f"{id}#{version}", self._place.dim), k=k)
        return [hit.memory.id for hit in self.store.search(question)]

    def do_word(self, text: str) -> list[str]:
        """The ids found by words."""
        return [hit.memory.id for hit in self.store.search(Query(text=text, mode="keyword"))]

    def do_image(self, id: str, find: bool = False) -> list[str]:  # noqa: A002, FBT001, FBT002  # from JSON
        """Add a memory with a vector of another modality, or find the nearest ones."""
        vector = unit(id, self._place.dim)
        if not find:
            draft = Draft(id=id, namespace=NOTES, metadata={"key": id}, embedding=vector, modality="image")
            self.store.add([draft])
        return [hit.memory.id for hit in self.store.search(Query(vector=vector, modality="image"))]

    def do_vectors(self, ids: Sequence[str]) -> dict[str, str]:
        """The bytes of each vector as they are stored, in hexadecimal digits."""
        memories = [self.store.get([id_], namespace=draft_of(id_, 0, 1).namespace, vectors=True)[0] for id_ in ids]
        return {
            memory.id: np.asarray(memory.passages[0].vector, np.float32).tobytes().hex()
            for memory in memories
            if memory is not None
        }

    def do_count(self) -> int:
        """How many there are."""
        return self.store.count()

    def do_verify(self) -> list[str]:
        """Differences between index and storage."""
        return self.store.verify()

    def do_settle(self) -> None:
        """Wait for the index."""
        self.store.settle()

    def do_log(self, path: str, lines: Sequence[str] = ()) -> None:
        """Write all that any library says from now on into a file; and some lines, as a careless application would."""
        handler = logging.FileHandler(path)
        root = logging.getLogger()
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        for line in lines:
            root.debug("%s", line)

    def do_driver(self) -> str:
        """Name and version of the driver."""
        return self.store.health().driver

    def do_close(self) -> None:
        """Close the store; the next verb opens it again."""
        self.store.close()
        self._store = None

    def do_limit(self, size: int) -> None:
        """Let no file grow beyond a size, in bytes; the kernel's signal is ignored, so that writes fail."""
        import resource  # noqa: PLC0415  # not on every system
        import signal  # noqa: PLC0415  # as above

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class _Without:
    """Makes packages look as if they were not installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Refuse to find them."""
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"{name} is hidden from this process", name=name)
        return None


def main(arguments: Sequence[str], orders: Iterable[str] = (), say: Callable[[str], object] = print) -> None:
    """Run one of the two commands."""
    command, given, *rest = arguments
    fields = json.loads(given)
    place = Place(**fields | {"without": tuple(fields["without"])})
    if place.without:
        sys.meta_path.insert(0, _Without(place.without))
    if command == "obey":
        _Obey(place).run(orders, say)
        return
    ledger = Ledger(Path(rest[0]))
    ledger.note("open")
    with place.open() as store:
        churn(store, place, ledger, Churn(**json.loads(rest[1])))
