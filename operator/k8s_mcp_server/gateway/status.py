"""Refusals in the API server's own words: ``Status`` objects that kubectl prints and that say what to do instead.

The shape is ``metav1.Status`` (k8s.io/apimachinery/pkg/apis/meta/v1/types.go). kubectl shows ``message`` only, so
everything a reader needs is in it; ``details.causes`` repeats it for machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.request import RequestInfo

_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "Timeout",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    417: "BadRequest",
    422: "Invalid",
    429: "TooManyRequests",
    431: "BadRequest",
    501: "BadRequest",
    502: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
    505: "BadRequest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer of our own.

    Args:
        code: the HTTP status.
        message: for people and agents.
        causes: ``(reason, message)`` pairs for ``details.causes``.
        details: further fields of ``details``, such as ``name`` and ``kind``.
        retry_after: seconds after which it is worth to ask again; 0 where it is not.
    """

    code: int
    message: str
    causes: tuple[tuple[str, str], ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    retry_after: int = 0

    def body(self) -> bytes:
        """The ``Status`` object as JSON."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": _REASONS.get(self.code, "Unknown"),
            "code": self.code,
        }
        details: dict[str, Any] = {key: value for key, value in self.details if value}
        if self.causes:
            details["causes"] = [{"reason": reason, "message": text} for reason, text in self.causes]
        if self.retry_after:
            details["retryAfterSeconds"] = self.retry_after
        if details:
            status["details"] = details
        return msgspec.json.encode(status)


class Refused(Exception):
    """The request ends here, with an answer of our own."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def forbidden(decision: Decision, info: RequestInfo) -> Refusal:
    """The 403 for a denial: what was decided and why, then what is nearest."""
    return Refusal(
        code=403,
        message=decision.advice,
        causes=(
            (decision.reason.value, decision.message),
            *(("Nearest", nearest) for nearest in decision.nearest),
        ),
        details=(("name", info.name), ("group", info.api_group), ("kind", info.resource)),
    )
