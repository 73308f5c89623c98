"""Any model that Sentence Transformers can load, from a folder or from the Hugging Face hub."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ums_core.encoders.hashing import HashingEmbedder
from ums_core.errors import MissingExtra, SettingsError
from ums_core.ports import EmbedderIdentity

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

__all__ = ["SentenceTransformerEmbedder", "let_go", "load_cross_encoder", "load_sentence_transformer", "unit_vectors"]

_BATCH = 32
_WINDOWLESS = 256
_LONGEST_WINDOW = 1_000_000  # a tokenizer without a limit claims 1e30
_MODEL_FILES = {".json", ".txt", ".model", ".safetensors", ".bin"}


class _Loaded(NamedTuple):
    model: "SentenceTransformer"
    identity: EmbedderIdentity
    max_tokens: int


class SentenceTransformerEmbedder:
    """Unit vectors of a Sentence Transformers model, with the prompts it was trained with.

    Everything, `identity` and `max_tokens` included, needs the model: the first use of any imports torch (seconds),
    loads the weights and, for a folder, hashes them (about 1 s a gigabyte). Thread-safe: one call at a time, as the
    tokenizers are not; torch uses its own threads within the call.

    Args:
        name_or_path: a folder, which is never looked up on the network, or a name on the hub.
        device: as torch names it, such as ``cuda``; ``auto`` takes the best there is.

    Raises:
        MissingExtra: at the first use, if ``sentence-transformers`` is not installed.
        SettingsError: at the first use, if the model is neither on disk nor to be downloaded.
    """

    def __init__(self, name_or_path: str = "BAAI/bge-m3", *, device: str = "cpu") -> None:
        self._name_or_path = name_or_path
        self._device = device
        self._lock = RLock()
        self._model: _Loaded | None = None

    @property
    def identity(self) -> EmbedderIdentity:
        """The name on the hub and its commit, or the name of the folder and a hash of the model's files."""
        return self._loaded().identity

    @property
    def max_tokens(self) -> int:
        """The model's window less its special tokens and its prompt; 256 for a model without a window."""
        return self._loaded().max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special ones left out."""
        with self._lock:
            return _count_tokens(self._loaded().model.tokenizer, texts)

    def embed_documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit rows, shape (n, d), with the model's prompt for documents."""
        with self._lock:
            model, identity, _ = self._loaded()
            return unit_vectors(model.encode_document, texts) if texts else np.empty((0, identity.dim), np.float32)

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """One unit vector, shape (d,), with the model's prompt for queries."""
        with self._lock:
            vector: npt.NDArray[np.float32] = unit_vectors(self._loaded().model.encode_query, [text])[0]
            return vector

    def close(self) -> None:
        """Free the weights once no call uses them; the next use loads them again."""
        with self._lock:
            loaded, self._model = self._model, None
            if loaded is not None:
                let_go(loaded.model)

    def _loaded(self) -> _Loaded:
        with self._lock:
            if self._model is None:
                self._model = _load(self._name_or_path, None if self._device == "auto" else self._device)
            return self._model


def _load(name_or_path: str, device: str | None) -> _Loaded:
    folder = Path(name_or_path)
    model = load_sentence_transformer(name_or_path, device)
    if folder.is_dir():
        name, revision = folder.resolve().name, _hash(folder)
    else:
        name, revision = name_or_path, _commit(name_or_path)
    dim = unit_vectors(model.encode_document, ["dimension"]).shape[1]
    return _Loaded(model, EmbedderIdentity(name, revision, dim), _window(model))


def load_sentence_transformer(name_or_path: str, device: str | None) -> "SentenceTransformer":
    """A model with its weights, from a folder or a name on the hub; imports torch.

    Raises:
        MissingExtra: ``sentence-transformers`` is not installed.
        SettingsError: the model is neither on disk nor to be downloaded.
    """
    with _explained(f"embedder {name_or_path!r}"):
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415  # optional extra

        return SentenceTransformer(name_or_path, device=device, local_files_only=Path(name_or_path).is_dir())


def load_cross_encoder(name_or_path: str, device: str) -> "CrossEncoder":
    """A cross-encoder with its weights, from a folder or a name on the hub; imports torch.

    Raises:
        MissingExtra: ``sentence-transformers`` is not installed.
        SettingsError: the model is neither on disk nor to be downloaded.
    """
    with _explained(f"cross-encoder {name_or_path!r}"):
        from sentence_transformers import CrossEncoder  # noqa: PLC0415  # optional extra

        model: CrossEncoder = CrossEncoder(name_or_path, device=device, local_files_only=Path(name_or_path).is_dir())
        return model


def let_go(model: "SentenceTransformer | CrossEncoder") -> None:
    """Free the weights of a model that nobody uses any more.

    It holds itself in a cycle, which the collector comes to late, and that of Python 3.13.0 never.
    """
    model.to("meta")


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError as e:
        raise MissingExtra(
            f"the {what} needs the package sentence-transformers: pip install 'ums-core[sentence-transformers]'"
        ) from e
    except (OSError, ValueError) as e:
        raise SettingsError(
            f"no {what}: it is not a model on this disk and could not be downloaded ({e}); "
            "download it while online, or name the folder of a model"
        ) from e


def unit_vectors(encode: Callable[..., Any], texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Unit rows by one of a model's two ways to encode, shape (n, d)."""
    vectors = np.array(
        encode(list(texts), batch_size=_BATCH, show_progress_bar=False, normalize_embeddings=True), np.float32
    )
    # A bag of words may know no word of a text.
    for row in np.flatnonzero(~vectors.any(axis=1)).tolist():
        vectors[row] = HashingEmbedder(vectors.shape[1]).embed_query(texts[row])
    return vectors


def _count_tokens(tokenizer: Any, texts: Sequence[str]) -> list[int]:  # noqa: ANN401  # of transformers or of tokenizers
    if not callable(tokenizer):
        return [len(encoding) for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return [len(ids) for ids in encoded["input_ids"]]


def _window(model: "SentenceTransformer") -> int:
    window = model.max_seq_length or math.inf
    if window > _LONGEST_WINDOW:
        return _WINDOWLESS
    prompts = _count_tokens(model.tokenizer, [prompt or "" for prompt in model.prompts.values()])
    special = int(model.tokenizer.num_special_tokens_to_add())
    return int(window) - special - max(prompts, default=0)


def _commit(name: str) -> str:
    """The commit that the weights came from, cut to 12 digits; empty if they lie outside of the hub's own cache.

    Read from the cache rather than asked of the hub, so that it is the same with and without a network.
    """
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  # comes with sentence-transformers

    names = [name] if "/" in name else [f"sentence-transformers/{name}", name]
    paths = [
        try_to_load_from_cache(repository, file) for repository in names for file in ("modules.json", "config.json")
    ]
    return next((Path(path).parent.name[:12] for path in paths if isinstance(path, str)), "")


def _hash(folder: Path) -> str:
    """A hash of the weights and of all that says how to use them, whatever the folder is called."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.suffix in _MODEL_FILES and not any(part.startswith(".") for part in place.parts):
            digest.update(f"{place.as_posix()}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
