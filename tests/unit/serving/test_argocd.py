"""The instance of Argo CD that a command means, found before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.execution.result import ApiAccess
from k8s_mcp_server.gateway.session import CommandSession
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.limits import Limits
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.argocd import ArgoCDPreparation
from k8s_mcp_server.serving.preparation import CommandContext

if TYPE_CHECKING:
    from k8s_mcp_server.execution.pipeline import Pipeline

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ACCESS = ApiAccess(server_url="https://127.0.0.1:7", ca_pem="CA", token="one-shot")


async def prepare(command: str) -> tuple[Pipeline, CommandSession]:
    session = CommandSession(client=Client(username="agent"), tool=Tool.ARGOCD, command_id="c")
    pipeline = await ArgoCDPreparation(["main", "prod"]).prepare(
        parse_command(command, cli=Tool.ARGOCD),
        CommandContext(session=session, access=ACCESS, limits=Limits(), stdin=b"", files={}),
    )
    return pipeline, session


@pytest.mark.parametrize(
    ("command", "instance", "argv"),
    [
        pytest.param("app list", "main", ("argocd", "app", "list"), id="the first by default"),
        pytest.param("app list --argocd-context main", "main", ("argocd", "app", "list"), id="the first by name"),
        pytest.param("--argocd-context=prod app list", "prod", ("argocd", "app", "list"), id="another"),
    ],
)
async def test_a_command_means_one(command: str, instance: str, argv: tuple[str, ...]) -> None:
    pipeline, session = await prepare(command)
    assert session.argocd == instance
    assert pipeline.stages[0].argv == argv


async def test_filters_are_left_as_they_are() -> None:
    pipeline, _ = await prepare("app list --argocd-context prod | grep -- --argocd-context=x")
    assert pipeline.stages[1].argv == ("grep", "--", "--argocd-context=x")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        pytest.param("app list --argocd-context other", "UnknownInstance", id="one that there is not"),
        pytest.param("app list --argocd-context ''", "", id="an empty name is the first"),
        pytest.param("app list | argocd --argocd-context prod app list", "SeveralInstances", id="two in one pipeline"),
    ],
)
async def test_what_cannot_be_meant_is_refused(command: str, reason: str) -> None:
    if not reason:
        assert (await prepare(command))[1].argocd == "main"
        return
    with pytest.raises(CommandRefused) as refused:
        await prepare(command)
    assert refused.value.reason == reason
    assert refused.value.instead
