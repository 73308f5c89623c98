"""Which rows hold the words of a question, under whatever keys the words may be hidden."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ums_core.ranking.lexical import WordRows
from ums_core.storage.codec import Codec
from ums_core.storage.connect import Connection, Reader
from ums_core.storage.keyword import quoted
from ums_core.storage.postings import Candidates, Postings, Scopes

__all__ = ["Asked", "rows_with"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Where words are looked for; see ``Postings.rows_with``."""

    scopes: Scopes
    candidates: Candidates
    prune: bool


def rows_with(
    reader: Callable[[], Reader], postings: Postings, words: Sequence[str], asked: Asked, codec: Codec | None
) -> list[WordRows]:
    """The rows that hold each word, the rarest word first; none where there is no word.

    A reader is lent only for what is not kept.
    """

    def look(connection: Connection, expressions: Sequence[str]) -> list[WordRows]:
        return postings.rows_with(connection, expressions, asked.scopes, asked.candidates, prune=asked.prune)

    if not words:
        return []
    if codec is None:
        expressions = [quoted(word) for word in words]
        kept = postings.ready(expressions, asked.scopes, asked.candidates.head)
        if kept is not None:
            return kept
        with reader() as connection:
            return look(connection, expressions)
    hidden = None
    with reader() as connection:
        # Again, if a rotation began meanwhile: rows may have gone under a key that was not asked for.
        while hidden != (hidden := codec.asked(connection, words)):
            found = look(connection, hidden)
    return found
