"""Which channel a program works on, by its settings."""

from ums_core.channels.build import open_store
from ums_core.channels.dual import DualStore
from ums_core.errors import SettingsError
from ums_core.ports import MemoryStore
from ums_core.settings import UnifiedSettings

__all__ = ["open_channel"]


def open_channel(settings: UnifiedSettings | None = None) -> MemoryStore:
    """The store of the channel that the settings name. Close it, or use ``with``.

    ``personal`` is what ``open_store`` gives, ``global`` a ``RemoteStore``, ``dual`` both as a ``DualStore``.

    Args:
        settings: None reads the environment and ``.env``.

    Raises:
        SettingsError: the settings name something that does not exist, or no service where one is needed.
        StorageError: the file cannot be used; a subclass tells why.
        MissingExtra: httpx is not installed, and a service is to be asked.
    """
    settings = settings or UnifiedSettings()
    if settings.channel == "personal":
        return open_store(settings)
    from ums_core.channels.remote import RemoteStore  # noqa: PLC0415  # optional: extra `http`
    from ums_core.channels.transport import RemoteOptions  # noqa: PLC0415  # as above

    own = settings.remote
    if not own.url or not own.token:
        raise SettingsError(f"the channel {settings.channel} asks a service: set AI_REMOTE__URL and AI_REMOTE__TOKEN")
    options = RemoteOptions(
        timeout_s=own.timeout,
        attempts=own.attempts,
        ca_file=own.ca_file,
        allow_insecure_transport=own.allow_insecure_transport,
        privacy_mode=settings.privacy_mode,
    )
    remote = RemoteStore(own.url, own.token, options)
    if settings.channel == "global":
        return remote
    return DualStore(open_store(settings), remote, privacy_mode=settings.privacy_mode, budget_s=own.budget)
