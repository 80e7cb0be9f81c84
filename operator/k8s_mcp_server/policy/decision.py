"""The answer to one request: allowed, allowed when cut, or denied, and always why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """``exact``: forwarded as it is; ``filtered``: a list or watch cut to the policy; ``deny``: not forwarded.

    ``audit``: a read that would be denied, were not every policy that names the client in mode Audit; forwarded.
    """

    EXACT = "exact"
    FILTERED = "filtered"
    AUDIT = "audit"
    DENY = "deny"


class Reason(StrEnum):
    """Why a request was decided as it was: a closed set, fit for a metric's label."""

    ALLOWED_BY_RULE = "AllowedByRule"
    ALWAYS_ALLOWED = "AlwaysAllowed"  # discovery, version, OpenAPI, reviews about oneself
    NAMESPACE_VISIBLE = "NamespaceVisible"  # the object namespaces/X, where the client has any rule in X
    PROJECT_VISIBLE = "ProjectVisible"  # a project of Argo CD, where a rule gives an application of it
    NO_POLICY = "NoPolicy"
    BLOCKED = "Blocked"
    POLICY_INVALID = "PolicyInvalid"
    POLICY_SUSPENDED = "PolicySuspended"
    POLICY_EXPIRED = "PolicyExpired"
    TOOL_NOT_ALLOWED = "ToolNotAllowed"
    DENIED_BY_RULE = "DeniedByRule"
    NOT_ALLOWED = "NotAllowed"
    SENSITIVE_NOT_NAMED = "SensitiveNotNamed"
    NEVER_ALLOWED = "NeverAllowed"
    PROTECTED_NAMESPACE = "ProtectedNamespace"
    OWN_NAMESPACE = "OwnNamespace"
    UNKNOWN_NAMESPACE = "UnknownNamespace"
    UNKNOWN_RESOURCE = "UnknownResource"
    NOT_IN_RBAC = "NotInRBAC"  # a rule gives what the client's own RBAC gives, and that is not this
    RBAC_UNAVAILABLE = "RBACUnavailable"  # what it gives could not be looked up
    PRIVILEGED_WORKLOAD = "PrivilegedWorkload"
    NO_DRY_RUN = "NoDryRun"  # a policy makes it a dry run, and there is none
    SNAPSHOT_STALE = "SnapshotStale"
    MALFORMED_REQUEST = "MalformedRequest"
    TOO_MANY_REQUESTS = "TooManyRequests"  # of this client at once
    ERROR = "Error"


class ListCut(Protocol):
    """Which objects of a list or watch the client may see."""

    def allows(self, *, namespace: str, name: str) -> bool:
        """Whether the object may reach the client; ``namespace`` is empty for cluster-scoped objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRef:
    """The policy, at the version that was decided from, and the rule in it that decided."""

    policy: str
    uid: str
    resource_version: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to one request.

    Args:
        verdict: what may happen.
        reason: the stable word for why.
        message: one or two sentences for the client; names nothing that the client could not see.
        matched: the rule that allowed or denied, None when no rule did.
        nearest: for a denial, the nearest things that are allowed, such as ``get pods in team-a``; may be empty.
        next_command: for a denial, a command line that works now; empty when there is none.
        cut: for ``filtered`` and some of ``audit``, which objects may be seen; None when all may.
        dry_run: a write that may be forwarded only as a dry run.
    """

    verdict: Verdict
    reason: Reason
    message: str = ""
    matched: RuleRef | None = None
    nearest: tuple[str, ...] = ()
    next_command: str = ""
    cut: ListCut | None = None
    dry_run: bool = False

    @property
    def advice(self) -> str:
        """The message, and for a denial the nearest things that are allowed: what a client is told."""
        instead = f" Allowed instead: {'; '.join(self.nearest)}." if self.nearest else ""
        ready = f" Works now: `{self.next_command}`." if self.next_command else ""
        return f"{self.message}{instead}{ready}"

    @property
    def allowed(self) -> bool:
        """Whether the request may be forwarded (exactly or to be cut)."""
        return self.verdict is not Verdict.DENY
