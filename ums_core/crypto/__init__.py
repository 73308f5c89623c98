"""Sealing, and where keys come from. It fails closed; nothing here needs a package before it is used."""

from ums_core.crypto.envelope import Envelope, EnvelopeStatus, envelope_path
from ums_core.crypto.fields import Fields
from ums_core.crypto.keys import DataKey, Purpose
from ums_core.crypto.sealed_file import Files
from ums_core.records.fernet_key import validate_fernet_key

__all__ = [
    "DataKey",
    "Envelope",
    "EnvelopeStatus",
    "Fields",
    "Files",
    "Purpose",
    "envelope_path",
    "validate_fernet_key",
]
