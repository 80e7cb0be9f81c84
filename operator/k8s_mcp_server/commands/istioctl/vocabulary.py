"""What must be known of istioctl's flags to record its words: which of them take the next word as their value."""

from __future__ import annotations

from typing import Final

from k8s_mcp_server.commands.istioctl import flags
from k8s_mcp_server.commands.istioctl.catalog import SUBCOMMANDS, Offered
from k8s_mcp_server.commands.words import Vocabulary

_ALL: Final = (
    *flags.GLOBAL,
    *(each for entry in SUBCOMMANDS.values() if isinstance(entry, Offered) for each in entry.flags),
)
_VALUED: Final = frozenset(word for each in _ALL if not each.is_switch for word in (each.name, each.short) if word)

ISTIOCTL: Final = Vocabulary(
    value_flags=_VALUED,
    short_switches=frozenset(each.short for each in _ALL if each.is_switch and each.short) - _VALUED,
)
