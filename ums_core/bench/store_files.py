"""How long it takes to open what is on the disk, and how much memory it needs then."""

import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ums_core import Draft
from ums_core.bench.reference import Reference
from ums_core.bench.store_child import add_and_wait, rss_growth
from ums_core.bench.store_contest import K, Ours, check_found
from ums_core.bench.store_data import EVERYTHING
from ums_core.bench.store_rows import Goals, Row
from ums_core.bench.store_stage import Say, Stage, killed_rows
from ums_core.bench.store_timing import Track, interleave

__all__ = ["memory_rows", "open_rows"]

_MIB = 2**20

Vector = npt.NDArray[np.float32]
# A directory with what to search for in it, or a file of FAISS's.
Target = tuple[Path, Vector]
Opened = tuple[Ours, object] | int


def open_rows(stage: Stage, say: Say) -> list[Row]:
    """Opening up to the first answer, after a close and after a kill, beside ``faiss.read_index`` of the raw file."""
    say(f"{stage.n}: open")
    stage.ours.close()
    corpus = stage.corpus
    raw = stage.reference.save(stage.plan.native(stage.n))
    load: Track[Target, Opened] = Track(
        lambda target: Reference.load(target[0]), lambda: [(raw, corpus.queries[0])], partial(_check_loaded, stage.n)
    )
    closed: Track[Target, Opened] = Track(
        partial(_open, stage.plan.dim), lambda: [(stage.directory, corpus.queries[0])], partial(_check_closed, stage)
    )
    after_close = interleave({"ours": closed, "reference": load}, stage.plan.rounds)
    say(f"{stage.n}: open after a kill")
    drafts = stage.take("killed", killed_rows(stage.n))
    victim = stage.directory.with_name("killed")
    shutil.copytree(stage.directory, victim)
    with _child(add_and_wait, victim, stage.plan.dim, drafts) as process:
        assert process.recv() == len(drafts)
    killed: Track[Target, Opened] = Track(
        partial(_open, stage.plan.dim), lambda: [_copy(victim, drafts[-1])], partial(_check_killed, stage, drafts)
    )
    after_kill = interleave({"ours": killed, "reference": load}, stage.plan.rounds)
    stage.ours = Ours(stage.directory, stage.plan.dim)
    return [
        Row(
            what=what,
            n=stage.n,
            ours=times["ours"].us(50),
            reference=times["reference"].us(50),
            goals=_goals(stage, limit),
        )
        for what, times, limit in (("open", after_close, 2.0), ("open after a kill", after_kill, 3.0))
    ]


def memory_rows(stage: Stage, say: Say) -> list[Row]:
    """Growth of the resident memory of a fresh process, beside the bytes of vectors and graph as FAISS writes them."""
    say(f"{stage.n}: memory")
    stage.ours.close()
    raw = stage.reference.save(stage.plan.native(stage.n)).stat().st_size
    with _child(rss_growth, stage.directory, stage.plan.dim, stage.corpus.centres) as process:
        grown = process.recv()
    stage.ours = Ours(stage.directory, stage.plan.dim)
    goals = _goals(stage, 1.5)
    return [Row(what="memory when open", n=stage.n, unit="mib", ours=grown / _MIB, reference=raw / _MIB, goals=goals)]


def _goals(stage: Stage, limit: float) -> Goals:
    """A multiple of FAISS alone; none where that is little beside any database at all."""
    return Goals(reference=limit if stage.plan.native(stage.n) == "graph" else None)


@contextmanager
def _child(work: Callable[..., None], *args: object) -> Iterator[Connection]:
    """A pipe to a fresh process that runs the work; on leaving, the process is killed without a warning."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(*args, there))
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.kill()
        process.join()
        here.close()


def _open(dim: int, target: Target) -> Opened:
    directory, vector = target
    ours = Ours(directory, dim)
    return ours, ours.search(vector, EVERYTHING)


def _check_loaded(n: int, _: Target, answer: Opened) -> None:
    assert answer == n, f"FAISS read {answer} of {n} vectors"


def _check_closed(stage: Stage, target: Target, answer: Opened) -> None:
    assert isinstance(answer, tuple)
    ours, hits = answer
    with ours:
        rows = check_found(ours.found(hits), target[1], EVERYTHING, stage.corpus)
        assert len(rows) == K
        assert ours.count() == stage.n


def _copy(victim: Path, last: Draft) -> Target:
    """A copy of the files as the killed process left them, since opening them repairs them."""
    directory = victim.with_name("revived")
    shutil.copytree(victim, directory)
    return directory, np.asarray(last.embedding, np.float32)


def _check_killed(stage: Stage, drafts: Sequence[Draft], target: Target, answer: Opened) -> None:
    assert isinstance(answer, tuple)
    ours, hits = answer
    with ours:
        found = ours.found(hits)
        check_found(found, target[1], EVERYTHING, stage.corpus)
        assert found[0][0] == drafts[-1].text, "the last row before the kill was not found"
        assert ours.count() == stage.n + len(drafts), "a row was lost by the kill"
    shutil.rmtree(target[0])
