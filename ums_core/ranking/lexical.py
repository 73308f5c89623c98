"""How well memories match by words: BM25 over the rows that hold each word. Pure functions of arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ums_core.ranking.fuse import best_first

__all__ = ["Matches", "WordRows", "among", "bm25", "rows_of", "union"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]

_K1, _B = 1.2, 0.75


@dataclass(frozen=True, slots=True, eq=False)
class WordRows:
    """The rows that hold one word.

    Attributes:
        rids: their ids, ascending; of a frequent word only those that hold another word of the question too.
        count: how many rows hold it, of a frequent word about how many.
    """

    rids: Ids
    count: int

    def only(self, rids: Ids) -> "WordRows":
        """What is left of it among some rows; a frequent word keeps its count."""
        left = self.rids[among(self.rids, rids)]
        return WordRows(left, len(left) if len(self.rids) == self.count else self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Rows, and how well they match by words.

    Attributes:
        rids: ascending, shape (n,).
        scores: higher is better, 0 where a row holds no word, shape (n,).
    """

    rids: Ids
    scores: Floats

    def of(self, rids: Ids) -> Floats:
        """The scores of some rows, 0 where one does not match."""
        if not len(self.rids):
            return np.zeros(len(rids))
        at = self.rids.searchsorted(rids)
        found = self.rids.take(at, mode="clip") == rids
        return np.where(found, self.scores.take(at, mode="clip"), 0.0)

    def best(self, k: int) -> Ids:
        """The ids of the k best that hold a word, best first; of equals the smaller first."""
        holding = self.scores.nonzero()[0]
        return self.rids.take(holding.take(best_first(self.scores.take(holding), k)))


def among(rids: Ids, others: Ids) -> npt.NDArray[np.bool_]:
    """Whether each id is one of the others, which ascend; shape (n,)."""
    if not len(others):
        return np.zeros(len(rids), np.bool_)
    return np.asarray(others.take(others.searchsorted(rids), mode="clip") == rids)


def union(lists: Sequence[Ids]) -> Ids:
    """All ids of some lists, ascending, each once; of at least one list."""
    if len(lists) == 1:
        return lists[0]
    ids = np.concatenate(lists)
    # Faster than numpy.unique, which sorts a hash table.
    ids.sort()
    first = np.empty(len(ids), np.bool_)
    first[:1] = True
    np.not_equal(ids[1:], ids[:-1], out=first[1:])
    return ids[first]


def bm25(words: Sequence[WordRows], at: Places, lengths: npt.NDArray[np.int32], total: int) -> Floats:
    """Scores of rows by the words that they hold, shape (n,); 0 where a row holds none.

    A word counts once in a row, however often it stands there, and lengths are compared with the mean of the rows
    that hold a word: nothing but the rows of one namespace has a part in its scores.

    Args:
        words: the words of the question.
        at: for each of :func:`rows_of` the words, its place among the rows, shape (m,).
        lengths: how many words each row has, shape (n,).
        total: how many rows could have matched.

    Source: Robertson, Zaragoza, FnTIR 3(4), 2009, with binary term frequencies; the weight of a word is that of Lucene.
    """
    if not len(at):
        return np.zeros(len(lengths))
    counts = [min(word.count, total) for word in words]
    rarities = [math.log1p((total - count + 0.5) / (count + 0.5)) * (_K1 + 1.0) for count in counts]
    held = np.bincount(at, np.array(rarities).repeat([len(word.rids) for word in words]), len(lengths))
    holding = held > 0.0
    mean = max(1.0, int(np.vecdot(holding, lengths, dtype=np.int64)) / int(np.count_nonzero(holding)))
    return np.asarray(held / (1.0 + _K1 * (1.0 - _B) + _K1 * _B / mean * lengths))


def rows_of(words: Sequence[WordRows]) -> Ids:
    """The rows of some words, one word after the other."""
    return np.concatenate([word.rids for word in words]) if words else np.empty(0, np.int64)
