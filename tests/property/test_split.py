"""Passages: nothing lost, nothing too long, in order, and in linear work, whatever the text and the tokenizer."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ums_core.encoders.split import split
from ums_core.encoders.static import StaticEmbedder
from ums_core.errors import SettingsError

pytestmark = pytest.mark.property

STATIC = StaticEmbedder()
Count = Callable[[Sequence[str]], list[int]]


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def characters(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def octets(texts: Sequence[str]) -> list[int]:
    return [-(-len(text.encode()) // 4) for text in texts]


def blind_to_most_scripts(texts: Sequence[str]) -> list[int]:
    return [sum(character.isascii() for character in text) // 3 for text in texts]


def dear_lines(texts: Sequence[str]) -> list[int]:
    """Passages take more than their sentences alone: white space inside them counts four times."""
    return [len(text.split()) + 4 * sum(map(str.isspace, text.strip())) for text in texts]


COUNTS: list[Count] = [words, characters, octets, blind_to_most_scripts, dear_lines]
PROSE = st.lists(
    st.sampled_from(
        ["I moved to Lisbon in May. ", "Why?\n", "It rained (a lot)... ", "猫が好きです。", "ok ", "\n\n", "😀"]
    ),
    max_size=80,
).map("".join)
TEXTS = st.one_of(PROSE, st.text(max_size=300), st.text(alphabet="ab .\n\u3000。", max_size=300))


def assert_passages(text: str, spans: list[tuple[int, int]], count: Count, max_tokens: int) -> None:
    assert spans
    assert spans == sorted(spans)
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start < next_end
        assert end < next_end
        assert not text[end:next_start].strip()
    assert 0 <= spans[0][0] < spans[-1][1] <= len(text) or not text
    if text.strip():
        assert not text[: spans[0][0]].strip()
        assert not text[spans[-1][1] :].strip()
    for (start, end), tokens in zip(spans, count([text[start:end] for start, end in spans]), strict=True):
        assert tokens <= max_tokens or end - start == 1


@given(TEXTS, st.sampled_from(COUNTS), st.integers(1, 60), st.sampled_from([0, 0.15, 0.5]))
def test_passages_lose_nothing_stay_in_order_and_fit_the_window(
    text: str, count: Count, max_tokens: int, overlap: float
) -> None:
    spans = split(text, count_tokens=count, max_tokens=max_tokens, overlap=overlap)
    assert_passages(text, spans, count, max_tokens)


@pytest.mark.needs_lite
@given(st.one_of(PROSE, st.text(max_size=200)), st.integers(8, 40))
def test_passages_fit_as_a_real_tokenizer_counts(text: str, max_tokens: int) -> None:
    assert_passages(
        text,
        split(text, count_tokens=STATIC.count_tokens, max_tokens=max_tokens),
        STATIC.count_tokens,
        max_tokens,
    )


@given(TEXTS)
def test_a_text_within_the_window_is_one_passage_and_is_counted_once(text: str) -> None:
    calls: list[int] = []

    def count(texts: Sequence[str]) -> list[int]:
        calls.append(len(texts))
        return characters(texts)

    assert split(text, count_tokens=count, max_tokens=max(1, len(text))) == [(0, len(text))]
    assert calls == [1]


HOSTILE = {
    "no spaces": "x" * 100_000,
    "only newlines": "\n" * 100_000,
    "only stops": "." * 100_000,
    "stops and quotes": '."' * 50_000,
    "stops in brackets": ".)" * 49_999 + " end",
    "emoji": "👩\u200d👩\u200d👧" * 20_000,
    "one endless sentence": "and then " * 11_111,
    "short sentences": "Yes. " * 20_000,
    "ideographs": "猫が好きです。" * 14_285,
    "a gap in the middle": "before" + " \n" * 50_000 + "after",
    "one long word among sentences": "A cat sat. " * 4_000 + "z" * 50_000 + " A dog ran. " * 500,
}


@pytest.mark.no_cover
@pytest.mark.timeout(60)
@pytest.mark.parametrize("count", COUNTS, ids=lambda count: count.__name__)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_of_100k_characters_take_linear_work(text: str, count: Count) -> None:
    calls: list[int] = []

    def counted(texts: Sequence[str]) -> list[int]:
        calls.append(sum(map(len, texts)))
        return count(texts)

    assert_passages(text, split(text, count_tokens=counted, max_tokens=256), count, 256)
    assert len(calls) <= 12
    assert sum(calls) <= 8 * len(text)


@pytest.mark.no_cover
@pytest.mark.needs_lite
@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_fit_as_a_real_tokenizer_counts(text: str) -> None:
    assert_passages(text, split(text, count_tokens=STATIC.count_tokens, max_tokens=256), STATIC.count_tokens, 256)


def test_passages_end_at_sentences_and_repeat_the_last_one() -> None:
    text = "".join(f"This is sentence number {place} here. " for place in range(20))
    spans = split(text, count_tokens=words, max_tokens=25)
    passages = [text[start:end] for start, end in spans]
    assert all(passage.startswith("This") and passage.endswith("here.") for passage in passages)
    assert passages[0].count(".") == 4
    assert all(
        passage.split(". ")[0] == before.split(". ")[-1].removesuffix(".") for before, passage in pairwise(passages)
    )


def test_a_sentence_longer_than_the_window_is_cut_between_words() -> None:
    text = " ".join(f"word{place}" for place in range(100))
    spans = split(text, count_tokens=words, max_tokens=20)
    passages = [text[start:end].split() for start, end in spans]
    assert {word for passage in passages for word in passage} == set(text.split())
    assert [len(set(before) & set(after)) for before, after in pairwise(passages)] == [3] * (len(passages) - 1)


def test_a_passage_that_takes_more_than_its_sentences_is_halved() -> None:
    text = "A cat sat.\n\n" * 40 + "One sentence goes on\n\nand on\n\nand on until its end. " * 3
    for window in range(16, 64, 3):
        for overlap in (0.15, 0.5):
            spans = split(text, count_tokens=dear_lines, max_tokens=window, overlap=overlap)
            assert_passages(text, spans, dear_lines, window)
    assert_passages("z" * 500, split("z" * 500, count_tokens=octets, max_tokens=7), octets, 7)


def test_a_word_longer_than_the_window_is_cut_anywhere_and_its_passages_overlap() -> None:
    spans = split("z" * 1000, count_tokens=characters, max_tokens=100)
    assert all(0 < end - next_start <= 30 for (_, end), (next_start, _) in pairwise(spans))


@pytest.mark.needs_lite
def test_most_of_the_window_is_used() -> None:
    text = "I went to the market and bought apples, bread and some cheese.\n" * 500
    spans = split(text, count_tokens=STATIC.count_tokens, max_tokens=256)
    counts = STATIC.count_tokens([text[start:end] for start, end in spans])
    assert min(counts[:-1]) > 220


def test_white_space_longer_than_the_window_is_one_passage_that_fits() -> None:
    assert split("\n" * 50, count_tokens=characters, max_tokens=8) == [(0, 1)]


def test_a_window_or_an_overlap_out_of_range_is_refused() -> None:
    with pytest.raises(SettingsError, match="max_tokens=0"):
        split("text", count_tokens=words, max_tokens=0)
    with pytest.raises(SettingsError, match=r"0\.9"):
        split("text", count_tokens=words, max_tokens=8, overlap=0.9)
