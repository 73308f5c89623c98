"""Long texts cut into overlapping passages that fit an embedder's window."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple, TypeAlias

from ums_core.errors import SettingsError
from ums_core.ranking.sentences import sentences

__all__ = ["split"]

CountTokens: TypeAlias = Callable[[Sequence[str]], Sequence[int]]
Span: TypeAlias = tuple[int, int]

_MOST_OVERLAP = 0.5
_CUTS_A_WINDOW = 8
_WORD = re.compile(r"\S+")


class _Piece(NamedTuple):
    """What is never cut again, without the white space around it."""

    start: int
    end: int
    tokens: int


def split(text: str, *, count_tokens: CountTokens, max_tokens: int, overlap: float = 0.15) -> list[Span]:
    """Spans (start, end) of the passages of a text, in order; all of it in one where it fits.

    Passages end where sentences or lines end; inside a sentence longer than the window, between words; inside a
    word longer than the window, anywhere. Each repeats the last sentences of the one before. Only white space
    between passages is left out; a longer text of nothing but white space is represented by its first character.

    The text is counted once, its sentences once and its passages once, each in one call; the work is linear.

    Args:
        text: any string.
        count_tokens: tokens of each text, as the embedder counts them.
        max_tokens: the window, which no passage exceeds unless it is one character that does.
        overlap: share of the window that a passage repeats of the one before, at most; up to twice of it where a
            single sentence takes that much, and nothing where the sentence is longer still.

    Raises:
        SettingsError: max_tokens < 1, or overlap outside of [0, 0.5].
    """
    if max_tokens < 1:
        raise SettingsError(f"a passage holds at least 1 token, got max_tokens={max_tokens}")
    if not 0 <= overlap <= _MOST_OVERLAP:
        raise SettingsError(f"passages overlap by a share between 0 and {_MOST_OVERLAP}, got {overlap}")
    if count_tokens([text])[0] <= max_tokens:
        return [(0, len(text))]
    pieces = _pieces(text, count_tokens, max_tokens)
    if not pieces:
        return [(0, 1)]
    runs = _pack(_costs(text, pieces), max_tokens, int(overlap * max_tokens))
    spans: list[Span] = []
    # A half of a run may lie inside its neighbour: of two that start together the longer comes first.
    for first, last in sorted(_within(text, pieces, runs, count_tokens, max_tokens), key=lambda run: (run[0], -run[1])):
        span = pieces[first].start, pieces[last - 1].end
        if not spans or span[1] > spans[-1][1]:
            spans.append(span)
    return spans


def _pieces(text: str, count_tokens: CountTokens, max_tokens: int) -> list[_Piece]:
    """Sentences; in place of one longer than the window its words; in place of such a word, parts of it."""

    def words(piece: _Piece) -> list[Span]:
        return [match.span() for match in _WORD.finditer(text, piece.start, piece.end)]

    def parts(piece: _Piece) -> list[Span]:
        length = piece.end - piece.start
        n = min(length, max(2, piece.tokens * _CUTS_A_WINDOW // max_tokens))
        cuts = [piece.start + length * i // n for i in range(n + 1)]
        return list(pairwise(cuts))

    def refine(pieces: list[_Piece], cut: Callable[[_Piece], list[Span]]) -> list[_Piece]:
        cuts = [cut(piece) if piece.tokens > max_tokens else [] for piece in pieces]
        counted = iter(_counted(text, [span for spans in cuts for span in spans], count_tokens))
        return [
            finer
            for piece, spans in zip(pieces, cuts, strict=True)
            for finer in (islice(counted, len(spans)) if spans else (piece,))
        ]

    pieces = refine(_counted(text, list(sentences(text)), count_tokens), words)
    while any(piece.tokens > max_tokens and piece.end - piece.start > 1 for piece in pieces):
        pieces = refine(pieces, parts)
    return pieces


def _counted(text: str, spans: list[Span], count_tokens: CountTokens) -> list[_Piece]:
    counts = count_tokens([text[start:end] for start, end in spans])
    return [_Piece(start, end, tokens) for (start, end), tokens in zip(spans, counts, strict=True)]


def _costs(text: str, pieces: list[_Piece]) -> list[int]:
    """About the tokens that each piece adds to a passage: its own and one for each line break before it."""
    ends = [pieces[0].start, *(piece.end for piece in pieces)]
    return [max(1, piece.tokens) + text.count("\n", end, piece.start) for end, piece in zip(ends, pieces, strict=False)]


def _pack(costs: list[int], max_tokens: int, shared_tokens: int) -> list[Span]:
    """Runs (first, last) of pieces, each as long as fits; a run starts with the last pieces of the one before."""
    runs: list[Span] = []
    first = 0
    while True:
        last, used = first + 1, costs[first]
        while last < len(costs) and used + costs[last] <= max_tokens:
            used += costs[last]
            last += 1
        runs.append((first, last))
        if last == len(costs):
            return runs
        earliest, shared, allowed = first + 1, 0, 2 * shared_tokens
        room = max_tokens - costs[last]
        first = last
        while first > earliest and shared + costs[first - 1] <= min(room, allowed):
            first -= 1
            shared += costs[first]
            allowed = shared_tokens


def _within(
    text: str, pieces: list[_Piece], runs: list[Span], count_tokens: CountTokens, max_tokens: int
) -> Iterator[Span]:
    """The runs; in place of one that turns out longer than its pieces together, its halves."""
    while runs:
        counts = count_tokens([text[pieces[first].start : pieces[last - 1].end] for first, last in runs])
        halves: list[Span] = []
        for (first, last), tokens in zip(runs, counts, strict=True):
            if tokens <= max_tokens or last - first == 1:
                yield first, last
            else:
                middle = (first + last) // 2
                halves += [(first, middle), (middle, last)]
        runs = halves
