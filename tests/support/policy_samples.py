"""Specs that break one rule of the CRD each, with the message that teaches what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.asking import AGENT_SUBJECT, rule

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

_ONE_SCOPE = "state exactly one of namespaces, namespaceSelector, clusterScoped, nonResourceURLs"
_VALUES = "values are needed for In and NotIn, and not allowed for Exists and DoesNotExist"
_STAR = "a name may end in *, after at least one other character; * is allowed nowhere else"
_EVERYBODY = "are no subjects: they would name everybody"
_ACCOUNT = "a ServiceAccount needs a namespace; a User or Group has none"
_READING = 'apiGroups ["*"] is allowed only with the verbs get, list and watch'
_ROLE = "roleRef goes with namespaces, namespaceSelector or clusterScoped only: the role says what is allowed there"
_SLASH = 'a name or verb with / is Argo CD\'s: it goes with apiGroups ["argocd.argoproj.io"] alone'
_AUDIT = "mode Audit needs expiresAfter of at most 720h (30 days)"
_PATHS = "nonResourceURLs goes with verbs only: no apiGroups, resources or resourceNames"


def _subject(**fields: str) -> dict[str, Any]:
    return {"subjects": [fields]}


def _expression(**fields: Any) -> dict[str, Any]:
    return {"rules": [rule(namespaceSelector={"matchExpressions": [{"key": "team", **fields}]})]}


def _table() -> dict[str, tuple[dict[str, Any], str]]:
    unscoped = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    role = {"roleRef": {"kind": "ClusterRole", "name": "edit"}}
    path = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    return {
        "an account without a namespace": (_subject(kind="ServiceAccount", name="x"), _ACCOUNT),
        "a user with a namespace": (_subject(kind="User", name="x", namespace="y"), _ACCOUNT),
        "an account by glob": (_subject(kind="ServiceAccount", name="x*", namespace="y"), "is named exactly"),
        "a glob without prefix": (_subject(kind="Group", name="*"), _STAR),
        "a glob at the beginning": (_subject(kind="User", name="*x"), _STAR),
        "a glob in the middle": (_subject(kind="Group", name="a*b"), _STAR),
        "system:authenticated": (_subject(kind="Group", name="system:authenticated"), _EVERYBODY),
        "system:unauthenticated": (_subject(kind="Group", name="system:unauthenticated"), _EVERYBODY),
        "system:masters": (_subject(kind="Group", name="system:masters"), _EVERYBODY),
        "no scope": ({"rules": [unscoped]}, _ONE_SCOPE),
        "two scopes": ({"rules": [rule(namespaces=["a"], clusterScoped=True)]}, _ONE_SCOPE),
        "no scope of a deny": ({"deny": [unscoped]}, _ONE_SCOPE),
        "no resources": (
            {"rules": [{"namespaces": ["a"], "verbs": ["get"]}]},
            (
                "apiGroups and resources are needed, unless the rule has a roleRef or fromRBAC, or is about "
                "nonResourceURLs"
            ),
        ),
        "no resources of a deny": (
            {"deny": [{"namespaces": ["a"], "verbs": ["get"]}]},
            "apiGroups and resources are needed, unless the rule is about nonResourceURLs",
        ),
        "no verbs": (
            {"rules": [{"namespaces": ["a"], "apiGroups": [""], "resources": ["pods"]}]},
            "verbs are needed, unless the rule has a roleRef or fromRBAC",
        ),
        "a role and verbs": ({"rules": [{**role, "namespaces": ["a"], "verbs": ["get"]}]}, _ROLE),
        "a role and resources": ({"rules": [{**role, **unscoped, "namespaces": ["a"]}]}, _ROLE),
        "a role and names": ({"rules": [{**role, "namespaces": ["a"], "resourceNames": ["x"]}]}, _ROLE),
        "a role for paths": ({"rules": [{**role, "nonResourceURLs": ["/metrics"]}]}, _ROLE),
        "a role and fromRBAC": ({"rules": [{**role, "namespaces": ["a"], "fromRBAC": True}]}, _ROLE),
        "fromRBAC for paths": (
            {"rules": [{**path, "fromRBAC": True}]},
            "fromRBAC is about resources: it does not go with nonResourceURLs",
        ),
        "a role without scope": ({"rules": [role]}, _ONE_SCOPE),
        "paths with resources": ({"rules": [{**path, "resources": ["pods"]}]}, _PATHS),
        "paths with names": ({"deny": [{**path, "resourceNames": ["x"]}]}, _PATHS),
        "every group with a writing verb": ({"rules": [rule("get create", "pods", groups="*")]}, _READING),
        "every group with every verb": ({"rules": [rule("*", "pods", groups="*")]}, _READING),
        "a name with a slash": ({"rules": [rule(resourceNames=["a/b"])]}, _SLASH),
        "a name with a slash in a deny": ({"deny": [rule(resourceNames=["a/b"])]}, _SLASH),
        "an action of Argo CD elsewhere": (
            {"rules": [rule("action/apps/*", "applications", groups="argoproj.io")]},
            _SLASH,
        ),
        "a rule name twice": ({"rules": [rule(name="a"), rule(name="a")]}, "rule names are used once"),
        "a deny name twice": ({"deny": [rule(name="a"), rule(), rule(name="a")]}, "rule names are used once"),
        "In without values": (_expression(operator="In"), _VALUES),
        "Exists with values": (_expression(operator="Exists", values=["a"]), _VALUES),
        "both expiries": (
            {"expiresAt": "2030-01-01T00:00:00Z", "expiresAfter": "1h"},
            "state expiresAt or expiresAfter, not both",
        ),
        "Audit without an end": ({"mode": "Audit"}, _AUDIT),
        "Audit until a time": ({"mode": "Audit", "expiresAt": "2030-01-01T00:00:00Z"}, _AUDIT),
        "Audit for too long": ({"mode": "Audit", "expiresAfter": "721h"}, _AUDIT),
        "too little memory": ({"limits": {"memoryBytes": "1Mi"}}, "memoryBytes must be between 64Mi and 16Gi"),
        "too much memory": ({"limits": {"memoryBytes": 2**40}}, "memoryBytes must be between 64Mi and 16Gi"),
    }


def _schema_table() -> dict[str, tuple[dict[str, Any], str]]:
    """What the schema refuses without a rule: the API server's own words."""
    return {
        "no subjects": ({"subjects": []}, "should have at least 1 items"),
        "clusterScoped: false": ({"rules": [rule(clusterScoped=False)]}, "Unsupported value: false"),
        "fromRBAC: false": ({"rules": [rule(fromRBAC=False)]}, "Unsupported value: false"),
        "a role of a namespace": (
            {"rules": [{"namespaces": ["a"], "roleRef": {"kind": "Role", "name": "x"}}]},
            "Unsupported value",
        ),
        "a deny by role": (
            {"deny": [{"namespaces": ["a"], "roleRef": {"kind": "ClusterRole", "name": "x"}}]},
            "",
        ),
        "no namespaces": ({"rules": [rule(namespaces=[])]}, "should have at least 1 items"),
        "an empty selector": ({"rules": [rule(namespaceSelector={})]}, "should have at least 1 properties"),
        "a tool that is not there": (
            {"tools": ["kustomize"]},
            'supported values: "kubectl", "helm", "istioctl", "argocd"',
        ),
        "an unknown operator": (_expression(operator="Gt", values=["1"]), "Unsupported value"),
        "a verb in capitals": ({"rules": [rule("Get")]}, "should match"),
        "three parts of a resource": ({"rules": [rule("get", "a/b/c")]}, "should match"),
        "a path without a slash": ({"rules": [{"nonResourceURLs": ["x"], "verbs": ["get"]}]}, "should match"),
        "an hour that does not exist": ({"expiresAt": "2030-01-01T30:00:00Z"}, "must be of type date-time"),
        "a duration in days": ({"expiresAfter": "1d"}, "should match"),
        "no duration": ({"expiresAfter": "0h"}, "should match"),
        "a timeout of zero": ({"limits": {"timeoutSeconds": 0}}, "should be greater than or equal to 1"),
        "a timeout of days": ({"limits": {"timeoutSeconds": 10**6}}, "should be less than or equal to 3600"),
        "a line break in the description": ({"description": "a\nb"}, "should match"),
        "a repository without TLS": (
            {"charts": {"repositories": [{"name": "a", "url": "http://a.example.com"}]}},
            "should match",
        ),
        "a repository's name twice": (
            {"charts": {"repositories": [{"name": "a", "url": f"https://{host}"} for host in "ab"]}},
            "Duplicate value",
        ),
        "a host without a port": ({"egress": {"hosts": ["a.example.com"]}}, "should match"),
        "a glob of hosts": ({"egress": {"hosts": ["*.example.com:443"]}}, "should match"),
        "an address for a network": ({"egress": {"privateCIDRs": ["10.0.0.1"]}}, "should match"),
        "an unknown mode": ({"mode": "Warn"}, "Unsupported value"),
        "a suspend that is text": ({"suspend": "true"}, "must be of type boolean"),
    }


def bad_specs() -> list[ParameterSet]:
    """``spec, message``: each spec is refused with that text in the API server's message."""
    table = {**_table(), **_schema_table()}
    return [
        pytest.param({"subjects": [AGENT_SUBJECT], **spec}, message, id=name) for name, (spec, message) in table.items()
    ]


def rule_messages() -> set[str]:
    """The messages for which there is a sample."""
    return {message for _, message in _table().values()}
