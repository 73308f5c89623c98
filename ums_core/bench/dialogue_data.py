"""A conversation over months that is the same for the same seed: facts stated, repeated, corrected and contradicted."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

__all__ = ["START", "Fact", "Kind", "Turn", "conversation"]

Kind = Literal["stated", "repeated", "corrected", "contradicted", "talk"]
START = datetime(2026, 1, 1, 8, tzinfo=UTC)

_NAMES = (
    *("Ada", "Bruno", "Cleo", "Dimitri", "Edda", "Farid", "Greta", "Hakim", "Ines", "Jonas", "Kaja", "Luca"),
    *("Maren", "Nadia", "Olaf", "Petra", "Quentin", "Rosa", "Sven", "Talia", "Umar", "Vera", "Wanda", "Yusuf"),
)


class _Topic(NamedTuple):
    """One kind of fact: how it is said the first time and again, how it is asked, and what it may be."""

    name: str
    says: tuple[str, ...]
    asks: str
    values: tuple[str, ...]


_TOPICS = (
    _Topic(
        "city",
        ("{who} lives in {what}.", "{who}'s home is in {what}.", "{who} has a flat in {what}."),
        "Which city does {who} live in?",
        ("Lisbon", "Bergen", "Krakow", "Toulouse", "Seville", "Gdansk"),
    ),
    _Topic(
        "work",
        ("{who} works as a {what}.", "{who}'s job is that of a {what}.", "{who} earns a living as a {what}."),
        "What does {who} work as?",
        ("carpenter", "nurse", "surveyor", "translator", "beekeeper", "pilot"),
    ),
    _Topic(
        "instrument",
        ("{who} plays the {what}.", "{who} practises the {what} every evening.", "{who} takes {what} lessons."),
        "Which instrument does {who} play?",
        ("cello", "oboe", "trumpet", "harp", "banjo", "accordion"),
    ),
    _Topic(
        "drink",
        ("{who} drinks {what} in the morning.", "{who} starts the day with {what}.", "{who} orders {what} first."),
        "What does {who} drink in the morning?",
        ("espresso", "oolong", "cocoa", "buttermilk", "matcha", "cider"),
    ),
    _Topic(
        "pet",
        ("{who} keeps a {what} as a pet.", "{who} has to feed the {what}.", "{who}'s pet is a {what}."),
        "What pet does {who} keep?",
        ("tortoise", "parrot", "ferret", "greyhound", "hedgehog", "goldfish"),
    ),
    _Topic(
        "allergy",
        ("{who} is allergic to {what}.", "{who} must not eat {what}.", "{who} gets a rash from {what}."),
        "What is {who} allergic to?",
        ("walnuts", "shellfish", "celery", "mustard", "sesame", "lupin"),
    ),
    _Topic(
        "sport",
        ("{who} goes {what} at weekends.", "{who} trains for {what}.", "{who} loves {what} more than any other sport."),
        "Which sport does {who} do?",
        ("rowing", "fencing", "climbing", "curling", "archery", "sailing"),
    ),
    _Topic(
        "car",
        ("{who} drives a {what}.", "{who} bought a {what}.", "{who} parks the {what} in the yard."),
        "What does {who} drive?",
        ("minivan", "tractor", "moped", "convertible", "pickup", "tricycle"),
    ),
)
_TALK = (
    "The weather was {mood} on the way here.",
    "That film last night was {mood}, I thought.",
    "Let us look at the list again after lunch, this is {mood}.",
    "The train was {mood} again this morning.",
    "Nothing new from the office, all {mood} there.",
)
_MOODS = ("dull", "bright", "late", "noisy", "odd", "long", "quiet", "strange", "fine", "tiring")
_CORRECTS = "Correction: {said}"
_CONTRADICTS = "By the way: {said}"


@dataclass(frozen=True, slots=True)
class Fact:
    """One question with one answer at a time.

    Attributes:
        who: whom it is about.
        topic: what it is about.
        question: in words.
    """

    who: str
    topic: str
    question: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that is said.

    Attributes:
        at: when.
        kind: why.
        text: in words.
        fact: what it tells; None for talk.
        value: the answer that it gives.
        importance: in [0, 1]; talk is less important than facts.
    """

    at: datetime
    kind: Kind
    text: str
    importance: float
    fact: Fact | None = None
    value: str = ""


def conversation(turns: int, *, months: float = 6.0, seed: int = 0) -> Iterator[Turn]:
    """So many turns, spread over so many months of 30 days; the same for the same numbers.

    About 45 % state a new fact, 15 % repeat one in other words, 12 % correct one, 8 % contradict one without saying
    so, and the rest is talk. When no new fact is left, one is repeated.
    """
    rng = random.Random(seed)  # noqa: S311  # a script, no secret
    slots = [(who, topic) for who in _NAMES for topic in _TOPICS]
    rng.shuffle(slots)
    known: dict[Fact, tuple[_Topic, str]] = {}
    for number in range(turns):
        share = (number + rng.random()) / turns
        at = START + timedelta(days=30.0 * months * share)
        kind = _kind(rng, known=bool(known), left=bool(slots))
        if kind == "talk":
            yield Turn(at, kind, rng.choice(_TALK).format(mood=rng.choice(_MOODS)), 0.1)
            continue
        if kind == "stated":
            who, topic = slots.pop()
            fact = Fact(who, topic.name, topic.asks.format(who=who))
            value = rng.choice(topic.values)
        else:
            fact = rng.choice(list(known))
            topic, value = known[fact]
            if kind != "repeated":
                value = rng.choice([other for other in topic.values if other != value])
        known[fact] = (topic, value)
        said = rng.choice(topic.says[1:] if kind == "repeated" else topic.says).format(who=fact.who, what=value)
        form = {"corrected": _CORRECTS, "contradicted": _CONTRADICTS}.get(kind, "{said}")
        yield Turn(at, kind, form.format(said=said), rng.choice((0.4, 0.6, 0.8)), fact, value)


def _kind(rng: random.Random, *, known: bool, left: bool) -> Kind:
    drawn = rng.random()
    if drawn >= 0.8:  # noqa: PLR2004  # the shares of the docstring
        return "talk"
    if not known:
        return "stated"
    kinds: tuple[tuple[float, Kind], ...] = ((0.45, "stated"), (0.60, "repeated"), (0.72, "corrected"))
    kind: Kind = next((kind for most, kind in kinds if drawn < most), "contradicted")
    return "repeated" if kind == "stated" and not left else kind
