"""What istioctl's operands name: a pod, or another object that stands for pods.

The rules are those of ``istioctl/pkg/util/handlers/handlers.go``: after the last ``/``, what follows the last ``.`` is
the namespace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from k8s_mcp_server.errors import CommandRefused

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Every spelling of a type that selects pods: group and plural.
_TYPES: Final = {
    spelling: kind
    for kind, spellings in {
        ("", "pods"): ("pod", "pods", "po"),
        ("apps", "deployments"): ("deployment", "deployments", "deploy", "deployment.apps", "deployments.apps"),
        ("apps", "statefulsets"): ("statefulset", "statefulsets", "sts", "statefulset.apps", "statefulsets.apps"),
        ("apps", "daemonsets"): ("daemonset", "daemonsets", "ds", "daemonset.apps", "daemonsets.apps"),
        ("apps", "replicasets"): ("replicaset", "replicasets", "rs", "replicaset.apps", "replicasets.apps"),
        ("", "services"): ("service", "services", "svc"),
        ("batch", "jobs"): ("job", "jobs", "job.batch", "jobs.batch"),
    }.items()
    for spelling in spellings
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A pod, or an object whose pods are meant.

    Args:
        group: of the object's API.
        resource: its plural.
        name: its name.
        namespace: its namespace, always known.
        is_typed: whether the type was written.
    """

    group: str
    resource: str
    name: str
    namespace: str
    is_typed: bool

    @property
    def is_pod(self) -> bool:
        """Whether the pod itself is named."""
        return (self.group, self.resource) == ("", "pods")

    def __str__(self) -> str:
        """As istioctl reads it, with its namespace."""
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{kind}/{self.name}.{self.namespace}" if self.is_typed else f"{self.name}.{self.namespace}"


def read_target(text: str, *, namespace: str, only: str = "") -> Target:
    """Read ``[TYPE/]NAME[.NAMESPACE]``.

    Args:
        text: the operand.
        namespace: where it names none.
        only: the plural of what it names, where no type may be written; empty where one may.

    Raises:
        CommandRefused: it is nothing that istioctl would find pods by.
    """
    kind, slash, rest = text.rpartition("/")
    name, dot, stated = rest.rpartition(".")
    if not dot:
        name, stated = rest, namespace
    if not _NAME.fullmatch(name) or not _NAMESPACE.fullmatch(stated):
        raise CommandRefused(
            "UnknownOperand",
            f"`{text[:80]}` names no pod.",
            instead="Write POD.NAMESPACE or deployment/NAME.NAMESPACE; `kubectl get pods` lists them.",
        )
    found = _TYPES.get(kind) if slash else ("", only or "pods")
    if found is None or (slash and only):
        raise CommandRefused(
            "UnknownOperand",
            f"`{kind[:40]}` is no type that pods are found by here.",
            instead="Write POD.NAMESPACE, or one of deployment/, statefulset/, daemonset/, service/, job/.",
        )
    return Target(group=found[0], resource=found[1], name=name, namespace=stated, is_typed=bool(slash))
