"""A cross-encoder of the usual shape with random weights: it costs what a trained one costs, and knows nothing."""

from collections.abc import Iterable
from pathlib import Path

from ums_core.errors import MissingExtra

__all__ = ["MINILM_L6", "Shape", "make_cross_encoder"]

# Layers, width and heads of cross-encoder/ms-marco-MiniLM-L6-v2.
Shape = tuple[int, int, int]
MINILM_L6: Shape = (6, 384, 12)
_WINDOW = 512
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def make_cross_encoder(folder: Path, words: Iterable[str], shape: Shape = MINILM_L6) -> Path:
    """Write the model, with one token a word, and return its folder.

    Raises:
        MissingExtra: transformers is not installed.
    """
    try:
        import torch  # noqa: PLC0415  # comes with sentence-transformers
        from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: PLC0415  # as above
        from transformers import (  # noqa: PLC0415  # as above
            BertConfig,
            BertForSequenceClassification,
            PreTrainedTokenizerFast,
        )
    except ImportError as e:
        raise MissingExtra(f"{e.name} is not installed; pip install 'ums-core[sentence-transformers]'") from e
    names = [*_SPECIAL, *sorted(set(words))]
    pad, unknown, start, end = _SPECIAL
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(names)}, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B:1 {end}:1",
        special_tokens=[(start, names.index(start)), (end, names.index(end))],
    )
    torch.manual_seed(0)
    layers, width, heads = shape
    config = BertConfig(  # type: ignore[call-arg]  # it takes the fields of its base, which are typed elsewhere
        vocab_size=len(names),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=_WINDOW,
        num_labels=1,
    )
    model = BertForSequenceClassification(config).eval()  # type: ignore[no-untyped-call]  # typed in part
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # as above
        tokenizer_object=tokenizer, pad_token=pad, unk_token=unknown, cls_token=start, sep_token=end,
        model_max_length=_WINDOW,
    ).save_pretrained(folder)  # fmt: skip
    return folder
