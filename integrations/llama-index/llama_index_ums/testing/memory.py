"""The suites that any ``BaseMemory`` and any ``BaseMemoryBlock`` should pass.

::

    class TestMine(MemorySuite):
        @pytest.fixture
        def memory(self):
            return MyMemory()
"""

# ruff: noqa: D102  # a test's name is the behaviour

import asyncio
import copy
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import BaseMemory, BaseMemoryBlock

from llama_index_ums.testing.faces import FACES, Face
from llama_index_ums.testing.samples import said, texts, whole

__all__ = ["MemoryBlockSuite", "MemorySuite"]

both_faces = pytest.mark.parametrize("awaited", FACES, ids=["blocking", "awaitable"])


def told(content: object) -> str:
    """What a block gave, as text: a string, content blocks or messages."""
    if not isinstance(content, list):
        return str(content or "")
    return "\n".join(str(getattr(part, "text", None) or getattr(part, "content", None) or "") for part in content)


class MemorySuite:
    """Tests of both faces; a subclass gives the fixture ``memory``, empty, with room for a few hundred words."""

    @both_faces
    async def test_messages_come_back_in_their_order(self, memory: BaseMemory, *, awaited: bool) -> None:
        face = Face(memory, awaited=awaited)
        assert (await face.get(), await face.get_all()) == ([], [])
        await face.put(*said("one"))
        await face.put_messages([ChatMessage(role="assistant", content="two"), *said("three")])
        await face.put_messages([])
        assert texts(await face.get_all()) == texts((await face.get())[-3:]) == ["one", "two", "three"]
        assert texts(await face.get(input="four"))[-3:] == ["one", "two", "three"]
        await face.set(said("anew"))
        assert texts(await face.get_all()) == ["anew"]
        await face.reset()
        assert (await face.get(), await face.get_all()) == ([], [])

    async def test_every_kind_of_block_comes_back(self, memory: BaseMemory) -> None:
        await memory.aput_messages(whole())
        assert await memory.aget_all() == whole()

    async def test_many_writers_at_once_lose_nothing(self, memory: BaseMemory) -> None:
        await asyncio.gather(*(memory.aput(message) for message in said(*map(str, range(20)))))
        assert sorted(texts(await memory.aget_all()), key=str) == sorted(map(str, range(20)))

    async def test_a_copy_remembers_the_same(self, memory: BaseMemory) -> None:
        await memory.aput(*said("one"))
        assert texts(await copy.deepcopy(memory).aget_all()) == ["one"]

    async def test_what_was_read_may_be_changed(self, memory: BaseMemory) -> None:
        await memory.aput(*said("one"))
        (await memory.aget_all())[0].additional_kwargs["x"] = 1
        assert (await memory.aget_all())[0].additional_kwargs == {}


class MemoryBlockSuite:
    """Tests; a subclass gives the fixture ``block``, empty, that keeps sessions apart."""

    async def test_the_last_user_message_brings_to_mind_what_was_put(self, block: BaseMemoryBlock[Any]) -> None:
        assert told(await block.aget(said("zebra"), session_id="s")) == ""
        await block.aput(said("the zebra is Max"), from_short_term_memory=True, session_id="s")
        asked = [*said("what is the zebra called"), ChatMessage(role="assistant", content="let me see")]
        assert "the zebra is Max" in told(await block.aget(asked, session_id="s"))
        assert told(await block.aget([], session_id="s")) == told(await block.aget(None, session_id="s")) == ""

    async def test_sessions_are_apart(self, block: BaseMemoryBlock[Any]) -> None:
        for session, name in (("a", "Max"), ("b", "Moritz")):
            await block.aput(said(f"the zebra is {name}"), from_short_term_memory=True, session_id=session)
        for session, own, other in (("a", "Max", "Moritz"), ("b", "Moritz", "Max")):
            found = told(await block.aget(said("what is the zebra called"), session_id=session))
            assert own in found
            assert other not in found

    async def test_messages_that_are_put_are_not_changed(self, block: BaseMemoryBlock[Any]) -> None:
        messages = said("the zebra is Max")
        await block.aput(messages, from_short_term_memory=True, session_id="s")
        assert messages == said("the zebra is Max")

    async def test_truncation_keeps_whole_memories(self, block: BaseMemoryBlock[Any]) -> None:
        sentences = [f"the zebra with number {number} came here" for number in range(3)]
        await block.aput(said(*sentences), from_short_term_memory=True, session_id="s")
        content = await block.aget(said("zebra"), session_id="s")
        kept = told(await block.atruncate(content, 2))
        held = [sentence for sentence in sentences if sentence in told(content)]
        assert len(kept) < len(told(content))
        assert kept.count("zebra") == sum(sentence in kept for sentence in held) < len(held) > 0
        assert told(await block.atruncate(content, 10**6)) == ""

    async def test_a_block_that_takes_nothing_over_stays_empty(self, block: BaseMemoryBlock[Any]) -> None:
        closed = block.model_copy(update={"accept_short_term_memory": False})
        await closed.aput(said("the zebra is Max"), from_short_term_memory=True, session_id="s")
        assert told(await closed.aget(said("zebra"), session_id="s")) == ""
