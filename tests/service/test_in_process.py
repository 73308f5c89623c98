"""A service in a thread of this process, for tests and the demo."""

from pathlib import Path

import pytest

from ums_core import Draft, RemoteStore, UnifiedSettings
from ums_core.errors import RemoteError
from ums_core.service.run import running
from ums_core.settings.database import url_of
from ums_core.testing.serving import serving


def test_a_service_in_this_process_ends_with_its_block() -> None:
    with serving() as service:
        with service.store() as one, service.store() as other:
            one.add([Draft(text="mine")])
            assert (one.count(), other.count()) == (1, 0)
        token = service.token("acme")
        with RemoteStore(service.url, token) as first:
            first.add([Draft(text="ours")])
        with service.store("acme") as again:
            assert again.count() == 1


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    settings = UnifiedSettings.for_testing(database={"url": url_of(tmp_path / "file" / "memory.db")})
    with pytest.raises(RemoteError, match="its log says why"), running(settings):
        pass
