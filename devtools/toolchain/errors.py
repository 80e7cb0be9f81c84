"""The one error of the builder: its text is a line that says what to do."""

from __future__ import annotations


class ToolchainError(Exception):
    """A tool can't be had. `str(error)` is one line for a person."""
