"""Makes the folder that the encoder ``onnx`` reads of a Sentence Transformers model, and checks it."""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from ums_core.encoders.onnx import GRAPH, OnnxEmbedder, Recipe, quantize
from ums_core.encoders.sentence_transformer import load_sentence_transformer, unit_vectors
from ums_core.errors import InvalidInput, MissingExtra, ModelNotExportable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Exported", "export"]

# Short and long, several to a batch, in several scripts: every path through the graph and every length of a batch.
_SAMPLES = (
    "tea",
    "Where did she move in May?",
    "I moved to Lisbon in May, and the flat is on the third floor without a lift.",
    "The appointment with the dentist was moved from Friday to the following Tuesday at nine.",
    "My daughter is allergic to peanuts; please never put any into the lunch box.",
    "42 km, 3:58:12, on a day of rain and wind.",
    "Der Zug nach Wien hatte heute wieder eine halbe Stunde Verspätung.",
    "明日の会議は午後三時からです。",
    "Volcanic soil is good for growing grapes. " * 40,
)
_LEAST_COSINE = 0.999
_LEAST_COSINE_INT8 = 0.95
_WEIGHTS = ("*.safetensors", "*.bin", "README.md")
# A graph is one message of at most two gigabytes; what is larger keeps its weights beside it.
_LARGEST_MESSAGE = 1_900_000_000


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of an export.

    Attributes:
        folder: where it is.
        dim: number of components of a vector.
        bytes: size of the folder.
        cosine_mean: of its vectors with the original's, over some texts.
        cosine_min: the least of them.
    """

    folder: str
    dim: int
    bytes: int
    cosine_mean: float
    cosine_min: float


def export(name_or_path: str, folder: Path, *, int8: bool = False, least_cosine: float | None = None) -> Exported:
    """Make a folder for the encoder ``onnx`` of a Sentence Transformers model; it appears whole, or not at all.

    Takes some tens of seconds and three times the memory of the weights.

    Args:
        name_or_path: a folder, or a name on the hub.
        folder: where to; must not exist.
        int8: whether the weights are kept in eight bits, one scale a row.
        least_cosine: how near every vector of a sample must be to the original's; None: 0.95 with ``int8``, else 0.999.

    Raises:
        InvalidInput: there is something at ``folder``.
        MissingExtra: a package of the extra ``onnx-export`` is not installed.
        SettingsError: there is no such model, or it takes a step that the encoder does not know.
        ModelNotExportable: the vectors are not those of the original.
    """
    if folder.exists():
        raise InvalidInput(f"{folder} exists; name a folder that does not, or remove it")
    model = load_sentence_transformer(name_or_path, "cpu")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as directory:
        made = Path(directory) / folder.name
        model.save_pretrained(str(made), create_model_card=False)
        Recipe.read(made)
        for pattern in _WEIGHTS:
            for file in made.glob(pattern):
                file.unlink()
        _write_graph(model, made / GRAPH)
        if int8:
            (made / GRAPH).rename(made / "float.onnx")
            quantize(made / "float.onnx", made / GRAPH)
            for file in made.glob("float.onnx*"):
                file.unlink()
        cosines = _cosines(model, made)
        least = least_cosine if least_cosine is not None else _LEAST_COSINE_INT8 if int8 else _LEAST_COSINE
        if not cosines.min() >= least:
            raise ModelNotExportable(
                f"the graph of {name_or_path!r} gives other vectors than the model: the least cosine is "
                f"{cosines.min():.4f}, and {least} was due; use sentence-transformers:{name_or_path}"
                + (", or export without --int8" if int8 else "")
            )
        size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
        made.rename(folder)
    dim = int(model.get_embedding_dimension() or 0)
    return Exported(str(folder), dim, size, float(cosines.mean()), float(cosines.min()))


def _write_graph(model: "SentenceTransformer", path: Path) -> None:
    try:
        import onnxscript  # noqa: F401, PLC0415  # what torch's exporter needs
        import torch  # noqa: PLC0415  # comes with sentence-transformers
    except ImportError as e:
        raise MissingExtra(f"{e.name} is not installed: pip install 'ums-core[onnx-export]'") from e
    transformer = cast("torch.nn.Module", model[0].auto_model).eval()
    example = model.tokenizer(["a first text of some words", "and a second"], padding=True, return_tensors="pt")
    names = list(example.keys())

    class Tokens(torch.nn.Module):
        """The transformer with its inputs by place, and with one output."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = transformer

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            """Vectors of the tokens, shape (texts, tokens, d)."""
            hidden: torch.Tensor = self.inner(**dict(zip(names, inputs, strict=True))).last_hidden_state
            return hidden

    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    weight_bytes = sum(p.numel() * p.element_size() for p in transformer.parameters())
    with warnings.catch_warnings():
        # About torch's own future, of no use to who exports a model.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Tokens(),
            tuple(example[name] for name in names),
            path,
            input_names=names,
            output_names=["last_hidden_state"],
            dynamic_shapes=(tuple(free for _ in names),),
            dynamo=True,
            external_data=weight_bytes > _LARGEST_MESSAGE,
            verbose=False,
        )


def _cosines(model: "SentenceTransformer", folder: Path) -> npt.NDArray[np.float64]:
    made = OnnxEmbedder(str(folder))
    ours = np.vstack([made.embed_documents(_SAMPLES), [made.embed_query(text) for text in _SAMPLES]])
    theirs = np.vstack([unit_vectors(model.encode_document, _SAMPLES), unit_vectors(model.encode_query, _SAMPLES)])
    cosines: npt.NDArray[np.float64] = np.sum(ours * theirs, axis=1, dtype=np.float64)
    return cosines
