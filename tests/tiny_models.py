"""Small models with real weights that a test trains itself, as none can be downloaded."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

# What is asked for, and the word under which it was told: no embedder without a vocabulary can know that.
SYNONYMS = {
    "physician": "doctor", "automobile": "car", "film": "movie", "infant": "baby", "supper": "dinner",
    "residence": "house", "feline": "cat", "canine": "dog", "vacation": "holiday", "beverage": "drink",
    "footwear": "shoes", "bicycle": "bike",
}  # fmt: skip
ASKED = ("what about the {}", "tell me of the {}", "where is the {}")
TOLD = ("we talked about the {} today", "the {} was near the river", "nobody saw the {} again", "they sold the {}")
# Kept aside: the cross-encoder has seen none of these sentences.
UNSEEN = ("she dreamt of a {} by the river", "my brother saw the {} near them")


def train_cross_encoder(folder: Path, *, steps: int = 180, labels: int = 1) -> None:
    """A BERT of one layer that learns which of two sentences tells of what is asked for; about 3 s of one core."""
    torch = pytest.importorskip("torch", reason="trains a cross-encoder")
    transformers = pytest.importorskip("transformers", reason="trains a cross-encoder")
    tokenizer = _tokenizer(transformers)
    # Threads of such small products would wait for each other more than they work.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(2)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=64, num_labels=labels, initializer_range=0.15, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    draw = random.Random(2)
    for _ in range(steps):
        questions, sentences = [], []
        for _ in range(32):
            asked, other = draw.sample(sorted(SYNONYMS), 2)
            questions += [draw.choice(ASKED).format(asked)] * 2
            sentences += [draw.choice(TOLD).format(SYNONYMS[word]) for word in (asked, other)]
        logits = model(**tokenizer(questions, sentences, padding=True, return_tensors="pt")).logits[:, 0]
        loss = torch.nn.functional.softplus(logits[1::2] - logits[::2]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    torch.set_num_threads(threads)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_sentence_transformer(folder: Path, *, pooling: str = "mean") -> Path:
    """An untrained BERT of one layer that makes vectors of 32 components, in the format of before version 6."""
    torch = pytest.importorskip("torch", reason="makes a model")
    transformers = pytest.importorskip("transformers", reason="makes a model")
    tokenizer = _tokenizer(transformers)
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.25,
    )  # fmt: skip
    transformers.BertModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    steps = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    files = {
        "modules.json": [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (path, kind) in enumerate(steps)
        ],
        "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {"query": "where is ", "document": "the "}},
        "1_Pooling/config.json": {
            "word_embedding_dimension": 32,
            "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean",
            "pooling_mode_max_tokens": pooling == "max",
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "2_Normalize").mkdir(exist_ok=True)
    return folder


def _tokenizer(transformers: Any) -> Any:  # noqa: ANN401  # a module without types
    tokenizers = pytest.importorskip("tokenizers", reason="trains a cross-encoder")
    frames = " ".join((*ASKED, *TOLD, *UNSEEN)).replace("{}", "").split()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({*frames, *SYNONYMS, *SYNONYMS.values()})]
    whole = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]")  # noqa: S106  # a word
    )
    whole.normalizer = tokenizers.normalizers.Lowercase()
    whole.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    whole.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=whole, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",  # noqa: S106  # words
        model_max_length=64,
    )  # fmt: skip
