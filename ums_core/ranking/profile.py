"""Weights of the ranking signals, by kind of memory, each with its evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["ASSISTANT", "DIALOGUE", "NOTES", "PROFILES", "Profile", "Profiles", "adjusted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How much each signal counts. All but the first two are in standard deviations of the fused score.

    A signal acts only where a memory has what it needs: neighbours and a session's best need a session, the speaker's
    signals a speaker. The score is the sum of weight times signal, so that weights can be fitted by regression and a
    hit can say what each of them contributed.

    The defaults act on nothing but the two shares: what is true of any memory.

    Attributes:
        dense: share of the cosine of the best passage. The shares count relative to their sum, so that a search
            without vectors ranks by words at full weight.
        lexical: share of BM25.
        before: part of the fused score of the turn before that a turn takes over.
        after_question: the same, where the turn before asks something, since the answer needs its words.
        after: part of the score of the turn after.
        before_2: part of the score of the turn two before.
        after_2: part of the score of the turn two after.
        session: part of the best score in the session.
        named_speaker: added if the query names the speaker.
        first_person: added if the query names the speaker and they speak of themselves.
        question: added if the turn ends by asking something.
        answer: added if the turn before asks something.
        length: added per unit of ln(1 + telling words).
        time: added if the query asks when, and the memory names a time.
        date: added inside the day, month or year that the query names; halved with each week after it.
        user: added to a user's turn in an assistant's dialogue; if the query asks what the assistant said, to a reply.
        reply: part of the score of the assistant's reply that a user's turn takes over; if the query asks what the
            assistant said, that of the user's turn which the reply takes over.
    """

    dense: float = 0.5
    lexical: float = 0.5
    before: float = 0.0
    after_question: float = 0.0
    after: float = 0.0
    before_2: float = 0.0
    after_2: float = 0.0
    session: float = 0.0
    named_speaker: float = 0.0
    first_person: float = 0.0
    question: float = 0.0
    answer: float = 0.0
    length: float = 0.0
    time: float = 0.0
    date: float = 0.0
    user: float = 0.0
    reply: float = 0.0


# Rounded between the fits for three embedders; docs/explanation/ranking.md has the evidence for each.
DIALOGUE = Profile(
    dense=0.5,
    lexical=0.5,
    before=0.1,
    after_question=0.65,
    after=0.25,
    before_2=0.4,
    after_2=0.15,
    session=0.75,
    named_speaker=0.45,
    first_person=0.85,
    question=-0.75,
    answer=0.5,
    length=0.6,
    time=1.4,
    date=1.3,
)
# These two were not fitted; the same page has what is found without each weight. Neighbours do not help here: recall@5
# fell from 37.5 to 33.2 on other data of this kind, and the two last signals raised recall@10 from 47 to 62.
ASSISTANT = Profile(dense=0.6, lexical=0.4, date=1.0, user=1.0, reply=0.3)
NOTES = Profile(dense=0.6, lexical=0.4, date=1.0)


@dataclass(frozen=True, slots=True)
class Profiles:
    """One profile for each kind of memory."""

    notes: Profile = NOTES
    dialogue: Profile = DIALOGUE
    assistant: Profile = ASSISTANT


PROFILES = Profiles()


def adjusted(profiles: Profiles, weights: Mapping[str, float]) -> Profiles:
    """The profiles with some weights replaced; of the two shares, one given alone leaves the other out."""
    shares = {"dense": 0.0, "lexical": 0.0} if {"dense", "lexical"} & weights.keys() else {}
    values = {**shares, **weights}
    return Profiles(*(replace(p, **values) for p in (profiles.notes, profiles.dialogue, profiles.assistant)))
