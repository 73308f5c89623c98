"""Agents that remember: recall over sessions and restarts, isolation, contexts that are written down and read back."""

import asyncio
import copy
import gc
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import VectorStoreQuery
from llama_index.core.workflow import Context, JsonPickleSerializer, JsonSerializer
from llama_index.memory.ums import UMSMemory, UMSMemoryBlock
from llama_index.storage.chat_store.ums import UMSChatStore
from llama_index.storage.kvstore.ums import UMSKVStore
from llama_index.vector_stores.ums import UMSVectorStore
from llama_index_ums.link import environment_store
from llama_index_ums.testing.agent import ScriptedLLM, calls, repeats

from ums_core import EnhancedMemoryStore, MemoryStore, UnifiedSettings, open_store
from ums_core.settings.database import url_of

# Workflows look at every attribute of an agent, among them those that pydantic has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")


def script(shown: list[ChatMessage]) -> ChatMessage:
    """Call a tool where the user asks for the time, else repeat what was shown."""
    last = shown[-1]
    return calls("clock") if last.role == "user" and "time" in (last.content or "") else repeats(shown)


def clock() -> str:
    """The time."""
    return "twelve o'clock"


def agent(kind: str) -> FunctionAgent | AgentWorkflow:
    one = FunctionAgent(name="one", description="d", llm=ScriptedLLM(script), tools=[clock], system_prompt="Be kind.")
    return AgentWorkflow(agents=[one], root_agent="one") if kind == "workflow" else one


KINDS = ["function", "workflow"]


def words(text: str) -> list[str]:
    return text.split()


def made(store: MemoryStore | None, session: str, **options: Any) -> UMSMemory:  # noqa: ANN401  # any field
    # Fifteen words in the window, and much room for what is recalled.
    budget = {"token_limit": 1500, "chat_history_token_ratio": 0.01, "tokenizer_fn": words}
    return UMSMemory(store, session_id=session, namespace=("users", "ada"), **{**budget, **options})


@pytest.mark.parametrize("kind", KINDS)
async def test_an_agent_recalls_over_sessions_of_one_user(any_store: MemoryStore, kind: str) -> None:
    first = made(any_store, "s1", recall="namespace")
    await agent(kind).run(user_msg="My cat is called Zebedee.", memory=first)
    second = made(any_store, "s2", recall="namespace")
    answer = await agent(kind).run(user_msg="What is my cat called?", memory=second)
    assert "user, s1] My cat is called Zebedee." in str(answer)
    assert [message.role for message in await second.aget_all()] == ["user", "assistant"]


@pytest.mark.parametrize("kind", KINDS)
async def test_sessions_that_share_a_block_are_apart(any_store: MemoryStore, kind: str) -> None:
    block = UMSMemoryBlock(any_store)

    def of(session: str) -> UMSMemory:
        return made(any_store, session, memory_blocks=[block])

    for session, cat in (("a", "Zebedee"), ("b", "Quentin")):
        await agent(kind).run(user_msg=f"My cat is called {cat} and not otherwise.", memory=of(session))
        await agent(kind).run(user_msg="Now to something else: the weather.", memory=of(session))
    answer = str(await agent(kind).run(user_msg="What is my cat called?", memory=of("a")))
    assert "Zebedee" in answer
    assert "Quentin" not in answer


@pytest.mark.parametrize("kind", KINDS)
async def test_tool_calls_and_their_results_are_kept_with_their_turn(any_store: MemoryStore, kind: str) -> None:
    memory = made(any_store, "s")
    answer = await agent(kind).run(user_msg="What time is it?", memory=memory)
    assert "twelve o'clock" in str(answer)
    kept = await memory.aget_all()
    assert [message.role.value for message in kept] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_goes_on_after_a_restart(tmp_path: Path, kind: str) -> None:
    settings = UnifiedSettings.for_testing(database={"url": url_of(tmp_path / "m.db")})

    async def ask(message: str) -> str:
        async with EnhancedMemoryStore(settings) as store:
            return str(await agent(kind).run(user_msg=message, memory=made(store.sync, "s")))

    asyncio.run(ask("My cat is called Zebedee."))
    asyncio.run(ask("Now to something else: the weather of this day in the mountains, and of the night."))
    assert "My cat is called Zebedee." in asyncio.run(ask("What is my cat called?"))


async def test_a_blocking_caller_sees_what_an_agent_said(any_store: MemoryStore) -> None:
    memory = made(any_store, "s")
    await asyncio.to_thread(memory.put, ChatMessage(content="My cat is called Zebedee."))
    answer = await agent("function").run(user_msg="What is my cat called?", memory=memory)
    assert "Zebedee" in str(answer)
    assert len(await asyncio.to_thread(memory.get_all)) == 3


async def test_a_context_that_is_used_again_keeps_the_store_of_its_memory(any_store: MemoryStore) -> None:
    one, memory = agent("function"), made(any_store, "s")
    ctx = Context(one)
    for message in ("hello", "goodbye"):
        await one.run(user_msg=message, memory=memory, ctx=ctx)
    assert [m.content for m in await memory.aget_all() if m.role == "user"] == ["hello", "goodbye"]


async def test_defect_6_a_used_context_takes_another_memory(any_store: MemoryStore) -> None:
    """agent.run(memory=m2, ctx=ctx) with a used ctx silently keeps the old memory."""
    one, first, second = agent("function"), made(any_store, "first"), made(any_store, "second")
    ctx = Context(one)
    await one.run(user_msg="hello", memory=first, ctx=ctx)
    await second.attach(ctx)
    await one.run(user_msg="goodbye", memory=second, ctx=ctx)
    assert (await second.aget_all())[0].content == "goodbye"
    assert len(await first.aget_all()) == 2


# Writing down, copying.


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UnifiedSettings:
    """An environment that names a store and holds secrets, and a process that has opened none yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_DATABASE__URL", url_of(tmp_path / "named.db"))
    monkeypatch.setenv("AI_MODEL__EMBEDDER", "hashing")
    environment_store.cache_clear()
    return UnifiedSettings()


@pytest.mark.parametrize("serializer", [JsonSerializer(), JsonPickleSerializer()], ids=["json", "pickle"])
async def test_defect_7_a_context_that_is_written_down_holds_no_secret_and_goes_on(
    environment: UnifiedSettings, tmp_path: Path, serializer: JsonSerializer
) -> None:
    """ctx.to_dict() writes public fields in clear, and what is read back has lost its clients."""
    one = agent("function")

    async def before() -> str:
        async with EnhancedMemoryStore(environment) as store:
            memory = made(store.sync, "s", memory_blocks=[UMSMemoryBlock(store)])
            ctx = Context(one)
            await one.run(user_msg="My cat is called Zebedee.", memory=memory, ctx=ctx)
            return json.dumps(ctx.to_dict(serializer=serializer))

    written = await before()
    gc.collect()
    for secret in (str(tmp_path), "named.db", "sqlite"):
        assert secret not in written
    again = Context.from_dict(one, json.loads(written), serializer=serializer)
    answer = str(await one.run(user_msg="What is my cat called?", ctx=again))
    assert "My cat is called Zebedee." in answer
    revived = await again.store.get("memory")
    assert (revived.session_id, revived.namespace, revived.token_limit) == ("s", ("users", "ada"), 1500)


def _used(settings: UnifiedSettings) -> bytes:
    with open_store(settings) as store:
        memory = made(store, "s", memory_blocks=[UMSMemoryBlock(store)], k=2)
        chat, values = UMSChatStore(store, ("c",)), UMSKVStore(store, ("v",))
        vectors = UMSVectorStore(store, ("docs",), is_embedding_query=False)
        memory.put(ChatMessage(content="zebra"))
        chat.sync.add_message("k", ChatMessage(content="quartz"))
        values.put("k", {"n": 1})
        vectors.add([TextNode(id_="a", text="zebra")])
        for again in (copy.deepcopy(memory), copy.copy(memory), pickle.loads(pickle.dumps(memory))):  # noqa: S301  # our own
            assert again.get_all() == memory.get_all() != []
        assert copy.deepcopy(vectors).client is store
        assert copy.deepcopy(chat).sync.get_keys() == ["k"]
        return pickle.dumps([memory, chat, chat.sync, values, vectors])


def test_copies_share_the_store_and_pickles_leave_it_out(environment: UnifiedSettings, tmp_path: Path) -> None:
    written = _used(environment)
    gc.collect()
    assert b"named.db" not in written
    assert str(tmp_path).encode() not in written
    memory, chat, blocking, values, vectors = pickle.loads(written)  # noqa: S301  # our own
    assert [message.content for message in memory.get_all()] == ["zebra"]
    assert (memory.k, memory.token_limit) == (2, 1500)
    assert chat.sync.get_messages("k") == blocking.get_messages("k") == [ChatMessage(content="quartz")]
    assert values.get("k") == {"n": 1}
    assert vectors.query(VectorStoreQuery(query_str="zebra")).ids == ["a"]
    environment_store().sync.close()


@pytest.mark.parametrize("kind", [UMSMemory, UMSVectorStore])
def test_a_component_is_rebuilt_from_its_dict(environment: UnifiedSettings, kind: type[UMSMemory]) -> None:
    with open_store(environment) as store:
        written = json.loads(kind(store, namespace=("users", "ada")).to_json())
    assert kind.from_dict(written).namespace == ("users", "ada")


@pytest.mark.usefixtures("environment")
async def test_a_block_and_a_chat_store_open_what_the_environment_names() -> None:
    block = UMSMemoryBlock.model_validate(UMSMemoryBlock(namespace=("b",), k=3).model_dump(mode="json"))
    await block.aput([ChatMessage(content="the zebra is Max")], session_id="s")
    memory = Memory.from_defaults(session_id="s", memory_blocks=[block], chat_store=UMSChatStore())
    await memory.aput(ChatMessage(content="zebra"))
    assert "the zebra is Max" in ((await memory.aget())[0].content or "")
    environment_store().sync.close()
