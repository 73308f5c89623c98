"""The verbs of a local store that keep it small; ``LocalStore`` inherits them, as one of the protocol's templates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ums_core.channels.chores import StoreChores
from ums_core.channels.habits import Habits
from ums_core.pipeline.consolidate import Consolidate, Plan
from ums_core.pipeline.distinct import duplicates_of, said_by
from ums_core.pipeline.ingest import CALLER, Ingest, Prepared
from ums_core.pipeline.maintain import maintain
from ums_core.pipeline.patch import patched
from ums_core.pipeline.retrieve import Retrieve
from ums_core.pipeline.summarize import Summarizer
from ums_core.ports.tending import Cancel, Progress, Strategy
from ums_core.records import Draft, Memory, Namespace, Patch
from ums_core.records.arguments import check_batch, check_callbacks, check_duplicates, check_share, check_steps
from ums_core.records.check import check_flag, check_prefix, check_whole
from ums_core.records.distinct import Distinct, Duplicate, Duplicates
from ums_core.records.lifecycle import Action, Consolidation
from ums_core.records.maintenance import Maintenance, Step
from ums_core.records.memory import TEXT
from ums_core.storage.archive import Archive, reinforced
from ums_core.storage.database import Database
from ums_core.storage.lease import Lease
from ums_core.storage.levels import SqlLevels
from ums_core.storage.reading import arrived, lives, saying
from ums_core.storage.transaction import SqlTransaction

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["LocalTending", "stored"]

_HOUR_US = 3_600_000_000


class LocalTending:
    """What a store on this device does to stay small."""

    _archive: Archive
    _database: Database
    _ingest: Ingest
    _retrieve: Retrieve
    _habits: Habits

    if TYPE_CHECKING:

        def _writable(self) -> None:
            """Refuse while the store is closed, or an index recovers."""

        def sweep(self, limit: int = ...) -> int:
            """Delete what has expired."""

        def purge(self, limit: int = ...) -> int:
            """Delete what can no longer be brought back."""

        def prune_history(self, before: datetime, limit: int = ...) -> int:
            """Let the history forget."""

    def add_distinct(
        self, drafts: Sequence[Draft], *, duplicates: Duplicates = "report", similarity: float = 0.95
    ) -> Distinct:
        """Store the drafts that say what no memory of their namespace and level says yet; see the protocol."""
        self._writable()
        drafts = self._habits.lasting(check_batch(drafts, Draft))
        check_duplicates(duplicates)
        check_share(similarity, "similarity")
        if not drafts:
            return Distinct(memories=(), duplicates=(), stored=0)
        prepared = self._ingest.prepare(drafts)
        while (told := self._told_apart(prepared, duplicates, similarity)) is None:
            pass
        return told

    def consolidate(  # noqa: PLR0913  # the options of a verb, all by name
        self,
        *,
        threshold: float = 0.8,
        level: int = 0,
        namespace: Namespace | None = None,
        strategy: Strategy | str | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Consolidation:
        """Merge what is alike, from a level up, until nothing merges; see the protocol."""
        check_callbacks(progress=progress, cancel=cancel)
        plan = Plan(
            threshold=check_share(threshold, "threshold"),
            level=check_whole(level, "level"),
            namespace=check_prefix(namespace),
            dry_run=check_flag(dry_run, "dry_run"),
            progress=progress,
            cancel=cancel,
        )
        if not dry_run:
            self._writable()
        # Where the caller gives the vectors, a text cannot be embedded beside them.
        bound = self._database.binding(TEXT)
        embedder = None if bound is None or bound.name == CALLER else self._ingest.embedder
        summarizer = Summarizer(
            self._habits.strategy if strategy is None else strategy,
            max_chars=self._habits.summary_max_chars,
            timeout_s=self._habits.summary_timeout_s,
            embed=None if embedder is None else embedder.embed_documents,
        )
        return Consolidate(SqlLevels(self._database), self._ingest.prepare, embeds=embedder is not None).run(
            plan, summarizer
        )

    def maintain(
        self,
        *,
        steps: Sequence[Step] | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Maintenance:
        """Do what is due; see the protocol."""
        habits = self._habits.maintenance
        wanted = check_steps([*habits.steps] if steps is None else steps)
        check_flag(dry_run, "dry_run")
        check_callbacks(progress=progress, cancel=cancel)
        stop = cancel or (lambda: False)
        chores = StoreChores(self, self._archive, self._database, self._habits, progress)
        if dry_run:
            return maintain(chores, wanted, dry_run=True, cancel=stop)
        self._writable()
        with Lease(self._database, habits.lease) as lease:
            return maintain(chores, wanted, dry_run=False, cancel=lambda: stop() or not lease.keep())

    def _same(self, memory: Memory) -> Sequence[Memory]:
        """The memories of its namespace and level that hold its very text."""
        with self._database.reader() as connection:
            return saying(connection, memory, self._database.clock())

    def _told_apart(self, prepared: Prepared, duplicates: Duplicates, similarity: float) -> Distinct | None:
        """What became of a batch; None where another call has stored a duplicate since those were looked for."""
        since = self._database.head().hi
        found = duplicates_of(prepared.rows, self._retrieve.search, self._same, similarity)
        places = {each.draft: each for each in found}
        unknown = [row for place, row in enumerate(prepared.rows) if place not in places]

        def work(tx: SqlTransaction) -> Distinct | None:
            spaces = {row.memory.namespace for row in unknown}
            came = {space: arrived(tx.connection, since, space, tx.now) for space in spaces}
            if any(said_by(row, came[row.memory.namespace], similarity) for row in unknown):
                return None
            known = {} if duplicates == "keep" else places
            memories, new = self._distinct(tx, prepared, known, merge=duplicates == "merge")
            return Distinct(memories=memories, duplicates=tuple(found), stored=new)

        return self._database.write(work)

    def _distinct(
        self, tx: SqlTransaction, prepared: Prepared, known: Mapping[int, Duplicate], *, merge: bool
    ) -> tuple[tuple[Memory, ...], int]:
        """Write the rows that are not known; what stands for each row now, and how many were written."""
        rows = prepared.rows
        batch = {(row.memory.namespace, row.memory.id) for place, row in enumerate(rows) if place not in known}
        # What was known may have gone since, or come to its end; then the draft is stored after all.
        kept = {
            place: each.id
            for place, each in known.items()
            if (rows[place].memory.namespace, each.id) in batch
            or any(lives(memory, tx.now) for memory in tx.get([each.id], rows[place].memory.namespace))
        }
        fresh = [row for place, row in enumerate(rows) if place not in kept]
        new = iter(stored(tx, Prepared(fresh, prepared.identities)) if fresh else ())
        if merge:
            for place, id_ in kept.items():
                self._take_up(tx, id_, rows[place].memory)
        told = tuple(
            memory
            for place, row in enumerate(rows)
            for memory in (tx.get([kept[place]], row.memory.namespace) if place in kept else [next(new)])
            if memory is not None
        )
        return told, len(fresh)

    def _take_up(self, tx: SqlTransaction, id_: str, said: Memory) -> None:
        """Let what is known take up what a duplicate says beside its text; that it was said again is a use of it."""
        (memory,) = (found for found in tx.get([id_], said.namespace) if found is not None)
        tags = tuple(dict.fromkeys((*memory.tags, *said.tags)))
        importance = max(memory.importance, said.importance)
        if (tags, importance) != (memory.tags, memory.importance):
            patch = Patch(id=id_, namespace=said.namespace, changes={"tags": tags, "importance": importance})
            stored(tx, self._ingest.prepare(patched(tx, [patch])), "updated")
        spacing = round(self._habits.dynamics.spacing_hours * _HOUR_US)
        reinforced(tx, [id_], said.namespace, spacing)


def stored(tx: SqlTransaction, prepared: Prepared, action: Action = "replaced") -> list[Memory]:
    """Write a batch that is ready, and return it as memories; what is there already is changed by that name."""
    for modality, identity in prepared.identities.items():
        tx.bind(modality, identity)
    return tx.add(prepared.rows, action)
