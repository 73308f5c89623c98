"""Memories over time, over HTTP: verbs, older paths, what strict privacy refuses, and the service's own rounds."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from services import DIM, Serve, Served, settings_in

from ums_core import Draft, UnifiedSettings, open_store
from ums_core.channels.sharing import sharing_embedder
from ums_core.errors import PrivacyModeStrict
from ums_core.service.metrics import Metrics, Unwatched
from ums_core.service.scheduler import Scheduler
from ums_core.service.tenants import Tenants, settings_of
from ums_core.service.tokens import Tenant, Tokens, tokens_path
from ums_core.storage.lease import Lease
from ums_core.testing.serving import roomy, serving

HERONS = ("The heron is at the pond now.", "The heron is at the pond again.", "The heron is at the pond today.")


def post(served: Served, path: str, body: dict[str, Any], *scopes: str) -> Any:  # noqa: ANN401  # JSON
    return served.client.post(path, headers=served.auth("acme", *scopes), json=body)


def filled(served: Served) -> None:
    texts = [*HERONS, "A red door.", "Bread and milk."]
    post(served, "/memory/add", {"memories": [{"id": f"{n}", "text": text} for n, text in enumerate(texts)]})


def test_memories_are_consolidated_forgotten_and_brought_back(served: Served) -> None:
    filled(served)
    plan = post(served, "/memory/consolidate", {"threshold": 0.6, "dry_run": True}).json()
    assert [cluster["ids"] for cluster in plan["clusters"]] == [["0", "1", "2"]]
    done = post(served, "/memory/consolidate", {"threshold": 0.6}).json()
    assert (done["merged"], done.get("complete", True)) == (3, True)
    summary = done["clusters"][0]["summary_id"]
    told = post(served, "/v1/memories/expand", {"id": summary}).json()["memories"]
    assert [memory["archived"] for memory in told] == ["consolidated"] * 3
    assert post(served, "/v1/memories/undo", {"batch": done["batch"]}).json() == {"count": 3}
    forgotten = post(served, "/memory/forget", {"retain_fraction": 0.2}).json()
    assert (forgotten["removed"], forgotten["kept"]) == (4, 1)
    assert post(served, "/v1/memories/undo", {"batch": forgotten["batch"]}).json() == {"count": 4}
    assert post(served, "/v1/maintain", {"dry_run": True}).json()["steps"]


def test_scopes_tell_who_may_do_it(served: Served) -> None:
    assert post(served, "/memory/forget", {}, "memory:write").status_code == 403
    assert post(served, "/v1/maintain", {}, "memory:write").status_code == 403
    assert post(served, "/memory/consolidate", {}, "memory:read").status_code == 403
    assert post(served, "/memory/forget", {}, "memory:forget").status_code == 200


@pytest.mark.parametrize("path", ["/memory/mark_access", "/v1/memories/reinforce"])
def test_strict_privacy_refuses_to_hear_who_used_what(serve: Serve, path: str) -> None:
    strict = serve()
    filled(strict)
    refused = post(strict, path, {"ids": ["0"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "privacy_mode_strict")


def test_standard_privacy_notes_a_use(serve: Serve) -> None:
    served = serve(privacy_mode="standard")
    filled(served)
    assert post(served, "/memory/mark_access", {"ids": ["0", "x"]}).json() == {"count": 1}


def test_a_client_that_is_strict_sends_no_use() -> None:
    with serving(roomy(model={"embedder": "hashing", "vector_dim": DIM})) as service:
        settings = UnifiedSettings.for_testing(
            channel="dual", remote={"url": service.url, "token": service.token("acme")}
        )
        from ums_core import open_channel  # noqa: PLC0415  # needs the service above

        with open_channel(settings) as dual, pytest.raises(PrivacyModeStrict):
            dual.global_.reinforce(["a"])  # type: ignore[attr-defined]  # a dual store has it


def test_work_that_takes_too_long_stops_by_itself_and_says_so(serve: Serve) -> None:
    served = serve(service={"time_budget": 1e-6})
    settings = settings_of(served.settings, Tenant("acme"))
    settings.database.path.parent.mkdir(parents=True)
    with open_store(settings) as store:
        store.add([Draft(text=text) for text in HERONS])
    answer = post(served, "/memory/consolidate", {"threshold": 0.6})
    # Either it was over before it began, or it stopped at once.
    assert answer.status_code == 503 or answer.json().get("complete") is False


# The service's own rounds


def rounds(directory: Path, watch: Metrics | Unwatched, **maintenance: object) -> tuple[Scheduler, Tenants, Tokens]:
    settings = settings_in(directory, maintenance={"threshold": 0.6, **maintenance}, model={"vector_dim": DIM})
    tenants = Tenants(settings, sharing_embedder(settings, watch.embedded))
    tokens = Tokens(tokens_path(settings.database.path))
    for name in ("acme", "bolt"):
        tokens.create(Tenant(name), ["memory:read"], env="test")
    return Scheduler(tenants, tokens, watch, 0.01), tenants, tokens


async def test_a_round_maintains_every_tenant(tmp_path: Path) -> None:
    watch = Metrics()
    scheduler, tenants, _ = rounds(tmp_path, watch)
    for name in ("acme", "bolt"):
        async with tenants.store(Tenant(name)) as store:
            await store.add([Draft(text=text) for text in HERONS])
    await scheduler.round()
    for name in ("acme", "bolt"):
        async with tenants.store(Tenant(name)) as store:
            assert await store.count() == 1
    told = watch.exposition(2, [])[0].decode()
    assert 'ums_maintenance_duration_seconds_count{outcome="done"} 3.0' in told
    assert 'ums_maintained_memories_total{step="consolidate"} 6.0' in told
    await tenants.close()


async def test_a_store_that_another_process_maintains_is_passed_by(tmp_path: Path) -> None:
    watch = Metrics()
    scheduler, tenants, _ = rounds(tmp_path, watch)
    async with tenants.store(Tenant("acme")) as store:
        with Lease(store.sync._database, 60):  # type: ignore[attr-defined]  # a store on this device
            await scheduler.round()
    told = watch.exposition(2, [])[0].decode()
    assert 'outcome="elsewhere"} 1.0' in told
    assert 'ums_maintenance_duration_seconds_count{outcome="done"} 2.0' in told
    await tenants.close()


async def test_a_store_that_cannot_be_opened_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    watch = Metrics()
    scheduler, tenants, _ = rounds(tmp_path, watch)
    broken = settings_of(settings_in(tmp_path), Tenant("acme")).database.path
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no database at all, but long enough to be looked at as one" * 100)
    await scheduler.round()
    told = watch.exposition(2, [])[0].decode()
    assert 'ums_maintenance_duration_seconds_count{outcome="failed"} 1.0' in told
    assert 'ums_maintenance_duration_seconds_count{outcome="done"} 2.0' in told
    await tenants.close()


async def test_rounds_follow_one_another_until_they_are_stopped(tmp_path: Path) -> None:
    scheduler, tenants, _ = rounds(tmp_path, Unwatched())
    task = asyncio.create_task(scheduler.run())
    async with tenants.store(Tenant("acme")) as store:
        await store.add([Draft(text=text) for text in HERONS])
        async with asyncio.timeout(60):
            while await store.count() > 1:  # noqa: ASYNC110  # what another task does to a store sets no event
                await asyncio.sleep(0.01)
    scheduler.stop()
    await task
    # Stopped in the middle of a round, it begins with no further store.
    await scheduler.round()
    await tenants.close()


def test_a_service_with_an_interval_maintains_by_itself(serve: Serve) -> None:
    served = serve(maintenance={"interval": 0.01, "threshold": 0.6})
    filled(served)
    auth = served.auth()
    until = time.monotonic() + 60
    while served.client.post("/v1/memories/count", headers=auth, json={}).json()["count"] != 3:
        assert time.monotonic() < until
        time.sleep(0.01)
