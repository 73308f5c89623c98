"""Drafts that go in one by one, and changes that come out: nothing lost and nothing twice, whatever breaks off."""

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from services import EVERYTHING, Serve, Served, listening, settings_in
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from ums_core import Draft, LocalStore, UnifiedSettings, open_store
from ums_core.errors import InvalidField, InvalidInput, InvalidText, RemoteError
from ums_core.service.auth import Caller, Gate
from ums_core.service.desk import Desk
from ums_core.service.metrics import Metrics
from ums_core.service.rates import Rates
from ums_core.service.stream import Streams
from ums_core.service.tenants import Tenants
from ums_core.service.tokens import Tenant, Tokens, tokens_path
from ums_core.wire.stream import Ack, dump_draft, key_of, load_ack, load_draft, load_event


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[httpx.Client, Tokens]]:
    """A service on a port: an answer that goes on is read as it comes."""
    settings = settings_in(tmp_path)
    with listening(settings) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client, Tokens(tokens_path(settings.database.path))


def auth_of(tokens: Tokens, tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.create(Tenant(tenant), EVERYTHING, env='test')}"}


def send(served: Served, auth: dict[str, str], messages: list[str]) -> list[Ack]:
    with served.client.websocket_connect("/v1/stream", headers=auth) as stream:
        for message in messages:
            stream.send_text(message)
        return [load_ack(stream.receive_text()) for _ in messages]


def changes(client: httpx.Client, auth: dict[str, str], query: str = "", **more: str) -> list[tuple[str, str]]:
    """Number and content of each change, until the service says that there is no more for now."""
    told: list[dict[str, str]] = [{}]
    with client.stream("GET", f"/v1/events{query}", headers={**auth, **more}) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith(":"):
                break
            if line:
                name, _, value = line.partition(": ")
                told[-1][name] = value
            else:
                told.append({})
    return [(each["id"], each["data"]) for each in told if each.get("event") == "change"]


def test_a_draft_is_answered_in_its_order_with_what_became_of_it(served: Served) -> None:
    auth = served.auth()
    acks = send(
        served, auth, [dump_draft(f"k{n}", Draft(id=str(n), text=f"n {n}", namespace=("a",))) for n in range(50)]
    )
    assert [(ack.key, ack.id, ack.namespace, ack.error) for ack in acks] == [
        (f"k{n}", str(n), ("a",), None) for n in range(50)
    ]
    # Several are stored at a time, so that it is not always the last one that is last.
    assert max(ack.seq for ack in acks) == 50
    assert min(ack.seq for ack in acks) > 0
    assert served.client.post("/v1/memories/count", headers=auth, json={}).json() == {"count": 50}


def test_what_is_sent_again_after_a_drop_is_stored_once(served: Served) -> None:
    auth = served.auth()
    messages = [dump_draft(f"k{n}", Draft(text=f"n {n}")) for n in range(20)]
    with served.client.websocket_connect("/v1/stream", headers=auth) as stream:
        for message in messages[:15]:
            stream.send_text(message)
        first = [load_ack(stream.receive_text()) for _ in range(5)]
    again = send(served, auth, messages)
    assert [ack.id for ack in again[:5]] == [ack.id for ack in first]
    assert served.client.post("/v1/memories/count", headers=auth, json={}).json() == {"count": 20}


def test_a_draft_that_is_refused_does_not_end_the_stream(serve: Serve) -> None:
    served = serve(service={"max_body_bytes": 1024})
    good = dump_draft("good", Draft(text="a"))
    bad = [
        "CANARY",
        "[]",
        '{"key": "k", "draft": {"text": 5}}',
        '{"key": "", "draft": {"text": "a"}}',
        '{"key": "big", "draft": {"text": "' + "a" * 1024 + '"}}',
        '{"key": 5}',
        '{"key": "\\ud800"}',
    ]
    acks = send(served, served.auth(), [*bad, good])
    assert [type(ack.error).code if ack.error else "" for ack in acks] == [
        "invalid_input",
        "invalid_input",
        "invalid_text",
        "invalid_input",
        "too_large",
        "invalid_input",
        "invalid_input",
        "",
    ]
    assert [ack.key for ack in acks] == ["", "", "k", "", "big", "", "", "good"]
    assert "CANARY" not in str([ack.error for ack in acks])
    other = dump_draft("good", Draft(text="b"))
    assert [type(ack.error).code if ack.error else "" for ack in send(served, served.auth(), [other])] == [
        "idempotency_conflict"
    ]


def test_a_stream_is_for_a_token_that_may_write(serve: Serve) -> None:
    served = serve(service={"max_streams": 1})
    for auth, status in (({}, 401), (served.auth("acme", "memory:read"), 403)):
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            served.client.websocket_connect("/v1/stream", headers=auth),
        ):
            pass
        assert refused.value.status_code == status
        assert refused.value.headers["content-type"] == "application/problem+json"
    auth = served.auth()
    with served.client.websocket_connect("/v1/stream", headers=auth):
        with pytest.raises((WebSocketDenialResponse, WebSocketDisconnect)) as full:
            served.client.websocket_connect("/v1/stream", headers=auth).__enter__()
        assert full.value.status_code == 503  # type: ignore[union-attr]  # a denial
        assert served.client.get("/v1/events", headers=auth).status_code == 503
        assert "ums_open_streams 1.0" in served.client.get("/metrics", headers=auth).text
    assert "ums_open_streams 0.0" in served.client.get("/metrics", headers=auth).text


def test_the_changes_of_a_tenant_are_told_from_a_number_on(live: tuple[httpx.Client, Tokens]) -> None:
    client, tokens = live
    auth, other = auth_of(tokens, "acme"), auth_of(tokens, "other")
    for n in range(3):
        client.post("/memory/add", headers=auth, json={"id": str(n), "text": f"n {n}", "namespace": ["u"]})
    client.post("/v1/memories/delete", headers=auth, json={"ids": ["0"], "namespace": ["u"]})
    client.post("/memory/add", headers=other, json={"id": "theirs", "text": "n"})
    told = [load_event(data) for _, data in changes(client, auth, "?after=0")]
    assert [(e.seq, [(i.namespace, i.id) for i in e.stored], e.removed) for e in told] == [
        (1, [], 0),
        (2, [(("u",), "1")], 0),
        (3, [(("u",), "2")], 0),
        (4, [], 1),
    ]
    assert [id_ for id_, _ in changes(client, auth, "?after=1", **{"Last-Event-ID": "3"})] == ["4"]
    assert changes(client, auth) == []
    assert [json.loads(data)["stored"][0]["id"] for _, data in changes(client, other, "?after=0")] == ["theirs"]


def test_what_comes_while_somebody_follows_is_told(live: tuple[httpx.Client, Tokens]) -> None:
    client, tokens = live
    auth = auth_of(tokens, "acme")
    client.post("/memory/add", headers=auth, json={"id": "a", "text": "a"})
    told: list[str] = []
    with client.stream("GET", "/v1/events?after=1", headers=auth) as answer:
        for line in answer.iter_lines():
            # The store was looked at, and nothing found.
            if line.startswith(":"):
                client.post("/memory/add", headers=auth, json={"id": "b", "text": "b"})
            if line.startswith(("id", "data")):
                told.append(line.partition(": ")[2])
            if len(told) == 2:
                break
    assert (told[0], load_event(told[1]).stored[0].id) == ("2", "b")


async def test_changes_wait_for_room_and_end_where_there_can_be_no_more(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, service={"max_in_flight": 1, "time_budget": 60.0})
    tokens, watch = Tokens(tokens_path(settings.database.path)), Metrics()
    token = tokens.authenticate(tokens.create(Tenant("acme"), ["memory:read"], env="test"))
    opened: list[LocalStore] = []

    def open_one(own: UnifiedSettings) -> LocalStore:
        opened.append(open_store(own))
        return opened[-1]

    tenants = Tenants(settings, open_one)
    desk = Desk(Gate(tokens, Rates(settings.service, watch.fallback)), tenants, settings.service, watch, tokens)
    caller = Caller(Tenant("acme"), token)
    assert await desk.carry_out(caller, "count", {}) == 0
    opened[0].add([Draft(text="a")])
    others = asyncio.get_running_loop().create_future()
    desk._in_flight[others] = (math.inf, None)
    changes = Streams(desk)._changes(caller, 0)
    assert await anext(changes) == "retry: 1000\n\n"
    assert await anext(changes) == ": still here\n\n"
    del desk._in_flight[others]
    assert (await anext(changes)).startswith("id: 1\n")
    opened[0].close()
    assert not [told async for told in changes if "store_closed" in told]
    assert b'ums_errors_total{code="store_closed"} 1.0' in watch.exposition(0, [])[0]
    await tenants.close()


@pytest.mark.parametrize("after", ["", "-1", "1.5", "x", "9" * 19, "\u0663"])
def test_a_place_to_follow_from_is_a_number(served: Served, after: str) -> None:
    answer = served.client.get("/v1/events", headers=served.auth(), params={"after": after})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_query")


def test_messages_that_are_none_are_errors() -> None:
    with pytest.raises(InvalidInput):
        dump_draft("", Draft(text="a"))
    with pytest.raises(InvalidText):
        load_draft(b'{"key": "k", "draft": {"text": 5}}')
    with pytest.raises(InvalidField):
        load_draft(b'{"key": "k", "draft": {"text": "a", "importance": 5}}')
    for wrong in (
        "",
        "[]",
        "{}",
        '{"key": "k", "id": "a"}',
        '{"key": "k", "problem": {}}',
        '{"key": "k", "problem": 5}',
    ):
        with pytest.raises(RemoteError):
            load_ack(wrong)
        with pytest.raises(RemoteError):
            load_event(wrong)
    assert key_of(b"[]") == key_of(b"x") == key_of(b'{"key": 1}') == ""
