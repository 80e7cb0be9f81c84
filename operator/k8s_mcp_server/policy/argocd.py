"""Argo CD's own rules, where they are not those of Kubernetes.

Argo CD has no ``list``: who may ``get`` an application sees it in lists. A creation knows the name of what it makes,
so names count for it. Verbs may name more than an action, such as ``action/apps/Deployment/restart``. And whoever may
see an application may read its project, as a project's role may (``ProjectPoliciesString`` in
pkg/apis/application/v1alpha1/types.go of argo-cd v3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.virtual import ARGOCD_GROUP

if TYPE_CHECKING:
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.rules import Rule

APPLICATIONS: Final = "applications"
PROJECTS: Final = "projects"
ARGOCD_VERBS: Final = frozenset({"get", "create", "update", "delete", "sync", "override"})
VERB_PREFIXES: Final = ("action/", "update/", "delete/")


def is_collection_get(request: RequestInfo) -> bool:
    """Whether the request is Argo CD's list: a ``get`` of everything that may be got."""
    return request.api_group == ARGOCD_GROUP and request.verb == "get" and not request.name


def is_of_argocd(request: RequestInfo) -> bool:
    """Whether the request is about Argo CD's own resources."""
    return request.is_resource_request and request.api_group == ARGOCD_GROUP


def is_of_projects(request: RequestInfo) -> bool:
    """Whether the request reads one or all of Argo CD's projects."""
    return is_of_argocd(request) and request.resource == PROJECTS and request.verb == "get"


def shows_applications(rule: Rule) -> bool:
    """Whether the rule lets a client see applications, by its own words."""
    is_named = ARGOCD_GROUP in rule.groups and APPLICATIONS in rule.resources
    return is_named and rule.has_verb("get") and not rule.from_rbac


def shows_project(rule: Rule, project: str) -> bool:
    """Whether a rule that shows applications shows some of this project, whichever they are."""
    names = rule.resource_names
    return names is None or Names.of(map(_project_of, names.texts)).matches(project)


def _project_of(pattern: str) -> str:
    """The project part of a name or glob of applications, as a name or glob of projects."""
    project, slash, _ = pattern.partition("/")
    if slash:
        return project
    before, star, _ = pattern.partition("*")
    return f"{before}*" if star else ""  # its star reaches across the slash
