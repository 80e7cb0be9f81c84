"""The words of the bundled CLIs that messages and audit records need: kubectl's verbs and global flags.

From ``kubectl --help``, the help of its verbs and ``kubectl options`` (1.37); a test compares them with the real
binary.
"""

from __future__ import annotations

from typing import Final

# Each verb, and the words that may follow it as a part of the command's name.
KUBECTL_VERBS: Final[dict[str, frozenset[str]]] = {
    "alpha": frozenset(),
    "annotate": frozenset(),
    "api-resources": frozenset(),
    "api-versions": frozenset(),
    "apply": frozenset({"edit-last-applied", "set-last-applied", "view-last-applied"}),
    "attach": frozenset(),
    "auth": frozenset({"can-i", "reconcile", "whoami"}),
    "autoscale": frozenset(),
    "certificate": frozenset({"approve", "deny"}),
    "cluster-info": frozenset({"dump"}),
    "completion": frozenset({"bash", "fish", "powershell", "zsh"}),
    "config": frozenset(
        {
            "current-context",
            "delete-cluster",
            "delete-context",
            "delete-user",
            "get-clusters",
            "get-contexts",
            "get-users",
            "rename-context",
            "set",
            "set-cluster",
            "set-context",
            "set-credentials",
            "unset",
            "use-context",
            "view",
        }
    ),
    "cordon": frozenset(),
    "cp": frozenset(),
    "create": frozenset(
        {
            "clusterrole",
            "clusterrolebinding",
            "configmap",
            "cronjob",
            "deployment",
            "ingress",
            "job",
            "namespace",
            "poddisruptionbudget",
            "priorityclass",
            "quota",
            "role",
            "rolebinding",
            "secret",
            "service",
            "serviceaccount",
            "token",
        }
    ),
    "debug": frozenset(),
    "delete": frozenset(),
    "describe": frozenset(),
    "diff": frozenset(),
    "drain": frozenset(),
    "edit": frozenset(),
    "events": frozenset(),
    "exec": frozenset(),
    "explain": frozenset(),
    "expose": frozenset(),
    "get": frozenset(),
    "help": frozenset(),
    "kuberc": frozenset({"set", "view"}),
    "kustomize": frozenset(),
    "label": frozenset(),
    "logs": frozenset(),
    "options": frozenset(),
    "patch": frozenset(),
    "plugin": frozenset({"list"}),
    "port-forward": frozenset(),
    "proxy": frozenset(),
    "replace": frozenset(),
    "rollout": frozenset({"history", "pause", "restart", "resume", "status", "undo"}),
    "run": frozenset(),
    "scale": frozenset(),
    "set": frozenset({"env", "image", "resources", "selector", "serviceaccount", "subject"}),
    "taint": frozenset(),
    "top": frozenset({"node", "pod"}),
    "uncordon": frozenset(),
    "version": frozenset(),
    "wait": frozenset(),
}

# Global flags that take the next word as their value; needed to find the verb behind them.
KUBECTL_GLOBAL_VALUE_FLAGS: Final = frozenset(
    {
        "as",
        "as-group",
        "as-uid",
        "as-user-extra",
        "cache-dir",
        "certificate-authority",
        "client-certificate",
        "client-key",
        "cluster",
        "context",
        "kubeconfig",
        "kuberc",
        "log-flush-frequency",
        "n",
        "namespace",
        "password",
        "profile",
        "profile-output",
        "proxy-url",
        "request-timeout",
        "s",
        "server",
        "tls-server-name",
        "token",
        "user",
        "username",
        "v",
        "vmodule",
    }
)
KUBECTL_GLOBAL_SWITCHES: Final = frozenset(
    {"disable-compression", "insecure-skip-tls-verify", "match-server-version", "warnings-as-errors"}
)

# Short flags that are switches wherever they exist, so that others may follow them in the same word.
KUBECTL_SHORT_SWITCHES: Final = frozenset("ARhiqtw")
