"""Where each memory stands in its conversation: small columns beside the vectors, derived from storage."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ums_core.ports.ledger import Head, Ledger, TurnRow
from ums_core.ranking.conversation import NOTE, PEER, REPLY, USER, Turns
from ums_core.ranking.lexical import among, union
from ums_core.ranking.words import words
from ums_core.records.memory import Namespace
from ums_core.records.query import Kind

__all__ = ["Surroundings"]

Ids = npt.NDArray[np.int64]

_NONE = np.empty(0, np.int64)
_KINDS = {"user": USER, "human": USER, "assistant": REPLY, "ai": REPLY}
# What the memories of a namespace were declared to be, by place in this row; 0 is nothing.
_DECLARED: tuple[Kind | None, ...] = (None, "dialogue", "assistant", "notes")
_COLUMNS = {
    "rid": np.int64,
    "before": np.int32,
    "after": np.int32,
    "speaker": np.int32,
    "kind": np.int8,
    "declared": np.int8,
    "session": np.int32,
    "cues": np.int8,
    "telling": np.int32,
    "moment": np.int64,
}


@dataclass(slots=True)
class _Conversation:
    """The turns of one session, as places in the columns, in the order of their positions."""

    number: int
    places: list[int] = field(default_factory=list)
    last: int = -1


class Surroundings:
    """Neighbours, speakers and kinds of all rows; about 38 bytes a row. Thread-safe.

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
        self._seq = self._hi = self._count = 0
        self._columns: dict[str, npt.NDArray[Any]] = {name: np.empty(0, kind) for name, kind in _COLUMNS.items()}
        self._conversations: dict[tuple[int, str], _Conversation] = {}
        # Of each place: its session, and its position there as it was given.
        self._keys: dict[int, tuple[tuple[int, str], int | None]] = {}
        self._speakers: dict[str, int] = {}
        # By namespace, and under None of all.
        self._names: dict[int | None, dict[str, set[int]]] = {}

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
            self._seq = seq

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

    def neighbours(self, rids: Ids) -> Ids:
        """Row ids of the turns just before and after those given, without those given; all ascending."""
        columns = self._columns
        places, known = self._places(rids)
        places = places[known]
        near = np.concatenate([columns["before"][places], columns["after"][places]])
        found = union([columns["rid"][near[near >= 0]], _NONE])
        return found[~among(found, rids)]

    def around(self, rid: int, count: int) -> tuple[list[int], list[int]]:
        """Row ids of as many turns before a row and after it, both in the order of the conversation."""
        columns = self._columns
        places, known = self._places(np.array([rid], np.int64))
        sides: list[list[int]] = []
        for side in ("before", "after"):
            found: list[int] = []
            place = int(columns[side][places[0]]) if known[0] else -1
            while place >= 0 and len(found) < count:
                found.append(int(columns["rid"][place]))
                place = int(columns[side][place])
            sides.append(found)
        return sides[0][::-1], sides[1]

    @property
    def rows(self) -> int:
        """How many rows there are, or were since this was made."""
        return self._count

    def lengths(self, rids: Ids) -> npt.NDArray[np.float64]:
        """How many telling words each row has, shape (n,); 1 for one that is not known yet."""
        places, known = self._places(rids)
        if not known.any():
            return np.ones(len(rids))
        lengths = self._columns["telling"][places].astype(np.float64)
        lengths[~known] = 1.0
        return lengths

    def turns(self, rids: Ids, speakers: Collection[int], declared: Kind | None = None) -> Turns | None:
        """The candidates as turns, in their order; None where nothing is known of any.

        Args:
            rids: known row ids, ascending.
            speakers: those whom the query names.
            declared: what the memories are said to be; None goes by what their namespaces are declared to be, and
                else by their roles.
        """
        columns = self._columns
        places, known = self._places(rids)
        if not known.any():
            return None
        kind = columns["kind"][places] * known
        if declared is not None:
            kind = _as_declared(kind, declared)
        elif self._kinds:
            codes = columns["declared"][places]
            for code in np.unique(codes[codes > 0]).tolist():
                kind = np.where(codes == code, _as_declared(kind, _DECLARED[code]), kind)
        at = known & (kind != NOTE)
        beside = np.concatenate([columns["before"][places], columns["after"][places]])
        beside = np.where(np.concatenate([at, at]), _among(beside, places, everywhere=bool(known.all())), -1)
        return Turns(
            kind=kind,
            before=beside[: len(rids)],
            after=beside[len(rids) :],
            session=np.where(at, columns["session"][places], -1),
            cues=columns["cues"][places] * known,
            log_words=np.log1p(columns["telling"][places] * known),
            named=_any_of(columns["speaker"][places], speakers) & known,
            moment=np.where(known, columns["moment"][places], -1),
        )

    def _places(self, rids: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Where each row stands in the columns, and whether it does: one committed since the refresh has no place."""
        held = self._columns["rid"][: self._count]
        if not len(held):
            return np.zeros(len(rids), np.intp), np.zeros(len(rids), np.bool_)
        first, last = int(held[0]), int(held[-1])
        if last - first == len(held) - 1:
            # No row ever went: the place can be told without a search.
            places = np.minimum(np.maximum(rids - first, 0), last - first)
            return places, held[places] == rids
        places = np.minimum(np.searchsorted(held, rids), len(held) - 1)
        return places, held[places] == rids

    def _append(self, rows: Sequence[TurnRow], touched: set[tuple[int, str]]) -> None:
        start, stop = self._count, self._count + len(rows)
        if stop > len(self._columns["rid"]):
            # Readers may still hold the former arrays, which stay as they are.
            room = max(stop, len(self._columns["rid"]) * 3 // 2)
            self._columns = {name: np.append(c, np.zeros(room - len(c), c.dtype)) for name, c in self._columns.items()}
        columns = self._columns
        for name in ("before", "after", "session"):
            columns[name][start:stop] = -1
        for place, row in enumerate(rows, start):
            columns["rid"][place] = row.rid
            columns["cues"][place] = row.cues
            columns["moment"][place] = row.moment
            columns["telling"][place] = row.telling
            columns["speaker"][place] = self._speaker(row)
            if self._kinds:
                columns["declared"][place] = self._declared_of(row.nid)
            if row.session is not None:
                columns["kind"][place] = _KINDS.get((row.role or "").lower(), PEER)
                self._link(row, place, touched)
        self._count = stop
        self._hi = max([self._hi, *(row.rid for row in rows[-1:])])

    def _link(self, row: TurnRow, place: int, touched: set[tuple[int, str]]) -> None:
        key = (row.nid, str(row.session))
        conversation = self._conversations.setdefault(key, _Conversation(len(self._conversations)))
        self._columns["session"][place] = conversation.number
        # Without a position a turn follows the one stored before it.
        position = conversation.last if row.position is None else row.position
        self._keys[place] = (key, row.position)
        if conversation.places and position < conversation.last:
            touched.add(key)
        elif conversation.places:
            before = conversation.places[-1]
            self._columns["before"][place], self._columns["after"][before] = before, place
        conversation.places.append(place)
        conversation.last = max(position, conversation.last)

    def _remove(self, removed: Ids, touched: set[tuple[int, str]]) -> None:
        known = self._columns["rid"][: self._count]
        places = np.searchsorted(known, removed)
        for place, rid in zip(places.tolist(), removed.tolist(), strict=True):
            if place < self._count and known[place] == rid and place in self._keys:
                key, _ = self._keys.pop(place)
                self._conversations[key].places.remove(place)
                self._columns["before"][place] = self._columns["after"][place] = -1
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
        self._columns["before"][chain[1:-1]] = chain[:-2]
        self._columns["after"][chain[1:-1]] = chain[2:]

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


def _as_declared(kind: npt.NDArray[np.int8], declared: Kind | None) -> npt.NDArray[np.int8]:
    """What turns are, given what the memories are said to be: outside a session there is no turn."""
    if declared == "notes":
        return np.full(len(kind), NOTE, np.int8)
    if declared == "dialogue":
        return np.where(kind == NOTE, NOTE, PEER).astype(np.int8)
    return np.where(kind == PEER, NOTE, kind).astype(np.int8)


def _any_of(codes: npt.NDArray[np.int32], wanted: Collection[int]) -> npt.NDArray[np.bool_]:
    """Whether each code is wanted; of a question few are."""
    found = np.zeros(len(codes), np.bool_)
    for code in wanted:
        found |= codes == code
    return found


def _is_name(part: str, named: Iterable[str]) -> bool:
    """Whether a part of a text between spaces is a name, as in ``Ana``, ``Ana's`` or ``(Ana?``."""
    found = words(part.lower().replace("'s", "").replace("\u2019s", ""))
    return bool(found) and all(word in named for word in found)


def _among(
    neighbours: npt.NDArray[np.int32], places: npt.NDArray[np.intp], *, everywhere: bool
) -> npt.NDArray[np.intp]:
    """For each neighbour, where it stands among the places, or -1; ``everywhere`` they are right, so they ascend."""
    order = None if everywhere else np.argsort(places, kind="stable")
    ascending = places if order is None else places[order]
    at = np.minimum(ascending.searchsorted(neighbours), len(places) - 1)
    # No place is below 0, where a turn has no neighbour.
    return np.where(ascending[at] == neighbours, at if order is None else order[at], -1)
