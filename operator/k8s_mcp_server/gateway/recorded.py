"""What of a request target is recorded: its path and the names of its parameters.

Their values are what somebody typed: the words of an exec, selectors, whatever a proxied backend takes. A secret among
them must not get into a log, so only the few values are kept that say how a request runs.
"""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 512
_OMITTED: Final = "…"
_SHOWN: Final = frozenset(
    {
        "watch", "allowWatchBookmarks", "sendInitialEvents", "limit", "resourceVersion", "resourceVersionMatch",
        "timeoutSeconds", "timeout", "dryRun", "force", "fieldManager", "fieldValidation", "propagationPolicy",
        "gracePeriodSeconds", "follow", "previous", "tailLines", "sinceSeconds", "stdin", "stdout", "stderr", "tty",
    }
)  # fmt: skip
_ENDPOINT: Final = re.compile(r"[a-z0-9][-a-z0-9.]{0,252}:[0-9]{1,5}")  # of a CONNECT
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# What ends a path, and what would end it for a reader that decodes it again.
_END_OF_PATH: Final = re.compile(r"[?#;=]|%(?:3[BbDdFf]|2[35])")


def recorded_target(raw: str) -> str:
    """The target as it may be logged, at most 512 characters.

    Args:
        raw: as received, understood or not.
    """
    if _ENDPOINT.fullmatch(raw):
        return raw
    if not raw.startswith("/"):
        return _OMITTED
    end = _END_OF_PATH.search(raw)
    if end is None:
        return raw[:_LONGEST]
    path, rest = raw[: end.start()], raw[end.end() :]
    if end[0] != "?":
        return path[:_LONGEST] + _OMITTED
    shown = frozenset() if "proxy" in path.split("/") else _SHOWN  # a proxied backend's names mean anything
    return f"{path}?{'&'.join(_parameter(pair, shown) for pair in rest.split('&'))}"[:_LONGEST]


def _parameter(pair: str, shown: frozenset[str]) -> str:
    name, equals, value = pair.partition("=")
    if not equals or not _NAME.fullmatch(name):
        return name if name in shown else _OMITTED
    return f"{name}={value if name in shown and _PLAIN_VALUE.fullmatch(value) else _OMITTED}"
