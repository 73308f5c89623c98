"""The suites that ship explain their failures as the tests here do, and the servers that they ask."""

import pytest
from key_servers import certificates, kms_endpoint, tls_vault, vault

__all__ = ["certificates", "kms_endpoint", "tls_vault", "vault"]

pytest.register_assert_rewrite("ums_core.testing")
