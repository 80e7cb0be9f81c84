"""Argo CD's resources in policies: its own actions, names of the form project/name, lists by ``get``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.policy.compile import InvalidPolicy, read_policy
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from tests.support.asking import ask, body, grant, rule

if TYPE_CHECKING:
    from k8s_mcp_server.policy.compile import CompiledPolicy

pytestmark = pytest.mark.unit

GROUP = "argocd.argoproj.io"


def argo(verbs: str = "get", resources: str = "applications", **more: Any) -> dict[str, Any]:
    return rule(verbs, resources, groups=GROUP, clusterScoped=True, **more)


def asked(text: str, *policies: CompiledPolicy) -> Decision:
    verb, resource, *name = text.split()
    return ask(" ".join([verb, f"{resource}.{GROUP}", *name]), *policies)


def seen(decision: Decision, *names: str) -> set[str]:
    """Which of the names are left of a list."""
    if decision.cut is None:
        return set(names) if decision.allowed else set()
    return {name for name in names if decision.cut.allows(namespace="", name=name)}


@pytest.mark.parametrize(
    ("verbs", "verb", "allowed"),
    [
        pytest.param("sync", "sync", True, id="an action"),
        pytest.param("sync", "override", False, id="another action"),
        pytest.param("*", "override", True, id="every action"),
        pytest.param("action/apps/Pod/stop", "action/apps/Pod/stop", True, id="a resource's action"),
        pytest.param("action/*", "action/apps/Deployment/restart", True, id="every resource's action"),
        pytest.param("action/apps/*", "action/batch/CronJob/create-job", False, id="an action of another group"),
        pytest.param("action/*/restart", "action/apps/Deployment/restart", True, id="an action of any kind"),
        pytest.param("*", "action/apps/Deployment/restart", True, id="everything, resources' actions too"),
        pytest.param("update", "update/apps/Deployment/team-a/web", False, id="the application is not its resources"),
        pytest.param("update/*", "update", False, id="its resources are not the application"),
        pytest.param("delete/*/Pod/*/*", "delete//Pod/team-a/web-0", True, id="deleting pods"),
        pytest.param("delete/*/Pod/*/*", "delete/apps/Deployment/team-a/web", False, id="deleting something else"),
    ],
)
def test_verbs_are_the_actions_of_argo_cd(verbs: str, verb: str, *, allowed: bool) -> None:
    policy = grant(argo(verbs, resourceNames=["team-a/*"]))
    assert asked(f"{verb} applications team-a/web", policy).allowed is allowed


@pytest.mark.parametrize(
    ("names", "name", "allowed"),
    [
        pytest.param(["team-a/web"], "team-a/web", True, id="literally"),
        pytest.param(["team-a/*"], "team-a/web", True, id="a project"),
        pytest.param(["team-a/*"], "team-b/web", False, id="another project"),
        pytest.param(["team-a/*"], "team-a/apps/web", True, id="in a namespace of its own"),
        pytest.param(["*/web"], "team-b/web", True, id="a name in every project"),
        pytest.param([], "team-b/web", True, id="every application"),
        pytest.param(["team-a/*"], "prod:team-a/web", False, id="another instance"),
        pytest.param(["prod:team-a/*"], "prod:team-a/web", True, id="that instance"),
    ],
)
def test_names_say_project_and_application(names: list[str], name: str, *, allowed: bool) -> None:
    assert asked(f"get applications {name}", grant(argo(resourceNames=names))).allowed is allowed


def test_names_count_for_a_creation_too() -> None:
    policy = grant(argo("create", resourceNames=["team-a/*"]))
    assert asked("create applications team-a/web", policy).allowed
    assert not asked("create applications team-b/web", policy).allowed


def test_a_list_is_cut_to_what_may_be_got() -> None:
    decision = asked("get applications", grant(argo(resourceNames=["team-a/*"])))
    assert decision.verdict is Verdict.FILTERED
    assert seen(decision, "team-a/web", "team-b/web") == {"team-a/web"}


def test_a_list_that_rules_give_whole_is_not_cut() -> None:
    assert asked("get applications", grant(argo())).verdict is Verdict.EXACT


def test_a_deny_takes_its_applications_out_of_lists_and_from_every_verb() -> None:
    policy = grant(argo("*"), deny=[argo("*", resourceNames=["payments/*"])])
    assert seen(asked("get applications", policy), "team-a/web", "payments/db") == {"team-a/web"}
    assert asked("sync applications payments/db", policy).reason is Reason.DENIED_BY_RULE
    assert asked("create applications payments/db", policy).reason is Reason.DENIED_BY_RULE


def test_a_list_without_any_rule_is_denied() -> None:
    decision = asked("get applications", grant(argo(resources="clusters")))
    assert decision.reason is Reason.NOT_ALLOWED


def test_no_wildcard_reaches_argo_cd() -> None:
    policy = grant(rule("get", "*", groups="*", clusterScoped=True))
    assert not asked("get applications team-a/web", policy).allowed


def test_a_denial_names_what_is_nearest() -> None:
    decision = asked("sync applications team-a/web", grant(argo(resourceNames=["team-a/*"])))
    assert decision.nearest[0] == f"get applications.{GROUP} team-a/web"


class TestProjects:
    """Who may see an application may read its project."""

    @pytest.mark.parametrize(
        ("names", "project", "allowed"),
        [
            pytest.param(["team-a/web"], "team-a", True, id="one application of it"),
            pytest.param(["team-a/*"], "team-b", False, id="applications of another"),
            pytest.param([], "team-b", True, id="every application"),
            pytest.param(["team-*/web"], "team-b", True, id="a glob of projects"),
            pytest.param(["team-*"], "team-b", True, id="a glob across the slash"),
            pytest.param(["team-*"], "payments", False, id="a glob that does not reach it"),
            pytest.param(["*web"], "payments", True, id="any project may have such an application"),
            pytest.param(["web"], "web", False, id="a name without a project"),
            pytest.param(["prod:team-a/*"], "team-a", False, id="another instance"),
        ],
    )
    def test_one_project(self, names: list[str], project: str, *, allowed: bool) -> None:
        decision = asked(f"get projects {project}", grant(argo(resourceNames=names)))
        assert decision.allowed is allowed
        assert (decision.reason is Reason.PROJECT_VISIBLE) is allowed

    def test_the_list_has_those_and_what_rules_name(self) -> None:
        policy = grant(argo(resourceNames=["team-a/*"]), argo(resources="projects", resourceNames=["shared"]))
        assert seen(asked("get projects", policy), "team-a", "team-b", "shared") == {"team-a", "shared"}

    def test_a_deny_takes_a_project_away(self) -> None:
        policy = grant(argo(), deny=[argo(resources="projects", resourceNames=["payments"])])
        assert not asked("get projects payments", policy).allowed
        assert seen(asked("get projects", policy), "payments", "team-a") == {"team-a"}

    def test_it_is_only_for_reading(self) -> None:
        assert not asked("update projects team-a", grant(argo("*"))).allowed

    def test_applications_that_cannot_be_seen_show_no_project(self) -> None:
        assert not asked("get projects team-a", grant(argo("sync"))).allowed

    def test_the_clients_own_rbac_shows_no_project(self) -> None:
        assert not asked("get projects team-a", grant(argo(fromRBAC=True))).allowed


class TestDryRun:
    """Only a sync can be one."""

    @pytest.mark.parametrize(
        ("request_text", "reason"),
        [
            pytest.param("sync applications team-a/web", Reason.ALLOWED_BY_RULE, id="sync"),
            pytest.param("create applications team-a/web", Reason.NO_DRY_RUN, id="create"),
            pytest.param("delete applications team-a/web", Reason.NO_DRY_RUN, id="delete"),
            pytest.param("override applications team-a/web", Reason.NO_DRY_RUN, id="override"),
            pytest.param("action/apps/Deployment/restart applications team-a/web", Reason.NO_DRY_RUN, id="an action"),
            pytest.param("update projects team-a", Reason.NO_DRY_RUN, id="a project"),
        ],
    )
    def test_what_a_policy_in_that_mode_gives(self, request_text: str, reason: Reason) -> None:
        decision = asked(request_text, grant(argo("*", "applications projects"), mode="DryRun"))
        assert decision.reason is reason
        assert decision.dry_run is (reason is Reason.ALLOWED_BY_RULE)

    def test_reads_are_reads(self) -> None:
        decision = asked("get applications team-a/web", grant(argo("*"), mode="DryRun"))
        assert decision.allowed
        assert not decision.dry_run


def test_mode_audit_lets_nothing_of_argo_cd_pass() -> None:
    policy = grant(mode="Audit", expiresAfter="1h")
    assert not asked("get applications team-a/web", policy).allowed


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(rule("action/apps/*", "deployments", groups="apps"), id="an action elsewhere"),
        pytest.param(
            rule("get", "applications", groups=f"{GROUP} apps", clusterScoped=True, resourceNames=["a/b"]),
            id="a name with a slash in two groups",
        ),
        pytest.param({**argo(), "verbs": ["action/apps /x"]}, id="a space"),
        pytest.param(argo("exec/x"), id="a prefix that is none"),
    ],
)
def test_words_of_argo_cd_go_with_its_group_alone(bad: dict[str, Any]) -> None:
    assert isinstance(read_policy(body("policy", bad)), InvalidPolicy)
