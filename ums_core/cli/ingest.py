"""``ums ingest``: files become memories."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Literal, TextIO

import typer

from ums_core import Draft, MemoryStore, RemoteStore, open_channel
from ums_core.cli.context import namespace_of, of
from ums_core.cli.show import print_json, progress, tell
from ums_core.cli.sources import Format, drafts_of, format_of
from ums_core.errors import InvalidInput
from ums_core.records.distinct import Duplicates

__all__ = ["ingest"]

_HEAD_LINES = 40


@dataclass(frozen=True, slots=True)
class _Place:
    namespace: tuple[str, ...]
    session: str | None
    channel: Literal["personal", "global"]


def ingest(  # noqa: PLR0913  # each is an option of the command line
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="What to read; - is the standard input.")],
    *,
    form: Annotated[Format, typer.Option("--format", help="How it is written; auto looks at it.")] = "auto",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="A/B", help="Where the memories go; %2F is a slash in a label.")
    ] = "",
    session: Annotated[
        str | None, typer.Option(help="Label of the conversation, in place of the file's name.", show_default=False)
    ] = None,
    channel: Annotated[
        Literal["personal", "global"], typer.Option(help="Which side of a dual store takes them.")
    ] = "personal",
    batch: Annotated[int, typer.Option(min=1, help="How many are stored at once; a service takes a stream.")] = 64,
    duplicates: Annotated[
        Duplicates | None,
        typer.Option(help="Look for what is known already, and report it and leave it out, merge it, or keep it."),
    ] = None,
    similarity: Annotated[float, typer.Option(help="Cosine of a duplicate, at least.")] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was stored as JSON.")] = False,
) -> None:
    """Store what a file holds: JSON lines, Markdown by section, text by paragraph, or the export of a chat.

    The same file again changes nothing: what was broken off goes on where it was. A service that is the channel, as
    AI_CHANNEL says, takes them as a stream, which goes on after a broken connection.
    """
    count, found, sessions = 0, 0, set[str]()
    place = _Place(namespace_of(namespace), session, channel)
    with _lines(file) as (lines, source, read), progress("bytes read") as step:
        ahead = list(islice(lines, _HEAD_LINES))
        known = format_of(source, "".join(ahead)) if form == "auto" else form
        drafts = _placed(drafts_of(chain(ahead, lines), known, source), place)
        with open_channel(of(ctx).settings()) as store:
            if duplicates is None:
                told: Iterator[tuple[list[Draft], int]] = ((some, 0) for some in _stored(store, drafts, batch))
            else:
                told = _distinct(store, _batches(drafts, batch), duplicates, similarity)
            for some, known_already in told:
                count += len(some)
                found += known_already
                sessions |= {draft.session for draft in some if draft.session}
                step(*read())
    if as_json:
        looked_for = {} if duplicates is None else {"duplicates": found}
        print_json({"memories": count, "sessions": sorted(sessions), "format": known, **looked_for})
    else:
        tell(f"{count} memories of {len(sessions)} sessions from {source}, read as {known}")
        if duplicates is not None:
            tell(f"{found} duplicates")


@contextmanager
def _lines(file: str) -> Iterator[tuple[Iterator[str], str, Callable[[], tuple[int, int]]]]:
    """The lines of a file, its name, and what tells how far they were read, in bytes."""
    read = 0

    def counted(opened: TextIO) -> Iterator[str]:
        nonlocal read
        try:
            for line in opened:
                read += len(line.encode("utf-8", "surrogatepass"))
                yield line
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{file} is not UTF-8 ({error}); convert it, for example with iconv") from error

    if file == "-":
        yield counted(sys.stdin), "stdin", lambda: (read, read)
        return
    path = Path(file)
    try:
        opened = path.open(encoding="utf-8-sig")
        size = path.stat().st_size
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    with opened:
        yield counted(opened), path.name, lambda: (read, max(read, size))


def _placed(drafts: Iterable[Draft], options: _Place) -> Iterator[Draft]:
    for draft in drafts:
        where = options.namespace + draft.namespace
        yield replace(draft, namespace=where, session=options.session or draft.session, channel=options.channel)


def _stored(store: MemoryStore, drafts: Iterable[Draft], batch: int) -> Iterator[list[Draft]]:
    """Store drafts, and give them as they become durable: one by one from the stream of a service, else in batches."""
    if not isinstance(store, RemoteStore):
        for some in _batches(drafts, batch):
            store.add(some, idempotency_key=_key(some))
            yield some
        return
    sent = deque[Draft]()

    def keyed() -> Iterator[tuple[str, Draft]]:
        for draft in drafts:
            sent.append(draft)
            yield _key([draft]), draft

    for ack in store.stream(keyed()):
        if ack.error is not None:
            raise ack.error
        yield [sent.popleft()]


def _distinct(
    store: MemoryStore, batches: Iterable[list[Draft]], duplicates: Duplicates, similarity: float
) -> Iterator[tuple[list[Draft], int]]:
    """Store what says something new; the drafts that were stored, and how many of a batch are duplicates."""
    for batch in batches:
        # What this file brought before stays as it is by now.
        some = [
            draft for draft in batch if draft.id is None or store.get([draft.id], namespace=draft.namespace) == [None]
        ]
        told = store.add_distinct(some, duplicates=duplicates, similarity=similarity)
        known = set[int]() if duplicates == "keep" else {each.draft for each in told.duplicates}
        yield [draft for place, draft in enumerate(some) if place not in known], len(told.duplicates)


def _batches(drafts: Iterable[Draft], size: int) -> Iterator[list[Draft]]:
    waiting = iter(drafts)
    while some := list(islice(waiting, size)):
        yield some


def _key(drafts: list[Draft]) -> str:
    return "ingest:" + blake2b(repr(drafts).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()
