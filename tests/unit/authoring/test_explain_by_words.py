"""`policy explain` for helm, istioctl and argocd: which rights a command line needs, and what only a run can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.policy_commands import Answer, enforced, policy, rule, run, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

RELEASES = rule("get list create update", "releases releases/content", groups="helm.sh")
PROXIES = rule("get list", "proxyconfigs proxystatuses analyses", groups="istioctl.istio.io")
MESH = rule("get", "meshes", groups="istioctl.istio.io", clusterScoped=True)
APPS = rule(
    "get sync action/apps/Deployment/restart", "applications", groups="argocd.argoproj.io", clusterScoped=True,
    resourceNames=["team-a/*", "shared/web"],
)  # fmt: skip


def explain(folder: Path, command: str, *rules: dict[str, Any], more: tuple[object, ...] = ()) -> Answer:
    tools = ["kubectl", "helm", "istioctl", "argocd"]
    path = write(folder / "a.yaml", policy(*rules, tools=tools), enforced("team-a"))
    return run("policy", "explain", command, path, "--as-group", "oidc:team-a", "-n", "team-a", *more)


@pytest.mark.parametrize(
    ("command", "rules", "asked"),
    [
        ("helm list", [RELEASES], ["list releases allow"]),
        ("helm ls -n team-b", [RELEASES], ["list releases deny"]),
        ("helm get values web", [RELEASES], ["list releases/content allow"]),
        (
            "helm uninstall web",
            [RELEASES],
            ["update releases allow", "delete releases deny", "get releases/content allow"],
        ),
        ("helm version", [RELEASES], []),
        ("istioctl pc routes web-0", [PROXIES], ["get proxyconfigs allow"]),
        ("istioctl proxy-config secret web-0", [PROXIES], ["get proxysecrets deny"]),
        ("istioctl proxy-status -n team-a", [PROXIES], ["list proxystatuses allow", "create tokens deny"]),
        ("istioctl version", [MESH], ["get meshes allow"]),
        ("argocd app list", [APPS], ["get applications filtered"]),
        ("argocd app sync web", [APPS], ["get applications allow", "sync applications allow"]),
        ("argocd app delete web", [APPS], ["get applications allow", "delete applications deny"]),
        (
            "argocd app actions run web restart --kind Deployment",
            [APPS],
            ["get applications allow", "action/apps/Deployment/restart applications allow"],
        ),
        ("argocd app logs web", [APPS], ["get applications allow", "get logs deny"]),
        ("argocd app create web --project team-b", [APPS], ["get applications deny", "create applications deny"]),
        ("argocd proj get team-a", [APPS], ["get projects allow"]),
        ("argocd account get-user-info", [APPS], []),
    ],
)  # fmt: skip
def test_each_right_that_a_command_needs_is_decided(
    tmp_path: Path, command: str, rules: list[dict[str, Any]], asked: list[str]
) -> None:
    answer = explain(tmp_path, command, *rules, more=("-o", "json"))
    found = [
        f"{item['attributes']['verb']} {item['attributes']['resource']} {item['verdict']}"
        for item in answer.value["requests"]
    ]
    assert found == asked
    assert answer.code == (1 if any(each.endswith("deny") for each in asked) else 0)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("helm uninstall web", "It also needs get and delete on each object of the chart"),
        ("istioctl analyze", "It goes on without what your other rules do not give"),
        ("argocd app get web", "Which project web belongs to, only a run can tell."),
        ("helm version", "The command needs no right of its own."),
    ],
)
def test_what_only_a_run_can_tell_is_said_and_not_guessed(tmp_path: Path, command: str, said: str) -> None:
    assert said in explain(tmp_path, command, RELEASES, PROXIES, APPS).out


def test_the_projects_that_come_into_question_are_those_of_the_rules(tmp_path: Path) -> None:
    only_shared = rule(
        "get", "applications", groups="argocd.argoproj.io", clusterScoped=True, resourceNames=["shared/web"]
    )
    assert explain(tmp_path, "argocd app get web", only_shared).code == 0
    other = explain(tmp_path, "argocd app get other", only_shared)
    assert other.code == 1
    assert '"*/other"' in other.out


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("helm env", "not run: `helm env`"),
        ("istioctl dashboard kiali", "opens a browser"),
        ("argocd login x", "would change who you are"),
        ("argocd app list; id", "There is no shell here"),
    ],
)
def test_what_is_not_offered_is_said_to_be_refused(tmp_path: Path, command: str, said: str) -> None:
    answer = explain(tmp_path, command, RELEASES, PROXIES, APPS)
    assert (answer.code, said in answer.out) == (1, True), answer.out
