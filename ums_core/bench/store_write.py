"""How long it takes until one more row is durable, from one thread and from several."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from ums_core import Draft
from ums_core.bench.store_contest import Contestant, Ours
from ums_core.bench.store_data import EVERYTHING
from ums_core.bench.store_rows import Goals, Row
from ums_core.bench.store_stage import THREADS, Say, Stage, add_block
from ums_core.bench.store_timing import Track, interleave

__all__ = ["add_rows"]

_CHROMA_SHARE = 20
_THREADED = "threads"

Adds = Track[Sequence[Draft], object]


def add_rows(stage: Stage, say: Say) -> list[Row]:
    """Single durable adds to stores that hold ``n`` rows; every row must be found as soon as it is added."""
    say(f"{stage.n}: add")
    stage.ours.store.settle()
    one, each = add_block(stage.n)
    with ThreadPoolExecutor(THREADS) as pool:
        tracks: dict[str, Adds] = {name: _singly(stage, name, one) for name in stage.contestants}
        tracks[_THREADED] = _together(stage, pool, THREADS * each)
        times = interleave(tracks, stage.plan.rounds)
    for name, contestant in stage.contestants.items():
        assert contestant.count() == stage.held(name), f"{name} lost a row"
    goals = Goals(reference=1.5, chroma=15.0)
    singles = [
        Row(
            what=f"add p{percentile}",
            n=stage.n,
            ours=times["ours"].us(percentile),
            reference=times["reference"].us(percentile),
            chroma=times["chroma"].us(percentile) if "chroma" in times else None,
            goals=goals if percentile == 50 else Goals(),  # noqa: PLR2004  # the median
        )
        for percentile in (50, 99)
    ]
    together = Row(
        what=f"add, {THREADS} threads, a row",
        n=stage.n,
        ours=times[_THREADED].mean_us() / (THREADS * each),
        base=times["ours"].mean_us(),
        base_name="one thread",
        goals=Goals(base=0.25),
    )
    return [*singles, together]


def _singly(stage: Stage, name: str, count: int) -> Adds:
    contestant = stage.contestants[name]
    if name == "chroma":
        count = max(2, count // _CHROMA_SHARE)
    return Track(
        lambda drafts: contestant.add(drafts[0]),
        lambda: [[draft] for draft in stage.take(name, count)],
        partial(_check, contestant),
    )


def _together(stage: Stage, pool: ThreadPoolExecutor, count: int) -> Adds:
    def add(drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            stage.ours.add(draft)

    return Track(
        lambda drafts: list(pool.map(add, [drafts[place::THREADS] for place in range(THREADS)])),
        lambda: [stage.take("ours", count)],
        partial(_check, stage.ours),
    )


def _check(contestant: Contestant, drafts: Sequence[Draft], _: object) -> None:
    # The others are counted at the end: the reference's index never learns of the row.
    if isinstance(contestant, Ours):
        for draft in drafts:
            first = contestant.search(np.asarray(draft.embedding, np.float32), EVERYTHING)[0]
            assert first.memory.text == draft.text, "a row was not found as soon as it was added"
