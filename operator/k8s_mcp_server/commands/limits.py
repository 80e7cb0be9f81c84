"""How large a command line may be. Larger input belongs into the tool's ``stdin`` argument."""

from __future__ import annotations

from typing import Final

MAX_LINE_BYTES: Final = 16 * 1024  # without a here-document
MAX_COMMAND_BYTES: Final = 256 * 1024  # with one
MAX_STAGES: Final = 8
MAX_WORDS: Final = 512  # of one stage
