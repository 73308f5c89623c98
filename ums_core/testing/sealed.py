"""How a test opens a sealed store: ``UnifiedSettings.for_testing(security=SEALED)``."""

from base64 import urlsafe_b64encode
from hashlib import sha256

__all__ = ["SEALED", "SEALED_FIELDS", "TEST_KEY"]

# The same in every run, and known to everybody.
TEST_KEY = urlsafe_b64encode(sha256(b"a key for tests").digest()).decode()

# Settings of the group ``security``: the whole file encrypted, or what it holds.
SEALED: dict[str, object] = {"encrypt_at_rest": True, "encryption_key": TEST_KEY}
SEALED_FIELDS: dict[str, object] = {"encryption_key": TEST_KEY}
