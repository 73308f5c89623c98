"""How much of a prompt a text takes, and what fits into it."""

import re
from collections.abc import Iterable, Sequence

__all__ = ["estimate_tokens", "pack"]

_PIECE = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
# Byte-pair vocabularies hold most words of this length whole, cut longer ones, and groups of three digits.
_WORD, _DIGITS = 7, 3


def estimate_tokens(text: str) -> int:
    """About how many tokens a language model makes of a text; exact numbers need the model's own tokenizer.

    A mark counts one, a word one for each seven bytes of UTF-8 begun, a number one for each three digits begun. It
    leans to more rather than fewer.
    """
    total = 0
    for piece in _PIECE.findall(text):
        size = len(piece) if piece.isascii() else len(piece.encode())
        total += -(-size // (_DIGITS if piece.isdigit() else _WORD))
    return total


def pack(choices: Iterable[Sequence[Sequence[tuple[int, int]]]], budget: int) -> list[int | None]:
    """Which way of each choice fits into what is left of a budget, the first choice first.

    Each choice is offered in several ways, the fullest first; a way is a list of (what, cost). What was taken once
    costs nothing the second time.

    Returns:
        For each choice the place of the way that was taken; None where none fits.
    """
    held: set[int] = set()
    taken: list[int | None] = []
    for ways in choices:
        chosen = None
        for place, way in enumerate(ways):
            cost = sum({what: cost for what, cost in way if what not in held}.values())
            if cost <= budget:
                chosen = place
                budget -= cost
                held.update(what for what, _ in way)
                break
        taken.append(chosen)
    return taken
