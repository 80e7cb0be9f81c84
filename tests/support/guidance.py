"""What an agent is told before and after it acts, checked by doing it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.agent import Agent, Answer

    Run = Callable[[str], Answer]

_COMMAND = re.compile(r"^\d+\. [^`]+: `(.+)`$", re.MULTILINE)


def suggested_by(agent: Agent, prompt: str, **arguments: str) -> list[str]:
    """The commands that a prompt suggests."""
    return _COMMAND.findall(agent.prompt(prompt, **arguments))


def wrongly_checked(agent: Agent, lines: Iterable[str], run: Run, **arguments: Any) -> list[str]:
    """The lines of which check_access says something else than running them; a yes with notes depends on these."""
    wrong = []
    for line in lines:
        checked = agent.call("check_access", {"command": line, **arguments})
        ran = run(line)
        works = ran.status == "succeeded"
        if checked.fields.get("allowed") is not works and (works or not checked.fields.get("notes")):
            wrong.append(f"{line}: check_access says {checked.text}; running it: {ran.text}")
    return wrong


def not_helped(lines: Iterable[str], run: Run) -> list[str]:
    """The lines that were denied, after which the suggested command does not work."""
    failed = []
    for line in lines:
        first = run(line)
        assert first.status in {"denied", "refused"}, f"{line}: {first.text}"
        suggested = str(first.fields.get("next_command", ""))
        assert not suggested or suggested in first.text, line
        second = run(suggested) if suggested else None
        if second is None or second.status != "succeeded":
            failed.append(f"{line}: {suggested or 'nothing'} was suggested: {second.text if second else first.text}")
    return failed
