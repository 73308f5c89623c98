"""``python -m ums_core.bench kinds``: whether the default ranking does well on what it was not fitted to."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TextIO

from ums_core.bench.kinds_data import CHATS, DAYS, DIARY, REPLIES, TOLD_DIARY, USERS, assistant, diary, notes
from ums_core.bench.metrics import recall_at_k, reciprocal_rank
from ums_core.bench.quality import Measure, Score, judged, print_scores
from ums_core.bench.rankers import Bm25Ranker, Ranker, UmsRanker

__all__ = ["add_arguments", "rows", "run"]

_MEASURES: Mapping[str, Measure] = {
    "R@1": lambda ranking, question, _: recall_at_k(ranking, list(question.gold), 1),
    "R@5": lambda ranking, question, _: recall_at_k(ranking, list(question.gold), 5),
    "MRR": lambda ranking, question, _: reciprocal_rank(ranking, list(question.gold)),
}
_GROUPS = {name: name.__eq__ for name in (USERS, REPLIES, "notes", DIARY, TOLD_DIARY)}
_EPILOG = """\
Made-up chats of users with an assistant, who repeats their words, notes without order, and diaries of which a date is
asked, written down or told an assistant; no LLM, no download.
rows: ums as it comes, which infers the kind from roles and sessions; both shares alone (z-scores); without the signal
  that prefers a user's turns, without the one that lets them take over part of the reply, and without that of the date;
  with both shares alike; ranked as a dialogue of peers; vectors, words, and a library's BM25 alone"""


def rows(embedder: str | None, *, seeds: int, chats: int = CHATS, progress: TextIO | None = None) -> list[Score]:
    """One row a contestant and group of questions.

    Args:
        embedder: name as in the settings; None is the default one.
        seeds: how many users, and as many collections of notes.
        chats: of each user, at most 40; there are a third as many places with notes, and half as many days again in a
            diary.
        progress: where a bar is drawn if it is a terminal.
    """
    ours = UmsRanker(embedder)
    everyone: dict[str, Ranker] = {
        "ums": ours,
        "z-scores": ours.view(kind="notes", weights={"date": 0.0}),
        "ums without user": ours.view(weights={"user": 0.0}),
        "ums without reply": ours.view(weights={"reply": 0.0}),
        "ums without date": ours.view(weights={"date": 0.0}),
        "ums, even shares": ours.view(weights={"dense": 0.5, "lexical": 0.5}),
        "ums as a dialogue": ours.view(kind="dialogue"),
        "words": ours.view(mode="keyword"),
        "bm25": Bm25Ranker(),
    }
    if embedder != "none":
        everyone["vectors"] = ours.view(mode="vector")
    days = chats * DAYS // CHATS
    haystacks = [assistant(seed, chats) for seed in range(seeds)] + [notes(seed, chats // 3) for seed in range(seeds)]
    haystacks += [diary(seed, days, told=told) for told in (False, True) for seed in range(seeds)]
    return judged(haystacks, {name: [ranker] for name, ranker in everyone.items()}, _MEASURES, _GROUPS, progress)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    parser.add_argument("--embedder", metavar="NAME", help="in place of the default one")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="how many of each (default: %(default)s)")
    parser.add_argument("--chats", type=int, default=CHATS, metavar="N", help="of each user (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help='print {"rows": [...]}, fractions from 0 to 1')


def run(args: argparse.Namespace) -> int:
    """Measure, and print the rows on stdout."""
    result = rows(args.embedder, seeds=args.seeds, chats=args.chats, progress=sys.stderr)
    if args.json:
        print(json.dumps({"rows": [row.as_json() for row in result]}, indent=2))
    else:
        print_scores("kinds of memories", result, list(_MEASURES))
    return 0
