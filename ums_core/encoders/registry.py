"""Embedders by name."""

from difflib import get_close_matches

from ums_core.encoders.hashing import HashingEmbedder
from ums_core.encoders.onnx import OnnxEmbedder
from ums_core.encoders.sentence_transformer import SentenceTransformerEmbedder
from ums_core.encoders.static import StaticEmbedder
from ums_core.errors import SettingsError
from ums_core.ports import Embedder

__all__ = ["make_embedder"]

_NAMES = ("static", "hashing", "onnx", "sentence-transformers", "none")


def make_embedder(name: str, dim: int) -> Embedder | None:
    """A new embedder, its weights not loaded yet; None for ``none``, where callers bring their vectors.

    Args:
        name: ``static``, ``hashing``, ``hashing:128``, ``onnx:FOLDER``, ``sentence-transformers``,
            ``sentence-transformers:NAME_OR_PATH`` or ``none``.
        dim: length of the vectors of a plain ``hashing``; every other model has its own.

    Raises:
        SettingsError: no such embedder, or an argument that it does not take.
    """
    kind, _, argument = name.partition(":")
    if kind == "hashing":
        return HashingEmbedder(_whole(name, argument) if argument else dim)
    if kind == "onnx":
        if not argument:
            raise SettingsError("the embedder onnx needs the folder of a model, such as 'onnx:models/minilm'")
        return OnnxEmbedder(argument)
    if kind == "sentence-transformers":
        return SentenceTransformerEmbedder(argument) if argument else SentenceTransformerEmbedder()
    if name == "static":
        return StaticEmbedder()
    if name == "none":
        return None
    nearest = get_close_matches(kind, _NAMES, n=1, cutoff=0)[0]
    raise SettingsError(f"no embedder {name!r}; the nearest is {nearest!r} of {', '.join(_NAMES)}")


def _whole(name: str, argument: str) -> int:
    try:
        return int(argument)
    except ValueError as e:
        raise SettingsError(f"the dimension in {name!r} must be a whole number, such as 'hashing:384'") from e
