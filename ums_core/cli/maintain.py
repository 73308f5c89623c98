"""``ums maintain``, ``ums consolidate`` and ``ums forget``: what becomes of memories with time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, cast

import typer

from ums_core import DualStore, LocalStore, MemoryStore
from ums_core.cli.context import Group, namespace_of, of
from ums_core.cli.options import AsJson, Under
from ums_core.cli.search import condition_of
from ums_core.cli.show import label, print_json, print_table, progress, tell
from ums_core.ports.tending import Progress
from ums_core.records.arguments import check_steps
from ums_core.records.lifecycle import Consolidation, Forgetting
from ums_core.records.maintenance import STEPS, Maintenance, Step

__all__ = ["consolidate", "forget", "maintain"]

_TRY_AGAIN = 4
_SHOWN = 20

maintain = typer.Typer(
    cls=Group,
    help="Do what is due: sweep, consolidate, forget, purge, prune, lapse, as AI_MAINTENANCE__… says.",
    no_args_is_help=True,
)

_Steps = Annotated[
    list[str] | None,
    typer.Option("--step", help=f"Only this step of {', '.join(STEPS)}; may be given several times."),
]
_Plan = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@maintain.command("plan")
def plan(ctx: typer.Context, *, step: _Steps = None, as_json: AsJson = False) -> None:
    """Say what a run would do; nothing is changed."""
    with of(ctx).channel() as store:
        _print_run(store.maintain(steps=_steps(step), dry_run=True), as_json=as_json)


@maintain.command("run")
def run(ctx: typer.Context, *, step: _Steps = None, as_json: AsJson = False) -> None:
    """Do what is due; what is stopped or killed goes on with the next run."""
    with of(ctx).channel() as store, _told(store) as step_done:
        done = store.maintain(steps=_steps(step), progress=step_done)
    _print_run(done, as_json=as_json)
    _end(done)


@maintain.command("undo")
def undo(ctx: typer.Context, batch: Annotated[str, typer.Argument(help="What a run printed for it.")]) -> None:
    """Bring back what a batch merged or forgot, as far as its time has not ended."""
    with of(ctx).channel() as store:
        tell(f"{store.undo(batch)} memories live again")


def consolidate(  # noqa: PLR0913  # each is an option of the command line
    ctx: typer.Context,
    *,
    threshold: Annotated[float, typer.Option(help="Cosine of what is merged, at least.")] = 0.8,
    level: Annotated[int, typer.Option(help="Where to begin; 0 is what was said.")] = 0,
    namespace: Under = "",
    strategy: Annotated[
        str | None, typer.Option(help="head2tail, concat or extractive; else as AI_SUMMARY_STRATEGY says.")
    ] = None,
    dry_run: _Plan = False,
    as_json: AsJson = False,
) -> None:
    """Merge what is alike into summaries, level by level."""
    with of(ctx).channel() as store, _told(store) as step_done:
        done = store.consolidate(
            threshold=threshold,
            level=level,
            namespace=namespace_of(namespace),
            strategy=strategy,
            dry_run=dry_run,
            progress=step_done,
        )
    if as_json:
        print_json(done)
    else:
        _print_clusters(done)


def forget(  # noqa: PLR0913  # each is an option of the command line
    ctx: typer.Context,
    *,
    retain_fraction: Annotated[float, typer.Option(help="Share of the memories that stays at least.")] = 0.9,
    min_total: Annotated[int, typer.Option(help="So many stay in any case.")] = 0,
    namespace: Under = "",
    where: Annotated[
        str | None, typer.Option("--where", metavar="JSON", help="Only what meets this condition on fields.")
    ] = None,
    erase: Annotated[bool, typer.Option("--erase", help="For good, at once: there is no way back.")] = False,
    dry_run: _Plan = False,
    as_json: AsJson = False,
) -> None:
    """Forget the memories that have faded most; pinned ones stay."""
    with of(ctx).channel() as store:
        done = store.forget(
            min_total=min_total,
            retain_fraction=retain_fraction,
            namespace=namespace_of(namespace),
            where=condition_of(where, "--where"),
            erase=erase,
            dry_run=dry_run,
        )
    if as_json:
        print_json(done)
    else:
        _print_forgotten([done])


def _end(done: Maintenance) -> None:
    if not done.complete:
        tell("stopped before its end; run it again to go on")
        raise typer.Exit(_TRY_AGAIN)


@contextmanager
def _told(store: MemoryStore) -> Iterator[Progress | None]:
    """A bar for a store on this device; another one is asked without, as nothing is called across a network."""
    if isinstance(store, LocalStore | DualStore):
        with progress("consolidating") as step:
            yield step
    else:
        yield None


def _steps(given: Sequence[str] | None) -> list[Step] | None:
    return check_steps(cast("Sequence[Step]", given)) if given else None


def _print_run(done: Maintenance, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    would = "would be " if done.dry_run else ""
    if done.consolidation is not None:
        _print_clusters(done.consolidation)
    _print_forgotten(done.forgetting)
    tell(f"{done.expired} expired and {done.purged} beyond undo {would}deleted")
    if done.pruned:
        tell(f"{done.pruned} changes {would}pruned from the history")
    if done.lapsed:
        tell(f"{done.lapsed} answers to idempotency keys {would}let go")


def _print_clusters(done: Consolidation) -> None:
    lines = [
        (
            label(cluster.namespace),
            str(cluster.level),
            str(len(cluster.ids)),
            f"{cluster.similarity:.2f}",
            cluster.problem or cluster.text or " ".join(cluster.ids),
        )
        for cluster in done.clusters[:_SHOWN]
    ]
    if lines:
        print_table(("namespace", "level#", "size#", "cosine#", "summary"), lines)
    if len(done.clusters) > _SHOWN:
        tell(f"and {len(done.clusters) - _SHOWN} more; --json has them all")
    would = "would be " if done.dry_run else ""
    size = sum(len(cluster.ids) for cluster in done.clusters) if done.dry_run else done.merged
    tell(f"{size} memories {would}merged, {done.finals} alone, {done.failed} clusters left as they are")
    if done.batch is not None:
        tell(f"take it back with: ums maintain undo {done.batch}")


def _print_forgotten(runs: Sequence[Forgetting]) -> None:
    forgotten = [fading for done in runs for fading in done.forgotten]
    lines = [
        (f"{fading.retention:.3f}", label(fading.namespace), fading.id, fading.reason) for fading in forgotten[:_SHOWN]
    ]
    if lines:
        print_table(("retention#", "namespace", "id", "reason"), lines)
    if len(forgotten) > _SHOWN:
        tell(f"and {len(forgotten) - _SHOWN} more; --json has them all")
    would = "would be " if any(done.dry_run for done in runs) else ""
    tell(f"{len(forgotten)} memories {would}forgotten")
    for done in runs:
        if done.batch is not None:
            tell(f"take it back until {done.until:%Y-%m-%d} with: ums maintain undo {done.batch}")
