"""Made-up memories of the two kinds that LoCoMo has none of: what a user told an assistant, and notes without order."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ums_core.bench.locomo_data import Conversation, Turn
from ums_core.bench.quality import Asked, Haystack

__all__ = ["CHATS", "DAYS", "DIARY", "REPLIES", "TOLD_DIARY", "USERS", "assistant", "diary", "notes"]

USERS, REPLIES, NOTES = "what the user said", "what the assistant said", "notes"
DIARY, TOLD_DIARY = "a diary", "a diary told an assistant"

# What a user says, what the assistant replies with many of the same words, and a question about each.
_TOPICS = (
    (
        "I adopted a {pet} named {name} last week and she hardly eats. What should I give her?",
        "Congratulations on the {pet}! A young {pet} does best on small meals of {food}, and hardly eats after a move.",
        "What is my {pet} called?",
        "What did you say I should feed my {pet}?",
    ),
    (
        "I am flying to {city} in {month} with my {kin}, and I need a hotel near the {sight}.",
        "In {city} I would take the {hotel}: it is a short walk from the {sight}, and quiet in {month}.",
        "Who flies to {city} with me?",
        "Which hotel did you recommend in {city}?",
    ),
    (
        "My job at the {firm} starts on {day}, and they want a talk on {subject} from me. How would one begin?",
        "Begin a talk on {subject} with {opening}. At a {firm} people like what they can use on the very next day.",
        "On which day do I start at the {firm}?",
        "How did you say a talk on {subject} should begin?",
    ),
    (
        "I made the {dish} with {spice} instead of butter, and my {kin} loved it. What goes with it?",
        "A {dish} like that goes well with {side}, and if you leave the butter out, with a little more salt.",
        "What did I use in the {dish} instead of butter?",
        "What did you suggest to serve with the {dish}?",
    ),
    (
        "The doctor says that my {part} needs {weeks} weeks of rest. Which sport is left to me?",
        "With a {part} at rest, {sport} is the safest sport; ask the doctor again before the weeks are over.",
        "For how many weeks must my {part} rest?",
        "Which sport did you call safe for my {part}?",
    ),
    (
        "Our {plant} has yellow leaves since we moved it to the {room}. Does it want more water?",
        "A {plant} with yellow leaves wants {care} rather than water. The {room} may simply be too dark for a {plant}.",
        "Where did we move the {plant}?",
        "What did you say the {plant} with yellow leaves wants?",
    ),
)
_THANKS = (
    ("Thank you, that helps me a lot with the {it}.", "You are welcome! Tell me how it goes with the {it}."),
    ("I had not thought of that for the {it}.", "Few people do. There is more to be said about the {it} if you like."),
)
_WORDS: Mapping[str, Sequence[str]] = {
    "pet": ("kitten", "rabbit", "parrot", "hamster", "puppy", "tortoise", "ferret", "canary"),
    "name": ("Miso", "Pepper", "Juno", "Biscuit", "Olive", "Mocha", "Clover", "Tilly"),
    "food": ("boiled chicken", "fresh hay", "sunflower seeds", "soaked oats", "rice with egg", "dandelion leaves"),
    "city": ("Lisbon", "Oslo", "Kyoto", "Quito", "Tunis", "Porto", "Riga", "Dakar"),
    "month": ("April", "June", "September", "November"),
    "kin": ("sister", "uncle", "neighbour", "grandmother", "cousin", "brother"),
    "sight": ("harbour", "old market", "opera", "botanical garden", "castle"),
    "hotel": ("Blue Anchor", "Grand Linden", "Casa Mirador", "Hotel Kestrel", "Pension Aurora", "Harbour Inn"),
    "firm": ("museum", "brewery", "observatory", "bakery", "shipyard", "zoo", "printing house", "hospital"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "subject": ("tides", "old maps", "fermentation", "glaciers", "night trains", "bridges", "bees", "pigments"),
    "opening": ("one surprising number", "a question to the room", "a short story of failure", "a photograph"),
    "dish": ("lasagna", "pumpkin soup", "apple cake", "paella", "ratatouille", "dumplings", "risotto", "goulash"),
    "spice": ("olive oil", "coconut milk", "saffron", "smoked paprika", "miso paste", "mustard"),
    "side": ("a fennel salad", "roasted almonds", "pickled beets", "dark bread", "a glass of cider"),
    "part": ("knee", "left shoulder", "ankle", "wrist", "lower back", "hip", "elbow", "neck"),
    "weeks": ("two", "three", "five", "six", "eight"),
    "sport": ("swimming", "rowing", "table tennis", "nordic walking", "archery"),
    "plant": ("lemon tree", "fern", "orchid", "monstera", "bonsai", "ficus", "aloe", "camellia"),
    "room": ("bathroom", "stairwell", "winter garden", "attic", "kitchen window"),
    "care": ("a larger pot", "less sun", "iron", "a week of peace", "softer light"),
}
_SUBJECTS = ("pet", "city", "firm", "dish", "part", "plant")
# As many as there are subjects for.
CHATS = 40

# Notes: what stands there, and how one asks for it in other words.
_FACTS = (
    ("The wifi password at the {place} is {value}.", "How do I get online at the {place}?"),
    ("The door code of the {place} is {value}.", "Which digits open the {place}?"),
    ("The {place} is closed on {day}.", "On which day is there no use in going to the {place}?"),
    ("Spare keys of the {place} are with {person}.", "Who has another key to the {place}?"),
    ("The fuse box of the {place} is behind the {spot}.", "Where is the electricity of the {place} switched off?"),
    ("Rent for the {place} is due on the {number} of the month.", "When must the {place} be paid for?"),
)
_PLACES = (
    "office", "beach house", "garage", "studio", "allotment", "boathouse", "cellar", "library", "workshop", "cabin",
    "archive", "gym",
)  # fmt: skip
# Days, what happened on them, what an assistant would say to it, and how one asks for it.
DAYS = 60
_FIRST_DAY = datetime(2024, 2, 1, 20, tzinfo=UTC)
_DAYS = (
    ("Ran {weeks} kilometres past the {sight}.", "A run past the {sight}, well done!", "How far did I run on {date}?"),
    ("Cooked {dish} with {spice}.", "With {spice}, {dish} must have been good.", "What did I cook on {date}?"),
    ("Met {name} from the {firm}.", "How nice that you met {name}.", "Whom did I meet on {date}?"),
)


def assistant(seed: int, chats: int = CHATS) -> Haystack:
    """Short chats of one user with an assistant, and two questions about each that name a subject of theirs."""
    draw = random.Random(seed)  # noqa: S311  # nothing secret
    turns: list[Turn] = []
    asked: list[Asked] = []
    for number, (topic, words) in enumerate(_chats(draw, chats)):
        told, replied, about_told, about_reply = _TOPICS[topic]
        subject = words[_SUBJECTS[topic]]
        pairs = [(told.format(**words), replied.format(**words))]
        pairs += [(mine.format(it=subject), yours.format(it=subject)) for mine, yours in _THANKS]
        for position, text in enumerate(text for pair in pairs for text in pair):
            role = "assistant" if position % 2 else "user"
            turns.append(_turn(f"D{number}:{position}", text, session=f"chat {number}", position=position, role=role))
        asked.append(Asked(text=about_told.format(**words), group=USERS, gold={f"D{number}:0": 1.0}))
        asked.append(Asked(text=about_reply.format(**words), group=REPLIES, gold={f"D{number}:1": 1.0}))
    return _haystack(f"assistant-{seed}", turns, asked)


def notes(seed: int, places: int = len(_PLACES)) -> Haystack:
    """Six facts about each of some places, in any order, and a question for each in other words."""
    draw = random.Random(seed)  # noqa: S311  # as above
    turns: list[Turn] = []
    asked: list[Asked] = []
    facts = [(fact, place) for fact in _FACTS for place in _PLACES[:places]]
    draw.shuffle(facts)
    for number, ((told, question), place) in enumerate(facts):
        words = {
            "place": place,
            "value": f"{draw.randrange(1000, 9999)}",
            "day": draw.choice(_WORDS["day"]),
            "person": draw.choice(_WORDS["name"]),
            "spot": draw.choice(("coats", "mirror", "freezer", "stairs")),
            "number": draw.choice(("first", "third", "fifth", "tenth")),
        }
        turns.append(_turn(f"N{number}", told.format(**words)))
        asked.append(Asked(text=question.format(**words), group=NOTES, gold={f"N{number}": 1.0}))
    return _haystack(f"notes-{seed}", turns, asked)


def diary(seed: int, days: int = DAYS, *, told: bool = False) -> Haystack:
    """One thing a day, written down up to three days later, and a question about each that tells it by its date alone.

    Args:
        seed: of what happened.
        days: how many, from 1.
        told: to an assistant, who replies to each.
    """
    draw = random.Random(seed)  # noqa: S311  # as above
    turns: list[Turn] = []
    asked: list[Asked] = []
    for number in range(days):
        happened, reply, question = _DAYS[number % len(_DAYS)]
        words = {name: draw.choice(values) for name, values in _WORDS.items()}
        day = _FIRST_DAY + timedelta(days=number)
        at = day + timedelta(days=draw.randrange(4))
        words["date"] = f"{day.day} {day:%B %Y}"
        said = [_turn(f"E{number}:0", happened.format(**words))]
        if told:
            said = [
                _turn(f"E{number}:{place}", text.format(**words), session=f"day {number}", position=place, role=role)
                for place, (text, role) in enumerate([(happened, "user"), (reply, "assistant")])
            ]
        turns += [replace(turn, occurred_at=at) for turn in said]
        group = TOLD_DIARY if told else DIARY
        asked.append(Asked(text=question.format(**words), group=group, gold={f"E{number}:0": 1.0}))
    return _haystack(f"{'told ' if told else ''}diary-{seed}", turns, asked)


def _chats(draw: random.Random, chats: int) -> Iterator[tuple[int, dict[str, str]]]:
    """Topics with their words; no two chats of a topic have the same subject."""
    subjects = {topic: draw.sample(_WORDS[name], len(_WORDS[name])) for topic, name in enumerate(_SUBJECTS)}
    for number in range(chats):
        topic = number % len(_TOPICS)
        words = {name: draw.choice(values) for name, values in _WORDS.items()}
        yield topic, words | {_SUBJECTS[topic]: subjects[topic][number // len(_TOPICS)]}


def _turn(id_: str, text: str, *, session: str = "", position: int = 0, role: str | None = None) -> Turn:
    return Turn(
        dia_id=id_, session=session, position=position, speaker="", text=text, caption="", occurred_at=None, role=role
    )


def _haystack(name: str, turns: Sequence[Turn], asked: Sequence[Asked]) -> Haystack:
    return Haystack(Conversation(sample_id=name, turns=tuple(turns), questions=()), tuple(asked))
