"""What somebody may send who means no good: it is refused, breaks nothing, and is neither repeated nor written down."""

import gzip
import json
import logging
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from services import DIM, EVERYTHING, Serve, Served, listening, settings_in
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from thorough import count

from ums_core.service.legacy import LEGACY
from ums_core.service.logs import FIELDS, JsonLines
from ums_core.service.tokens import Tenant, Tokens, tokens_path
from ums_core.wire.schema import VERBS

CANARY = "c4n4ry-zebra-secret"
BODIES = count(300, 5000)
VECTOR = [0.5] * DIM
# A body that each route takes.
GOOD: Mapping[str, Mapping[str, Any]] = {
    "/v1/memories/add": {"drafts": [{"id": "a", "text": "z", "metadata": {"n": [1, {"k": "v"}]}, "embedding": VECTOR}]},
    "/v1/memories/get": {"ids": ["a"], "namespace": ["u"], "vectors": True},
    "/v1/memories/update": {"patches": [{"id": "a", "changes": {"tags": ["t"], "expires_at": "2030-01-01T00:00:00Z"}}]},
    "/v1/memories/delete": {"ids": ["b"], "namespace": ["u"], "idempotency_key": "k"},
    "/v1/memories/search": {
        "query": {"text": "zebra", "vector": VECTOR, "k": 3, "filter": {"n": {"$gt": 1}}, "weights": {"dense": 1.0}}
    },
    "/v1/memories/scan": {"namespace": ["u"], "filter": {"$or": [{"a": 1}, {"b": {"$in": [1]}}]}, "limit": 3},
    "/v1/memories/count": {"filter": {"text": {"$text_match": "zebra"}}},
    "/v1/namespaces": {"prefix": ["u"]},
    "/v1/kv/put": {"collection": "c", "items": {"a": {"json": {"n": 1}}, "b": {"bytes": "AAAA"}}},
    "/v1/kv/get": {"collection": "c", "keys": ["a"]},
    "/v1/kv/delete": {"collection": "c", "keys": ["b"]},
    "/v1/kv/scan": {"collection": "c", "after": "a", "limit": 2},
    "/v1/memories/add-distinct": {"drafts": [{"embedding": VECTOR}], "duplicates": "report", "similarity": 0.9},
    "/v1/memories/consolidate": {"threshold": 0.9, "namespace": ["u"], "strategy": "head2tail", "dry_run": True},
    "/v1/maintain": {"steps": ["sweep", "purge"], "dry_run": True},
    "/v1/memories/history": {"id": "a", "namespace": []},
    "/v1/memories/expand": {"id": "a", "namespace": []},
    "/v1/memories/reinforce": {"ids": ["a"], "namespace": []},
    "/v1/memories/forget": {"min_total": 1, "retain_fraction": 0.5, "namespace": ["u"], "where": {"a": 1}},
    "/v1/memories/undo": {"batch": "a"},
    "/v1/memories/supersede": {"old_id": "a", "draft": {"text": "z", "embedding": VECTOR}, "namespace": []},
    "/memory/consolidate": {"threshold": 0.9, "level": 0, "dry_run": True},
    "/memory/forget": {"min_total": 1, "dry_run": True},
    "/memory/mark_access": {"ids": ["a"], "namespace": []},
    "/memory/add": {"text": "zebra", "role": "user", "tags": ["a"], "embedding": VECTOR},
    "/memory/search": {"query": "zebra", "k": 3, "namespace": ["u"], "filter": {"role": "user"}},
}  # fmt: skip


def test_every_route_that_takes_a_body_is_tried(serve: Serve) -> None:
    served = serve(privacy_mode="standard")
    assert set(GOOD) == {verb.path for verb in VERBS.values() if verb.request} | {known.path for known in LEGACY}
    auth = served.auth()
    assert {
        path: served.client.post(path, headers=auth, json=body).status_code for path, body in GOOD.items()
    } == dict.fromkeys(GOOD, 200)


DEEP = "[" * 100_000
BAD: Mapping[str, bytes] = {
    "NaN in a vector": b'{"vector": [NaN, 1]}',
    "too large a number in a vector": b'{"vector": [1e999]}',
    "NaN in a constrained field": b'{"text": "a", "importance": NaN}',
    "NaN in metadata": b'{"text": "a", "metadata": {"a": NaN}}',
    "infinity in a weight": b'{"query": "a", "weights": {"dense": Infinity}}',
    "a lone surrogate": b'{"text": "c4n4ry-zebra-secret \\ud800", "query": "c4n4ry-zebra-secret \\ud800"}',
    "a lone surrogate in a key": b'{"text": "a", "metadata": {"\\ud800": 1}}',
    "bytes that are no UTF-8": b'{"text": "c4n4ry-zebra-secret \xff"}',
    "NUL in a tag": b'{"text": "a", "tags": ["c4n4ry-zebra-secret\\u0000"]}',
    "true in a vector": b'{"vector": [true, 1]}',
    "a string in a vector": b'{"vector": ["1.5"]}',
    "a zero vector": json.dumps({"vector": [0.0] * DIM}).encode(),
    "a vector of another length": b'{"vector": [1.0, 2.0]}',
    "deep nesting": f'{{"text": "a", "metadata": {{"a": {DEEP}'.encode(),
    "metadata nested too deeply": ('{"text": "a", "metadata": ' + '{"a":' * 100 + "1" + "}" * 101).encode(),
    "a number of five thousand digits": b'{"query": "a", "k": ' + b"9" * 5000 + b"}",
    "an integer beyond 64 bits": b'{"text": "a", "metadata": {"n": 99999999999999999999}}',
    "a wrong type": b'{"text": {"c4n4ry-zebra-secret": 1}, "query": []}',
    "an unknown field": b'{"text": "a", "query": "a", "c4n4ry-zebra-secret": 1}',
    "a moment that no calendar has": b'{"text": "a", "expires_at": "c4n4ry-zebra-secret"}',
    "a moment before the year 1": b'{"text": "a", "expires_at": "0001-01-01T00:00:00+23:59"}',
    "an unknown operator": b'{"query": "a", "filter": {"a": {"$c4n4ry-zebra-secret": 1}}}',
    "no JSON": b"c4n4ry-zebra-secret",
    "a list": b'["c4n4ry-zebra-secret"]',
    "nothing": b"",
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_and_not_repeated(served: Served, what: str) -> None:
    auth = served.auth()
    for path in ("/memory/add", "/memory/search"):
        answer = served.client.post(path, headers=auth, content=BAD[what])
        assert 400 <= answer.status_code < 500, (path, answer.text)
        assert CANARY not in answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert served.client.post("/v1/memories/count", headers=auth, json={}).json() == {"count": 0}


def test_a_compressed_body_is_taken_and_a_bomb_is_not(serve: Serve) -> None:
    served = serve(service={"max_body_bytes": 65_536})
    auth = served.auth()

    def send(body: bytes, encoding: str = "gzip") -> int:
        headers = {**auth, "Content-Encoding": encoding}
        return served.client.post("/memory/add", headers=headers, content=body).status_code

    small = json.dumps({"text": "zebra " * 1000}).encode()
    packed = gzip.compress(small)
    assert [send(packed), send(packed, "GZIP"), send(small, "identity")] == [200] * 3
    bomb = gzip.compress(b'{"text": "' + b" " * 20_000_000)
    assert len(bomb) < 65_536
    assert send(bomb) == 413
    wrong = [(small, "gzip"), (packed[:-9], "gzip"), (packed + b"1", "gzip"), (packed, "br"), (b"", "gzip")]
    assert [send(body, encoding) for body, encoding in wrong] == [422] * 5
    assert served.client.post("/v1/memories/count", headers=auth, json={}).json() == {"count": 3}


def spoilt(body: bytes, chance: random.Random) -> bytes:
    """A body with some bytes or some values exchanged."""
    if chance.random() < 0.5:
        out = bytearray(body)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(out))
            out[place : place + chance.randint(0, 3)] = chance.choice(
                [b"", b'"', b"{", b"]", b"\x00", b"\xff", b"9" * 40, b"NaN", b"\\u"]
            )
            if not out:
                return b""
        return bytes(out)
    return json.dumps(_exchanged(json.loads(body), chance)).encode()


ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, 2**200, 1e308, "", "\0", "a" * 300, CANARY, [], {}, [[]], {"$and": []}, {"": 1}),
    *(
        "../../etc/passwd",
        "' OR 1=1 --",
        '"; DROP TABLE memories',
        "NEAR(",
        "-x",
        "x:y",
        "t:*",
        "o'neil",
        "$where",
        "a.b[0]",
    ),
)


def _exchanged(value: Any, chance: random.Random) -> Any:  # noqa: ANN401  # any JSON
    if chance.random() < 0.15:
        return chance.choice(ODD)
    if isinstance(value, dict):
        return {
            (chance.choice([CANARY, key]) if chance.random() < 0.05 else key): _exchanged(v, chance)
            for key, v in value.items()
        }
    if isinstance(value, list):
        return [_exchanged(entry, chance) for entry in value]
    return value


def test_thousands_of_spoilt_bodies_break_nothing(serve: Serve) -> None:
    served = serve(monitoring={"log_level": "error"}, service={"rate_limit": "1000000/second"}, privacy_mode="standard")
    auth, chance = served.auth(), random.Random(5)
    paths = list(GOOD)
    for number in range(BODIES):
        path = paths[number % len(paths)]
        body = spoilt(json.dumps(GOOD[path]).encode(), chance)
        answer = served.client.post(path, headers=auth, content=body)
        assert answer.status_code < 500, (path, body, answer.text)
        if answer.status_code != 200:
            assert CANARY not in answer.text, (path, body)
    assert served.client.get("/health").json() == {"status": "ok"}
    assert served.client.get("/v1/health", headers=auth).json()["status"] == "ok"


HOSTILE = [text for text in ODD if isinstance(text, str) and text and "\0" not in text]


def test_filters_and_questions_cannot_inject(served: Served) -> None:
    auth = served.auth()
    for number, text in enumerate(HOSTILE):
        draft = {"id": str(number), "text": text, "metadata": {text.replace(".", "\\."): text, "k": text}}
        assert served.client.post("/memory/add", headers=auth, json=draft).status_code == 200
    for number, text in enumerate(HOSTILE):
        found = served.client.post("/v1/memories/scan", headers=auth, json={"filter": {"k": text}}).json()
        assert [memory["id"] for memory in found["memories"]] == [str(number)]
        question = {"query": text, "mode": "keyword", "filter": {"text": {"$eq": text}}, "k": 50}
        assert served.client.post("/memory/search", headers=auth, json=question).status_code == 200
        key = {"filter": {"metadata." + text.replace("\\", "\\\\").replace(".", "\\."): {"$exists": True}}}
        assert served.client.post("/v1/memories/count", headers=auth, json=key).status_code in {200, 422}
    assert served.client.post("/v1/memories/count", headers=auth, json={}).json() == {"count": len(HOSTILE)}


# It holds a schema that accepts a body against a service that does not; what the records check beyond types, such as a
# text or a vector being there, no JSON Schema says.
EXCLUDED = "positive_data_acceptance"


def test_schemathesis_finds_no_failure(tmp_path: Path) -> None:
    plenty = {"rate_limit": "1000000/second", "auth_failure_limit": "1000000/second", "time_budget": 2.0}
    settings = settings_in(tmp_path, service=plenty, monitoring={"enable_metrics": True, "log_level": "error"})
    token = Tokens(tokens_path(settings.database.path)).create(Tenant("acme"), EVERYTHING, env="test")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"), "--header",
        f"Authorization: Bearer {token}", "--checks", "all", "--exclude-checks", EXCLUDED, "--seed", "1", "--no-color",
        *("--phases", "fuzzing" if count(1, 2) == 1 else "coverage,fuzzing"), "--max-examples", str(count(3, 50)),
    ]  # fmt: skip
    with listening(settings) as address:
        run = subprocess.run(
            [*command, f"{address}/openapi.json"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr


# The canary


def everywhere(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """The value with the canary in place of each string."""
    if isinstance(value, dict):
        return {name: everywhere(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [everywhere(entry) for entry in value]
    return CANARY if isinstance(value, str) else value


def sung(served: Served) -> Iterator[str]:
    """Bodies of all answers that are no success, to the canary in every place that takes something."""
    auth, client = served.auth(), served.client
    loud = {"Idempotency-Key": CANARY, "X-Request-Id": CANARY, "User-Agent": CANARY, "Cookie": CANARY}
    for path, body in GOOD.items():
        for headers in (
            auth,
            {**auth, **loud},
            {"Authorization": f"Bearer {CANARY}"},
            {"X-API-Token": CANARY},
            served.auth("acme", "admin"),
        ):
            for sent in (body, everywhere(body), {CANARY: body}, {**body, CANARY: 1}, CANARY, [CANARY]):
                answer = client.post(path, headers=headers, json=sent)
                yield "" if answer.status_code == 200 else answer.text
        yield client.post(path, headers=auth, content=f'{{"{CANARY}": "{CANARY}').text
        yield client.get(f"{path}/{CANARY}?{CANARY}={CANARY}", headers=auth).text
    yield client.post(
        "/v1/memories/update", headers=auth, json={"patches": [{"id": f"{CANARY} unknown", "changes": {"level": 1}}]}
    ).text
    for text, status in (("one", 200), ("another", 409)):
        sent = {"text": text, "embedding": VECTOR}
        answer = client.post("/memory/add", headers={**auth, "Idempotency-Key": f"{CANARY} key"}, json=sent)
        assert answer.status_code == status
    yield answer.text
    yield client.get("/v1/events", headers=auth, params={"after": CANARY}).text
    yield client.get("/metrics", headers=auth).text
    yield client.get("/openapi.json").text
    with client.websocket_connect(f"/v1/stream?token={CANARY}", headers=auth) as stream:
        for message in (
            CANARY,
            json.dumps({"key": "k", "draft": {CANARY: CANARY}}),
            json.dumps({"key": "k", "draft": {"text": CANARY}}),
        ):
            stream.send_text(message)
            yield stream.receive_text()
    with pytest.raises((WebSocketDenialResponse, WebSocketDisconnect)):
        client.websocket_connect("/v1/stream", headers={"X-API-Token": CANARY}).__enter__()


def test_a_secret_that_is_sent_is_nowhere_but_in_answers_to_its_owner(
    serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    served = serve(monitoring={"enable_metrics": True, "log_level": "debug"}, service={"auth_failure_limit": "5/hour"})
    # The client is a part of the test, and logs what it sends; of the service, every level and every logger counts.
    for name in ("httpx", "httpx2", "httpcore", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with caplog.at_level(logging.DEBUG):
        for text in sung(served):
            assert CANARY not in text
    out, err = capfd.readouterr()
    assert CANARY not in out + err
    assert '"event": "request"' in err
    records = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert records
    for record in records:
        assert CANARY not in record.getMessage()
        line = json.loads(JsonLines().format(record))
        assert CANARY not in json.dumps(line)
        assert set(line) <= {"time", "level", "logger", "event", *FIELDS}
    assert CANARY not in served.tokens.path.read_text()
