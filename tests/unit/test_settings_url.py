"""Which file a URL names, and which URLs name none."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ums_core.errors import SettingsError
from ums_core.settings import DatabaseSettings


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///./data/memory.db", "data/memory.db"),
        ("sqlite:///memory.db", "memory.db"),
        ("sqlite:////var/lib/memory.db", "/var/lib/memory.db"),
        ("sqlite:///my%20notes/100%25.db", "my notes/100%.db"),
        ("sqlite:///ged%C3%A4chtnis.db", "gedächtnis.db"),
        ("sqlite:///gedächtnis.db", "gedächtnis.db"),
        ("sqlite:///a%3Fb%23c.db", "a?b#c.db"),
    ],
)
def test_a_database_url_names_a_file(url: str, path: str) -> None:
    assert DatabaseSettings(url=url).path == Path(path)


@pytest.mark.property
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_path_survives_a_url(name: str) -> None:
    path = f"/{name}.db"
    assert DatabaseSettings(url=f"sqlite:///{quote(path)}").path == Path(path)


@pytest.mark.property
@given(st.one_of(st.text(), st.text().map("sqlite:///".__add__)))
def test_any_url_names_a_file_or_is_refused(url: str) -> None:
    try:
        settings = DatabaseSettings(url=url)
    except SettingsError:
        return
    assert settings.path.name


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("", "write sqlite:///relative/path.db or sqlite:////absolute/path.db"),
        ("memory.db", "write sqlite:///relative/path.db"),
        ("/var/lib/memory.db", "write sqlite:///relative/path.db"),
        ("sqlite://memory.db", "write sqlite:///relative/path.db"),
        ("postgresql://localhost/db", "UnifiedSettings.for_testing()"),
        (":memory:", "UnifiedSettings.for_testing()"),
        ("sqlite://", "UnifiedSettings.for_testing()"),
        ("sqlite:///:memory:", "UnifiedSettings.for_testing()"),
        ("sqlite:///", "UnifiedSettings.for_testing()"),
        ("sqlite:///data/", "must name a file"),
        ("sqlite:///data/..", "must name a file"),
        ("sqlite:///.", "must name a file"),
        ("sqlite:///a%00.db", "must name a file"),
        ("sqlite:///memory.db?mode=ro", "takes no query"),
        ("sqlite:///memory.db#1", "%23 for #"),
        ("sqlite:///100%.db", "write %25"),
        ("sqlite:///%FF.db", "must decode to UTF-8"),
    ],
)
def test_a_url_that_names_no_sqlite_file_is_refused_with_a_remedy(url: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        DatabaseSettings(url=url)
    assert remedy in str(refusal.value)
