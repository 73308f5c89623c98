import json
import stat
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ums_core.errors import InvalidInput, NotADatabase, Unauthenticated
from ums_core.service.tokens import Tenant, Tokens, tokens_path, ttl_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Tokens:
    return Tokens(tokens_path(tmp_path / "new" / "memory.db"), clock=clock)


def test_a_token_opens_its_tenant_and_nothing_of_it_is_kept_but_a_hash(tokens: Tokens) -> None:
    shown = tokens.create(Tenant("acme"), ["memory:read", "memory:read"], env="dev")
    assert shown.startswith("ums_dev_")
    token = tokens.authenticate(shown)
    assert (token.tenant, token.scopes, token.created_at) == ("acme", ("memory:read",), NOW)
    secret = shown[len(f"ums_dev_{token.key_id}_") : -8]
    assert len(secret) == 43
    assert secret not in tokens.path.read_text()
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600


def test_every_process_sees_a_change_at_once(tokens: Tokens) -> None:
    other = Tokens(tokens.path)
    assert other.all() == []
    shown = tokens.create(Tenant("acme"), ["admin"], env="dev")
    token = other.authenticate(shown)
    tokens.revoke(token.key_id)
    with pytest.raises(Unauthenticated):
        other.authenticate(shown)
    assert tokens.revoke(token.key_id).revoked_at == NOW


def test_two_tokens_of_a_tenant_hold_at_once_so_that_one_can_replace_the_other(tokens: Tokens) -> None:
    old, new = (tokens.create(Tenant("acme"), ["memory:read"], env="dev") for _ in range(2))
    assert {tokens.authenticate(shown).tenant for shown in (old, new)} == {"acme"}
    tokens.revoke(tokens.authenticate(old).key_id)
    assert tokens.authenticate(new).tenant == "acme"


def test_a_token_holds_until_it_expires(tokens: Tokens, clock: Clock) -> None:
    shown = tokens.create(Tenant("acme"), ["memory:read"], env="dev", ttl=timedelta(days=1))
    clock.now = NOW + timedelta(days=1) - timedelta(microseconds=1)
    assert tokens.authenticate(shown).expires_at == NOW + timedelta(days=1)
    clock.now = NOW + timedelta(days=1)
    with pytest.raises(Unauthenticated):
        tokens.authenticate(shown)


def test_a_token_that_was_let_in_before_is_looked_at_each_time(tokens: Tokens, clock: Clock) -> None:
    shown = [tokens.create(Tenant("acme"), ["memory:read"], env="dev", ttl=timedelta(hours=1)) for _ in range(3)]
    assert [tokens.authenticate(each) for each in shown] == [tokens.authenticate(each) for each in shown]
    revoked, removed, expired = shown
    other = Tokens(tokens.path, clock=clock)
    other.revoke(tokens.authenticate(revoked).key_id)
    with pytest.raises(Unauthenticated):
        tokens.authenticate(revoked)
    held = json.loads(tokens.path.read_text())
    held["tokens"] = [each for each in held["tokens"] if each["key_id"] != tokens.authenticate(removed).key_id]
    tokens.path.write_text(json.dumps(held))
    with pytest.raises(Unauthenticated):
        tokens.authenticate(removed)
    assert tokens.authenticate(expired).tenant == "acme"
    clock.now += timedelta(hours=1)
    with pytest.raises(Unauthenticated):
        tokens.authenticate(expired)
    clock.now = NOW
    tokens.path.unlink()
    with pytest.raises(Unauthenticated):
        tokens.authenticate(expired)


def test_one_token_in_many_forms_takes_no_room(tokens: Tokens) -> None:
    body = tokens.create(Tenant("acme"), ["memory:read"], env="dev")[:-8].removeprefix("ums_dev")
    forms = [f"ums_{letter}{body}" for letter in "abcdef"]
    for form in forms:
        shown = f"{form}{zlib.crc32(form.encode()):08x}"
        assert tokens.authenticate(shown) == tokens.authenticate(shown)
    assert len(tokens._proven) == 1


def test_what_is_not_quite_the_token_does_not_open(tokens: Tokens) -> None:
    shown = tokens.create(Tenant("acme"), ["memory:read"], env="dev")
    other = tokens.create(Tenant("other"), ["memory:read"], env="dev")
    swapped = "a" if shown[25] != "a" else "b"
    mixed = shown[:21] + other[21:]
    for wrong in (
        None,
        "",
        "x",
        shown[:-1],
        shown + "0",
        shown[:25] + swapped + shown[26:],
        mixed,
        "ums_",
        shown.upper(),
    ):
        with pytest.raises(Unauthenticated, match="ums tokens create"):
            tokens.authenticate(wrong)
    renamed = shown.replace("ums_dev_", "ums_prod_")
    with pytest.raises(Unauthenticated):
        tokens.authenticate(renamed)


def test_the_day_of_use_is_noted_once(tokens: Tokens, clock: Clock) -> None:
    token = tokens.authenticate(tokens.create(Tenant("acme"), ["memory:read"], env="dev"))
    assert not tokens.used_today(token)
    tokens.note_use(token)
    (noted,) = tokens.all()
    assert (noted.last_used, tokens.used_today(noted)) == ("2026-01-31", True)
    before = tokens.path.stat().st_mtime_ns
    tokens.note_use(token)
    assert tokens.path.stat().st_mtime_ns == before
    clock.now += timedelta(days=1)
    assert not tokens.used_today(noted)
    tokens.path.write_text(json.dumps(json.loads(tokens.path.read_text()) | {"tokens": []}))
    tokens.note_use(token)
    assert tokens.all() == []


def test_a_pseudonym_stands_for_one_name_in_one_registry(tokens: Tokens, tmp_path: Path) -> None:
    tokens.create(Tenant("acme"), ["memory:read"], env="dev")
    assert tokens.pseudonym("acme") == Tokens(tokens.path).pseudonym("acme") != tokens.pseudonym("other")
    assert Tokens(tmp_path / "another.json").pseudonym("acme") != tokens.pseudonym("acme")


@pytest.mark.parametrize("scopes", [[], ["memory:all"], ["memory:read", ""]])
def test_a_token_has_known_scopes(tokens: Tokens, scopes: list[str]) -> None:
    with pytest.raises(InvalidInput, match="scopes are of memory:read"):
        tokens.create(Tenant("acme"), scopes, env="dev")
    assert tokens.all() == []


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a" * 64, "-a", "ü", "a\n", 5])
def test_a_tenant_has_a_name_that_every_file_system_keeps_apart(name: str) -> None:
    with pytest.raises(InvalidInput, match="lower-case"):
        Tenant(name)


def test_an_unknown_token_cannot_be_revoked(tokens: Tokens) -> None:
    with pytest.raises(InvalidInput, match="ums tokens list"):
        tokens.revoke("000000000000")


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"tokens": [{}], "log_key": ""}', '{"tokens": [], "log_key": "x"}']
)
def test_a_registry_that_cannot_be_read_lets_nobody_in(tokens: Tokens, content: str) -> None:
    shown = tokens.create(Tenant("acme"), ["memory:read"], env="dev")
    tokens.path.write_text(content)
    with pytest.raises(NotADatabase, match="registry"):
        tokens.authenticate(shown)


def test_a_time_to_live_has_a_unit() -> None:
    assert [ttl_of(text) for text in ("90s", "5m", "12h", "30d", "2w")] == [
        timedelta(seconds=90),
        timedelta(minutes=5),
        timedelta(hours=12),
        timedelta(days=30),
        timedelta(weeks=2),
    ]
    for wrong in ("", "30", "d", "0d", "-1d", "1.5h", "30 d", "1y"):
        with pytest.raises(InvalidInput, match="30d"):
            ttl_of(wrong)
