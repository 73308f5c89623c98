"""Every route: what it answers, to whom, and within which limits."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from services import DIM, Serve, Served, settings_in
from starlette.testclient import TestClient

from ums_core import EnhancedMemoryStore
from ums_core.channels.build import open_store
from ums_core.service.app import create_app
from ums_core.service.desk import SCOPE_OF
from ums_core.service.legacy import LEGACY
from ums_core.service.tokens import SCOPES
from ums_core.wire.schema import VERBS

VECTOR = [1.0, *[0.0] * (DIM - 1)]
ROOT = Path(__file__).parents[2]


def test_a_memory_is_added_and_found_by_the_paths_that_users_know(served: Served) -> None:
    auth = served.auth()
    one = served.client.post("/memory/add", headers=auth, json={"text": "Tea at five", "role": "user", "tags": ["a"]})
    assert one.status_code == 200
    (memory,) = one.json()["memories"]
    assert (memory["text"], memory["role"], memory["tags"]) == ("Tea at five", "user", ["a"])
    body = {"memories": [{"text": "Train at nine", "namespace": ["u1"]}, {"id": "x", "embedding": VECTOR}]}
    assert [m["id"] for m in served.client.post("/memory/add", headers=auth, json=body).json()["memories"]][1] == "x"
    found = served.client.post(
        "/memory/search", headers=auth, json={"query": "tea", "k": 1, "filter": {"role": "user"}}
    )
    (hit,) = found.json()["hits"]
    assert hit["memory"]["id"] == memory["id"]
    assert isinstance(hit["score"], float)
    by_vector = served.client.post("/memory/search", headers=auth, json={"vector": VECTOR, "k": 1})
    assert by_vector.json()["hits"][0]["memory"]["id"] == "x"


def test_one_memory_and_several_are_not_given_at_once(served: Served) -> None:
    body = {"text": "a", "memories": [{"text": "b"}]}
    answer = served.client.post("/memory/add", headers=served.auth(), json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_the_same_key_writes_once_by_the_body_or_the_header(served: Served) -> None:
    auth = served.auth()
    by_body = served.client.post("/memory/add", headers=auth, json={"text": "a", "idempotency_key": "k"})
    by_header = served.client.post("/memory/add", headers={**auth, "Idempotency-Key": "k"}, json={"text": "a"})
    assert by_header.json() == by_body.json()
    other = served.client.post("/memory/add", headers={**auth, "Idempotency-Key": "k"}, json={"text": "b"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    both = {"text": "a", "idempotency_key": "k"}
    conflict = served.client.post("/memory/add", headers={**auth, "Idempotency-Key": "l"}, json=both)
    assert conflict.status_code == 422
    assert served.client.post("/v1/memories/count", headers={**auth, "Idempotency-Key": "k"}, json={}).json() == {
        "count": 1
    }
    assert served.client.get("/v1/health", headers={**auth, "Idempotency-Key": "k"}).json()["memories"] == 1


def test_a_change_is_told_of_by_the_token_that_made_it(served: Served) -> None:
    auth, reader = served.auth(), served.auth("acme", "memory:read")
    served.client.post("/v1/memories/add", headers=auth, json={"drafts": [{"id": "a", "text": "Tea at five"}]})
    other = served.auth("acme", "memory:forget")
    served.client.post("/v1/memories/delete", headers=other, json={"ids": ["a"]})
    answer = served.client.post("/v1/memories/history", headers=reader, json={"id": "a"})
    first, last = answer.json()["changes"]
    names = [token.key_id for token in served.tokens.all()]
    said = [f"token:{name}" for name in names]
    assert len(set(said)) == 3
    assert (first["action"], last["action"]) == ("added", "deleted")
    assert {first["actor"], last["actor"]} < set(said)
    assert first["actor"] != last["actor"]
    secrets = [header["Authorization"].rpartition("_")[2] for header in (auth, other, reader)]
    assert not any(secret in answer.text for secret in secrets)
    strange = served.client.post("/v1/memories/history", headers=served.auth("other"), json={"id": "a"})
    assert (strange.status_code, strange.json()["code"]) == (404, "memory_not_found")


BODIES: Mapping[str, Any] = {
    "add": {"drafts": [{"text": "a"}]}, "get": {"ids": ["a"]}, "update": {"patches": []}, "delete": {"ids": ["a"]},
    "search": {"query": {"text": "a"}}, "scan": {}, "count": {}, "namespaces": {}, "health": None,
    "kv_put": {"collection": "c", "items": {}}, "kv_get": {"collection": "c", "keys": ["a"]},
    "kv_delete": {"collection": "c", "keys": []}, "kv_scan": {"collection": "c"},
    "add_distinct": {"drafts": [{"text": "a"}]}, "consolidate": {"dry_run": True}, "maintain": {"dry_run": True},
    "expand": {"id": "a"}, "history": {"id": "a"}, "reinforce": {"ids": []}, "forget": {"dry_run": True},
    "undo": {"batch": "a"}, "supersede": {"old_id": "a", "draft": {"text": "b"}},
}  # fmt: skip
# There is no such memory, and no such batch, in an empty store.
MISSING = {"expand", "history", "supersede", "undo"}


def call(served: Served, name: str, headers: Mapping[str, str]) -> httpx.Response:
    verb = VERBS[name]
    return served.client.request(verb.method, verb.path, headers=dict(headers), json=BODIES[name])


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_needs_a_token_with_its_scope(serve: Serve, name: str) -> None:
    served = serve(privacy_mode="standard")
    assert call(served, name, {}).status_code == 401
    for scope in SCOPES:
        expected = {200, 404, 422} if name in MISSING else {200}
        expected = expected if scope in {SCOPE_OF[name], "admin"} else {403}
        assert call(served, name, served.auth("acme", scope)).status_code in expected, scope


def test_a_token_is_taken_from_the_header_alone(served: Served) -> None:
    token = served.auth()["Authorization"].partition(" ")[2]
    assert call(served, "count", {"X-API-Token": token}).status_code == 200
    assert call(served, "count", {"Authorization": f"bearer {token}"}).status_code == 200
    assert call(served, "count", {"Authorization": token}).status_code == 401
    assert served.client.post(f"/v1/memories/count?token={token}&access_token={token}", json={}).status_code == 401


def test_a_tenant_sees_its_own_store_alone(served: Served) -> None:
    ours, theirs, default = served.auth("acme"), served.auth("other"), served.auth("default")
    served.client.post("/memory/add", headers=ours, json={"id": "a", "text": "ours"})
    assert served.client.post("/v1/memories/get", headers=theirs, json={"ids": ["a"]}).json() == {"memories": [None]}
    patch = {"patches": [{"id": "a", "changes": {"level": 1}}]}
    assert served.client.post("/v1/memories/update", headers=theirs, json=patch).status_code == 404
    assert served.client.post("/v1/memories/count", headers=theirs, json={}).json() == {"count": 0}
    assert served.client.get("/v1/health", headers=theirs).json()["seq"] == 0
    assert served.client.get("/v1/health", headers=default).json()["memories"] == 0
    served.client.post("/memory/add", headers=default, json={"id": "a", "text": "of the default tenant"})
    with open_store(served.settings) as store:
        assert [memory.text for memory in store.scan().memories] == ["of the default tenant"]


def test_the_store_of_the_settings_is_at_hand_inside_the_process(served: Served) -> None:
    assert isinstance(served.client.app.state.memory_store, EnhancedMemoryStore)  # type: ignore[attr-defined]  # a FastAPI


def test_a_failure_tells_when_to_come_again(serve: Serve) -> None:
    served = serve(service={"rate_limit": "3/hour", "auth_failure_limit": "2/hour"})
    auth = served.auth()
    answers = [call(served, "count", auth) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert [a.headers.get("RateLimit-Remaining") for a in answers[:3]] == ["2", "1", "0"]
    assert answers[0].headers["RateLimit-Limit"] == "3"
    assert 0 < int(answers[0].headers["RateLimit-Reset"]) <= 3600
    assert 0 < int(answers[3].headers["Retry-After"]) <= 3600
    assert answers[3].json()["retry_after_s"] > 0
    assert call(served, "count", served.auth()).status_code == 200
    assert [call(served, "count", {}).status_code for _ in range(4)] == [401, 401, 429, 429]
    assert call(served, "count", served.auth()).status_code == 200


def test_a_batch_costs_by_its_size(serve: Serve) -> None:
    served = serve(service={"rate_limit": "10/hour"})
    body = {"memories": [{"text": f"number {n}"} for n in range(21)]}
    answer = served.client.post("/memory/add", headers=served.auth(), json=body)
    assert answer.headers["RateLimit-Remaining"] == "7"


def test_what_is_too_much_is_refused_before_it_is_done(serve: Serve) -> None:
    served = serve(
        service={"max_body_bytes": 1024, "max_batch": 2, "max_k": 2, "max_filter_depth": 1, "max_filter_size": 3}
    )
    auth = served.auth()

    def ask(path: str, body: object) -> httpx.Response:
        return served.client.post(path, headers=auth, json=body)

    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            yield b" " * 500

    assert ask("/memory/add", {"text": "a" * 1024}).status_code == 413
    assert served.client.post("/memory/add", headers=auth, content=chunks()).json()["code"] == "too_large"
    assert ask("/memory/add", {"memories": [{"text": "a"}] * 3}).status_code == 413
    assert ask("/v1/memories/get", {"ids": ["a", "b", "c"]}).status_code == 413
    assert ask("/v1/kv/put", {"collection": "c", "items": {key: {"json": 1} for key in "abc"}}).status_code == 413
    deep = {"$and": [{"$or": [{"a": 1}]}]}
    assert ask("/memory/search", {"query": "a", "filter": deep}).status_code == 413
    assert ask("/v1/memories/count", {"filter": deep}).status_code == 413
    assert ask("/v1/memories/scan", {"filter": {"$and": [{"a": 1}] * 3}}).status_code == 413
    assert ask("/v1/memories/count", {"filter": {"a": 1}}).json() == {"count": 0}
    for id_ in "abcd":
        assert ask("/memory/add", {"id": id_, "text": f"zebra {id_}"}).status_code == 200
    assert len(ask("/memory/search", {"query": "zebra", "k": 2**70}).json()["hits"]) == 2
    assert len(ask("/v1/memories/scan", {"limit": 2**70}).json()["memories"]) == 2


def test_large_bodies_and_answers_pass(served: Served) -> None:
    auth = served.auth()
    body = {"memories": [{"id": str(n), "text": "zebra " * 200} for n in range(100)]}
    assert len(served.client.post("/memory/add", headers=auth, json=body).json()["memories"]) == 100
    assert len(served.client.post("/v1/memories/scan", headers=auth, json={}).json()["memories"]) == 100


def test_a_problem_is_told_in_one_form(served: Served) -> None:
    auth = served.auth()
    answer = served.client.post("/memory/add", headers=auth, json={"text": "a", "importance": "CANARY", "CANARY": 1})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["type"]) == ("invalid_input", "urn:ums:error:invalid_input")
    assert {"at": "importance", "message": "Input should be a valid number", "type": "float_type"} in problem["errors"]
    assert "CANARY" not in answer.text
    for path, method, status, code in (
        ("/CANARY", "GET", 404, "not_found"),
        ("/health/?CANARY", "GET", 404, "not_found"),
        ("/memory/add/", "POST", 404, "not_found"),
        ("/memory/add", "GET", 405, "method_not_allowed"),
        ("/health", "POST", 405, "method_not_allowed"),
    ):
        refused = served.client.request(method, path, headers=auth, follow_redirects=False)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert "CANARY" not in refused.text
    assert served.client.get("/health").headers["X-Request-Id"]


def test_health_needs_no_token_and_tells_nothing_of_a_tenant(served: Served) -> None:
    call(served, "count", served.auth())
    for path in ("/health", "/health/ready", "/health/live"):
        answer = served.client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_service_whose_registry_is_broken_lets_nobody_in(served: Served) -> None:
    auth = served.auth()
    served.tokens.path.write_text("{}")
    answer = call(served, "count", auth)
    assert (answer.status_code, answer.json()["code"]) == (500, "not_a_database")


def test_a_tenant_whose_database_cannot_be_opened_hears_why_and_harms_nobody(served: Served, tmp_path: Path) -> None:
    directory = tmp_path / "memory.db.tenants" / "broken"
    directory.mkdir(parents=True)
    (directory / "memory.db").write_bytes(b"not a database, but longer than a header of one hundred bytes" * 4)
    broken, fine = served.auth("broken"), served.auth("fine")
    for _ in range(2):
        assert call(served, "count", broken).json()["code"] == "not_a_database"
    assert call(served, "count", fine).status_code == 200
    (directory / "memory.db").unlink()
    assert call(served, "count", broken).status_code == 200


def test_the_longest_unused_store_is_closed_and_opens_again(serve: Serve) -> None:
    served = serve(service={"max_open_tenants": 2})
    auths = [served.auth(f"t{n}") for n in range(5)]
    for round_ in range(2):
        for number, auth in enumerate(auths):
            served.client.post("/memory/add", headers=auth, json={"text": f"{round_} {number}"})
    counts = [served.client.post("/v1/memories/count", headers=auth, json={}).json()["count"] for auth in auths]
    assert counts == [2] * 5


def test_many_callers_at_once_share_one_store(served: Served) -> None:
    auth = served.auth()
    answers: list[int] = []

    def add(number: int) -> None:
        answers.append(served.client.post("/memory/add", headers=auth, json={"text": f"n {number}"}).status_code)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8
    assert served.client.post("/v1/memories/count", headers=auth, json={}).json() == {"count": 8}


def test_the_document_names_every_route_and_is_kept(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    routes = {(path, method.upper()) for path, ways in document["paths"].items() for method in ways}
    assert {(verb.path, verb.method) for verb in VERBS.values()} <= routes
    assert {(known.path, "POST") for known in LEGACY} <= routes
    assert {("/health", "GET"), ("/health/live", "GET"), ("/health/ready", "GET"), ("/metrics", "GET")} <= routes
    text = json.dumps(document)
    for reference in {part.partition('"')[0] for part in text.split('"$ref": "')[1:]}:
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
    assert served.client.get("/openapi.json").json() == document
    assert served.client.get("/docs").status_code == 200


def test_metrics_are_for_a_token_that_may_read_them(served: Served) -> None:
    auth = served.auth()
    for n in range(12):
        served.client.post("/memory/add", headers=auth, json={"text": f"zebra {n}"})
    assert served.client.get("/metrics", headers=served.auth("acme", "memory:read")).status_code == 403
    text = served.client.get("/metrics", headers=auth).text
    assert "ums_memories 12.0" in text
    assert "ums_tenants 0.0" in text
    assert 'ums_requests_total{method="POST",route="/memory/add",status="200"} 12.0' in text
    assert 'ums_verb_duration_seconds_count{verb="add"} 12.0' in text
    assert "ums_embedded_texts_total 12.0" in text
    # What was written is taken up by the first who asks.
    served.client.post("/memory/search", headers=auth, json={"query": "zebra"})
    assert "ums_indexed_rows_total 12.0" in served.client.get("/metrics", headers=auth).text
    assert 'ums_errors_total{code="forbidden"} 1.0' in text


@pytest.mark.parametrize("monitoring", [{}, {"enable_metrics": True, "telemetry_level": "none"}])
def test_metrics_that_are_off_are_not_there(serve: Serve, monitoring: Mapping[str, Any]) -> None:
    served = serve(monitoring=monitoring | {"log_level": "error"})
    if not monitoring:
        served.settings.monitoring.enable_metrics = False
        with TestClient(create_app(served.settings)) as client:
            assert client.get("/metrics", headers=served.auth()).status_code == 404
        return
    call(served, "count", served.auth())
    call(served, "count", {})
    served.client.post("/memory/add", headers=served.auth(), json={"text": "a"})
    assert served.client.get("/metrics", headers=served.auth()).status_code == 404


def test_the_loggers_are_as_before_once_the_service_has_ended(tmp_path: Path) -> None:
    loggers = [logging.getLogger(name) for name in ("ums_core", "uvicorn", "uvicorn.access")]
    before = [(list(logger.handlers), logger.propagate, logger.level, logger.disabled) for logger in loggers]
    with TestClient(create_app(settings_in(tmp_path))):
        assert logging.getLogger("uvicorn.access").disabled
    assert [(list(lg.handlers), lg.propagate, lg.level, lg.disabled) for lg in loggers] == before


def test_what_takes_too_long_or_is_too_much_at_once_is_answered(serve: Serve) -> None:
    slow = serve(service={"time_budget": 1e-6})
    answer = call(slow, "count", slow.auth())
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["Retry-After"] == "1"


def test_every_way_to_fail_is_a_problem_with_a_class(served: Served) -> None:
    acts: list[Callable[[], Any]] = [
        lambda: served.client.post("/memory/add", headers=served.auth(), content=b"\xff"),
        lambda: served.client.post("/memory/add", headers=served.auth(), content=b""),
        lambda: served.client.post("/memory/search", headers=served.auth(), json={}),
        lambda: served.client.post("/memory/search", headers=served.auth(), json={"vector": [1.0]}),
    ]
    assert [act().status_code for act in acts] == [422] * 4
