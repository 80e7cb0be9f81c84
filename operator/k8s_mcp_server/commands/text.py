"""Whether a client's text can be a command line at all: not empty, not huge, clean UTF-8 without control characters."""

from __future__ import annotations

import re
from typing import Final

from k8s_mcp_server.commands.limits import MAX_COMMAND_BYTES
from k8s_mcp_server.errors import CommandRefused

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def check_text(text: str) -> None:
    """Refuse what is no command line.

    Raises:
        CommandRefused: with the word for the cause and what to write instead.
    """
    if not text.strip():
        raise CommandRefused("EmptyCommand", "The command is empty.", instead="Write a command, such as `get pods`.")
    too_long = CommandRefused(
        "CommandTooLong",
        f"The command is longer than {MAX_COMMAND_BYTES // 1024} KiB.",
        instead="Pass manifests and other long text in the stdin argument, with `-f -` in the command.",
    )
    if len(text) > MAX_COMMAND_BYTES:
        raise too_long
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise CommandRefused(
            "InvalidText",
            f"Character {error.start + 1} of the command is half of a surrogate pair.",
            instead="Send the command as UTF-8.",
        ) from error
    if size > MAX_COMMAND_BYTES:
        raise too_long
    if found := _CONTROL.search(text):
        raise CommandRefused(
            "ControlCharacter",
            f"Character {found.start() + 1} of the command is the control character U+{ord(found.group()):04X}.",
            instead="Leave it out; lines end with a line feed alone.",
        )
