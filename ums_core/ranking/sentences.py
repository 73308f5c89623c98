"""Where sentences end, in any script that ends them with a mark."""

import re
from collections.abc import Iterator

__all__ = ["sentences"]

# Possessive, and entered only where a run of stops starts: no text makes the search quadratic.
_SENTENCE_END = re.compile(
    r"""(?<![.!?…])[.!?…]++["'”’»)\]]*+(?=\s)"""  # noqa: RUF001  # closing quotation marks
    r"|[。！？｡]++[”’」』）]*+"  # noqa: RUF001  # the stops of Chinese and Japanese
    r"|\n"
)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where sentences and lines stand, without the white space around them."""
    start = 0
    for end in [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]:
        sentence = text[start:end]
        if stripped := sentence.strip():
            left = start + len(sentence) - len(sentence.lstrip())
            yield left, left + len(stripped)
        start = end
