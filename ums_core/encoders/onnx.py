"""A Sentence Transformers model as an ONNX graph: the same vectors without torch, and far less time for a query."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ums_core.encoders.hashing import HashingEmbedder
from ums_core.errors import MissingExtra, SettingsError
from ums_core.ports import EmbedderIdentity

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]  # the package has no types
    from tokenizers import Encoding, Tokenizer

__all__ = ["GRAPH", "OnnxEmbedder", "Recipe", "quantize"]

GRAPH = "model.onnx"
_BATCH = 32
_WINDOWLESS = 256
_LONGEST_WINDOW = 1_000_000  # a tokenizer without a limit claims 1e30
_HASHED = {".data", ".json", ".onnx"}
_KNOWN_MODULES = {"Transformer", "Pooling", "Normalize"}
_INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model makes a vector of a text, as its own configuration files say; vectors are always of unit length.

    Attributes:
        window: tokens that it reads, special ones included.
        pooling: the mean of the tokens' vectors, or that of the first.
        query: what is put before a query.
        document: what is put before a document.
        lower_case: whether it reads everything in lower case.
    """

    window: int
    pooling: Literal["mean", "cls"]
    query: str
    document: str
    lower_case: bool

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The recipe of a folder in the format of Sentence Transformers, before and since its version 6.

        Raises:
            SettingsError: the model takes a step that is not known here, or a file is not JSON.
        """
        modules = {entry["type"].rpartition(".")[2]: entry["path"] for entry in _json(folder / "modules.json", [])}
        if unknown := sorted(set(modules) - _KNOWN_MODULES):
            raise SettingsError(
                f"the model in {folder} has a step {unknown[0]} that the encoder onnx does not know; "
                f"use sentence-transformers:{folder} instead"
            )
        transformer = _json(folder / "sentence_bert_config.json", {})
        prompts = _json(folder / "config_sentence_transformers.json", {}).get("prompts") or {}
        return cls(
            window=_window(folder, transformer),
            pooling=_pooling(folder, _json(folder / modules.get("Pooling", "1_Pooling") / "config.json", {})),
            # By these names and no other, as the library itself reads a saved model.
            query=prompts.get("query") or "",
            document=prompts.get("document") or "",
            lower_case=bool(transformer.get("do_lower_case")),
        )


class _Loaded(NamedTuple):
    session: "InferenceSession"
    tokenizer: "Tokenizer"
    inputs: list[str]
    recipe: Recipe


class OnnxEmbedder:
    """Unit vectors of a folder with ``model.onnx``, ``tokenizer.json`` and the model's configuration files.

    ``ums models export`` makes such a folder. A call runs in the thread of its caller, and only there, without threads
    that wait in a loop: a query of a small model takes a few milliseconds whatever else the machine does. Any number
    of threads may call at once.

    Args:
        folder: where the files are.

    Raises:
        MissingExtra: at the first use, if ``onnxruntime`` or ``tokenizers`` is not installed.
        SettingsError: at the first use, if the folder is not such a one.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._lock = Lock()
        self._model: _Loaded | None = None
        self._identity: EmbedderIdentity | None = None

    @property
    def identity(self) -> EmbedderIdentity:
        """``onnx/`` and the name of the folder, with a hash of what it holds as the revision."""
        if self._identity is None:
            dim = self.embed_documents(["dimension"]).shape[1]
            self._identity = EmbedderIdentity(f"onnx/{self._folder.resolve().name}", _hash(self._folder), dim)
        return self._identity

    @property
    def max_tokens(self) -> int:
        """The model's window less its special tokens and its longer prompt."""
        _, tokenizer, _, recipe = self._loaded()
        prompts = max(self.count_tokens([recipe.query, recipe.document]))
        return recipe.window - tokenizer.num_special_tokens_to_add(is_pair=False) - prompts

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special ones left out."""
        _, tokenizer, _, recipe = self._loaded()
        cased = [text.lower() for text in texts] if recipe.lower_case else list(texts)
        return [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(cased, add_special_tokens=False)]

    def embed_documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit rows, shape (n, d), with the model's prompt for documents."""
        if not texts:
            return np.empty((0, self.identity.dim), np.float32)
        prompt = self._loaded().recipe.document
        # Texts of a length go together, as all are padded to the longest.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        parts = [
            self._embed([prompt + texts[place] for place in order[start : start + _BATCH]])
            for start in range(0, len(order), _BATCH)
        ]
        vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        vectors[order] = np.concatenate(parts)
        return vectors

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """One unit vector, shape (d,), with the model's prompt for queries."""
        vector: npt.NDArray[np.float32] = self._embed([self._loaded().recipe.query + text])[0]
        return vector

    def close(self) -> None:
        """Free the weights once no call uses them; the next use loads them again."""
        with self._lock:
            self._model = None

    def _loaded(self) -> _Loaded:
        with self._lock:
            if self._model is None:
                self._model = _load(self._folder)
            return self._model

    def _embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        session, tokenizer, inputs, recipe = self._loaded()
        encodings = [_encoded(tokenizer, recipe, text) for text in texts]
        shape = len(texts), max(len(encoding.ids) for encoding in encodings)
        feed = {name: np.zeros(shape, np.int64) for name in inputs}
        for row, encoding in enumerate(encodings):
            for name in inputs:
                feed[name][row, : len(encoding.ids)] = getattr(encoding, _INPUTS[name])
        tokens = session.run(None, feed)[0]
        if recipe.pooling == "cls":
            vectors = tokens[:, 0]
        else:
            mask = feed["attention_mask"][:, :, None]
            vectors = (tokens * mask).sum(axis=1) / np.maximum(1, mask.sum(axis=1))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: npt.NDArray[np.float32] = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
        for row in np.flatnonzero(lengths == 0).tolist():
            unit[row] = HashingEmbedder(unit.shape[1]).embed_query(texts[row])
        return unit


def quantize(source: Path, target: Path) -> None:
    """Write a graph with the weights of its products in eight bits, one scale a row; a quarter of the size.

    Raises:
        MissingExtra: ``onnx`` or ``onnxruntime`` is not installed.

    Source: Zafrir et al., "Q8BERT", 2019; the quantisation is ONNX Runtime's, dynamic and by channel.
    """
    with _needed("onnx-export"):
        from onnxruntime.quantization import (  # type: ignore[import-untyped]  # noqa: PLC0415  # optional, without types
            QuantType,
            quant_pre_process,
            quantize_dynamic,
        )
    ready = target.with_suffix(".prepared")
    quant_pre_process(source, ready, skip_symbolic_shape=True)
    quantize_dynamic(ready, target, per_channel=True, weight_type=QuantType.QInt8)
    ready.unlink()


def _load(folder: Path) -> _Loaded:
    with _needed("onnx"):
        from onnxruntime import InferenceSession, SessionOptions  # noqa: PLC0415  # optional extra
        from tokenizers import Tokenizer  # noqa: PLC0415  # optional extra
    for name in (GRAPH, "tokenizer.json"):
        if not (folder / name).is_file():
            raise SettingsError(
                f"no embedder 'onnx:{folder}': there is no {name}; make such a folder with "
                f"ums models export NAME_OR_PATH --to {folder}"
            )
    recipe = Recipe.read(folder)
    options = SessionOptions()
    # One thread, and none that spins: a query is over before others would have woken up.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = InferenceSession(folder / GRAPH, options, providers=["CPUExecutionProvider"])
    inputs = [entry.name for entry in session.get_inputs()]
    if unknown := sorted(set(inputs) - set(_INPUTS)):
        raise SettingsError(f"the graph in {folder} takes {unknown[0]!r}; known inputs are {', '.join(_INPUTS)}")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    # What the file says of both is for training; here they follow from the window and from the batch.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return _Loaded(session, tokenizer, inputs, recipe)


def _encoded(tokenizer: "Tokenizer", recipe: Recipe, text: str) -> "Encoding":
    """The tokens of a text, cut to the window: texts that are stored were split before they come here."""
    text = text.lower() if recipe.lower_case else text
    encoding = tokenizer.encode(text)
    if len(encoding.ids) > recipe.window:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        encoding.truncate(recipe.window - tokenizer.num_special_tokens_to_add(is_pair=False))
        encoding = tokenizer.post_process(encoding)
    return encoding


def _window(folder: Path, transformer: Mapping[str, object]) -> int:
    named = (
        transformer.get("max_seq_length"),
        _json(folder / "tokenizer_config.json", {}).get("model_max_length"),
        _json(folder / "config.json", {}).get("max_position_embeddings"),
    )
    return next((int(n) for n in named if isinstance(n, int | float) and n < _LONGEST_WINDOW), _WINDOWLESS)


def _pooling(folder: Path, config: Mapping[str, object]) -> Literal["mean", "cls"]:
    flags = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    named = config.get("pooling_mode") or "+".join(
        flags.get(name, name) for name, chosen in config.items() if name.startswith("pooling_mode_") and chosen
    )
    if config.get("include_prompt") is False:
        named = f"{named} without the prompt"
    if not config or named == "mean":
        return "mean"
    if named == "cls":
        return "cls"
    raise SettingsError(
        f"the model in {folder} pools by {named}, and the encoder onnx by mean or cls; "
        f"use sentence-transformers:{folder} instead"
    )


def _json(path: Path, absent: Any) -> Any:  # noqa: ANN401  # JSON
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return absent
    except (OSError, ValueError) as e:
        raise SettingsError(f"cannot read {path} as JSON ({e}); export the model again") from e


def _hash(folder: Path) -> str:
    """A hash of the graph and of all that says how to use it, whatever the folder is called."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _HASHED):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


@contextmanager
def _needed(extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as e:
        raise MissingExtra(f"{e.name} is not installed: pip install 'ums-core[{extra}]'") from e
