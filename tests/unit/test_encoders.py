"""Embedders that need no model download: one contract, then what is special about each."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lacking import uninstall, unload

from ums_core.encoders.cached import CachedEmbedder
from ums_core.encoders.hashing import HashingEmbedder
from ums_core.encoders.registry import make_embedder
from ums_core.encoders.sentence_transformer import SentenceTransformerEmbedder
from ums_core.encoders.static import StaticEmbedder
from ums_core.errors import MissingExtra, SettingsError
from ums_core.ports import Embedder, EmbedderIdentity

TEXTS = ["My sister Ana lives in Porto.", "a", "", " \n", "😀👩\u200d👩\u200d👧", "\0", "猫が好きです。", "the " * 3000]


class Counting(HashingEmbedder):
    """The hashing embedder, with a list of what it was asked to embed."""

    def __init__(self) -> None:
        super().__init__(32)
        self.asked: list[list[str]] = []
        self.closed = 0

    def embed_documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.asked.append(list(texts))
        return np.array([HashingEmbedder.embed_query(self, text) for text in texts], np.float32).reshape(-1, 32)

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        self.asked.append([text])
        return super().embed_query(text)

    def close(self) -> None:
        self.closed += 1


def run(code: str) -> str:
    """What another Python prints, which must print no warning and no log line."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture(params=["hashing", pytest.param("static", marks=pytest.mark.needs_lite), "cached"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    if request.param == "static":
        return StaticEmbedder()
    if request.param == "cached":
        return CachedEmbedder(HashingEmbedder(16))
    return HashingEmbedder()


def test_every_text_becomes_a_unit_row_of_the_dimension_promised(embedder: Embedder) -> None:
    vectors = embedder.embed_documents(TEXTS)
    assert isinstance(embedder, Embedder)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.identity.dim)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_query_is_embedded_as_a_document(embedder: Embedder) -> None:
    rows = np.array([embedder.embed_query(text) for text in TEXTS])
    assert np.array_equal(rows, embedder.embed_documents(TEXTS))


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert embedder.embed_documents([]).shape == (0, embedder.identity.dim)
    assert embedder.count_tokens([]) == []


def test_a_longer_text_counts_more_tokens(embedder: Embedder) -> None:
    assert embedder.max_tokens == 256
    assert embedder.count_tokens(["", "one two three", "three"]) == [0, 3, 1]


def test_the_embedder_works_on_after_close(embedder: Embedder) -> None:
    before, identity = embedder.embed_query("tea"), embedder.identity
    embedder.close()
    assert np.array_equal(embedder.embed_query("tea"), before)
    assert embedder.identity == identity


def test_threads_get_the_vectors_that_one_thread_gets(embedder: Embedder) -> None:
    texts = [f"memory {place} of {place % 7} things" for place in range(200)]
    alone = embedder.embed_documents(texts)

    def work(place: int) -> bool:
        if place % 50 == 0:
            embedder.close()
        together = embedder.embed_documents(texts[place : place + 20])
        return np.array_equal(together, alone[place : place + 20]) and np.array_equal(
            embedder.embed_query(texts[place]), alone[place]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


@given(st.text(), st.integers(1, 50))
def test_hashing_gives_any_text_a_unit_vector(text: str, dim: int) -> None:
    assert np.isclose(np.linalg.norm(HashingEmbedder(dim).embed_query(text)), 1, atol=1e-5)


def test_hashing_is_the_same_in_every_process() -> None:
    code = (
        "from ums_core.encoders.hashing import HashingEmbedder\n"
        "print(HashingEmbedder(8).embed_query('Tea in Lisbon').tobytes().hex())"
    )
    assert run(code) == run(code) == HashingEmbedder(8).embed_query("tea in lisbon").tobytes().hex()


def test_hashing_finds_shared_words_and_parts_of_words_alike() -> None:
    query, shared, part, other = HashingEmbedder().embed_documents(
        ["the adoption agency", "an adoption agency called", "agencies adopting", "lunch was good"]
    )
    assert query @ shared > query @ part > query @ other + 0.1


def test_hashing_refuses_a_dimension_below_one() -> None:
    with pytest.raises(SettingsError, match="0"):
        HashingEmbedder(0)


@pytest.mark.needs_lite
def test_static_vectors_are_those_of_the_package_itself() -> None:
    embedder = StaticEmbedder()
    mine = embedder.embed_documents(TEXTS[:2] + TEXTS[3:])
    wordllama = pytest.importorskip("wordllama")
    folder = wordllama.__path__[0]
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    theirs = np.concatenate([model.embed(text, norm=True) for text in TEXTS[:2] + TEXTS[3:]])
    assert np.allclose(mine, theirs, atol=1e-5)


@pytest.mark.needs_lite
def test_static_vectors_of_a_paraphrase_are_closer_than_of_another_topic() -> None:
    query, same, other = StaticEmbedder().embed_documents(
        ["Where does my sister live?", "Ana, my sister, has a flat in Porto.", "The printer is out of ink."]
    )
    assert query @ same > query @ other + 0.1


@pytest.mark.needs_lite
def test_static_counts_what_it_averages_without_padding() -> None:
    texts = ["hello world", "hello", "one considerably longer text about hello"]
    assert StaticEmbedder().count_tokens(texts) == [StaticEmbedder().count_tokens([text])[0] for text in texts]


@pytest.mark.needs_lite
def test_static_identity_names_its_weights_and_is_known_without_the_package_loaded() -> None:
    code = (
        "import sys\n"
        "from ums_core.encoders.static import StaticEmbedder\n"
        "print(StaticEmbedder().identity, 'wordllama' in sys.modules)"
    )
    identity = StaticEmbedder().identity
    assert (identity.name, identity.dim, len(identity.revision)) == ("static/l2_supercat", 256, 12)
    assert run(code) == f"{identity} False"


@pytest.mark.needs_lite
def test_static_loads_without_network_and_leaves_logging_as_it_was() -> None:
    code = (
        "import logging, sys\n"
        "def refuse(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'):\n"
        "        raise OSError(f'{event} {arguments}')\n"
        "sys.addaudithook(refuse)\n"
        "from ums_core.encoders.static import StaticEmbedder\n"
        "print(StaticEmbedder().embed_query('tea').shape, logging.root.handlers, logging.root.level)"
    )
    assert run(code) == "(256,) [] 30"


def test_importing_the_encoders_imports_no_optional_package() -> None:
    code = (
        "import sys\n"
        "import ums_core.encoders.cached, ums_core.encoders.registry, ums_core.encoders.split\n"
        "print({'wordllama', 'tokenizers', 'sentence_transformers', 'torch'} & set(sys.modules))"
    )
    assert run(code) == "set()"


def test_a_missing_wordllama_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = StaticEmbedder()
    uninstall(monkeypatch, "wordllama")
    with pytest.raises(MissingExtra, match=r"pip install 'ums-core\[lite\]'"):
        embedder.embed_query("tea")
    with pytest.raises(MissingExtra, match=r"ums-core\[lite\]"):
        _ = embedder.identity
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(MissingExtra, match=r"ums-core\[lite\]"):
        _ = embedder.identity


@pytest.mark.needs_lite
def test_a_wordllama_that_lacks_a_package_of_its_own_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    unload(monkeypatch, "wordllama")
    uninstall(monkeypatch, "toml")
    with pytest.raises(MissingExtra, match=r"ums-core\[lite\]"):
        StaticEmbedder().embed_query("tea")


@pytest.mark.needs_lite
def test_a_wordllama_without_its_weights_is_to_be_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wordllama").mkdir()
    (tmp_path / "wordllama" / "__init__.py").symlink_to(pytest.importorskip("wordllama").__file__)
    unload(monkeypatch, "wordllama")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"weights/l2_supercat_256.safetensors: pip install --force-reinstall"):
        StaticEmbedder().embed_query("tea")


def test_a_missing_sentence_transformers_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "sentence_transformers")
    with pytest.raises(MissingExtra, match=r"BAAI/bge-m3.*pip install 'ums-core\[sentence-transformers\]'"):
        SentenceTransformerEmbedder().embed_query("tea")


def test_without_any_optional_package_only_hashing_works() -> None:
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('wordllama', 'tokenizers', 'sentence_transformers', 'torch'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from ums_core.encoders.registry import make_embedder\n"
        "for name in ('hashing', 'static', 'sentence-transformers'):\n"
        "    try:\n"
        "        print(make_embedder(name, 4).embed_query('tea').shape)\n"
        "    except ImportError as e:\n"
        "        print(e.code)\n"
    )
    assert run(code).split("\n") == ["(4,)", "missing_extra", "missing_extra"]


def test_a_remembered_query_is_embedded_once() -> None:
    inner = Counting()
    embedder = CachedEmbedder(inner)
    assert np.array_equal(embedder.embed_query("tea"), embedder.embed_query("tea"))
    assert inner.asked == [["tea"]]


def test_only_the_texts_not_remembered_are_embedded_in_one_call_each_once() -> None:
    inner = Counting()
    embedder = CachedEmbedder(inner)
    embedder.embed_documents(["a", "b"])
    rows = embedder.embed_documents(["c", "a", "d", "c"])
    embedder.embed_documents(["d", "a"])
    assert inner.asked == [["a", "b"], ["c", "d"]]
    assert np.array_equal(rows, HashingEmbedder(32).embed_documents(["c", "a", "d", "c"]))


def test_queries_and_documents_are_remembered_apart() -> None:
    inner = Counting()
    embedder = CachedEmbedder(inner)
    embedder.embed_documents(["tea"])
    embedder.embed_query("tea")
    assert inner.asked == [["tea"], ["tea"]]


def test_the_text_used_longest_ago_is_forgotten_first() -> None:
    inner = Counting()
    embedder = CachedEmbedder(inner, max_entries=2)
    for text in ["a", "b", "a", "c", "a", "b"]:
        embedder.embed_query(text)
    assert inner.asked == [["a"], ["b"], ["c"], ["b"]]


def test_a_batch_larger_than_the_cache_is_answered_whole() -> None:
    embedder = CachedEmbedder(Counting(), max_entries=2)
    texts = ["a", "b", "c", "a"]
    assert np.array_equal(embedder.embed_documents(texts), HashingEmbedder(32).embed_documents(texts))


def test_what_the_caller_does_to_a_vector_does_not_reach_the_cache() -> None:
    embedder = CachedEmbedder(HashingEmbedder(32))
    for _ in range(2):
        embedder.embed_query("tea")[:] = 0
        embedder.embed_documents(["tea", "jam"])[:] = 0
    assert embedder.embed_query("tea").any()
    assert embedder.embed_documents(["tea"]).any()


def test_a_cache_has_the_identity_of_what_it_remembers_and_closes_it() -> None:
    inner = Counting()
    embedder = CachedEmbedder(inner)
    embedder.embed_query("tea")
    embedder.close()
    embedder.embed_query("tea")
    assert embedder.identity == EmbedderIdentity("hashing", "1", 32)
    assert inner.asked == [["tea"], ["tea"]]
    assert inner.closed == 1


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(SettingsError, match="0"):
        CachedEmbedder(HashingEmbedder(), max_entries=0)


def test_embedders_are_made_by_name() -> None:
    assert isinstance(make_embedder("static", 0), StaticEmbedder)
    assert isinstance(make_embedder("sentence-transformers", 0), SentenceTransformerEmbedder)
    assert isinstance(make_embedder("sentence-transformers:./model:v1", 0), SentenceTransformerEmbedder)
    assert make_embedder("none", 128) is None


@pytest.mark.parametrize(("name", "dim"), [("hashing", 64), ("hashing:128", 128)])
def test_hashing_takes_its_dimension_from_its_name_first(name: str, dim: int) -> None:
    embedder = make_embedder(name, 64)
    assert embedder is not None
    assert embedder.identity.dim == dim


@pytest.mark.parametrize(
    ("name", "nearest"), [("statik", "static"), ("static:256", "static"), ("sentence_transformer", "sentence-tr")]
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}.*nearest is '{nearest}"):
        make_embedder(name, 256)


@pytest.mark.parametrize("name", ["", "?"])
def test_a_name_like_no_other_is_refused_with_all_of_them(name: str) -> None:
    with pytest.raises(SettingsError, match="static, hashing, onnx, sentence-transformers, none"):
        make_embedder(name, 256)


def test_a_dimension_that_is_no_number_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"hashing:big.*whole number"):
        make_embedder("hashing:big", 256)
