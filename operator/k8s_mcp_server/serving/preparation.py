"""What some CLIs need before a command of theirs may start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8s_mcp_server.execution.pipeline import Pipeline
    from k8s_mcp_server.execution.result import ApiAccess
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.policy.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """What an admitted command is going to run with.

    Args:
        session: its token at the gateway, with all that is noted of it there.
        access: the way to the gateway.
        limits: in force for it.
        stdin: as the client passed it.
        files: as the client passed them.
    """

    session: CommandSession
    access: ApiAccess
    limits: Limits
    stdin: bytes
    files: Mapping[str, bytes]


class Preparation(Protocol):
    """Of one CLI."""

    async def prepare(self, pipeline: Pipeline, context: CommandContext) -> Pipeline:
        """Look at the command, ask what must be asked under its token, and give the pipeline that is to run.

        Runs within the command's place and time.

        Raises:
            CommandDenied: the policy denies the command as a whole.
            CommandRefused: it cannot be run.
            Unavailable: what it needs does not answer.
        """
