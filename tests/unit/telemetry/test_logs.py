"""The service's own log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from k8s_mcp_server.telemetry.logs import configure_logging

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _restore_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_hold_message_level_and_the_exception() -> None:
    stream = io.StringIO()
    configure_logging("INFO", json_lines=True, stream=stream)
    try:
        int("not a number")
    except ValueError:
        logging.getLogger("k8s_mcp_server").exception("resync failed")
    line = json.loads(stream.getvalue())
    assert (line["level"], line["message"]) == ("error", "resync failed")
    assert "ValueError: invalid literal" in line["exception"]


def test_less_severe_records_than_asked_for_are_left_out() -> None:
    stream = io.StringIO()
    configure_logging("WARNING", json_lines=False, stream=stream)
    logging.getLogger("k8s_mcp_server").info("hidden")
    logging.getLogger("k8s_mcp_server").warning("shown")
    assert "hidden" not in stream.getvalue()
    assert "shown" in stream.getvalue()
