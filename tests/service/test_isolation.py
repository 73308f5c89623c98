"""Whatever two tenants do at once, each sees exactly what it would see alone."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services import DIM, EVERYTHING, settings_in
from starlette.testclient import TestClient
from thorough import count

from ums_core import UMSError, open_store
from ums_core.service.app import create_app
from ums_core.service.tokens import Tenant, Tokens, tokens_path
from ums_core.testing.strategies import WORDS
from ums_core.wire.problem import problem_of, status_of
from ums_core.wire.schema import VERBS

CALLS = 25
# As many examples of two tenants with CALLS each as make ten thousand operations.
EXAMPLES = count(6, 200)
# Of when something happened, and how quickly, nothing is promised.
TIMES = {"created_at", "updated_at", "last_accessed_at", "driver"}
Call = tuple[str, Mapping[str, Any] | None]
Answer = tuple[int, Any]

IDS = st.sampled_from("abcd")
SPACES = st.sampled_from([[], ["u"], ["u", "v"]])
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
VECTORS = st.integers(0, DIM - 1).map(lambda place: [1.0 if n == place else 0.5 for n in range(DIM)])
FILTERS = st.sampled_from([None, {"level": 1}, {"text": {"$text_match": "zebra"}}, {"a": {"$near": 1}}])


def asked(name: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    return st.tuples(st.just(name), st.fixed_dictionaries(parts))


DRAFTS = st.lists(st.fixed_dictionaries({"id": IDS, "namespace": SPACES, "text": TEXTS}), min_size=1, max_size=3)
PATCHES = st.lists(
    st.fixed_dictionaries(
        {"id": IDS, "namespace": SPACES, "changes": st.fixed_dictionaries({"level": st.integers(-1, 2)})}
    ),
    max_size=2,
)
QUESTIONS = st.fixed_dictionaries({"text": TEXTS, "namespace": SPACES, "k": st.integers(0, 5), "filter": FILTERS})
CALLS_OF_A_TENANT = st.lists(
    st.one_of(
        asked("add", drafts=DRAFTS),
        asked("add", drafts=DRAFTS, idempotency_key=st.sampled_from("kl")),
        asked("add", drafts=st.lists(st.fixed_dictionaries({"id": IDS, "embedding": VECTORS}), min_size=1, max_size=2)),
        asked("update", patches=PATCHES),
        asked("delete", ids=st.lists(IDS, max_size=2), namespace=SPACES),
        asked("get", ids=st.lists(IDS, max_size=4), namespace=SPACES),
        asked("search", query=QUESTIONS),
        asked("scan", namespace=SPACES, limit=st.integers(1, 3), cursor=st.integers(0, 9)),
        asked("count", filter=FILTERS),
        asked("namespaces"),
        asked(
            "kv_put", collection=st.just("c"), items=st.dictionaries(IDS, TEXTS.map(lambda t: {"json": t}), max_size=2)
        ),
        asked("kv_scan", collection=st.just("c")),
        st.just(("health", None)),
    ),
    min_size=CALLS,
    max_size=CALLS,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Tokens]]:
    settings = settings_in(tmp_path_factory.mktemp("shared"), monitoring={"log_level": "error"})
    with TestClient(create_app(settings)) as client:
        yield client, Tokens(tokens_path(settings.database.path))


def bare(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {name: bare(entry) for name, entry in value.items() if name not in TIMES}
    return [bare(entry) for entry in value] if isinstance(value, list) else value


def together(client: TestClient, token: str, calls: list[Call], answers: list[Answer]) -> None:
    for name, body in calls:
        verb = VERBS[name]
        answer = client.request(verb.method, verb.path, headers={"X-API-Token": token}, json=body)
        answers.append((answer.status_code, bare(answer.json())))


def alone(directory: Path, calls: list[Call]) -> list[Answer]:
    """What a store answers that nobody else has ever seen."""
    answers: list[Answer] = []
    with open_store(settings_in(directory)) as store:
        for name, body in calls:
            verb = VERBS[name]
            try:
                arguments = verb.load_request(json.dumps(body).encode())
                told = json.loads(verb.dump_reply(getattr(store, name)(**arguments)))
                answers.append((200, bare(told)))
            except UMSError as error:
                answers.append((status_of(error), json.loads(json.dumps(problem_of(error)))))
    return answers


examples = numbers()


@settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
)
@given(st.lists(CALLS_OF_A_TENANT, min_size=2, max_size=2))
def test_two_tenants_at_once_see_what_each_would_see_alone(
    shared: tuple[TestClient, Tokens], tmp_path_factory: pytest.TempPathFactory, works: list[list[Call]]
) -> None:
    client, tokens = shared
    number = next(examples)
    answers: list[list[Answer]] = [[] for _ in works]
    with ExitStack() as threads:
        for place, calls in enumerate(works):
            token = tokens.create(Tenant(f"t{number}-{place}"), EVERYTHING, env="test")
            thread = threading.Thread(target=together, args=(client, token, calls, answers[place]))
            thread.start()
            threads.callback(thread.join)
    for calls, seen in zip(works, answers, strict=True):
        assert seen == alone(tmp_path_factory.mktemp("alone"), calls)
