"""Which rows hold a word: read from FTS5 once, then only extended by what is new and freed of what is gone.

A row id stands for one version of a memory and is never used twice, so what was read up to some row id stays right.
What is kept changes the cost of an answer and nothing else: the same rows and counts come back without it.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ums_core.ports.ledger import Head
from ums_core.ranking.lexical import WordRows, among, union
from ums_core.storage import journal
from ums_core.storage.connect import Connection
from ums_core.storage.keyword import MAX_LIMIT

__all__ = ["Candidates", "Postings", "Scopes"]

Ids: TypeAlias = npt.NDArray[np.int64]
# Ids of the namespaces to look in, ascending; None is all.
Scopes: TypeAlias = tuple[int, ...] | None

# Rows read of a word before it is called frequent, and of all words where more than a few are rare.
_PROBED, _READ = 200, 2000
_CACHE_BYTES, _MAX_GONE = 32 * 2**20, 2**16
_NO_IDS = np.empty(0, np.int64)

# An FTS5 expression, the first and the last row id, and how many rows; None is all.
_Reading: TypeAlias = tuple[str, int, int, int | None]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Row ids that are known to be among those that may match: those given, or all from 1 on.

    Attributes:
        head: where the journal stands.
        rids: ascending, at least one; None is all.
    """

    head: Head
    rids: Ids | None = None

    def share_up_to(self, rid: int) -> float:
        """The share of them up to a row id, greater than 0."""
        if self.rids is None:
            return min(1.0, rid / self.head.hi)
        return max(1, int(np.searchsorted(self.rids, rid, side="right"))) / len(self.rids)


@dataclass(frozen=True, slots=True, eq=False)
class _List:
    """What is known of the rows that hold a word.

    Attributes:
        rids: ascending: all, or the first ``_PROBED``.
        whole: whether they are all.
        read_to: of a whole list: no row up to this id is missing.
        cleared: how many of the rows that went were taken out.
        wanted: whether a search had use for all of it.
    """

    rids: Ids
    whole: bool
    read_to: int
    cleared: int
    wanted: bool = False

    @property
    def frequent(self) -> bool:
        """Whether there are too many to read them without need."""
        return len(self.rids) >= _PROBED


class Postings:
    """Row ids by word and place, bounded by bytes, least recently used out. Thread-safe.

    A frequent word is read whole when it is wanted for the second time; until then only as far as a question needs it.

    Args:
        max_bytes: of all lists together.
        max_gone: row ids that went and still stand in some lists; beyond that, all is read anew.
    """

    def __init__(self, max_bytes: int = _CACHE_BYTES, max_gone: int = _MAX_GONE) -> None:
        self.max_bytes = max_bytes
        self._max_gone = max_gone
        self._lists: OrderedDict[tuple[Scopes, str], _List] = OrderedDict()
        self._bytes = 0
        self._seq = 0
        # Row ids that went since a number of others had gone.
        self._gone, self._gone_before = _NO_IDS, 0
        self._mutex = threading.Lock()

    def rows_with(
        self, connection: Connection, words: Sequence[str], scopes: Scopes, candidates: Candidates, *, prune: bool
    ) -> list[WordRows]:
        """The rows that hold each word, the rarest word first.

        Where rows are pruned, frequent words only add to rows that
        hold a rarer word too: they tell little, and reading all their rows would take longer than all else.

        Args:
            connection: a reader.
            words: distinct, each as an expression of FTS5 that finds it.
            scopes: the namespaces.
            candidates: the row ids that may match, as far as they are known: where rows are not pruned, no others
                count.
            prune: whether to read a bounded number of rows.
        """
        seq = candidates.head.seq
        self._follow(connection, seq)
        found = self._look(connection, words, scopes, candidates, prune=prune)
        if seq != self._seq:
            # Another thread knows of a later change: what it took out was replaced by rows that this one did not read.
            alone = Postings(0)
            alone._seq = seq
            found = alone._look(connection, words, scopes, candidates, prune=prune)
        return sorted(found, key=lambda rows: rows.count)

    def ready(self, words: Sequence[str], scopes: Scopes, head: Head) -> list[WordRows] | None:
        """The same from what is kept alone, pruned or not; None where storage must be read.

        That is of most questions in a small namespace: no word is frequent there, and nothing was added since.
        """
        found: list[WordRows] = []
        with self._mutex:
            if head.seq != self._seq:
                return None
            cleared = self.cleared
            for word in words:
                held = self._lists.get((scopes, word))
                if held is None or held.frequent or held.read_to < head.hi or held.cleared < cleared:
                    return None
                self._lists.move_to_end((scopes, word))
                found.append(WordRows(held.rids, len(held.rids)))
        return sorted(found, key=lambda rows: rows.count)

    def _look(
        self, connection: Connection, words: Sequence[str], scopes: Scopes, candidates: Candidates, *, prune: bool
    ) -> list[WordRows]:
        look = _Look(self, connection, scopes, candidates.head)
        lists = look.first(words)
        return look.pruned(lists, candidates) if prune else look.all_of(lists, candidates)

    def known(self, scopes: Scopes, words: Sequence[str]) -> dict[str, _List | None]:
        """What is kept of each word, without the rows that went."""
        with self._mutex:
            return {word: self._freed(scopes, word) for word in words}

    def _freed(self, scopes: Scopes, word: str) -> _List | None:
        held = self._lists.get((scopes, word))
        if held is None:
            return None
        self._lists.move_to_end((scopes, word))
        gone = self._gone[held.cleared - self._gone_before :]
        if not len(gone):
            return held
        left = held.rids[~np.isin(held.rids, gone)]
        if not held.whole and len(left) < len(held.rids):
            # Others are the first ones now.
            return None
        return self._put(scopes, word, replace(held, rids=left, cleared=self.cleared))

    def keep(self, scopes: Scopes, word: str, held: _List, seq: int) -> None:
        """Keep a list that was read at a change, in place of an older one, if there is room."""
        with self._mutex:
            if seq == self._seq:
                self._put(scopes, word, held)

    @property
    def cleared(self) -> int:
        """How many rows are known to have gone."""
        return self._gone_before + len(self._gone)

    def _put(self, scopes: Scopes, word: str, held: _List) -> _List:
        old = self._lists.pop((scopes, word), None)
        self._bytes += held.rids.nbytes - (0 if old is None else old.rids.nbytes)
        self._lists[scopes, word] = held
        while self._bytes > self.max_bytes:
            self._bytes -= self._lists.popitem(last=False)[1].rids.nbytes
        return held

    def _follow(self, connection: Connection, seq: int) -> None:
        """Take note of what went up to a change."""
        if seq > self._seq:
            # Where several threads do this, an id may be noted twice, which does no harm.
            # Of later changes the row that went would be known, and the one in its place not.
            gone = journal.removed_since(connection, self._seq, seq)
            with self._mutex:
                self._seq = max(self._seq, seq)
                if len(self._gone) + len(gone) > self._max_gone:
                    self._gone_before += len(self._gone) + len(gone)
                    self._gone, self._bytes = _NO_IDS, 0
                    self._lists.clear()
                elif len(gone):
                    self._gone = np.concatenate([self._gone, gone])


class _Look:
    """What one search reads."""

    def __init__(self, postings: Postings, connection: Connection, scopes: Scopes, head: Head) -> None:
        self._postings = postings
        self._connection = connection
        self._scopes = scopes
        self._head = head
        self._cleared = postings.cleared
        # Whether all was read at the change that is asked about. What was read later lacks the rows that went since.
        self._steady = True

    def first(self, words: Sequence[str]) -> dict[str, _List]:
        """All rows of each rare word, and the first ones, or all, of a frequent one; one statement at most."""
        lists = self._postings.known(self._scopes, words)
        readings: dict[str, _Reading] = {}
        for word, held in lists.items():
            if held is None:
                readings[word] = (word, 1, MAX_LIMIT, _PROBED)
            elif held.whole and held.read_to < self._head.hi:
                readings[word] = (word, held.read_to + 1, MAX_LIMIT, None)
        for word, rids in zip(readings, self._read(list(readings.values())), strict=True):
            held = lists[word]
            if held is not None:
                lists[word] = self._kept(word, np.concatenate([held.rids, rids]) if len(rids) else held.rids)
            else:
                lists[word] = self._kept(word, rids, whole=len(rids) < _PROBED)
        return {word: held for word, held in lists.items() if held is not None}

    def pruned(self, lists: Mapping[str, _List], candidates: Candidates) -> list[WordRows]:
        """The rows of each word, of the most frequent ones only those that hold a rarer word too."""
        rows = {word: held.rids for word, held in lists.items() if not held.frequent}
        found = [WordRows(rids, len(rids)) for rids in rows.values()]
        if len(rows) == len(lists):
            return found
        read = sum(map(len, rows.values()))
        counts = {word: _estimate(held, candidates) for word, held in lists.items() if held.frequent}
        whole: list[str] = []
        passing: dict[str, int] = {}
        for word, count in sorted(counts.items(), key=lambda each: (each[1], each[0])):
            if not read or read + count <= _READ:
                whole.append(word)
                read += count
            else:
                passing[word] = count
        kept = [word for word, count in passing.items() if self._pays(word, lists[word], count)]
        others = " OR ".join([*(word for word, rids in rows.items() if len(rids)), *whole])
        readings = {word: (f"({others}) AND {word}", 1, MAX_LIMIT, None) for word in passing if word not in kept}
        rows |= self._complete({word: lists[word] for word in (*whole, *kept)}, readings)
        found += [WordRows(rows[word], len(rows[word])) for word in whole]
        if kept:
            any_of = union([rids for word, rids in rows.items() if word not in passing])
            rows |= {word: any_of[among(any_of, rows[word])] for word in kept}
        return [*found, *(WordRows(rows[word], count) for word, count in passing.items())]

    def all_of(self, lists: Mapping[str, _List], candidates: Candidates) -> list[WordRows]:
        """The rows of each word, at least those that may match."""
        known = candidates.rids
        low, high = (1, MAX_LIMIT) if known is None else (int(known[0]), int(known[-1]))
        kept = {word: held for word, held in lists.items() if self._pays(word, held, _estimate(held, candidates))}
        rows = self._complete(kept, {word: (word, low, high, None) for word in lists if word not in kept})
        return [WordRows(rows[word], len(rows[word])) for word in lists]

    def _pays(self, word: str, held: _List, count: int) -> bool:
        """Whether to go by the whole list: it is there, or wanted again, and does not push out most others."""
        if held.whole:
            return True
        if held.wanted:
            return count * _NO_IDS.itemsize <= self._postings.max_bytes // 8
        self._keep(word, replace(held, wanted=True))
        return False

    def _complete(self, lists: Mapping[str, _List], readings: Mapping[str, _Reading]) -> dict[str, Ids]:
        """All rows of some words, which are kept, and what is to be read of others, which is not; one statement."""
        after = {
            word: (word, int(held.rids[-1]) + 1, MAX_LIMIT, None) for word, held in lists.items() if not held.whole
        }
        wanted = {**after, **readings}
        found = dict(zip(wanted, self._read(list(wanted.values())), strict=True))
        for word, held in lists.items():
            if held.whole:
                found[word] = held.rids
            else:
                found[word] = self._kept(word, np.concatenate([held.rids, found[word]])).rids
        return found

    def _kept(self, word: str, rids: Ids, *, whole: bool = True) -> _List:
        held = _List(rids, whole, max(self._head.hi, *rids[-1:].tolist(), 0), self._cleared)
        self._keep(word, held)
        return held

    def _keep(self, word: str, held: _List) -> None:
        if self._steady:
            self._postings.keep(self._scopes, word, held, self._head.seq)

    def _read(self, readings: Sequence[_Reading]) -> list[Ids]:
        """Row ids by expressions, each ascending, all by one statement.

        As one text each, since a step from row to row of a result takes longer than to find the row.
        """
        if not readings:
            return []
        places = None if self._scopes is None else " OR ".join(f'"ns{nid}"' for nid in self._scopes)
        within = "" if places is None else f"scope : ({places}) AND "
        statement = _reading(tuple(limit is None for *_, limit in readings))
        values = [(f"{within}{_said(expression)}", *bounds) for expression, *bounds in readings]
        found = self._connection.execute(
            statement, [value for value in chain.from_iterable(values) if value is not None]
        ).fetchall()
        self._steady = self._steady and journal.head(self._connection) == self._head
        rids = [_NO_IDS if text is None else np.fromstring(text, np.int64, sep=",") for (text,) in found]
        for each in rids:
            # As they come from FTS5, which does not promise it.
            each.sort()
        return rids


def _said(expression: str) -> str:
    """The expression, kept from finding a namespace, which stands there as one word of letters and digits.

    To tell where a word stands makes each row half as dear again, so that only what has both is kept from it.
    """
    both = any(map(str.isalpha, expression)) and any(map(str.isdigit, expression))
    return f"{{body about}} : ({expression})" if both else f"({expression})"


@cache
def _reading(whole: tuple[bool, ...]) -> str:
    """The statement for some expressions, of each of which all rows are wanted, or so many of the first."""
    rows = "FROM terms WHERE terms MATCH ? AND rowid BETWEEN ? AND ?"
    # A limit makes each row a fifth dearer.
    all_of = f"SELECT group_concat(rowid) {rows}"
    first_of = f"SELECT group_concat(rowid) FROM (SELECT rowid {rows} ORDER BY rowid LIMIT ?)"
    return " UNION ALL ".join(all_of if each else first_of for each in whole)


def _estimate(held: _List, candidates: Candidates) -> int:
    """How many rows hold a word; a frequent one is taken for as dense as at its beginning, whatever is known of it."""
    if not held.frequent:
        return len(held.rids)
    return int(_PROBED / candidates.share_up_to(int(held.rids[_PROBED - 1])))
