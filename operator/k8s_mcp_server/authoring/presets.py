"""`policy new`: policies to begin with, each for one kind of agent, and `grant`: a right for a while."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.clients import subject_fields
from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.inputs import KIND
from k8s_mcp_server.authoring.rules import Need, ordered_verbs, rules_for
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.compile import API_VERSION
from k8s_mcp_server.policy.sensitive import READING_VERBS

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.resources import ResourceName, Served
    from k8s_mcp_server.policy.subjects import Subject

READING: Final = ["get", "list", "watch"]
CHANGING: Final = ["get", "list", "watch", "patch", "update"]
EVERYTHING: Final = [*CHANGING, "create", "delete"]
_EVERY: Final = {"apiGroups": ["*"], "resources": ["*"], "verbs": READING}
_CONTROLLERS: Final = ["deployments", "statefulsets", "daemonsets"]
_SCALES: Final = ["deployments/scale", "statefulsets/scale"]

# RULE of `grant` in one word.
SHORTCUTS: Final[Mapping[str, str]] = {
    "read": "get,list,watch *",
    "logs": "get,list pods; get pods/log",
    "exec": "get,list pods; create pods/exec",
    "restart": "get,list,watch,delete pods; get,list,watch,patch deployments,statefulsets,daemonsets",
    "scale": "get,list,watch deployments,statefulsets; get,patch,update deployments/scale,statefulsets/scale",
}


class Preset(StrEnum):
    """A kind of agent."""

    READER = "reader"
    DEPLOYER = "deployer"
    AUDITOR = "auditor"
    ON_CALL = "on-call"
    RELEASE_BOT = "release-bot"


def new_policy(
    preset: Preset, *, name: str, subjects: Sequence[Subject], namespaces: Sequence[str], duration: str
) -> dict[str, Any]:
    """A policy for one kind of agent.

    Args:
        namespaces: where it works; an auditor works everywhere unless some are stated.
        duration: how long an on-call agent's rights last, such as ``2h``.

    Raises:
        UnusableInput: the preset needs namespaces.
    """
    if not namespaces and preset is not Preset.AUDITOR:
        raise UnusableInput(f"state where the {preset} works: --namespace team-a, or --namespace 'team-a-*'")
    where = {"namespaces": list(namespaces or ["*"])}
    description, rules = {
        Preset.READER: ("Reads everything but Secrets", _reader),
        Preset.DEPLOYER: ("Deploys applications", _deployer),
        Preset.AUDITOR: ("Reads everything but Secrets, RBAC included", _auditor),
        Preset.ON_CALL: ("Looks into pods and restarts what hangs", _on_call),
        Preset.RELEASE_BOT: ("Rolls out new versions of what is there", _release_bot),
    }[preset]
    expiry = {"expiresAfter": duration} if preset is Preset.ON_CALL else {}
    spec = {
        "description": f"{description}; say here whom to ask",
        "subjects": [subject_fields(subject) for subject in subjects],
        "rules": list(rules(where)),
        **expiry,
    }
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def grant_policy(
    subject: Subject,
    rule: str,
    *,
    namespaces: Sequence[str],
    duration: str,
    reason: str,
    served: Served,
    now: datetime,
) -> dict[str, Any]:
    """A policy that gives one subject one thing for a while.

    Args:
        rule: ``VERBS RESOURCES``, as in ``get,list pods,deploy``, several joined by ``;``, or one of `SHORTCUTS`.
        namespaces: where; not for cluster-scoped resources.
        now: goes into its name, for each grant is a policy of its own and its time begins with it.

    Raises:
        UnusableInput: the rule cannot be read, or does not say where.
    """
    rules = [
        item for part in SHORTCUTS.get(rule, rule).split(";") for item in _granted(part, namespaces, served=served)
    ]
    words = re.sub(r"[^a-z0-9]+", "-", f"{subject.namespace}-{subject.name}".lower()).strip("-")[:40]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": f"grant-{words}-{now:%Y%m%d-%H%M%S}"},
        "spec": {
            "description": f"Granted for {duration}",
            "subjects": [subject_fields(subject)],
            "rules": rules,
            "expiresAfter": duration,
            "reason": reason,
        },
    }


def _granted(text: str, namespaces: Sequence[str], *, served: Served) -> Iterator[dict[str, Any]]:
    verbs, _, resources = text.strip().partition(" ")
    if not verbs or not resources.strip():
        raise UnusableInput(f"{text.strip()!r} is no rule: write 'get,list pods', or one of {', '.join(SHORTCUTS)}")
    listed = [item.strip() for item in verbs.split(",")]
    names = [item.strip() for item in resources.split(",")]
    if names == ["*"]:
        if not READING_VERBS.issuperset(listed):
            raise UnusableInput("* goes with get, list and watch only: name what is to be written")
        yield {"namespaces": _stated(namespaces), "apiGroups": ["*"], "resources": ["*"], "verbs": listed}
        return
    yield from rules_for(_needs(listed, [served.find(item) for item in names], namespaces, served=served))


def _needs(
    verbs: Iterable[str], resources: Iterable[ResourceName], namespaces: Sequence[str], *, served: Served
) -> Iterator[Need]:
    for resource in resources:
        is_cluster = served.scope(resource) is Scope.CLUSTER
        for namespace in [""] if is_cluster else _stated(namespaces):
            yield from (Need(verb=verb, resource=resource, namespace=namespace) for verb in ordered_verbs(verbs))


def _stated(namespaces: Sequence[str]) -> list[str]:
    if not namespaces:
        raise UnusableInput("state where: --namespace NAME")
    return list(namespaces)


def _rule(
    name: str, where: Mapping[str, Any], groups: list[str], resources: list[str], verbs: list[str]
) -> dict[str, Any]:
    return {"name": name, **where, "apiGroups": groups, "resources": resources, "verbs": verbs}


def _reader(where: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"name": "read", **where, **_EVERY}


def _auditor(where: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"name": "read", **where, **_EVERY}
    yield {"name": "read-cluster", "clusterScoped": True, **_EVERY}
    group = ["rbac.authorization.k8s.io"]
    yield _rule("read-roles", where, group, ["roles", "rolebindings"], READING)
    yield _rule("read-cluster-roles", {"clusterScoped": True}, group, ["clusterroles", "clusterrolebindings"], READING)


def _deployer(where: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"name": "read", **where, **_EVERY}
    yield _rule("configure", where, [""], ["configmaps", "services", "persistentvolumeclaims"], EVERYTHING)
    yield _rule("deploy", where, ["apps"], [*_CONTROLLERS, *_SCALES], EVERYTHING)
    yield _rule("run-jobs", where, ["batch"], ["jobs", "cronjobs"], EVERYTHING)
    yield _rule("expose", where, ["networking.k8s.io"], ["ingresses", "networkpolicies"], EVERYTHING)
    yield _rule("restart-pods", where, [""], ["pods"], ["delete"])


def _on_call(where: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"name": "read", **where, **_EVERY}
    yield _rule("look-inside", where, [""], ["pods/exec"], ["create"])
    yield _rule("restart", where, [""], ["pods"], ["delete"])
    yield _rule("roll-and-scale", where, ["apps"], [*_CONTROLLERS, *_SCALES], ["patch"])


def _release_bot(where: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield _rule("roll-out", where, ["apps"], _CONTROLLERS, CHANGING)
    yield _rule("watch-the-rollout", where, ["apps"], ["replicasets"], READING)
    yield _rule("see-what-happens", where, [""], ["pods", "pods/log", "events"], READING)
