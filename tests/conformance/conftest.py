"""The suites that ship explain their failures as the tests here do."""

import pytest

pytest.register_assert_rewrite("ums_core.testing")
