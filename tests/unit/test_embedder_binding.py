"""A database is bound to what its vectors come from, and can be moved."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ums_core import (
    Draft,
    EmbedderIdentity,
    LocalStore,
    ModelConfig,
    Passage,
    Patch,
    Query,
    UnifiedSettings,
    open_store,
)
from ums_core.encoders.hashing import HashingEmbedder
from ums_core.errors import (
    DimensionMismatch,
    EmbedderMismatch,
    InvalidText,
    InvalidVector,
    NotADatabase,
    SettingsError,
)

Open = Callable[..., LocalStore]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    stores: list[LocalStore] = []

    def open_(embedder: str = "hashing:64", dim: int = 4, **model: object) -> LocalStore:
        settings = UnifiedSettings(
            database={"url": f"sqlite:///{tmp_path}/memory.db", "backend": "exact"},
            model=ModelConfig(embedder=embedder, vector_dim=dim, **model),
        )
        stores.append(open_store(settings))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


class Slow(HashingEmbedder):
    """Calls back before it embeds documents."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__(32)
        self.before = before

    def embed_documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.before()
        return super().embed_documents(texts)


def test_the_first_write_binds_to_the_embedder_and_another_one_is_refused(opened: Open) -> None:
    first = opened("hashing:64")
    first.add([Draft(text="hello there")])
    first.close()
    second = opened("hashing:32")
    with pytest.raises(EmbedderMismatch, match=r"hashing.*64-d.*32-d.*reembed"):
        second.add([Draft(text="hello again")])
    with pytest.raises(EmbedderMismatch):
        second.search(Query(text="hello"))
    assert second.count() == 1
    assert second.search(Query(text="hello", mode="keyword"))[0].memory.text == "hello there"


def test_the_first_write_of_a_callers_vector_binds_to_callers_of_that_dimension(opened: Open) -> None:
    store = opened(dim=4)
    store.add([Draft(text="mine", embedding=[1, 0, 0, 0])])
    assert store.health().embedder == {"text": "caller (4-d)"}
    with pytest.raises(EmbedderMismatch, match=r"caller \(4-d\).*embedding="):
        store.add([Draft(text="embed this")])
    with pytest.raises(DimensionMismatch, match="3 components"):
        store.add([Draft(text="short", embedding=[1, 0, 0])])
    assert store.search(Query(text="mine"))[0].similarity is None
    with pytest.raises(EmbedderMismatch, match="vector="):
        store.search(Query(text="mine", mode="vector"))


def test_a_caller_may_bring_vectors_of_the_embedders_dimension(opened: Open) -> None:
    store = opened("hashing:64")
    vector = HashingEmbedder(64).embed_query("a cat sat")
    store.add([Draft(text="a cat sat"), Draft(text="from outside", embedding=vector)])
    hits = store.search(Query(vector=vector, k=2))
    assert [hit.similarity for hit in hits] == [pytest.approx(1.0), pytest.approx(1.0)]
    with pytest.raises(DimensionMismatch):
        store.search(Query(vector=[1.0, 2.0]))


def test_without_an_embedder_texts_are_found_by_their_words(opened: Open) -> None:
    store = opened("none")
    store.add([Draft(text="the boiler broke"), Draft(text="the cat slept")])
    assert [hit.memory.text for hit in store.search(Query(text="boiler"))] == ["the boiler broke"]
    assert store.get([store.scan().memories[0].id])[0].passages == ()  # type: ignore[union-attr]  # it is there
    with pytest.raises(SettingsError, match="no embedder to move to"):
        store.reembed()
    assert store.search(Query(text="boiler", mode="vector")) == []
    assert store.search(Query(text="?!")) == []
    store.close_models()


def test_each_modality_has_its_own_dimension_and_index(opened: Open) -> None:
    store = opened(modalities=["text", "image"], vector_dims={"image": 3})
    store.add([Draft(text="a red door", id="door"), Draft(id="pic", embedding=[0, 3, 4], modality="image")])
    hit = store.search(Query(vector=[0, 0.6, 0.8], modality="image"))[0]
    assert (hit.memory.id, hit.memory.modality, hit.similarity) == ("pic", "image", pytest.approx(1.0))
    assert store.search(Query(text="door"))[0].memory.id == "door"
    assert store.search(Query(text="door", modality="image"))[0].memory.id == "door"
    with pytest.raises(EmbedderMismatch):
        store.search(Query(text="door", modality="image", mode="vector"))
    with pytest.raises(InvalidVector, match="image passage without a vector"):
        store.add([Draft(text="words", passages=(Passage(modality="image"),))])
    with pytest.raises(InvalidVector):
        store.add([Draft(passages=(Passage(),), text="")])
    assert store.health().index == {"text": "exact", "image": "exact"}
    assert store.verify() == []
    with pytest.raises(SettingsError, match="audio"):
        store.add([Draft(text="x", embedding=[1.0], modality="audio")])


@pytest.mark.parametrize(
    "vector",
    [
        [np.nan, 0, 0, 1], [np.inf, 0, 0, 1], [0, 0, 0, 0], [1e-20, 0, 0, 0], [1e39, 0, 0, 0], ["a", 0, 0, 1],
        [[1, 2, 3, 4]], "abcd", 7, [10**400, 0, 0, 0],
    ],
)  # fmt: skip
def test_a_vector_that_cannot_be_compared_is_refused_and_nothing_is_written(opened: Open, vector: object) -> None:
    store = opened()
    with pytest.raises(InvalidVector):
        store.add([Draft(text="fine", embedding=[1, 0, 0, 0]), Draft(text="not", embedding=vector)])  # type: ignore[arg-type]  # wrong on purpose
    assert store.count() == 0
    store.add([Draft(text="fine", embedding=[1, 0, 0, 0])])
    with pytest.raises(InvalidVector):
        store.search(Query(vector=vector))  # type: ignore[arg-type]  # wrong on purpose


def test_a_long_text_is_split_and_found_by_its_end(opened: Open) -> None:
    store = opened("static")
    filler = " ".join(f"Sentence {n} tells of the weather in the hills and nothing else." for n in range(120))
    long = store.add([Draft(text=f"{filler} The spare key is under the blue flowerpot.")])[0]
    store.add([Draft(text="The cat likes warm windowsills.")])
    assert len(long.passages) > 3
    hit = store.search(Query(text="where is the spare key hidden, under a flowerpot?", mode="vector"))[0]
    assert hit.memory.id == long.id
    assert "flowerpot" in hit.memory.passages[hit.passage].of(hit.memory.text)


def test_a_callers_own_passages_are_embedded_and_the_best_one_counts(opened: Open) -> None:
    store = opened("static")
    text = "A note."
    store.add(
        [
            Draft(id="note", text=text, passages=(Passage(text="the opening hours of the swimming pool"), Passage())),
            Draft(id="other", text="A shop that sells bread."),
        ]
    )
    hit = store.search(Query(text="when does the swimming pool open?", mode="vector"))[0]
    assert (hit.memory.id, hit.passage) == ("note", 0)
    long = "The tide tables are printed in the harbour office. " * 80
    stored = store.add([Draft(id="long", text="n", passages=(Passage(text=long),))])[0]
    assert len(stored.passages) > 1
    assert all(passage.text for passage in stored.passages)
    vectors = store.get(["note"], vectors=True)[0].passages  # type: ignore[union-attr]  # it is there
    assert all(np.linalg.norm(passage.vector) == pytest.approx(1.0) for passage in vectors)  # type: ignore[arg-type]
    store.update([Patch(id="note", changes={"tags": ["x"]})])
    assert store.search(Query(text="when does the swimming pool open?", mode="vector"))[0].memory.id == "note"


def test_a_database_moves_to_another_embedder_at_once_and_completely(opened: Open) -> None:
    store = opened("hashing:64", modalities=["text", "image"], vector_dims={"image": 3})
    store.add([Draft(text=f"fact number {n} about apples", id=f"m{n}") for n in range(300)])
    store.add(
        [Draft(text="a photo of a pier", id="pier", passages=(Passage(), Passage(modality="image", vector=[1, 0, 0])))]
    )
    store.add([Draft(id="pic", embedding=[0, 1, 0], modality="image")])
    seen: list[tuple[int, int]] = []
    assert store.reembed("static", progress=lambda done, total: seen.append((done, total))) == 301
    assert seen[-1] == (301, 301)
    assert store.health().embedder["text"].startswith("static")
    assert store.verify() == []
    assert store.search(Query(text="fact number 7 about apples"))[0].memory.id == "m7"
    assert store.search(Query(vector=[1, 0, 0], modality="image"))[0].memory.id == "pier"
    store.add([Draft(text="written after the move", id="after")])
    store.close()
    again = opened("static", modalities=["text", "image"], vector_dims={"image": 3})
    assert again.search(Query(text="written after the move"))[0].memory.id == "after"
    assert again.reembed() == 302


def test_the_old_embedder_answers_until_the_switch_and_what_comes_meanwhile_moves_too(opened: Open) -> None:
    store = opened("hashing:64")
    store.add([Draft(text=f"note {n}", id=f"n{n}") for n in range(3)])
    answers: list[str] = []

    def meanwhile() -> None:
        if not answers:
            answers.append(store.search(Query(text="note 2", mode="vector"))[0].memory.id)
            store.add([Draft(text="came meanwhile", id="late")])

    assert store.reembed(Slow(meanwhile)) == 4
    assert answers == ["n2"]
    assert store.search(Query(text="came meanwhile", mode="vector"))[0].memory.id == "late"


def test_a_move_that_breaks_off_goes_on_where_it_was(opened: Open) -> None:
    store = opened("hashing:64")
    store.add([Draft(text=f"note {n}") for n in range(600)])
    calls: list[int] = []

    def break_off() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        store.reembed(Slow(break_off))
    assert store.health().embedder == {"text": "hashing@1 (64-d)"}
    seen: list[int] = []
    assert store.reembed(HashingEmbedder(32), progress=lambda done, _: seen.append(done)) == 600
    assert seen[0] > 256
    assert store.health().embedder == {"text": "hashing@1 (32-d)"}


def test_a_move_to_yet_another_embedder_starts_anew(opened: Open) -> None:
    store = opened("hashing:64")
    store.add([Draft(text="one")])
    with pytest.raises(InterruptedError):
        store.reembed(Slow(_interrupt))
    assert store.reembed("hashing:16") == 1
    assert store.health().embedder == {"text": "hashing@1 (16-d)"}


def _interrupt() -> None:
    raise InterruptedError


def test_what_has_a_caption_in_place_of_a_text_is_embedded_and_moves(opened: Open) -> None:
    store = opened("hashing:32")
    store.add([Draft(id="a", caption="a red kayak"), Draft(id="b", text="see this", caption="a windmill")])
    assert [memory.passages for memory in store.scan().memories] == [(Passage(text="a red kayak"),), (Passage(),)]
    assert store.search(Query(text="a red kayak", mode="vector"))[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert store.reembed("hashing:64") == 2
    assert store.search(Query(text="a red kayak", mode="vector"))[0].similarity == pytest.approx(1.0, abs=1e-5)
    store.update([Patch(id="a", changes={"caption": "a green canoe"})])
    assert store.search(Query(text="a green canoe", mode="vector"))[0].similarity == pytest.approx(1.0, abs=1e-5)


def test_a_vector_without_words_cannot_move(opened: Open) -> None:
    store = opened(dim=4)
    store.add([Draft(embedding=[1, 0, 0, 0]), Draft(text="with words", embedding=[0, 1, 0, 0])])
    with pytest.raises(InvalidText, match="no text"):
        store.reembed("static")
    assert store.health().embedder == {"text": "caller (4-d)"}


def test_another_store_on_the_file_sees_the_move(opened: Open) -> None:
    one, two = opened("hashing:64"), opened("hashing:64")
    one.add([Draft(text="shared", id="s")])
    assert two.search(Query(text="shared"))[0].memory.id == "s"
    one.reembed("hashing:32")
    with pytest.raises(EmbedderMismatch, match="32-d"):
        two.search(Query(text="shared"))
    assert two.search(Query(vector=HashingEmbedder(32).embed_query("shared")))[0].memory.id == "s"


def test_an_identity_reads_as_one_label() -> None:
    assert str(EmbedderIdentity("caller", "", 3)) == "caller (3-d)"


def test_a_damaged_binding_is_none(opened: Open, tmp_path: Path) -> None:
    store = opened()
    store.add([Draft(text="a heron")])
    store.close()
    with closing(sqlite3.connect(tmp_path / "memory.db")) as connection:
        connection.execute("UPDATE embedders SET dim = x'00'")
        connection.commit()
    with pytest.raises(NotADatabase, match="damaged"):
        opened()
