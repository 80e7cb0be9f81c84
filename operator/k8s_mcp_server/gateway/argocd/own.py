"""Questions about oneself: Argo CD would answer them for its token, so they are answered for the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.argocd.plan import Plan
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.virtual import ARGOCD_GROUP, VIRTUAL_RESOURCES

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.argocd.asking import Asking
    from k8s_mcp_server.gateway.argocd.messages import Message

_ANYTHING: Final = RequestInfo(is_resource_request=False, path="/version", verb="get")
_RESOURCE, _ACTION, _OBJECT = 1, 2, 3  # of a CanIRequest
_VALUE: Final = 1  # of a CanIResponse
_LOGGED_IN, _USERNAME, _ISSUER, _GROUPS = 1, 2, 3, 4  # of a GetUserInfoResponse
_KNOWN: Final = frozenset(each.resource for each in VIRTUAL_RESOURCES if each.group == ARGOCD_GROUP)


async def can_i(message: Message, asking: Asking) -> Plan:
    """Whether the client may: no where its policies do not allow it, else what Argo CD says of its token."""
    resource, verb, name = (message.text(number) for number in (_RESOURCE, _ACTION, _OBJECT))
    if resource in _KNOWN and verb:
        asked = asking.request(verb, resource, name)
        decision = await asking.authorizer.authorize([asked], client=asking.client, tool=asking.tool)
        if decision.allowed and decision.cut is None:
            return Plan(required=(_ANYTHING,), message=message.encode())
    return Plan(required=(_ANYTHING,), own=protobuf.text_field(_VALUE, "no"))


async def user_info(_: Message, asking: Asking) -> Plan:
    """Who the client is for this service."""
    told = protobuf.number_field(_LOGGED_IN, 1) + protobuf.text_field(_USERNAME, asking.client.username)
    told += protobuf.text_field(_ISSUER, asking.client.authenticator.value)
    groups = b"".join(protobuf.text_field(_GROUPS, group) for group in sorted(asking.client.groups))
    return Plan(required=(_ANYTHING,), own=told + groups)
