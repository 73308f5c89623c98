"""How much a test does: a little in every run, all of it where ``UMS_THOROUGH=1`` is set."""

import os

__all__ = ["count"]


def count(quick: int, full: int) -> int:
    """The number of rounds."""
    return full if os.environ.get("UMS_THOROUGH") == "1" else quick
