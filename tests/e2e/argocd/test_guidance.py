"""What agents of argocd are told: check_access, help with marks, the prompt, and the next command after a denial."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.argocd.conftest import applications
from tests.support.guidance import not_helped, suggested_by, wrongly_checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Helped
    from tests.e2e.argocd.conftest import ArgoAgent

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

COMMANDS = [
    "argocd app list",
    "argocd app get team-a-app",
    "argocd app get payments-app",
    "argocd app sync team-a-app --dry-run",
    "argocd app sync payments-app",
    "argocd app set team-a-app --revision main",
    "argocd app delete team-a-app --yes",
    "argocd app logs team-a-app",
    "argocd app history team-a-app",
    "argocd app actions list team-a-app --kind Deployment",
    "argocd proj get team-a",
    "argocd proj get payments",
    "argocd cluster list",
    "argocd repo list",
    "argocd account get-user-info",
]
DENIED = [
    "argocd app delete team-a-app --yes",
    "argocd app set team-a-app --revision main",
    "argocd app logs team-a-app",
    "argocd app create x --project team-a --repo https://example.com/x.git --path . --dest-namespace x",
    'argocd app patch team-a-app --type merge --patch \'{"metadata": {"labels": {"a": "b"}}}\'',
    "argocd proj get payments",
    "argocd proj create x",
    "argocd proj set team-a --description x",
    "argocd repo get https://example.com/x.git",
    "argocd cluster get https://kubernetes.default.svc",
    "argocd app edit team-a-app",
    "argocd apps",
    "argocd app status team-a-app",
    "argocd app list --server evil.example",
    "argocd app list; id",
    "argocd sync team-a-app",
]
NEEDED = 0.9


@pytest.fixture
def agent(agent_with: Callable[..., ArgoAgent]) -> ArgoAgent:
    """May see and sync the applications of one project."""
    return agent_with(applications("get sync", "team-a/*"))


def test_a_check_of_a_command_says_what_running_it_would(agent: ArgoAgent) -> None:
    assert wrongly_checked(agent.agent, COMMANDS, lambda line: agent.run(line, timeout=20)) == []


def test_help_is_marked_with_what_the_policy_gives(agent: ArgoAgent) -> None:
    overview = agent.agent.call("describe_argocd", {}).text
    assert re.search(r"^login: .* \[not here: it would change who you are", overview, re.MULTILINE)
    apps = agent.agent.call("describe_argocd", {"command": "argocd app"}).text
    assert re.search(r"^sync: .* \[allowed for team-a/\*\]$", apps, re.MULTILINE)
    assert re.search(r"^delete: .* \[not allowed: needs delete on applications.argocd.argoproj.io", apps, re.MULTILINE)
    assert re.search(r"^edit: .* \[not here: it opens an editor\]$", apps, re.MULTILINE)
    assert re.search(r"^confirm-deletion: ", apps, re.MULTILINE)
    sync = agent.agent.call("describe_argocd", {"command": "argocd app sync team-a-app"}).text
    assert sync.startswith("argocd app sync: allowed for team-a/*")
    assert "--auth-token" not in sync


def test_every_command_that_the_prompt_suggests_works(agent: ArgoAgent) -> None:
    commands = suggested_by(agent.agent, "argocd_application", app_name="team-a-app")
    assert len(commands) >= 3
    for command in commands:
        answer = agent.run(command)
        assert answer.status == "succeeded", answer.text


def test_after_each_denial_the_suggested_command_works(agent: ArgoAgent, helped: Helped) -> None:
    failed = not_helped(DENIED, lambda line: agent.run(line, timeout=20))
    helped("argocd", worked=len(DENIED) - len(failed), of=len(DENIED))
    assert len(DENIED) - len(failed) >= NEEDED * len(DENIED), "\n".join(failed)
