"""What was opened before a fork is the parent's: neither SQLite's connections and locks nor threads pass to a child."""

import os
from collections.abc import Iterable
from functools import partial
from typing import Protocol
from weakref import WeakSet

__all__ = ["Opened", "disown", "tell"]


class Opened(Protocol):
    """Something that a child of the process must not use."""

    def disown(self) -> None:
        """Leave it to the parent process."""
        ...


_opened: WeakSet[Opened] = WeakSet()


def tell(opened: Opened) -> None:
    """Have this disowned in every child that is forked while it is there."""
    _opened.add(opened)


def disown(opened: Iterable[Opened]) -> None:
    """Leave all of it to the parent process."""
    for each in opened:
        each.disown()


os.register_at_fork(after_in_child=partial(disown, _opened))
