"""Where each memory stands in its conversation: small columns beside the vectors, derived from storage."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ums_core.pipeline.circle import Circle, Circles
from ums_core.ports.index import RowSet
from ums_core.ports.ledger import Head, Ledger, TurnRow
from ums_core.ranking.conversation import KIND_SHIFT, NOTE, PEER, REPLY, USER, Talk, kinds_of, two_beside
from ums_core.ranking.lexical import union
from ums_core.ranking.words import words
from ums_core.records.memory import Namespace
from ums_core.records.query import Kind

__all__ = ["Surroundings"]

Ids = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
_Bytes = npt.NDArray[np.uint8]

_KINDS = {"user": USER, "human": USER, "assistant": REPLY, "ai": REPLY}
# What the memories of a namespace were declared to be, by place in this row; 0 is nothing.
_DECLARED: tuple[Kind | None, ...] = (None, "dialogue", "assistant", "notes")
_TURN = np.dtype(
    [
        ("moment", np.int64),
        *((name, np.int32) for name in ("before", "after", "session", "speaker", "telling")),
        *((name, np.uint8) for name in ("traits", "declared", "gone")),
    ],
    # A turn has 32 bytes then, and none lies in two lines of a cache.
    align=True,
)


_NOBODY = np.array([(-1, -1, -1, -1, -1, 1, 0, 0, 0)], _TURN)
_CUES = np.uint8((1 << KIND_SHIFT) - 1)


@dataclass(slots=True)
class _Conversation:
    """The turns of one session, as places in the columns, in the order of their positions."""

    number: int
    places: list[int] = field(default_factory=list)
    last: int = -1


class Surroundings:
    """Neighbours, speakers and kinds of all rows; about 40 bytes a row. Thread-safe.

    Built at the first use, and then extended by what was committed since.

    Args:
        ledger: storage.
        kinds: what the memories under a namespace prefix are; the longest prefix counts, and by roles and sessions
            goes what is under none.

    Attributes:
        ledger: storage.
    """

    def __init__(self, ledger: Ledger, kinds: Mapping[Namespace, Kind] | None = None) -> None:
        self.ledger = ledger
        self._kinds = kinds or {}
        self._declared: dict[int, int] = {}
        self._lock = threading.Lock()
        self._seq = self._hi = self._count = self._gone = self._removals = 0
        # In one number, as whoever searches reads it without the lock.
        self._living = 0
        # The first place is that of all rows that are not known.
        self._rids = np.zeros(1, np.int64)
        self._turns: npt.NDArray[Any] = _NOBODY.copy()
        self._conversations: dict[tuple[int, str], _Conversation] = {}
        # Of each place: its session, and its position there as it was given.
        self._keys: dict[int, tuple[tuple[int, str], int | None]] = {}
        self._speakers: dict[str, int] = {}
        # By namespace, and under None of all.
        self._names: dict[int | None, dict[str, set[int]]] = {}
        self._circles = Circles()
        # By a set: up to which removal it was looked through, and what was left of it, None where that is all.
        self._left: WeakKeyDictionary[RowSet, tuple[int, RowSet | None]] = WeakKeyDictionary()

    def refresh(self, head: Head) -> None:
        """Take up what was committed up to a change, and perhaps later ones; costs nothing where nothing was."""
        if head.seq <= self._seq:
            return
        with self._lock:
            seq, removed, rows = self.ledger.turns_since(self._seq, self._hi)
            touched: set[tuple[int, str]] = set()
            self._remove(removed, touched)
            self._append(rows, touched)
            for key in touched:
                self._relink(key)
            if touched:
                self._circles.clear()
            self._living = self._count - self._gone
            # Whoever reads an earlier moment finds nothing new, and what was taken up is not to be taken up again.
            self._seq = max(self._seq, seq)

    def names_in(self, text: str, nids: Collection[int] | None) -> tuple[str, set[int]]:
        """The text without the names of those who speak in some namespaces, and the speakers that it names.

        A text that consists of names alone is returned as it is.

        Args:
            text: a query.
            nids: the namespaces; None is all.
        """
        said = words(text)
        named: dict[str, set[int]] = {}
        for nid in (None,) if nids is None else nids:
            names = self._names.get(nid, {})
            for word in said:
                if word in names:
                    named.setdefault(word, set()).update(names[word])
        if not named:
            return text, set()
        rest = [part for part in text.split() if not _is_name(part, named)]
        return " ".join(rest) or text, set().union(*named.values())

    def with_neighbours(self, rids: Ids) -> Ids:
        """Row ids, ascending, with those of the turns just before and after them."""
        places = self._places(rids)
        turns = self._turns.take(places)
        near = union([places, turns["before"], turns["after"]])
        # Below 1 are no turn, and one that is not known.
        start = int(near.searchsorted(1))
        found = self._rids.take(near[start:])
        return union([rids, found]) if start and near[start - 1] == 0 else found

    def around(self, rid: int, count: int) -> tuple[list[int], list[int]]:
        """Row ids of as many turns before a row and after it, both in the order of the conversation."""
        turns, rids = self._turns, self._rids
        (start,) = self._places(np.array([rid], np.int64)).tolist()
        sides: list[list[int]] = []
        for side in ("before", "after"):
            found: list[int] = []
            place = int(turns[side][start])
            while place >= 0 and len(found) < count:
                found.append(int(rids[place]))
                place = int(turns[side][place])
            sides.append(found)
        return sides[0][::-1], sides[1]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._living

    def living(self, rows: RowSet) -> RowSet:
        """The rows without those that are known to have gone; the same set until another one of them goes.

        A store that has been open for long knows many rows that are no more; they must not count as rows that could
        have matched. Costs a look at each row after something went, and nothing else.
        """
        known, left = self._left.get(rows, (0, None))
        if known != self._removals:
            with self._lock:
                left = self._without_gone(rows if left is None else left)
                left = None if left is rows else left
                self._left[rows] = self._removals, left
        return rows if left is None else left

    def _without_gone(self, rows: RowSet) -> RowSet:
        places = self._places(rows.rids)
        # One that is not known is either newer than all that are, or went before it could be.
        gone = self._turns.take(places)["gone"].astype(np.bool_) | ((places == 0) & (rows.rids <= self._hi))
        return RowSet(rows.rids[~gone]) if gone.any() else rows

    def lengths(self, rids: Ids) -> npt.NDArray[np.int32]:
        """How many telling words each row has, shape (n,); 1 for one that is not known yet.

        Args:
            rids: ascending.
        """
        # Whole turns first: to take from one field would copy that of all turns.
        return np.asarray(self._turns.take(self._places(rids))["telling"])

    def talk(self, rids: Ids, declared: Kind | None = None) -> Talk:
        """Rows as turns, in their order; notes without a word are those that are not known yet.

        Args:
            rids: ascending.
            declared: what the memories are said to be; None goes by what their namespaces are declared to be, and
                else by their roles.
        """
        places = self._places(rids)
        turns = self._turns.take(places)
        return self._talk(places, turns, _beside(turns), declared)

    def circle(self, rows: RowSet, declared: Kind | None = None) -> Circle:
        """The rows of a small set as :meth:`talk` gives them, kept until one of any conversation goes or moves.

        Costs as much as ``talk`` and ``with_neighbours`` of all of them, and nothing where it is kept.
        """
        kept = self._circles.get(rows, declared)
        if kept is None:
            with self._lock:
                kept = self._drawn(rows, declared)
        return kept

    def _drawn(self, rows: RowSet, declared: Kind | None) -> Circle:
        places = self._places(rows.rids)
        turns = self._turns.take(places)
        beside = _beside(turns)
        # What is said to be a note lends and borrows nothing; its neighbours are candidates all the same.
        circle = Circle(rows.rids, self._talk(places, turns, beside, declared).apart(), _among(beside, places)[:, :-1])
        if places.all():
            self._circles.keep(rows, declared, circle)
        return circle

    def _talk(self, places: Places, turns: npt.NDArray[Any], beside: Places, declared: Kind | None) -> Talk:
        traits, session = turns["traits"], turns["session"]
        if declared is not None or self._kinds:
            kinds = self._as_declared(kinds_of(traits), turns["declared"], declared)
            traits = (traits & _CUES) | (kinds << KIND_SHIFT)
            beside = beside.copy()
            beside[:, :-1][:, kinds == NOTE] = -1
            session = np.where(kinds == NOTE, -1, session)
        near = two_beside(_among(beside, places))
        return Talk(traits, turns["speaker"], near, session, turns["telling"], turns["moment"])

    def _places(self, rids: Ids) -> Places:
        """Where rows stand, which ascend; 0 for one that is not known yet, such as one committed since the refresh."""
        count = self._count
        if not count or not len(rids):
            return np.zeros(len(rids), np.intp)
        held = self._rids[1 : count + 1]
        first, last = int(held[0]), int(held[-1])
        if last - first == count - 1 and first <= rids[0] and rids[-1] <= last:
            # No row ever went: the place can be told without a search.
            return rids - (first - 1)
        at = held.searchsorted(rids)
        return np.where(held.take(at, mode="clip") == rids, at + 1, 0)

    def _append(self, rows: Sequence[TurnRow], touched: set[tuple[int, str]]) -> None:
        start, stop = self._count + 1, self._count + 1 + len(rows)
        if stop > len(self._rids):
            # Readers may still hold the former arrays, which stay as they are.
            room = max(stop, len(self._rids) * 3 // 2)
            self._turns = np.append(self._turns, np.full(room - len(self._rids), _NOBODY))
            self._rids = np.append(self._rids, np.zeros(room - len(self._rids), np.int64))
        rids, turns = self._rids, self._turns
        for place, row in enumerate(rows, start):
            rids[place] = row.rid
            kind = NOTE if row.session is None else _KINDS.get((row.role or "").lower(), PEER)
            declared = self._declared_of(row.nid) if self._kinds else 0
            traits = row.cues | kind << KIND_SHIFT
            turns[place] = (row.moment, -1, -1, -1, self._speaker(row), row.telling, traits, declared, 0)
            if row.session is not None:
                self._link(row, place, touched)
        self._count = stop - 1
        self._hi = max([self._hi, *(row.rid for row in rows[-1:])])

    def _link(self, row: TurnRow, place: int, touched: set[tuple[int, str]]) -> None:
        key = (row.nid, str(row.session))
        conversation = self._conversations.setdefault(key, _Conversation(len(self._conversations)))
        turns = self._turns
        turns["session"][place] = conversation.number
        # Without a position a turn follows the one stored before it.
        position = conversation.last if row.position is None else row.position
        self._keys[place] = (key, row.position)
        if conversation.places and position < conversation.last:
            touched.add(key)
        elif conversation.places:
            before = conversation.places[-1]
            turns["before"][place], turns["after"][before] = before, place
        conversation.places.append(place)
        conversation.last = max(position, conversation.last)

    def _remove(self, removed: Ids, touched: set[tuple[int, str]]) -> None:
        self._removals += len(removed)
        known = self._rids[1 : self._count + 1]
        places = known.searchsorted(removed) + 1
        for place, rid in zip(places.tolist(), removed.tolist(), strict=True):
            if place > self._count or self._rids[place] != rid:
                continue
            self._gone += 1
            self._turns["gone"][place] = 1
            if place in self._keys:
                key, _ = self._keys.pop(place)
                self._conversations[key].places.remove(place)
                self._turns["before"][place] = self._turns["after"][place] = -1
                touched.add(key)

    def _relink(self, key: tuple[int, str]) -> None:
        conversation = self._conversations[key]
        positions: dict[int, int] = {}
        conversation.last = -1
        for place in sorted(conversation.places):
            given = self._keys[place][1]
            positions[place] = conversation.last if given is None else given
            conversation.last = max(conversation.last, positions[place])
        conversation.places.sort(key=lambda place: (positions[place], place))
        chain = np.array([-1, *conversation.places, -1], np.int32)
        self._turns["before"][chain[1:-1]] = chain[:-2]
        self._turns["after"][chain[1:-1]] = chain[2:]

    def _as_declared(self, kinds: _Bytes, codes: _Bytes, declared: Kind | None) -> _Bytes:
        """What turns are, given what the query, or else their namespaces, say that they are."""
        if declared is not None:
            return _taken_for(declared).take(kinds)
        for code in np.unique(codes[codes > 0]).tolist():
            kinds = np.where(codes == code, _taken_for(_DECLARED[code]).take(kinds), kinds)
        return kinds

    def _declared_of(self, nid: int) -> int:
        """The place of what a namespace is declared to be."""
        if nid not in self._declared:
            labels = self.ledger.namespace_of(nid)
            prefixes = (labels[:length] for length in range(len(labels), -1, -1))
            kind = next((self._kinds[prefix] for prefix in prefixes if prefix in self._kinds), None)
            self._declared[nid] = _DECLARED.index(kind)
        return self._declared[nid]

    def _speaker(self, row: TurnRow) -> int:
        if row.speaker is None:
            return -1
        code = self._speakers.setdefault(row.speaker, len(self._speakers))
        for nid in (row.nid, None):
            names = self._names.setdefault(nid, {})
            for word in words(row.speaker):
                names.setdefault(word, set()).add(code)
        return code


def _taken_for(declared: Kind | None) -> _Bytes:
    """By NOTE, PEER, USER and REPLY, what they are in memories of a kind: outside a session there is no turn."""
    kinds = {"notes": (NOTE, NOTE, NOTE, NOTE), "dialogue": (NOTE, PEER, PEER, PEER)}
    return np.array(kinds.get(declared or "", (NOTE, NOTE, USER, REPLY)), np.uint8)


def _is_name(part: str, named: Iterable[str]) -> bool:
    """Whether a part of a text between spaces is a name, as in ``Ana``, ``Ana's`` or ``(Ana?``."""
    found = words(part.lower().replace("'s", "").replace("\u2019s", ""))
    return bool(found) and all(word in named for word in found)


def _beside(turns: npt.NDArray[Any]) -> Places:
    """Where the turns before and after stand, shape (2, n + 1), the last column -1."""
    beside = np.empty((2, len(turns) + 1), np.intp)
    beside[0, :-1], beside[1, :-1], beside[:, -1] = turns["before"], turns["after"], -1
    return beside


def _among(beside: Places, places: Places) -> Places:
    """For each place, which of the places it is, or -1."""
    if np.count_nonzero(places) == len(places):
        # All are known, and so they ascend.
        at = places.searchsorted(beside)
        return np.where(places.take(at, mode="clip") == beside, at, -1)
    order = places.argsort(kind="stable")
    ascending = places.take(order)
    at = ascending.searchsorted(beside)
    return np.where(ascending.take(at, mode="clip") == beside, order.take(at, mode="clip"), -1)
