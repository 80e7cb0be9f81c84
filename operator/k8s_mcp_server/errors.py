"""The one hierarchy of errors that callers of this package may catch.

Each edge (API server, kernel, MCP client, configuration file) wraps what it meets into one of these with ``from``.
The text of an error is written for the person or agent that gets it; causes go to the log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_WRITTEN: Final = re.compile(r"Write: `([^`]+)`")
_TO_FILL_IN: Final = re.compile(r"…|\b(?:POD|NAME|NAMESPACE|FOLDER|VALUE|TYPE)\b")


class K8sMcpError(Exception):
    """Any failure that this service names itself."""


class ConfigurationError(K8sMcpError):
    """The settings cannot be used as they are; the text says what to change."""


class Unavailable(K8sMcpError):
    """Something that a decision or a command needs does not answer now; never an allow, and worth a retry."""


class CommandRefused(K8sMcpError):
    """A command line that is not run.

    Args:
        reason: stable CamelCase word for machines, such as ``ShellSyntax``.
        message: what is wrong, in one sentence.
        instead: what to write or do instead; empty when there is nothing to suggest.
    """

    def __init__(self, reason: str, message: str, *, instead: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.instead = instead

    @property
    def next_command(self) -> str:
        """The command line that ``instead`` says to write, when it can be sent as it stands; else empty."""
        found = _WRITTEN.search(self.instead)
        return found[1] if found and not _TO_FILL_IN.search(found[1]) else ""


class CommandDenied(K8sMcpError):
    """A command line that the policy denies as a whole, before anything of it runs.

    Args:
        reason: the decision's reason, a stable CamelCase word.
        message: who is denied what, and by which policy.
        hint: what is nearest and allowed, and whom to ask; may be empty.
        denials: what is missing, each in a sentence.
        next_command: a command line that works now; may be empty.
    """

    def __init__(
        self, reason: str, message: str, *, hint: str = "", denials: Sequence[str] = (), next_command: str = ""
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.denials = tuple(denials)
        self.next_command = next_command
