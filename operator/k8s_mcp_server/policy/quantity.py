"""Kubernetes' spellings of sizes and durations, read into bytes and seconds."""

from __future__ import annotations

import re
from datetime import timedelta

_QUANTITY = re.compile(r"([1-9][0-9]{0,14})(Ki|Mi|Gi|k|M|G)?")
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_DURATION_PART = re.compile(r"([0-9]+)(h|m|s)")
_DURATION = re.compile(r"([1-9][0-9]{0,4}(h|m|s)){1,3}")
_SECONDS = {"h": 3600, "m": 60, "s": 1}


def parse_bytes(text: str | int) -> int:
    """A size in bytes from a whole number or a Kubernetes quantity such as ``512Mi``.

    Raises:
        ValueError: not a positive whole size.
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512Mi")
    return int(match[1]) * _FACTORS[match[2] or ""]


def parse_duration(text: str) -> timedelta:
    """A duration such as ``2h`` or ``1h30m``.

    Raises:
        ValueError: another spelling, or nothing at all.
    """
    if _DURATION.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a duration such as 2h or 1h30m")
    return timedelta(seconds=sum(int(count) * _SECONDS[unit] for count, unit in _DURATION_PART.findall(text)))
