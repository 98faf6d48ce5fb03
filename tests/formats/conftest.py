"""Lets tests of formats import ``contract``, whose assertions then tell what they compared."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("contract")
