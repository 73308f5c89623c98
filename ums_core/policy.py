"""What may leave the device: pure rules, written here and nowhere else.

A question or a memory is personal unless its caller marks it otherwise, and what is personal never leaves. Of what is
marked global, the mode decides how much goes along: ``strict`` sends what it is about and nothing that says whose it
is, ``standard`` sends it as the caller made it.
"""

import hashlib
from dataclasses import replace
from typing import Any, Literal

from ums_core.errors import ConsentRequired, PrivacyModeStrict, StaysOnDevice
from ums_core.records import Draft, Filter, Memory, Query

__all__ = [
    "DRAFT_LEAVES",
    "LINKING_VERBS",
    "MODES",
    "PROMOTED_LEAVES",
    "QUERY_LEAVES",
    "PrivacyMode",
    "blinded",
    "check_consent",
    "check_verb",
    "condition_on_device",
    "draft_to_send",
    "promoted",
    "query_to_send",
]

PrivacyMode = Literal["strict", "standard"]
MODES: tuple[PrivacyMode, ...] = ("strict", "standard")

# What a question marked global sends in strict mode. Not here: the namespace and the filter, whose labels name people
# and their things. A field that a query gains stays on the device until it is added.
QUERY_LEAVES = frozenset(
    {"text", "vector", "k", "mode", "modality", "level", "weights", "kind", "offset"}
    | {"min_score", "diversity", "recency", "explain", "context", "group", "max_tokens", "use_cross_encoder"}
    | {"include_archived", "as_of"}
)
# What a memory written as global sends in strict mode. Not here: namespace, id, source_ids, session, position and
# created_at, which tie it to memories on the device, and the speaker.
DRAFT_LEAVES = frozenset(
    {"text", "embedding", "passages", "modality", "role", "tags", "metadata", "level"}
    | {"importance", "emotional_intensity", "valence", "expires_at", "final", "occurred_at"}
    | {"pinned", "ttl_s", "valid_from", "caption"}
)
# What a personal memory is promoted with in strict mode: what it says and how it weighs. Its labels and vectors were
# made for the device, and its caption by a machine; whoever redacts it may give it new ones.
PROMOTED_LEAVES = DRAFT_LEAVES - {"embedding", "passages", "modality", "tags", "metadata", "caption"}
# They tell another machine which memory somebody used.
LINKING_VERBS = frozenset({"mark_access", "reinforce"})


def query_to_send(query: Query, mode: PrivacyMode) -> Query:
    """What the global side is asked for a question.

    Raises:
        StaysOnDevice: the question is personal.
    """
    if query.channel == "personal":
        raise StaysOnDevice('a personal question stays on the device; mark it channel="global" or "both" to ask others')
    if mode == "standard":
        return replace(query, channel="personal")
    return Query(**_only(query, QUERY_LEAVES))


def condition_on_device(query: Query, mode: PrivacyMode) -> Filter | None:
    """The filter that the device itself holds against the global side's hits, because it was not sent."""
    return None if mode == "standard" or query.filter is None else Filter.parse(query.filter)


def draft_to_send(draft: Draft, mode: PrivacyMode) -> Draft:
    """What the global side is given to store for a draft.

    Raises:
        StaysOnDevice: the draft is personal.
    """
    if draft.channel != "global":
        raise StaysOnDevice('a personal memory stays on the device; write it with channel="global", or promote it')
    if mode == "standard":
        return replace(draft, channel="personal")
    return Draft(**_only(draft, DRAFT_LEAVES))


def promoted(memory: Memory, mode: PrivacyMode) -> Draft:
    """The draft that a personal memory would become on the global side, before anybody redacts it.

    Its vectors are left out in both modes: the global side embeds with a model of its own.
    """
    names = PROMOTED_LEAVES
    if mode == "standard":
        names = names | {"namespace", "tags", "metadata", "caption", "speaker", "session", "position", "source_ids"}
        names = names | {"created_at"}
    values = _only(memory, names)
    if not memory.text.strip():
        # Without words there are only the vectors to promote.
        values["passages"] = memory.passages
    return Draft(**values, channel="global")


def check_consent(consent: object) -> None:
    """A promotion has somebody to ask.

    Raises:
        ConsentRequired: there is nobody.
    """
    if not callable(consent):
        raise ConsentRequired(
            f"consent must be a function that is shown what would be sent and returns True, got {consent!r}; "
            "write Promotion(redact=…, consent=…)"
        )


def check_verb(verb: str, mode: PrivacyMode) -> None:
    """The verb may be called on a store that others run.

    Raises:
        PrivacyModeStrict: it tells who used what, and the mode is strict.
    """
    if mode == "strict" and verb in LINKING_VERBS:
        raise PrivacyModeStrict(f"{verb} tells who used which memory; set AI_PRIVACY_MODE=standard to allow it")


def blinded(secret: bytes, *parts: object) -> str:
    """A name for the parts, 32 hex digits, that says nothing of them to anybody without the secret."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "backslashreplace"), key=secret, digest_size=16).hexdigest()


def _only(record: Query | Draft | Memory, names: frozenset[str]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in sorted(names)}
