"""Summaries by language models of agent frameworks, which the core does not import."""

import pytest
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from llama_index.core.llms import MockLLM

from ums_core import Draft, Memory, UnifiedSettings, open_store
from ums_core.pipeline.summarize import Summarizer, Summary, prompt_of

pytestmark = [pytest.mark.needs_langchain, pytest.mark.needs_llama_index]


@pytest.fixture
def memories() -> list[Memory]:
    with open_store(UnifiedSettings.for_testing()) as store:
        return store.add([Draft(text="Ada plays the cello."), Draft(text="Ada practises the cello every day.")])


def test_a_language_model_of_langchain_summarises(memories: list[Memory]) -> None:
    assert Summarizer(FakeListChatModel(responses=["Ada plays."])).summary(memories) == Summary("Ada plays.")
    assert Summarizer(FakeListLLM(responses=["Ada plays."])).summary(memories) == Summary("Ada plays.")


def test_a_language_model_of_llama_index_summarises(memories: list[Memory]) -> None:
    # It repeats the prompt, which is longer than what it summarises.
    text = Summarizer(MockLLM(), max_chars=600).summary(memories).text
    assert text == prompt_of(memories, 600)
