"""Memories that are alike become summaries, level by level."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from ums_core.pipeline.ingest import Prepared, new_id
from ums_core.pipeline.summarize import Summarizer, Summary
from ums_core.ports.levels import Levels, Merge
from ums_core.ports.tending import Cancel, Progress
from ums_core.ranking.cluster import stars
from ums_core.records import Draft, Memory, Namespace
from ums_core.records.lifecycle import Cluster, Consolidation

__all__ = ["Consolidate", "Plan"]


# Clusters in one transaction, and memories marked as final in one: what another writer waits for. The summaries of a
# language model are stored one by one, so that none is paid for twice.
_CLUSTERS, _FINALS = 64, 1000
# A level fits 64 bits.
_HIGHEST = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be consolidated.

    Attributes:
        threshold: the least cosine of a memory with the centre of its cluster.
        level: where to begin.
        namespace: a prefix; each namespace under it is consolidated by itself.
        dry_run: cluster one level, and change nothing.
        progress: told how many memories of a level of a namespace are done, and of how many.
        cancel: asked between steps whether to stop.
    """

    threshold: float
    level: int
    namespace: Namespace
    dry_run: bool = False
    progress: Progress | None = None
    cancel: Cancel | None = None


class _Cancelled(Exception):  # no error: it ends the work, and is caught here
    pass


@dataclass(slots=True)
class _Run:
    """What is to be done, and what has been done so far."""

    plan: Plan
    summarizer: Summarizer
    batch: str
    clusters: list[Cluster] = field(default_factory=list)
    finals: int = 0

    def pause(self, _share: float = 0.0) -> None:
        if self.plan.cancel is not None and self.plan.cancel():
            raise _Cancelled

    def told(self, done: int, total: int) -> None:
        if self.plan.progress is not None:
            self.plan.progress(done, total)
        self.pause()


@dataclass(frozen=True, slots=True)
class _Found:
    """A cluster: row ids, unit rows, and the least cosine with its centre."""

    rids: list[int]
    units: npt.NDArray[np.float32]
    similarity: float


class Consolidate:
    """Merges what is alike.

    Args:
        levels: where memories are.
        prepare: makes rows of the drafts of summaries.
        embeds: whether texts are embedded here; else a summary gets the mean of its sources' vectors.
    """

    def __init__(self, levels: Levels, prepare: Callable[[Sequence[Draft]], Prepared], *, embeds: bool) -> None:
        self._levels = levels
        self._prepare = prepare
        self._embeds = embeds

    def run(self, plan: Plan, summarizer: Summarizer) -> Consolidation:
        """Consolidate from the plan's level up, until nothing merges; what is cancelled keeps what it has done.

        Each step of some clusters is one transaction, of one where the strategy is the caller's; a kill loses one step
        at most, and the next run goes on with what is left.
        """
        run = _Run(plan, summarizer, new_id())
        try:
            for namespace in self._levels.namespaces(plan.namespace):
                # Callers give levels as they like, so those between two that are there are not counted through.
                level = plan.level if plan.dry_run else self._levels.lowest(namespace, plan.level)
                while level is not None:
                    self._level(namespace, level, run)
                    again = not plan.dry_run and level < _HIGHEST
                    level = self._levels.lowest(namespace, level + 1) if again else None
            complete = True
        except _Cancelled:
            complete = False
        merged = sum(len(cluster.ids) for cluster in run.clusters if cluster.summary_id is not None)
        return Consolidation(
            batch=run.batch if merged else None,
            clusters=tuple(run.clusters),
            merged=merged,
            finals=run.finals,
            failed=sum(cluster.problem is not None for cluster in run.clusters),
            dry_run=plan.dry_run,
            complete=complete,
        )

    def _level(self, namespace: Namespace, level: int, run: _Run) -> None:
        rids, units = self._levels.vectors_at(namespace, level)
        grouping = stars(units, run.plan.threshold, pause=run.pause)
        found = [
            _Found(rids[members].tolist(), units[members], similarity)
            for members, similarity in zip(grouping.clusters, grouping.similarity, strict=True)
        ]
        done, size = 0, _CLUSTERS if run.summarizer.own else 1
        for at in range(0, len(found), size):
            step = found[at : at + size]
            run.clusters += self._step(step, namespace, level, run)
            done += sum(len(cluster.rids) for cluster in step)
            run.told(done, len(rids))
        alone = rids[grouping.alone].tolist()
        for at in range(0, len(alone), _FINALS):
            part = alone[at : at + _FINALS]
            if not run.plan.dry_run:
                self._levels.finish(part)
            run.finals += len(part)
            done += len(part)
            run.told(done, len(rids))

    def _step(self, step: Sequence[_Found], namespace: Namespace, level: int, run: _Run) -> list[Cluster]:
        """Some clusters in one transaction; those without a summary stay as they are."""
        memories = self._levels.rows([rid for found in step for rid in found.rids])
        sources = [_in_time([memories[rid] for rid in found.rids if rid in memories]) for found in step]
        clusters = [
            Cluster(
                namespace=namespace,
                level=level,
                ids=tuple(memory.id for memory in each),
                similarity=found.similarity,
            )
            for found, each in zip(step, sources, strict=True)
        ]
        if run.plan.dry_run:
            return clusters
        summaries = [self._summary(each, len(found.rids), run) for found, each in zip(step, sources, strict=True)]
        good = [place for place, summary in enumerate(summaries) if summary.problem is None]
        drafts = [self._draft(summaries[place].text, sources[place], step[place].units) for place in good]
        rows = self._prepare(drafts).rows if drafts else []
        merges = [Merge(rids=step[place].rids, summary=row) for place, row in zip(good, rows, strict=True)]
        problems: dict[int, str | None] = {place: summary.problem for place, summary in enumerate(summaries)}
        problems |= dict(zip(good, self._levels.merge(merges, run.batch) if merges else [], strict=True))
        stored = {place: row.memory for place, row in zip(good, rows, strict=True) if problems[place] is None}
        return [
            replace(cluster, problem=problems[place])
            if place not in stored
            else replace(cluster, summary_id=stored[place].id, text=stored[place].text)
            for place, cluster in enumerate(clusters)
        ]

    @staticmethod
    def _summary(memories: Sequence[Memory], expected: int, run: _Run) -> Summary:
        run.pause()
        if len(memories) < expected:
            return Summary("", "a memory of it has changed or gone meanwhile")
        if memories[0].level >= _HIGHEST:
            return Summary("", "there is no level above it")
        if not any(memory.text.strip() for memory in memories):
            return Summary("", "there is no text to summarise")
        return run.summarizer.summary(memories)

    def _draft(self, text: str, memories: Sequence[Memory], units: npt.NDArray[np.float32]) -> Draft:
        """A summary with what its sources have in common, and what they are on average."""
        moments = [_moment(memory) for memory in memories]
        return Draft(
            text=text,
            namespace=memories[0].namespace,
            embedding=None if self._embeds else units.mean(axis=0),
            level=memories[0].level + 1,
            source_ids=tuple(memory.id for memory in memories),
            tags=tuple(dict.fromkeys(tag for memory in memories for tag in memory.tags)),
            metadata={
                "cluster_size": len(memories),
                "first_at": min(moments).isoformat(),
                "last_at": max(moments).isoformat(),
            },
            importance=_mean([memory.importance for memory in memories]),
            emotional_intensity=_mean([memory.emotional_intensity for memory in memories]),
            valence=_mean([memory.valence for memory in memories]),
            role=_common([memory.role for memory in memories]),
            speaker=_common([memory.speaker for memory in memories]),
            session=_common([memory.session for memory in memories]),
            occurred_at=max(moments),
        )


def _moment(memory: Memory) -> datetime:
    return memory.occurred_at or memory.created_at


def _in_time(memories: list[Memory]) -> list[Memory]:
    return sorted(memories, key=lambda memory: (_moment(memory), memory.position or 0))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _common(values: Sequence[str | None]) -> str | None:
    """What all of them are; None where they differ."""
    return values[0] if len(set(values)) == 1 else None
