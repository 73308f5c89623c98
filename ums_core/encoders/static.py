"""The embedded default: an average of word vectors, whose weights ship in the wheel of ``wordllama``."""

import hashlib
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ums_core.encoders.hashing import HashingEmbedder
from ums_core.errors import MissingExtra
from ums_core.ports import EmbedderIdentity

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["StaticEmbedder"]

_MODEL = "l2_supercat"
_DIM = 256
_WINDOW = 256
_BATCH = 1024
_FILES = (f"weights/{_MODEL}_{_DIM}.safetensors", f"tokenizers/{_MODEL}_tokenizer_config.json")
_MISSING = "the static embedder needs the package wordllama: pip install 'ums-core[lite]'"


class _Weights(NamedTuple):
    tokenizer: "Tokenizer"
    table: npt.NDArray[np.float32]


class StaticEmbedder:
    """Text as the mean of its tokens' vectors, 256 components; thread-safe, and never on the network.

    A sentence takes about 20 us. The first use imports the package and reads 18 MB, about 0.4 s.

    Raises:
        MissingExtra: at the first use, if ``wordllama`` is not installed.

    Source: Miller, "WordLlama: recycled token embeddings from large language models", 2024.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._weights: _Weights | None = None
        self._identity: EmbedderIdentity | None = None
        self._wordless = HashingEmbedder(_DIM)

    @property
    def identity(self) -> EmbedderIdentity:
        """``static/l2_supercat``, with a hash of its weights and its tokenizer as the revision.

        A hash rather than the version of the package: a release that leaves the weights alone leaves databases usable.
        The first look reads and hashes 18 MB, about 30 ms, without importing the package.
        """
        with self._lock:
            if self._identity is None:
                self._identity = EmbedderIdentity(f"static/{_MODEL}", _revision(), _DIM)
            return self._identity

    @property
    def max_tokens(self) -> int:
        """256: an average has no window, but over a longer text it drifts to what all texts share."""
        return _WINDOW

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of vectors averaged for each text."""
        return [len(ids) for ids in _token_ids(self._loaded().tokenizer, texts)]

    def embed_documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit rows, shape (n, 256)."""
        tokenizer, table = self._loaded()
        vectors = np.empty((len(texts), _DIM), np.float32)
        for row, text, ids in zip(vectors, texts, _token_ids(tokenizer, texts), strict=True):
            row[:] = self._mean(table, ids, text)
        return vectors

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """One unit vector, shape (256,)."""
        tokenizer, table = self._loaded()
        return self._mean(table, next(_token_ids(tokenizer, (text,))), text)

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        with self._lock:
            self._weights = None

    def _loaded(self) -> _Weights:
        with self._lock:
            if self._weights is None:
                self._weights = _load()
            return self._weights

    def _mean(self, table: npt.NDArray[np.float32], ids: list[int], text: str) -> npt.NDArray[np.float32]:
        """The direction of the tokens' mean; that of the spelling where there is no token."""
        total: npt.NDArray[np.float32] = table[ids].sum(axis=0)
        length = np.sqrt(total @ total)
        return total / length if length else self._wordless.embed_query(text)


def _token_ids(tokenizer: "Tokenizer", texts: Sequence[str]) -> Iterator[list[int]]:
    for start in range(0, len(texts), _BATCH):
        for encoding in tokenizer.encode_batch_fast(texts[start : start + _BATCH], add_special_tokens=False):
            yield encoding.ids


def _load() -> _Weights:
    folder = _folder()
    try:
        with _root_logger_untouched():
            # The package has no types, and is optional: extra `lite`.
            from wordllama import WordLlama  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as e:
        raise MissingExtra(_MISSING) from e
    # Without its own folder as the cache it looks for the tokenizer elsewhere, and then on the network.
    model = WordLlama.load(_MODEL, cache_dir=folder, dim=_DIM, disable_download=True)
    # Padding would be counted as tokens, and is of no use to texts that are pooled one by one.
    model.tokenizer.no_padding()
    return _Weights(model.tokenizer, model.embedding)


@contextmanager
def _root_logger_untouched() -> Iterator[None]:
    """Bear the ``logging.basicConfig`` of the package, which would print every INFO line of the process."""
    shield = logging.NullHandler()
    logging.root.addHandler(shield)
    try:
        yield
    finally:
        logging.root.removeHandler(shield)


def _folder() -> Path:
    """Where the package is installed, found without importing it."""
    try:
        spec = importlib.util.find_spec("wordllama")
    except ImportError as e:
        raise MissingExtra(_MISSING) from e
    if spec is None or spec.origin is None:
        raise MissingExtra(_MISSING)
    folder = Path(spec.origin).parent
    for file in _FILES:
        if not (folder / file).is_file():
            raise MissingExtra(f"wordllama came without {file}: pip install --force-reinstall 'ums-core[lite]'")
    return folder


def _revision() -> str:
    folder = _folder()
    digest = hashlib.sha256()
    for file in _FILES:
        digest.update((folder / file).read_bytes())
    return digest.hexdigest()[:12]
