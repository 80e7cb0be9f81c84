"""The CLIs' own help, read once from each: never anything but help is run, and without any access.

Only words that the help itself lists as subcommands are asked for, so that a client's words choose nothing else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.help_text import subcommands
from k8s_mcp_server.commands.offers import ALIASES
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.execution.pipeline import Pipeline, Stage
from k8s_mcp_server.policy.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8s_mcp_server.policy.tools import Tool
    from k8s_mcp_server.serving.runner import Executor

_LIMITS: Final = Limits(timeout_seconds=15, output_bytes=200_000)


class UnknownSubcommandError(Exception):
    """The help lists no such subcommand.

    Args:
        parent: the words before it.
        word: the one that is not known.
        known: those that are.
    """

    def __init__(self, parent: tuple[str, ...], word: str, known: tuple[str, ...]) -> None:
        super().__init__(word)
        self.parent = parent
        self.word = word
        self.known = known


class HelpReader:
    """Reads and keeps help texts.

    Args:
        executor: runs the CLIs.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._texts: dict[tuple[str, ...], str] = {}
        self._one_at_a_time = asyncio.Lock()

    async def read(self, tool: Tool, words: Sequence[str]) -> tuple[str, str]:
        """The subcommand that the words begin with, in the CLI's own words, and its help; without words the CLI's.

        Raises:
            UnknownSubcommandError: a word is none.
            Unavailable: the help could not be had.
        """
        path = ""
        text = await self._text(tool, path)
        for word in words:
            known = subcommands(text)
            longer = f"{path} {word}".strip()
            longer = ALIASES[tool].get(longer, longer)
            name = longer.rpartition(" ")[2]
            if longer.removesuffix(name).strip() != path or name not in known:
                if known or not path:
                    raise UnknownSubcommandError(tuple(path.split()), word, tuple(known))
                break  # an operand, such as the resource in `get pods`
            path = longer
            text = await self._text(tool, path)
        return path, text

    async def _text(self, tool: Tool, path: str) -> str:
        key = (tool.value, *path.split())
        async with self._one_at_a_time:
            if key not in self._texts:
                pipeline = Pipeline(stages=(Stage(argv=(*key, "--help")),))
                result = await self._executor.run(
                    pipeline, access=None, stdin=b"", files={}, limits=_LIMITS, ended=asyncio.Event()
                )
                if result.exit_code != 0:
                    raise Unavailable(f"the help of {' '.join(key)} could not be read")
                self._texts[key] = result.stdout.decode(errors="replace")
        return self._texts[key]
