"""Answers reviews about oneself for the client: what its policies allow and the API server gives us as well.

Forwarded as they are, they would be answered for our own account (k8s.io/kubernetes/pkg/registry/authorization/
{selfsubjectaccessreview,selfsubjectrulesreview}/rest.go), which may do more than any client.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from k8s_mcp_server.gateway.forwarding import FAILURES, failure
from k8s_mcp_server.gateway.reviews import wire
from k8s_mcp_server.gateway.reviews.actions import Action, path_request
from k8s_mcp_server.gateway.reviews.listing import Listing
from k8s_mcp_server.gateway.status import Refusal, Refused
from k8s_mcp_server.policy.decision import Reason

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.gateway.forwarding import Forwarder
    from k8s_mcp_server.gateway.head import RequestHead
    from k8s_mcp_server.gateway.outgoing import Attribution
    from k8s_mcp_server.gateway.response import ResponseWriter
    from k8s_mcp_server.gateway.target import Target
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.tools import Tool

_KINDS: Final = {
    ("authentication.k8s.io", "selfsubjectreviews"): "SelfSubjectReview",
    ("authorization.k8s.io", "selfsubjectaccessreviews"): "SelfSubjectAccessReview",
    ("authorization.k8s.io", "selfsubjectrulesreviews"): "SelfSubjectRulesReview",
}
_VERSION: Final = "v1"
_EVERYTHING: Final = "no policy gives everything; ask about one resource, or for the whole list (--list)"
_EVERYWHERE: Final = "no policy gives this in all namespaces at once; ask about one namespace"
_OWN_RIGHTS: Final = "what a rule with fromRBAC gives is left out; ask about one action (auth can-i VERB RESOURCE)"
_NOT_EVALUATED: Final = "the API server could not evaluate all of its own rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A review that the client may have answered.

    Args:
        body: complete.
    """

    head: RequestHead
    target: Target
    info: RequestInfo
    body: bytes
    client: Client
    tool: Tool
    attribution: Attribution


class SelfReviews:
    """Answers reviews.

    Args:
        authorizer: decides what a review asks about.
        forwarder: asks the API server for its own answer.
    """

    def __init__(self, *, authorizer: Authorizer, forwarder: Forwarder) -> None:
        self._authorizer = authorizer
        self._forwarder = forwarder

    async def answer(self, review: Review, writer: ResponseWriter) -> None:
        """Answer the review.

        Raises:
            Refused: it cannot be answered; nothing was.
            ConnectionResetError: the client is gone.
        """
        kind = _KINDS[(review.info.api_group, review.info.resource)]
        if review.info.api_version != _VERSION:
            raise Refused(Refusal(code=404, message=f"{kind} is answered in version {_VERSION} only."))
        if not wire.accepts_json(review.head.headers):
            raise Refused(Refusal(code=406, message="Reviews about oneself are answered in JSON only."))
        if kind == "SelfSubjectReview":
            body = wire.write_identity(review.client.username, review.client.groups)
        elif kind == "SelfSubjectAccessReview":
            body = await self._access(review, kind)
        else:
            body = await self._rules(review, kind)
        writer.answer(HTTPStatus.CREATED, body, audit_id=review.attribution.audit_id)

    async def _access(self, review: Review, kind: str) -> bytes:
        content_type = review.head.headers.get("content-type")
        spec = wire.read_spec(review.body, content_type=content_type, kind=kind, spec_type=wire.AccessSpec)
        ours = await self._ask(review, wire.write_question(kind, spec), wire.AccessStatus)
        allowed, reason = await self._decide(review, spec)
        if allowed and not ours.allowed:
            reason = "the policy allows it, but this service itself may not do it in the cluster (RBAC)"
        status = wire.AccessStatus(allowed=allowed and ours.allowed, reason=reason, evaluation_error=_faults(ours))
        return wire.write_answer(kind, spec, status)

    async def _decide(self, review: Review, spec: wire.AccessSpec) -> tuple[bool, str]:
        if spec.non_resource_attributes is not None:
            requests: tuple[RequestInfo, ...] = (path_request(spec.non_resource_attributes),)
        else:
            action = Action.of(spec.resource_attributes or wire.ResourceAttributes())
            if action.names_everything:
                return False, _EVERYTHING
            scope = await self._authorizer.scope_of(group=action.group, resource=action.resource)
            requests = action.requests(scope)
        decision = await self._authorizer.authorize(requests, client=review.client, tool=review.tool)
        return decision.allowed, _why(decision, requests)

    async def _rules(self, review: Review, kind: str) -> bytes:
        content_type = review.head.headers.get("content-type")
        spec = wire.read_spec(review.body, content_type=content_type, kind=kind, spec_type=wire.RulesSpec)
        rbac = await self._ask(review, wire.write_question(kind, spec), wire.RulesStatus)
        context = self._authorizer.context(client=review.client, tool=review.tool)
        listing = Listing(context, namespace=spec.namespace, rbac=rbac)
        found: list[wire.ResourceRule] = []
        for rules in listing.resource_rules():
            found += rules
            await asyncio.sleep(0)
        status = wire.RulesStatus(
            resource_rules=tuple(found),
            non_resource_rules=tuple(listing.path_rules()),
            incomplete=rbac.incomplete or listing.leaves_out_own_rights,
            evaluation_error=_faults(rbac) or (_OWN_RIGHTS if listing.leaves_out_own_rights else ""),
        )
        return wire.write_answer(kind, spec, status)

    async def _ask(self, review: Review, question: bytes, status_type: type[wire.Status]) -> wire.Status:
        """The API server's own answer to the question, about the account that requests are made as."""
        try:
            answer = await self._forwarder.ask(
                review.head, target=review.target.without("dryRun"), body=question, attribution=review.attribution
            )
        except FAILURES as error:
            raise Refused(failure(error, is_read=True)) from error
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise Refused(Refusal(code=answer.status, message=wire.read_message(answer.body)))
        try:
            return wire.read_status(answer.body, status_type)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(Refusal(code=502, message="The API server's own answer cannot be read.")) from error


def _faults(answer: wire.AccessStatus | wire.RulesStatus) -> str:
    """That something went wrong; what it was names roles and bindings that the client may not see."""
    return _NOT_EVALUATED if answer.evaluation_error else ""


def _why(decision: Decision, requests: tuple[RequestInfo, ...]) -> str:
    everywhere = any(item.is_resource_request and not item.namespace for item in requests)
    if decision.reason is Reason.MALFORMED_REQUEST and everywhere:
        return _EVERYWHERE
    return decision.advice
