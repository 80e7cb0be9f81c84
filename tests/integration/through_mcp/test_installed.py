"""The local process of the demo and the tests is what the applied Deployment says, but for a list of differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtools.installed import DIFFERENCES, Deployment

if TYPE_CHECKING:
    from devtools.installed import InstalledService

pytestmark = pytest.mark.integration


def test_the_process_runs_with_the_deployment_s_arguments_and_environment_but_for_the_listed_differences(
    installed: InstalledService,
) -> None:
    process = Path("/proc") / str(installed.pid)
    words = process.joinpath("cmdline").read_bytes().decode().split("\0")
    # A server that cannot be dumped hides its environment from /proc, so what it was started with is compared instead.
    environment = installed.environment
    stated = installed.deployment.env
    differing = {name for name in environment.keys() | stated.keys() if environment.get(name) != stated.get(name)}
    assert tuple(words[words.index("k8s_mcp_server") + 1 :][:-1]) == installed.deployment.args
    assert differing == {difference.variable for difference in DIFFERENCES}


def test_a_difference_that_is_not_listed_is_refused(installed: InstalledService) -> None:
    with pytest.raises(ValueError, match="K8S_MCP_SANDBOX"):
        installed.deployment.environment(here={"K8S_MCP_SANDBOX": "filesystem"})


def test_the_token_is_that_of_the_deployment_s_service_account(installed: InstalledService) -> None:
    deployment: Deployment = installed.deployment
    assert deployment.service_account == "k8s-mcp-server"
    assert deployment.token_seconds == 3607
    assert json.dumps(deployment.config)
