"""What may differ between two runs of one command, and nothing else: each a pattern, and what stands for it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from devtools.vocabulary.kubectl import Outcome

_RULES: Final = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"https://127\.0\.0\.1:\d+", "https://SERVER"),
        # A table's ages, with the blanks that their width decides.
        (r"(?<![\w.:/=\"-])(?:(?:\d+[ydhms]){1,2}|AGE|LAST SEEN|DURATION)(?![\w.:/-]) *", "AGE "),
        (r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+", "TOKEN"),
        (r"(?:127\.0\.0\.1|\[::1\]):\d+ ->", "LOCAL ->"),
        (r"/(LIVE|MERGED)-\d+/", r"/\1/"),
        (r"(?m)^([WE])\d{4} [\d:.]+ +\d+ ", r"\1 "),  # the head of a line of kubectl's own log
    )
)
_WRITTEN: Final = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UID"),
        (r"\bagent-[a-z0-9]{5}\b", "agent-RANDOM"),  # a pod of the DaemonSet
        # What drain warns of comes out of a map.
        (r"Warning: (deleting Pods [^;\n]+); (ignoring DaemonSet[^;\n]+)", r"Warning: \2; \1"),
        # Controllers write when they get to it, before or after the next command.
        (r" (?:kube-controller-manager|kwok-controller)\b|\b(?:kube-controller-manager|kwok-controller) ", ""),
        (r"(resourceVersion: )\"\d+\"", r"\1VERSION"),
        (r"\b\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z| [+-]\d{4})?", "TIME"),
    )
)


def normalised(outcome: Outcome, *, mark: str) -> Outcome:
    """The outcome with what may differ replaced.

    Args:
        outcome: of one run.
        mark: of the site; names carry the side before it.
    """
    return replace(
        outcome, stdout=_normalised(outcome.stdout, mark=mark), stderr=_normalised(outcome.stderr, mark=mark)
    )


def _normalised(text: str, *, mark: str) -> str:
    text = text.replace(f"-a-{mark}", f"-x-{mark}").replace(f"-b-{mark}", f"-x-{mark}")
    for pattern, replacement in _RULES + _WRITTEN:
        text = pattern.sub(replacement, text)
    return text
