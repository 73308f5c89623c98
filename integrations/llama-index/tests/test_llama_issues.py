"""What users of LlamaIndex report of stores and memories, each by its number, and where it is tried with UMS."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ContentBlock
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import ChatMessage, TextBlock
from llama_index.core.memory import BaseMemoryBlock, VectorMemoryBlock
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.memory.ums import UMSMemory, UMSMemoryBlock
from llama_index.retrievers.ums import UMSRetriever
from llama_index.vector_stores.ums import UMSVectorStore

from ums_core import Draft, MemoryStore

# Numbers of run-llama/llama_index, and of llama-agents where it says so.
ROWS = {
    "22701": "test_defect_1_a_block_shared_by_two_memories_leaks_no_session",
    "23144": "test_defect_2_the_system_message_is_never_archived",
    "23090": "test_defect_3_the_highest_priority_is_cut_last",
    "20256": "test_the_window_never_begins_in_the_middle_of_a_turn",
    "19763": "test_it_is_the_chat_store_of_llamaindexs_memory",
    "22823": "test_recall_may_depend_on_what_the_workflow_is_at",
    "22959": "test_blocks_are_read_at_the_same_time",
    "20492": "test_scopes_of_user_and_agent_may_be_given_together",
    "16310, 16664, 14986": "test_nested_filters_agree_with_brute_force",
    "14986, of flags": "test_flags_are_filtered_as_one_and_zero",
    "9635, 12159": "test_flat_filters_agree_with_the_frameworks_reference",
    "17048, 10682, 22967": "test_diversity_comes_from_the_query_or_the_call",
    "16325": "test_fusion_obeys_filters_and_ids",
    "20504, 14574, 13103": "test_an_index_over_an_existing_store_needs_no_docstore",
    "9893": "test_nodes_are_read_by_ids_in_their_order_and_by_filters",
    "15014, 14931": "test_a_pipeline_leaves_no_stale_chunk",
    "13537, 7025": "test_deleting_a_document_takes_its_nodes_and_no_others",
    "18069, 19324": "test_defect_7_a_context_that_is_written_down_holds_no_secret_and_goes_on",
    "llama-agents 709": "test_copies_share_the_store_and_pickles_leave_it_out",
    "6591, 14940, 16143": "test_no_awaitable_call_of_a_memory_blocks_the_loop",
    "15293": "test_no_awaitable_call_blocks_the_loop",
    "12264": "test_a_long_history_is_not_counted_at_every_turn",
    "18890": "test_the_nearest_come_first_and_higher_is_better",
    "23182": "test_nodes_reach_a_block_that_wants_their_scores",
    "23010": "test_an_agent_goes_on_after_a_restart",
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_tried(row: str) -> None:
    root = Path(__file__).parents[1]
    sources = [*root.glob("tests/test_*.py"), *root.glob("llama_index_ums/testing/*.py")]
    tests = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    assert re.search(rf"def {ROWS[row]}\(", tests)


def words(text: str) -> list[str]:
    return text.split()


async def test_recall_may_depend_on_what_the_workflow_is_at(any_store: MemoryStore) -> None:
    """Memory retrieval cannot be conditioned on the context of the run (#22823)."""
    facts = {"plan": "the zebra is planned", "build": "the zebra is built"}
    any_store.add([Draft(text=text, namespace=("team",), tags=(phase,)) for phase, text in facts.items()])
    block = UMSMemoryBlock(any_store, namespace=("team",), recall="namespace")
    memory = UMSMemory(any_store, session_id="s", namespace=("talk",), memory_blocks=[block])
    whole = UMSMemory(any_store, session_id="s", namespace=("team",), recall="namespace")
    for one in (memory, whole):
        await one.aput(ChatMessage(content="what of the zebra"))
        for phase, other in (("plan", "build"), ("build", "plan")):
            condition = {"tags": {"$contains": phase}}
            for seen in (await one.aget(filter=condition), await asyncio.to_thread(one.get, filter=condition)):
                text = "\n".join(message.content or "" for message in seen)
                assert facts[phase] in text
                assert facts[other] not in text


async def test_blocks_are_read_at_the_same_time(store: MemoryStore) -> None:
    """The times of blocks that are read one after the other add up (PR #22959)."""
    both = asyncio.Barrier(2)

    class Waiting(BaseMemoryBlock[list[ContentBlock]]):
        async def _aget(self, messages: list[ChatMessage] | None = None, **_: Any) -> list[ContentBlock]:  # noqa: ANN401, ARG002  # the framework's signature
            await asyncio.wait_for(both.wait(), 60)
            return [TextBlock(text=f"{self.name} was read")]

        async def _aput(self, messages: list[ChatMessage]) -> None: ...

    memory = UMSMemory(store, session_id="s", memory_blocks=[Waiting(name="one"), Waiting(name="two")])
    await memory.aput(ChatMessage(content="hello"))
    seen = "\n".join(message.content or "" for message in await memory.aget())
    assert "one was read" in seen
    assert "two was read" in seen


def test_scopes_of_user_and_agent_may_be_given_together(any_store: MemoryStore) -> None:
    """Mem0 finds nothing where both user_id and agent_id are given (#20492)."""
    any_store.add(
        [
            Draft(text=f"the zebra of {user} and {agent}", namespace=("users", user), metadata={"agent_id": agent})
            for user in ("ada", "bob")
            for agent in ("cook", "guide")
        ]
    )
    filters = MetadataFilters(filters=[MetadataFilter(key="agent_id", value="cook")])
    for condition in (filters, {"metadata.agent_id": "cook"}):
        found = UMSRetriever(any_store, namespace=("users", "ada"), filter=condition).retrieve("zebra")
        assert [node.text for node in found] == ["the zebra of ada and cook"]
    assert len(UMSRetriever(any_store, namespace=("users", "ada")).retrieve("zebra")) == 2


def test_a_long_history_is_not_counted_at_every_turn(store: MemoryStore) -> None:
    """ChatMemoryBuffer.get counts a long history anew again and again, for a minute (#12264)."""
    counted: list[str] = []

    def counting(text: str) -> list[str]:
        counted.append(text)
        return words(text)

    memory = UMSMemory(store, session_id="s", token_limit=10**6, k=0, tokenizer_fn=counting)
    memory.put_messages([ChatMessage(content=f"message {number} of a long history") for number in range(500)])
    assert len(counted) == 500
    memory.get()
    memory.put(ChatMessage(content="one more"))
    assert len(memory.get()) == 501
    assert counted[500:] == ["one more"]


async def test_nodes_reach_a_block_that_wants_their_scores(store: MemoryStore) -> None:
    """A vector store without similarities makes VectorMemoryBlock drop every node (PR #23182)."""
    vectors = UMSVectorStore(store, is_embedding_query=False)
    block = VectorMemoryBlock(vector_store=vectors, embed_model=MockEmbedding(embed_dim=1))
    await block.aput([ChatMessage(content="the zebra is Max")], from_short_term_memory=True, session_id="s")
    assert "the zebra is Max" in await block.aget([ChatMessage(content="zebra")], session_id="s")
