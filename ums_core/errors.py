"""Every error UMS raises, one tree, one root.

::

    UMSError
    ├── InvalidInput (ValueError)         what the caller gave cannot be used; nothing was written
    │   ├── InvalidNamespace              a label is empty, not a string, or not encodable
    │   ├── InvalidText                   empty without a vector, or not encodable as UTF-8
    │   ├── InvalidMetadata               not JSON, or a key that is not a plain string
    │   ├── InvalidField                  another field of a draft is out of its range
    │   ├── InvalidVector                 NaN, infinite, zero, or not a row of numbers
    │   │   └── DimensionMismatch         a vector of another length than the database holds
    │   ├── InvalidFilter                 unknown operator, or a value the operator cannot take
    │   ├── InvalidQuery                  k, weights, mode, cursor or the lack of a text and a vector
    │   ├── TooLarge                      a body, a batch or a filter beyond the service's limits
    │   ├── InvalidKey                    a key, a passphrase or a recovery code in a form that cannot be used
    │   └── SettingsError                 an unknown or contradictory setting
    ├── MemoryNotFound (KeyError)         an update names a memory that does not exist
    ├── IdempotencyConflict               one idempotency key, two different writes
    ├── EmbedderMismatch                  the database is bound to another embedder
    ├── StaysOnDevice (PermissionError)   something personal would have left the device; it did not
    │   ├── PrivacyModeStrict             an operation that names a memory or a person elsewhere
    │   └── ConsentRequired               a promotion without somebody's consent to what it sends
    ├── ModelNotExportable                a model's graph does not give the model's vectors
    ├── NotOnThisChannel                  a verb that only a store on this device has
    ├── TryLater                          what passes by itself (``retry_after_s``)
    │   ├── IndexRecovering               the index is being rebuilt; writes wait
    │   ├── MaintenanceRunning            another process maintains the database
    │   ├── RateLimited                   too many calls with one token
    │   └── Overloaded                    the service is at its limit, starting or stopping
    ├── Unauthenticated (PermissionError) no token, or one that does not hold
    ├── Forbidden (PermissionError)       the token has not the scope that the call needs
    ├── RemoteError (ConnectionError)     the service failed, or its answer cannot be understood
    │   └── ServiceUnreachable            no answer in time; a write may have been done
    ├── KeyFailure                        the key of a database cannot be had; parent of:
    │   ├── KeyUnavailable (ConnectionError)   the key service does not answer (``retry_after_s``)
    │   ├── KeyDenied (PermissionError)   the key service refuses, or the key is disabled
    │   ├── KeyMissing (KeyError)         there is no such key, or no key file
    │   ├── KeyCorrupt                    a wrapped key or a key file is not what was written, or of another database
    │   └── KeyFileUnsafe (PermissionError)    others could read or replace a file that holds keys
    ├── SealBroken                        a sealed file or value is not what was written; nothing of it was given out
    ├── MissingExtra (ImportError)        an optional package is needed; the message names the extra
    └── StorageError (OSError)
        ├── StoreClosed                   the store was closed
        ├── DirectoryNotWritable          the directory of the database cannot be written
        ├── DiskFull                      the file system has no room; acknowledged writes are safe
        ├── NotADatabase                  the file is not a UMS database, or is damaged
        │   ├── DatabaseEncrypted         it is encrypted, and no key was given
        │   ├── DatabaseNotEncrypted      it is plain, and an encrypted one was asked for
        │   └── WrongKey                  the key does not open it
        ├── TamperSuspected               the file is not the one that was left here; reads go on
        ├── DatabaseTooNew                written by a newer version of UMS
        └── DatabaseBusy                  another process kept the write lock for too long
"""

from collections.abc import Mapping, Sequence

__all__ = [
    "ConsentRequired", "DatabaseBusy", "DatabaseEncrypted", "DatabaseNotEncrypted", "DatabaseTooNew",
    "DimensionMismatch", "DirectoryNotWritable", "DiskFull", "EmbedderMismatch", "Forbidden", "IdempotencyConflict",
    "IndexRecovering", "InvalidField", "InvalidFilter", "InvalidInput", "InvalidKey", "InvalidMetadata",
    "InvalidNamespace", "InvalidQuery", "InvalidText", "InvalidVector", "KeyCorrupt", "KeyDenied", "KeyFailure",
    "KeyFileUnsafe", "KeyMissing", "KeyUnavailable", "MaintenanceRunning", "MemoryNotFound", "MissingExtra",
    "ModelNotExportable", "NotADatabase", "NotOnThisChannel", "Overloaded", "PrivacyModeStrict", "RateLimited",
    "RemoteError", "SealBroken", "ServiceUnreachable", "SettingsError", "StaysOnDevice", "StorageError", "StoreClosed",
    "TamperSuspected", "TooLarge", "TryLater", "UMSError", "Unauthenticated", "WrongKey",
]  # fmt: skip


class UMSError(Exception):
    """The root of the tree; ``code`` is stable and crosses process and network borders."""

    code = "ums_error"

    def __str__(self) -> str:
        """Return the message as written, also where a builtin parent would quote it."""
        return str(self.args[0]) if self.args else self.code


class InvalidInput(UMSError, ValueError):
    """What the caller gave cannot be used; nothing was written.

    Attributes:
        places: where in the body of a request, and why, if it came over a network: ``at``, ``message``, ``type``.
    """

    code = "invalid_input"
    places: Sequence[Mapping[str, str]] = ()


class InvalidNamespace(InvalidInput):
    """A namespace is not a tuple of non-empty, encodable strings."""

    code = "invalid_namespace"


class InvalidText(InvalidInput):
    """A text is empty where no vector stands in for it, or cannot be encoded as UTF-8."""

    code = "invalid_text"


class InvalidMetadata(InvalidInput):
    """Metadata is not JSON: a value of another type, a non-finite number, or an unusable key."""

    code = "invalid_metadata"


class InvalidField(InvalidInput):
    """A field of a draft or a patch is of the wrong type or out of its range."""

    code = "invalid_field"


class InvalidVector(InvalidInput):
    """A vector holds NaN or infinity, has no length, or is not one row of numbers."""

    code = "invalid_vector"


class DimensionMismatch(InvalidVector):
    """A vector has another number of components than the database holds."""

    code = "dimension_mismatch"


class InvalidFilter(InvalidInput):
    """A filter uses an unknown operator, or a value that its operator cannot take."""

    code = "invalid_filter"


class InvalidQuery(InvalidInput):
    """A query asks for nothing, for too little (k < 1), or by unusable weights."""

    code = "invalid_query"


class TooLarge(InvalidInput):
    """A body, a batch, a number of hits or a filter is beyond the limits of the service."""

    code = "too_large"


class InvalidKey(InvalidInput):
    """A key, a passphrase or a recovery code has a form that cannot be used; the message never repeats it."""

    code = "invalid_key"


class SettingsError(InvalidInput):
    """A setting is unknown, malformed, or contradicts another one."""

    code = "settings_error"


class MemoryNotFound(UMSError, KeyError):
    """A memory that the call names is unknown; nothing was written."""

    code = "memory_not_found"


class IdempotencyConflict(UMSError):
    """The idempotency key was used for a different write before."""

    code = "idempotency_conflict"


class EmbedderMismatch(UMSError):
    """The database is bound to another embedder than the one given; nothing was written."""

    code = "embedder_mismatch"


class Unauthenticated(UMSError, PermissionError):
    """The call came without a token, or with one that is unknown, expired or revoked."""

    code = "unauthenticated"


class Forbidden(UMSError, PermissionError):
    """The token does not have the scope that this call needs."""

    code = "forbidden"


class TryLater(UMSError):
    """What passes by itself; nothing was done.

    Attributes:
        retry_after_s: seconds after which a retry is likely to be accepted.
    """

    code = "try_later"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MaintenanceRunning(TryLater):
    """Another process maintains the database, or was killed at it a moment ago; nothing was done."""

    code = "maintenance_running"


class StaysOnDevice(UMSError, PermissionError):
    """What is personal was about to leave the device; nothing was sent."""

    code = "stays_on_device"


class PrivacyModeStrict(StaysOnDevice):
    """The operation would tell another machine who used what; ``privacy_mode=standard`` allows it."""

    code = "privacy_mode_strict"


class ConsentRequired(StaysOnDevice):
    """A personal memory is promoted only with consent to exactly what is sent."""

    code = "consent_required"


class NotOnThisChannel(UMSError):
    """The verb is one that only a store on this device has, and the store is of another channel."""

    code = "not_on_this_channel"


class RateLimited(TryLater):
    """Too many calls were made with this token; nothing was done."""

    code = "rate_limited"


class Overloaded(TryLater):
    """The service is at its limit, starting, or stopping; nothing was done."""

    code = "overloaded"


class RemoteError(UMSError, ConnectionError):
    """The service failed, or answered what this version does not understand."""

    code = "remote_error"


class ServiceUnreachable(RemoteError):
    """The service did not answer in time; a write without an idempotency key may have been done or not.

    Attributes:
        nothing_sent: whether the call is known not to have left.
    """

    code = "service_unreachable"
    nothing_sent = False


class IndexRecovering(TryLater):
    """The index is being rebuilt from storage: reads go on, writes are refused for a while."""

    code = "index_recovering"


class KeyFailure(UMSError):
    """The key of a database cannot be had, so the database stays shut."""

    code = "key_failure"


class KeyUnavailable(KeyFailure, TryLater, ConnectionError):
    """The key service does not answer: a retry may help."""

    code = "key_unavailable"


class KeyDenied(KeyFailure, PermissionError):
    """The key service refuses this caller, or the key is disabled: a retry does not help."""

    code = "key_denied"


class KeyMissing(KeyFailure, KeyError):
    """There is no key of that name, or no key file where one is needed."""

    code = "key_missing"


class KeyCorrupt(KeyFailure):
    """A wrapped key or a key file is not what was written, is another database's, or was wrapped by another key."""

    code = "key_corrupt"


class KeyFileUnsafe(KeyFailure, PermissionError):
    """Somebody else could read or replace a file that holds keys, so it is not used."""

    code = "key_file_unsafe"


class SealBroken(UMSError):
    """A sealed file was changed, cut, or sealed by another key; nothing that could not be proved was given out."""

    code = "seal_broken"


class ModelNotExportable(UMSError):
    """The graph made of a model gives other vectors than the model; nothing was left behind."""

    code = "model_not_exportable"


class MissingExtra(UMSError, ImportError):
    """An optional package is not installed; the message says what to install."""

    code = "missing_extra"


class StorageError(UMSError, OSError):
    """The database could not be read or written."""

    code = "storage_error"


class StoreClosed(StorageError):
    """The store was closed before this call."""

    code = "store_closed"


class DirectoryNotWritable(StorageError, PermissionError):
    """The directory that should hold the database cannot be created or written."""

    code = "directory_not_writable"


class DiskFull(StorageError):
    """The file system has no room left; everything acknowledged before is safe."""

    code = "disk_full"


class NotADatabase(StorageError):
    """The file is not a UMS database, or its pages are damaged."""

    code = "not_a_database"


class DatabaseEncrypted(NotADatabase):
    """The file is encrypted, or nothing that could be told apart from it, and no key was given; it was not touched."""

    code = "database_encrypted"


class DatabaseNotEncrypted(NotADatabase):
    """The file is a plain database where an encrypted one was asked for; it was not touched."""

    code = "database_not_encrypted"


class WrongKey(NotADatabase):
    """The key given does not open the database; it was not touched."""

    code = "wrong_key"


class TamperSuspected(StorageError):
    """A sealed database is not what was left here, such as an older copy; reads go on, writes wait for the owner."""

    code = "tamper_suspected"


class DatabaseTooNew(StorageError):
    """The database was written by a newer version of UMS; it was left untouched."""

    code = "database_too_new"


class DatabaseBusy(StorageError):
    """Another process held the write lock longer than the busy timeout."""

    code = "database_busy"
