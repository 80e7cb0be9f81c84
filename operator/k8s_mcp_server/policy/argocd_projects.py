"""Steps of the decision: whoever may see an application of Argo CD may read its project, and sees it in the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8s_mcp_server.policy.argocd import is_of_projects, shows_applications, shows_project
from k8s_mcp_server.policy.case import Case, allow, allow_cut, reference
from k8s_mcp_server.policy.cuts import NamespaceCut
from k8s_mcp_server.policy.decision import Decision, Reason
from k8s_mcp_server.policy.matching import Fit, rule_gives
from k8s_mcp_server.policy.scopes import ClusterScope

if TYPE_CHECKING:
    from k8s_mcp_server.policy.compile import CompiledPolicy
    from k8s_mcp_server.policy.rules import Rule


def allow_project_list(case: Case) -> Decision | None:
    """The list of projects: those that rules give by name, and those with an application that the client may see."""
    question = case.question
    if question is None or not is_of_projects(case.request) or case.request.name:
        return None
    showing = _showing(case)
    giving = [(policy, rule) for policy, rule in case.rules() if isinstance(rule_gives(rule, question), Fit)]
    if not showing or any(rule.resource_names is None for _, rule in giving):
        return None  # the rules' own cut is all there is
    names = [rule.resource_names for _, rule in giving]

    def visible(name: str) -> bool:
        taken = any(deny.resource_names is None or deny.resource_names.matches(name) for deny in case.narrowing)
        listed = any(item is not None and item.matches(name) for item in names)
        return not taken and (listed or any(shows_project(rule, name) for _, rule in showing))

    policy, rule = showing[0]
    cut = NamespaceCut(visible=visible)  # by name alone, as projects are told apart, too
    return allow_cut(cut, matched=reference(policy, rule=rule.name), reason=Reason.PROJECT_VISIBLE)


def allow_visible_project(case: Case) -> Decision | None:
    """One project, where a rule gives the client an application of it."""
    name = case.request.name
    if not is_of_projects(case.request) or not name:
        return None
    for policy, rule in _showing(case):
        if shows_project(rule, name):
            return allow(reference(policy, rule=rule.name), reason=Reason.PROJECT_VISIBLE)
    return None


def _showing(case: Case) -> list[tuple[CompiledPolicy, Rule]]:
    return [
        (policy, rule)
        for policy, rule in case.rules()
        if isinstance(rule.scope, ClusterScope) and shows_applications(rule)
    ]
