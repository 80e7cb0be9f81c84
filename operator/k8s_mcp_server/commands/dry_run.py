"""Command lines whose writes a policy makes dry runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from k8s_mcp_server.commands.helm.words import read_helm
from k8s_mcp_server.commands.words import read_kubectl_words
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from k8s_mcp_server.execution.pipeline import Pipeline, Stage


def without_waiting(pipeline: Pipeline) -> Pipeline:
    """The pipeline, with a ``kubectl delete`` that does not wait for its objects to be gone: they never will be.

    helm simulates by itself what it would do, for it could not read back what was not stored.
    """
    return replace(pipeline, stages=tuple(map(_without_waiting, pipeline.stages)))


def _without_waiting(stage: Stage) -> Stage:
    if stage.program == Tool.HELM:
        return _simulated(stage)
    if stage.program != Tool.KUBECTL or read_kubectl_words(stage.argv[1:]).verb != "delete":
        return stage
    return replace(stage, argv=(stage.argv[0], "--wait=false", *stage.argv[1:]))


def _simulated(stage: Stage) -> Stage:
    command = read_helm(stage.argv[1:])
    if command.name in {"install", "upgrade", "rollback"}:
        command = command.with_flag("dry-run", "server")
    elif command.name == "uninstall":
        command = command.with_flag("dry-run")
    else:
        return stage
    return replace(stage, argv=(stage.argv[0], *command.words()))
