"""``python -m ums_core.bench longmemeval PATH``: the official file of LongMemEval, retrieval only, without an LLM.

Format and measures: Wu et al., "LongMemEval: benchmarking chat assistants on long-term interactive memory", ICLR 2025.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ums_core.bench.locomo_data import Conversation, Turn
from ums_core.bench.metrics import any_at_k, ndcg_at_k, session_ranking
from ums_core.bench.quality import Asked, Haystack, Measure, baselines, judged, print_scores
from ums_core.errors import InvalidInput

__all__ = ["Instance", "add_arguments", "all_at_k", "load", "run"]

ABSTENTION = "abstention"
_ABSTAINS = "_abs"
_DATES = ("%Y/%m/%d (%a) %H:%M", "%Y/%m/%d")
_DEPTHS = (5, 10)
_SHOWN = ("session any@5", "session all@5", "session any@10", "turn any@5", "turn all@5", "turn any@10")
_EPILOG = """\
PATH is longmemeval_s.json, longmemeval_m.json or longmemeval_oracle.json: https://github.com/xiaowu0162/LongMemEval

Every question has a haystack of its own, stored turn by turn with role, session, place and date in a fresh database.
any@k: 1 if one of the gold turns or sessions is among the first k; all@k: 1 if every one is; the means are printed.
A gold session is one of answer_session_ids, ranked by its best turn; a gold turn is one with has_answer.
Questions that are to be refused (their id ends in _abs) have no answer to be found: they are reported apart, by the
sessions that look as if they had one, and stand in no other row.
What has no evidence is skipped and counted on stderr."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One question with what is searched.

    Attributes:
        haystack: turns called ``SESSION#PLACE``; its one question has the gold turns, or none of them.
        sessions: the gold sessions.
    """

    haystack: Haystack
    sessions: frozenset[str]


def all_at_k(ranking: Sequence[str], gold: frozenset[str], k: int) -> float:
    """1 if every gold id stands among the first k, else 0."""
    return float(gold <= set(ranking[:k]))


def load(path: Path) -> tuple[list[Instance], int]:
    """The instances of a file, and how many were skipped for want of evidence.

    Raises:
        InvalidInput: the file cannot be read, is not JSON, or is not in this format; the message says where.
    """
    try:
        entries = json.loads(path.read_bytes())
    except OSError as e:
        raise InvalidInput(f"cannot read {path}: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise InvalidInput(f"{path} is not JSON: {e}") from e
    if not isinstance(entries, list):
        raise InvalidInput(f"{path} is not in LongMemEval's format: expected a list of questions")
    instances, skipped = [], 0
    for number, entry in enumerate(entries):
        try:
            made = _instance(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise InvalidInput(f"{path} is not in LongMemEval's format: question {number}: {e!r}") from e
        if made.sessions and made.haystack.questions[0].gold:
            instances.append(made)
        else:
            skipped += 1
    return instances, skipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare PATH, --granularity, --limit, --embedder and --json."""
    parser.epilog = _EPILOG
    parser.add_argument("path", metavar="PATH", type=Path, help="a JSON file in the format of longmemeval_s.json")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N questions")
    parser.add_argument("--embedder", metavar="NAME", help="another embedder than the default one")
    parser.add_argument("--json", action="store_true", help='print {"rows": [...]}, fractions from 0 to 1')


def run(args: argparse.Namespace) -> int:
    """Measure, print the rows on stdout, and say on stderr what was skipped.

    Raises:
        InvalidInput: the file or the embedder cannot be used.
        MissingExtra: a package is not installed.
    """
    instances, skipped = load(args.path)
    instances = instances[: args.limit]
    gold_sessions = {id(entry.haystack.questions[0]): entry.sessions for entry in instances}
    kinds = dict.fromkeys(entry.haystack.questions[0].group for entry in instances)
    groups: dict[str, Callable[[str], bool]] = {"all but abstention": lambda kind: kind != ABSTENTION}
    groups |= {kind: kind.__eq__ for kind in sorted(kinds)}
    scores = judged(
        [entry.haystack for entry in instances],
        baselines(args.embedder),
        _measures(gold_sessions),
        groups,
        sys.stderr,
    )
    print(f"skipped {skipped} questions without evidence", file=sys.stderr)
    if args.json:
        print(json.dumps({"rows": [score.as_json() for score in scores]}, indent=2))
    else:
        print_scores("LongMemEval", scores, _SHOWN)
    return 0


def _measures(gold_sessions: Mapping[int, frozenset[str]]) -> dict[str, Measure]:
    """Any and all at each depth, of sessions and of turns, and nDCG@10 of both."""

    def sessions(ranking: Sequence[str], conversation: Conversation) -> list[str]:
        return session_ranking(ranking, {turn.dia_id: turn.session for turn in conversation.turns})

    def by_session(measure: Callable[..., float], k: int) -> Measure:
        return lambda ranking, asked, where: measure(sessions(ranking, where), gold_sessions[id(asked)], k)

    def by_turn(measure: Callable[..., float], k: int) -> Measure:
        return lambda ranking, asked, _: measure(ranking, frozenset(asked.gold), k)

    found: dict[str, Measure] = {}
    for level, made in (("session", by_session), ("turn", by_turn)):
        for k in _DEPTHS:
            found[f"{level} any@{k}"] = made(any_at_k, k)
            found[f"{level} all@{k}"] = made(all_at_k, k)
        found[f"{level} nDCG@10"] = made(ndcg_at_k, 10)
    return found


def _instance(entry: Mapping[str, object]) -> Instance:
    ids, dates, sessions = (_list(entry, f"haystack_{part}") for part in ("session_ids", "dates", "sessions"))
    turns: list[Turn] = []
    gold: dict[str, float] = {}
    for session, date, spoken in zip(ids, dates, sessions, strict=True):
        for place, turn in enumerate(spoken):
            name = f"{session}#{place}"
            turns.append(
                Turn(
                    dia_id=name,
                    session=str(session),
                    position=place,
                    speaker="",
                    text=str(turn["content"]),
                    caption="",
                    occurred_at=_date(str(date)),
                    role=str(turn["role"]),
                )
            )
            if turn.get("has_answer"):
                gold[name] = 1.0
    name = str(entry["question_id"])
    answers = frozenset(map(str, _list(entry, "answer_session_ids")))
    abstains = name.endswith(_ABSTAINS)
    if abstains and not gold:
        # What looks like an answer is marked by session alone.
        gold = {turn.dia_id: 1.0 for turn in turns if turn.session in answers}
    kind = ABSTENTION if abstains else str(entry["question_type"])
    conversation = Conversation(sample_id=name, turns=tuple(turns), questions=())
    return Instance(Haystack(conversation, (Asked(text=str(entry["question"]), group=kind, gold=gold),)), answers)


def _list(entry: Mapping[str, object], key: str) -> list[Any]:
    value = entry[key]
    if not isinstance(value, list):
        raise TypeError(f"{key} must be a list")
    return value


def _date(text: str) -> datetime:
    for form in _DATES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise ValueError(f"{text!r} must look like '2023/05/20 (Sat) 02:21'")
