"""The blocking methods of a component, or their awaitable twins."""

from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["FACES", "Face"]

# For pytest.mark.parametrize("awaited", FACES, ids=str).
FACES = (False, True)


class Face:
    """One face of a component under the names of the blocking one: ``await Face(store, awaited=True).get("k")``."""

    def __init__(self, component: object, *, awaited: bool) -> None:
        self._component = component
        self._awaited = awaited

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """The method; its twin is called ``async_`` or ``a`` and its name."""

        async def call(*args: object, **options: object) -> Any:  # noqa: ANN401  # what either face returns
            if not self._awaited:
                return getattr(self._component, name)(*args, **options)
            twin = getattr(self._component, f"async_{name}", None) or getattr(self._component, f"a{name}")
            return await twin(*args, **options)

        return call
