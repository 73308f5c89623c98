"""Words: which of them tell, and what a text does with them. English."""

import re

__all__ = [
    "ASKS",
    "ENDS_ASKING",
    "FIRST_PERSON",
    "NAMES_TIME",
    "STOP_WORDS",
    "asks_reply",
    "asks_time",
    "cues",
    "heard",
    "telling",
    "words",
]

# What a text does with words, as bits: it asks something, its last sentence does, it speaks of the speaker, it names a
# time.
ASKS, ENDS_ASKING, FIRST_PERSON, NAMES_TIME = 1, 2, 4, 8


_WORD = re.compile(r"\w+")

# Function words: too frequent to tell memories apart.
# fmt: off
STOP_WORDS = frozenset({
    "a", "about", "above", "after", "again", "against", "all", "also", "am", "an", "and", "any", "are", "as", "at",
    "be", "because", "been", "before", "being", "below", "between", "both", "but", "by", "can", "could", "did", "do",
    "does", "doing", "down", "during", "each", "few", "for", "from", "further", "had", "has", "have", "having", "he",
    "her", "here", "hers", "herself", "him", "himself", "his", "how", "i", "if", "in", "into", "is", "it", "its",
    "itself", "just", "me", "more", "most", "my", "myself", "no", "nor", "not", "now", "of", "off", "on", "once",
    "only", "or", "other", "our", "ours", "ourselves", "out", "over", "own", "s", "same", "she", "should", "so",
    "some", "such", "t", "than", "that", "the", "their", "theirs", "them", "themselves", "then", "there", "these",
    "they", "this", "those", "through", "to", "too", "under", "until", "up", "very", "was", "we", "were", "what",
    "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
    "yours", "yourself", "yourselves",
})
_OURSELVES = frozenset({"i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves"})
# "may" and "march" are left out: mostly other words.
_TIMES = frozenset({
    "yesterday", "today", "tonight", "tomorrow", "ago", "last", "next", "recently", "since", "soon",
    "morning", "evening", "day", "week", "weekend", "month", "year", "days", "weeks", "weekends", "months", "years",
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
    "january", "february", "april", "june", "july", "august", "september", "october", "november", "december",
})
# fmt: on
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_WHEN = re.compile(
    r"\b(?:when (?:did|was|were|is|are|will|does|do|has|have|had|would)|how long|what (?:date|day|month|year|time))\b",
    re.IGNORECASE,
)
# "Can you suggest a hotel?" asks for something new; "which one did you suggest?" for what was said; "remind me where I
# work" for what the user told.
_REPLY = re.compile(
    r"\b(?:(?:did|had) you"
    r"|you (?:\w+ly )?(?!need\b|feed\b)(?:\w+ed|said|told|gave|wrote|made|had|found|sent|came|thought)"
    r"|your (?:\w+ )?(?:answer|advice|recommendation|suggestion|reply|list|explanation|summary)s?"
    r"|our (?:\w+ )?(?:chat|conversation|discussion|talk)s?"
    r"|remind me(?!.*\b(?:i|my|mine)\b))\b",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, in their order."""
    return _WORD.findall(text.lower())


def telling(text: str) -> list[str]:
    """The words of a text without function words, in their order."""
    return [word for word in words(text) if word not in STOP_WORDS]


def cues(text: str) -> int:
    """What a text does with words: the bits above, joined."""
    return heard(text)[1]


def heard(text: str) -> tuple[int, int]:
    """How many words of a text tell something, and what it does with words; in one reading."""
    found = words(text)
    said = set(found)
    bits = (
        ASKS * ("?" in text)
        | ENDS_ASKING * text.rstrip().endswith("?")
        | FIRST_PERSON * (not said.isdisjoint(_OURSELVES))
        | NAMES_TIME * (not said.isdisjoint(_TIMES) or _names_year(text))
    )
    return len(found) - sum(map(STOP_WORDS.__contains__, found)), bits


def _names_year(text: str) -> bool:
    # To look for the digits first takes a fiftieth of the time, and most texts have none.
    return ("19" in text or "20" in text) and _YEAR.search(text) is not None


def asks_time(text: str) -> bool:
    """Whether a question asks when something was, or for how long."""
    return _WHEN.search(text) is not None


def asks_reply(text: str) -> bool:
    """Whether a question to an assistant asks what it said itself."""
    return _REPLY.search(text) is not None
