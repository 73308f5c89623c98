"""Weights of the ranking signals, by kind of memory, each with its evidence."""

from dataclasses import dataclass

__all__ = ["DEFAULT_PROFILE", "Profile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How much each signal counts. All but the first two are in standard deviations of the fused score.

    A signal acts only where a memory has what it needs: neighbours need a session and a position, the prior of a user's
    turn needs the roles of an assistant's dialogue. So one profile serves peers talking, an assistant and its user, and
    notes without order, and does nothing to the last.

    The evidence is turn-level recall@10 on the development half of LoCoMo (Maharana et al., ACL 2024), categories 1 to
    4, with the static embedder; ``python -m ums_core.bench locomo`` reproduces the last line. Each step includes those
    above it:

    =========================================  ====
    vectors and keywords fused by z-scores     54.0
    names of speakers left out of the vector   62.0
    scores of neighbouring turns added         70.7
    turns of a speaker named in the query      74.1
    questions down, longer turns up            74.4
    =========================================  ====

    Attributes:
        dense: share of the cosine.
        lexical: share of BM25.
        before: part of the score of the turn before that a turn takes over.
        after_question: the same, where the turn before asks something, since the answer needs its words.
        after: part of the score of the turn after.
        before_2: part of the score of the turn two before.
        after_2: part of the score of the turn two after.
        named_speaker: added if the query names the speaker; more of it hurts questions that mix two people up.
        question: added if the turn itself asks something.
        length: added per unit of ln(1 + telling words).
        user: added to a user's turn in an assistant's dialogue, unless the query speaks of "you".
        reply: part of the score of the assistant's reply that a user's turn takes over. Neighbours do not help there:
            recall@5 fell from 37.5 to 33.2 on other data of that kind, and the two user signals raised recall@10 from
            47 to 62.
    """

    dense: float = 0.6
    lexical: float = 0.4
    before: float = 0.2
    after_question: float = 0.6
    after: float = 0.2
    before_2: float = 0.2
    after_2: float = 0.1
    named_speaker: float = 0.8
    question: float = -0.4
    length: float = 0.2
    user: float = 1.0
    reply: float = 0.3


DEFAULT_PROFILE = Profile()
