"""The right that each of kubectl's subcommands stands or falls with, for help texts.

Observed: docs/kubectl.md has what each command really asked for, and a test compares. A subcommand that is in neither
table needs no more than any policy gives.
"""

from __future__ import annotations

from typing import Final

from k8s_mcp_server.policy.abilities import Right

_ANY: Final = "*"


def _of(*entries: tuple[str, str, str]) -> dict[str, Right]:
    return {command: Right(verb=verb, resource=resource) for command, verb, resource in entries}


KUBECTL_RIGHTS: Final = _of(
    ("annotate", "patch", _ANY),
    ("apply", "patch", _ANY),
    ("apply set-last-applied", "patch", _ANY),
    ("apply view-last-applied", "get", _ANY),
    ("auth reconcile", "create", "roles.rbac.authorization.k8s.io"),
    ("autoscale", "create", "horizontalpodautoscalers.autoscaling"),
    ("certificate approve", "update", "certificatesigningrequests.certificates.k8s.io/approval"),
    ("certificate deny", "update", "certificatesigningrequests.certificates.k8s.io/approval"),
    ("cluster-info", "list", "services"),
    ("cluster-info dump", "list", "nodes"),
    ("cordon", "patch", "nodes"),
    ("cp", "create", "pods/exec"),
    ("create", "create", _ANY),
    ("create clusterrole", "create", "clusterroles.rbac.authorization.k8s.io"),
    ("create clusterrolebinding", "create", "clusterrolebindings.rbac.authorization.k8s.io"),
    ("create configmap", "create", "configmaps"),
    ("create cronjob", "create", "cronjobs.batch"),
    ("create deployment", "create", "deployments.apps"),
    ("create ingress", "create", "ingresses.networking.k8s.io"),
    ("create job", "create", "jobs.batch"),
    ("create namespace", "create", "namespaces"),
    ("create poddisruptionbudget", "create", "poddisruptionbudgets.policy"),
    ("create priorityclass", "create", "priorityclasses.scheduling.k8s.io"),
    ("create quota", "create", "resourcequotas"),
    ("create role", "create", "roles.rbac.authorization.k8s.io"),
    ("create rolebinding", "create", "rolebindings.rbac.authorization.k8s.io"),
    ("create secret", "create", "secrets"),
    ("create service", "create", "services"),
    ("create serviceaccount", "create", "serviceaccounts"),
    ("create token", "create", "serviceaccounts/token"),
    ("debug", "patch", "pods/ephemeralcontainers"),
    ("delete", "delete", _ANY),
    ("describe", "get", _ANY),
    ("diff", "patch", _ANY),
    ("drain", "create", "pods/eviction"),
    ("events", "list", "events"),
    ("exec", "create", "pods/exec"),
    ("expose", "create", "services"),
    ("get", "list", _ANY),
    ("label", "patch", _ANY),
    ("logs", "get", "pods/log"),
    ("patch", "patch", _ANY),
    ("replace", "update", _ANY),
    ("rollout history", "get", _ANY),
    ("rollout pause", "patch", _ANY),
    ("rollout restart", "patch", _ANY),
    ("rollout resume", "patch", _ANY),
    ("rollout status", "watch", _ANY),
    ("rollout undo", "patch", _ANY),
    ("run", "create", "pods"),
    ("scale", "patch", "deployments.apps/scale"),
    ("set env", "patch", _ANY),
    ("set image", "patch", _ANY),
    ("set resources", "patch", _ANY),
    ("set selector", "patch", _ANY),
    ("set serviceaccount", "patch", _ANY),
    ("set subject", "patch", "rolebindings.rbac.authorization.k8s.io"),
    ("taint", "patch", "nodes"),
    ("top node", "list", "nodes.metrics.k8s.io"),
    ("top pod", "list", "pods.metrics.k8s.io"),
    ("uncordon", "patch", "nodes"),
    ("wait", "watch", _ANY),
)
