"""The verbs of a local store that are about time; ``LocalStore`` inherits them, as one of the protocol's templates."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from ums_core.channels.habits import Habits
from ums_core.channels.tending import stored
from ums_core.errors import InvalidNamespace, NotADatabase, SealBroken, StoreClosed
from ums_core.pipeline.forget import Forget, Sparing
from ums_core.pipeline.indexing import Indexes
from ums_core.pipeline.ingest import Ingest, Prepared, new_id
from ums_core.pipeline.past import Past
from ums_core.pipeline.repeat import answer_of, draft_parts, replayed
from ums_core.pipeline.retrieve import Retrieve
from ums_core.ports import Forgetful
from ums_core.ports.tending import Progress
from ums_core.records import Draft, Filter, Hit, Memory, Namespace, Query, Receipt
from ums_core.records.arguments import check_batch, check_callbacks, check_filter, check_ids, check_limit
from ums_core.records.check import check_flag, check_label, check_namespace, check_prefix, check_time
from ums_core.records.lifecycle import Change, Forgetting
from ums_core.records.match import micros
from ums_core.storage.archive import Archive, superseded
from ums_core.storage.bygone import SqlBygone
from ums_core.storage.database import Database
from ums_core.storage.history import changes_of, pruned
from ums_core.storage.idempotency import answered, digest_of, once
from ums_core.storage.proof import Mark, doubts, mark_of
from ums_core.storage.transaction import SqlTransaction

__all__ = ["LocalLifecycle"]

_HOUR_US = 3_600_000_000
_MOST_DOUBTS = 1000
Read = TypeVar("Read", Memory, Memory | None)


class LocalLifecycle:
    """What a store on this device does with memories as they grow old."""

    _archive: Archive
    _closed: bool
    _database: Database
    _habits: Habits
    _indexes: Indexes
    _ingest: Ingest
    _retrieve: Retrieve

    def expand(self, id: str, *, namespace: Namespace = ()) -> list[Memory]:  # noqa: A002  # as in every record
        """What a summary was made from, in the order of its ``source_ids``, archived or alive; see the protocol."""
        return self._archive.expand(check_label(id, "id"), check_namespace(namespace))

    def history(self, id: str, *, namespace: Namespace = ()) -> list[Change]:  # noqa: A002  # as in every record
        """Who did what to a memory of one exact namespace, the first change first; see the protocol."""
        return changes_of(self._database, check_label(id, "id"), check_namespace(namespace))

    def reinforce(self, ids: Sequence[str], *, namespace: Namespace = ()) -> int:
        """Note that memories of one exact namespace were used, and return how many of them there are."""
        self._writable()
        spacing = round(self._habits.dynamics.spacing_hours * _HOUR_US)
        return self._archive.reinforce(check_ids(ids), check_namespace(namespace), spacing)

    def forget(  # noqa: PLR0913  # the verb that users know
        self,
        *,
        min_total: int = 0,
        retain_fraction: float = 0.9,
        namespace: Namespace | None = None,
        where: Filter | Mapping[str, object] | None = None,
        erase: bool = False,
        dry_run: bool = False,
    ) -> Forgetting:
        """Forget the memories that are kept least firmly, or say which they would be; see the protocol."""
        sparing = Sparing(
            namespace=check_prefix(namespace),
            condition=check_filter(where),
            min_total=min_total,
            retain_fraction=retain_fraction,
            erase=erase,
        )
        forget = Forget(self._archive, self._habits.dynamics, self._habits.undo_days, self._database.clock)
        if check_flag(dry_run, "dry_run"):
            return forget.plan(sparing)
        self._writable()
        done = forget.run(sparing)
        return replace(done, receipts=tuple(self._gone_for_good(done.receipts))) if done.receipts else done

    def supersede(
        self, old_id: str, draft: Draft, *, namespace: Namespace = (), idempotency_key: str | None = None
    ) -> Memory:
        """Store a memory that is true in place of another one, and archive that; see the protocol."""
        self._writable()
        old_id, namespace = check_label(old_id, "old_id"), check_namespace(namespace)
        (draft,) = check_batch([draft], Draft)
        if draft.namespace not in ((), namespace):
            raise InvalidNamespace(
                f"what supersedes a memory of namespace {namespace!r} is in it too, not in {draft.namespace!r}"
            )
        asked = replace(draft, namespace=namespace)
        valid_from = asked.valid_from or self._database.clock()
        (draft,) = self._habits.lasting([replace(asked, id=asked.id or new_id(), valid_from=valid_from)])

        def work(tx: SqlTransaction, ready: Prepared) -> Memory:
            return superseded(tx, old_id, ready.rows[0].memory, lambda: stored(tx, ready)[0])

        if idempotency_key is None:
            prepared = self._ingest.prepare([draft])
            return self._database.write(lambda tx: work(tx, prepared))
        key = check_label(idempotency_key, "idempotency_key")
        digest = digest_of([json.dumps(["supersede", old_id]).encode(), *draft_parts(asked)])
        with self._database.reader() as connection:
            known = answered(connection, key)
        ready = None if known else self._ingest.prepare([draft])

        def first(tx: SqlTransaction) -> list[object]:
            memory = work(tx, ready or self._ingest.prepare([draft]))
            return [answer_of(memory), str(memory.valid_from)]

        def kept(tx: SqlTransaction) -> list[Any]:
            return once(tx.connection, key, digest, micros(tx.now), lambda: first(tx))

        answer, since = self._database.write(kept)
        draft = replace(draft, valid_from=datetime.fromisoformat(since))
        return replayed(draft, self._ingest.passages(draft), answer)

    def undo(self, batch: str) -> int:
        """Bring back what a batch put into the archive, and return how many memories live again; see the protocol."""
        self._writable()
        return self._archive.undo(check_label(batch, "batch"))

    def sweep(self, limit: int = 1000) -> int:
        """Delete what has expired, the oldest first, at most so many, and return how many there were.

        No search finds it before either; this frees the room. Call it again until it returns 0.
        """
        self._writable()
        return self._archive.sweep(check_limit(limit))

    def purge(self, limit: int = 1000) -> int:
        """Delete for good what was forgotten and can no longer be brought back, and return how many memories went.

        At most so many, the oldest first; what is archived under a summary goes with it, beyond the limit.
        """
        self._writable()
        return self._archive.purge(check_limit(limit))

    def history_mark(self) -> str:
        """Where the history ends now, in one word that tells nothing else: the number of a change, and its link.

        Kept where whoever writes the database cannot write, and given to ``verify_history`` later, it shows whether all
        that was done up to it is still there: of an older copy, put back as a whole, it is not.
        """
        return str(mark_of(self._database))

    def verify_history(self, *, reached: str | None = None, progress: Progress | None = None) -> list[str]:
        """What is wrong with the history, in words, at most a thousand of them; empty when all is right.

        Changes that were edited, removed, moved or cut off; memories that say something else than what was written, or
        that came or went without a change. A cut at the end of a plain database, and an older copy of any, show only by
        a mark from elsewhere.

        Cost: reads the journal and every memory, some 10 microseconds each; where fields are sealed, opens them.

        Args:
            reached: what ``history_mark`` gave at an earlier time.
            progress: told how many memories were compared, and of how many.

        Raises:
            InvalidInput: that is no mark.
        """
        check_callbacks(progress=progress)
        mark = None if reached is None else Mark.parse(reached)
        said: list[str] = []
        try:
            said.extend(islice(doubts(self._database, progress, mark), _MOST_DOUBTS))
        except (SealBroken, NotADatabase) as error:
            said.append(str(error))
        return said

    def prune_history(self, before: datetime, limit: int = 1000) -> int:
        """Let the history forget the changes before a moment, the oldest first, and return how many there were.

        At most so many; call it again until it returns 0. The newest change of all stays. What is left verifies, and so
        do memories that are still there; a change of one whose beginning is pruned begins with what it said then.

        Raises:
            InvalidField: a moment without a time zone.
        """
        self._writable()
        at = micros(check_time(before, "before"))
        return self._database.write(lambda tx: pruned(tx.connection, at, check_limit(limit)))

    def _asked(self, query: Query) -> list[Hit]:
        hits = self._retrieve.search(query) if query.as_of is None and not query.include_archived else self._past(query)
        self._read([hit.memory for hit in hits])
        return hits

    def _past(self, query: Query) -> list[Hit]:
        return Past(self._retrieve.search, SqlBygone(self._database), self._ingest.query_vector).search(query)

    def _read(self, memories: list[Read]) -> list[Read]:
        """The memories; what lives on by being read does so."""
        if self._habits.refresh and not self._database.guard.suspicion:
            by_place: dict[Namespace, list[str]] = {}
            for memory in memories:
                if memory is not None and memory.ttl_s is not None and memory.archived is None:
                    by_place.setdefault(memory.namespace, []).append(memory.id)
            for namespace, ids in by_place.items():
                self._archive.refresh(ids, namespace)
        return memories

    def _writable(self) -> None:
        if self._closed:
            raise StoreClosed(f"the store on {self._database.path} was closed; open it again with open_store(settings)")
        self._indexes.refuse_while_recovering()

    def _gone_for_good(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Forget what is remembered beside the database, too, and say whether its log was truncated."""
        embedder: object = self._ingest.embedder
        if isinstance(embedder, Forgetful):
            embedder.forget()
        self._database.forget()
        self._indexes.settle()
        folded = self._database.fold()
        return [replace(receipt, folded=folded) for receipt in receipts]
