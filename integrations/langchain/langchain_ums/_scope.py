"""Whose memories a call is about: a namespace with places for what the run says."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from ums_core import Memory, Query

__all__ = ["NamespaceOf", "Scope", "handle_of", "place_of"]

Namespace = tuple[str, ...]
# Labels, some of them such as "{user_id}"; or a function of the run's context and configuration.
NamespaceOf: TypeAlias = Namespace | Callable[[Any, Mapping[str, Any]], Namespace]
_PLACE = re.compile(r"\{(\w+)\}")


class Scope:
    """A namespace for each run.

    Args:
        namespace: labels; one such as ``"{user_id}"`` stands for the field of that name of the runtime context, or
            else for the key of that name of ``config["configurable"]``. Or a function of both that returns labels.

    Raises:
        InvalidNamespace: not a tuple of non-empty strings.
    """

    def __init__(self, namespace: NamespaceOf) -> None:
        self._given = namespace if callable(namespace) else Query(text="?", namespace=namespace).namespace

    def of(self, context: object, configurable: Mapping[str, Any]) -> Namespace:
        """The namespace of a run.

        Raises:
            ValueError: the run does not say what a label stands for; nobody else's memories are used in its stead.
        """
        if callable(self._given):
            return Query(text="?", namespace=self._given(context, configurable)).namespace
        return tuple(_filled(label, context, configurable) for label in self._given)


def handle_of(memory: Memory, namespace: Namespace) -> str:
    """What names a memory below a namespace, for a model to give back."""
    return "/".join(quote(label, safe="") for label in (*memory.namespace[len(namespace) :], memory.id))


def place_of(handle: str, namespace: Namespace) -> tuple[Namespace, str] | None:
    """The namespace and the id that a handle names, always below the namespace given; None for no handle."""
    labels = [unquote(label) for label in handle.split("/")]
    return ((*namespace, *labels[:-1]), labels[-1]) if all(labels) and "\0" not in "".join(labels) else None


def _filled(label: str, context: object, configurable: Mapping[str, Any]) -> str:
    place = _PLACE.fullmatch(label)
    if place is None:
        return label
    name = place[1]
    value = context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)
    if value is None:
        value = configurable.get(name)
    if value is None or not str(value):
        raise ValueError(
            f"the namespace needs {name!r}, which this run does not say: give context={{{name!r}: …}} "
            f"or config={{'configurable': {{{name!r}: …}}}}"
        )
    return str(value)
