"""The client's own rights in the cluster, for rules that give no more than those (``fromRBAC``).

Decisions are made without waiting: what RBAC says is looked up before, for the requests that such a rule may give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8s_mcp_server.policy.request import RequestInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What RBAC says about some requests of one client."""

    answers: Mapping[RequestInfo, bool] = field(default_factory=dict)

    def allow(self, request: RequestInfo) -> bool | None:
        """Whether RBAC gives the client the request; None when that is not known."""
        return self.answers.get(request)
