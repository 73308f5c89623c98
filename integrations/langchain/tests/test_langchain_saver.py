"""The checkpointer by LangGraph's suite, and with real graphs: restarts, interrupts, copies, pruning."""

import asyncio
import operator
import subprocess
import sys
from collections.abc import AsyncGenerator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypedDict

import langgraph.checkpoint.ums
import langgraph.store.ums
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_kinds import Stores
from langchain_ums import UMSSaver, UMSStore
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt

from ums_core import EnhancedMemoryStore, LocalStore, UnifiedSettings, open_store
from ums_core.testing.serving import roomy, serving

COUNTS = {
    "put": 17, "put_writes": 10, "get_tuple": 10, "list": 16, "delete_thread": 5, "delete_for_runs": 7,
    "copy_thread": 8, "prune": 8,
}  # fmt: skip


def test_the_saver_passes_every_test_of_langgraphs_suite(store_of: Stores) -> None:
    @checkpointer_test(name="UMSSaver")
    async def make() -> AsyncGenerator[UMSSaver, None]:
        yield UMSSaver(store_of())

    report = asyncio.run(validate(make))
    results = report.results
    assert {name: (result.tests_passed, result.tests_failed) for name, result in results.items()} == {
        name: (count, 0) for name, count in COUNTS.items()
    }
    assert sum(result.tests_passed for result in results.values()) == 81
    assert report.passed_all_base()


class Counting(TypedDict):
    log: Annotated[list[str], operator.add]


def counting(saver: UMSSaver) -> Any:  # noqa: ANN401  # a compiled graph
    def one(_state: Counting) -> dict[str, list[str]]:
        return {"log": ["one"]}

    def two(_state: Counting) -> dict[str, list[str]]:
        return {"log": [f"two, told {interrupt('go on?')}"]}

    graph = StateGraph(Counting)
    graph.add_node("one", one)
    graph.add_node("two", two)
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    graph.add_edge("two", END)
    return graph.compile(checkpointer=saver)


def config(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


ODD = ["t", "a/b", "ü%2F", "日本語", "../..", "c/", " ", "x" * 300]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_interrupted_graph_goes_on_in_any_thread_name(store: LocalStore, colour: str) -> None:
    graph = counting(UMSSaver(store))

    def run(value: object, thread: str) -> Any:  # noqa: ANN401  # the state
        if colour == "sync":
            return graph.invoke(value, config(thread))
        return asyncio.run(graph.ainvoke(value, config(thread)))

    for number, thread in enumerate(ODD):
        assert "__interrupt__" in run({"log": [thread]}, thread)
        assert graph.get_state(config(thread)).next == ("two",)
        assert run(Command(resume=number), thread)["log"] == [thread, "one", f"two, told {number}"]
    for thread in ODD:
        assert graph.get_state(config(thread)).values["log"][0] == thread
    assert {found.config["configurable"]["thread_id"] for found in UMSSaver(store).list(None)} == set(ODD)


def test_history_is_listed_newest_first_filtered_and_before(store: LocalStore) -> None:
    saver = UMSSaver(store)
    graph = counting(saver)
    graph.invoke({"log": ["x"]}, config("t"))
    graph.invoke({"log": ["x"]}, config("other"))
    whole = list(saver.list(config("t")))
    ids = [found.checkpoint["id"] for found in whole]
    assert ids == sorted(ids, reverse=True)
    assert [found.metadata["step"] for found in whole] == [1, 0, -1]
    in_namespace = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    assert list(saver.list(in_namespace)) == whole
    for named in (config("t"), in_namespace):
        assert [f.metadata["step"] for f in saver.list(named, before=whole[0].config)] == [0, -1]
        assert [f.metadata["step"] for f in saver.list(named, filter={"source": "input"})] == [-1]
        assert [f.metadata["step"] for f in saver.list(named, limit=2)] == [1, 0]
        assert list(saver.list(named, limit=0)) == []
    assert [f.metadata["step"] for f in saver.list(whole[1].config)] == [0]
    assert len(list(saver.list(None))) == 2 * len(whole)

    async def same() -> None:
        assert [found async for found in saver.alist(config("t"))] == whole
        assert await saver.aget_tuple(whole[1].config) == whole[1]

    asyncio.run(same())
    assert saver.get_tuple(config("no such thread")) is None
    assert saver.get(config("t")) == whole[0].checkpoint


def test_a_past_state_can_be_gone_back_to_and_forked(store: LocalStore) -> None:
    graph = counting(UMSSaver(store))
    graph.invoke({"log": ["x"]}, config("t"))
    graph.invoke(Command(resume="yes"), config("t"))
    before_two = next(state for state in graph.get_state_history(config("t")) if state.next == ("two",))
    forked = graph.update_state(before_two.config, {"log": ["forked"]})
    assert "__interrupt__" in graph.invoke(None, forked)
    assert graph.invoke(Command(resume="no"), config("t"))["log"] == ["x", "one", "forked", "two, told no"]


def test_threads_are_copied_pruned_and_deleted_blocking_too(store: LocalStore) -> None:
    saver = UMSSaver(store)
    graph = counting(saver)
    graph.invoke({"log": ["x"]}, config("t") | {"metadata": {"run_id": "r1"}})
    saver.copy_thread("t", "copy")
    saver.prune(["t", "never"])
    assert len(list(saver.list(config("t")))) == 1
    assert len(list(saver.list(config("copy")))) == 3
    for thread in ("t", "copy"):
        assert graph.invoke(Command(resume=1), config(thread))["log"] == ["x", "one", "two, told 1"]
    with pytest.raises(ValueError, match="strategy"):
        saver.prune(["t"], strategy="keep_some")
    saver.prune(["t"], strategy="delete")
    assert list(saver.list(config("t"))) == []
    saver.delete_for_runs(["r1", "never"])
    assert all(found.metadata.get("run_id") != "r1" for found in saver.list(config("copy")))
    saver.delete_thread("copy")
    saver.copy_thread("copy", "nothing")
    saver.delete_thread("never")
    assert store.kv_scan("langgraph.checkpoints") == []


def gathered(saver: UMSSaver, every: int) -> Any:  # noqa: ANN401  # a compiled graph
    class State(TypedDict):
        log: Annotated[
            list[str], DeltaChannel(lambda held, new: [*held, *chain.from_iterable(new)], snapshot_frequency=every)
        ]

    graph = StateGraph(State)
    graph.add_node("say", lambda state: {"log": [f"said {len(state['log'])}"]})
    graph.add_edge(START, "say")
    graph.add_edge("say", END)
    return graph.compile(checkpointer=saver)


@pytest.mark.parametrize("every", [2, 3, 1000])
def test_pruning_keeps_what_a_delta_channel_is_rebuilt_from(store: LocalStore, every: int) -> None:
    saver = UMSSaver(store)
    graph = gathered(saver, every)
    for turn in range(5):
        graph.invoke({"log": [f"turn {turn}"]}, config("t"))
    whole = graph.get_state(config("t")).values["log"]
    assert len(whole) == 10
    before = len(list(saver.list(config("t"))))
    saver.prune(["t"])
    after = len(list(saver.list(config("t"))))
    assert gathered(UMSSaver(store), every).get_state(config("t")).values["log"] == whole
    assert after < before if every < 1000 else after <= before


RUN = """
import sys
from test_langchain_saver import config, counting
from langchain_ums import UMSSaver
from langgraph.types import Command
from ums_core import UnifiedSettings, open_store
with open_store(UnifiedSettings(database={"url": sys.argv[1]}, model={"embedder": "hashing"})) as store:
    graph = counting(UMSSaver(store))
    print(graph.invoke(Command(resume="yes"), config("t"))["log"])
"""


def test_a_graph_that_one_process_interrupted_goes_on_in_another(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/memory.db"
    with open_store(UnifiedSettings(database={"url": url}, model={"embedder": "hashing"})) as store:
        assert counting(UMSSaver(store)).invoke({"log": ["x"]}, config("t"))["log"] == ["x", "one"]
    command = [sys.executable, "-c", RUN, url]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['x', 'one', 'two, told yes']"


def test_messages_come_back_as_they_were_and_savers_of_other_names_do_not_see_them(store: LocalStore) -> None:
    class State(TypedDict):
        messages: Annotated[list[AnyMessage], add_messages]

    def answer(_state: State) -> dict[str, list[AnyMessage]]:
        return {"messages": [AIMessage("42", tool_calls=[{"name": "f", "args": {"x": [1]}, "id": "c"}], id="a1")]}

    graph = StateGraph(State)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    compiled = graph.compile(checkpointer=UMSSaver(store, collection="one"))
    compiled.invoke({"messages": [HumanMessage("?", id="h1")]}, config("t"))
    found = UMSSaver(store, collection="one").get_tuple(config("t"))
    assert found is not None
    messages = found.checkpoint["channel_values"]["messages"]
    assert [type(message) for message in messages] == [HumanMessage, AIMessage]
    assert messages[1].tool_calls[0]["args"] == {"x": [1]}
    assert UMSSaver(store, collection="two").get_tuple(config("t")) is None


def test_one_saver_serves_tasks_and_loop_after_loop() -> None:
    door = EnhancedMemoryStore(UnifiedSettings.for_testing(perf={"max_workers": 4}))
    graph = counting(UMSSaver(door))

    async def eight(of: str) -> None:
        await asyncio.gather(*(graph.ainvoke({"log": [f"{of}{n}"]}, config(f"{of}{n}")) for n in range(8)))
        done = await asyncio.gather(*(graph.ainvoke(Command(resume=n), config(f"{of}{n}")) for n in range(8)))
        assert [state["log"] for state in done] == [[f"{of}{n}", "one", f"two, told {n}"] for n in range(8)]

    asyncio.run(eight("a"))
    asyncio.run(eight("b"))
    asyncio.run(door.close())


def test_the_names_in_langgraphs_namespace_are_the_same_classes() -> None:
    assert (langgraph.checkpoint.ums.UMSSaver, langgraph.store.ums.UMSStore) == (UMSSaver, UMSStore)


def test_no_checkpoint_is_overlooked_where_a_service_gives_short_pages() -> None:
    named: Any = {"configurable": {"thread_id": "t"}}
    with serving(roomy(service={"max_k": 3, "rate_limit": "1000000/second"})) as served, served.store() as store:
        saver, config = UMSSaver(store), {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        for step in range(8):
            config = saver.put(config, empty_checkpoint(), {"source": "loop", "step": step}, {})
        saver.put_writes(config, [(f"c{number}", number) for number in range(7)], "task")
        assert [each.metadata["step"] for each in saver.list(named)] == list(range(7, -1, -1))
        found = saver.get_tuple(named)
        assert found is not None
        assert [value for _, _, value in found.pending_writes or ()] == list(range(7))
        saver.delete_thread("t")
        assert saver.get_tuple(named) is None
        assert store.kv_scan("langgraph.checkpoints") == []
