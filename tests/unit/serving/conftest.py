"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.serving import Service, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as running:
        yield running
