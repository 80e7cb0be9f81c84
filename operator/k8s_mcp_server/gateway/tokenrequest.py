"""TokenRequests: for which audiences a token is asked, so that the policy can refuse our own.

Source of the shape: TokenRequest in k8s.io/api/authentication/v1 (generated.proto: spec is field 2, audiences is field
1 of it).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.gateway import protobuf

if TYPE_CHECKING:
    from k8s_mcp_server.policy.request import RequestInfo

JSON: Final = "application/json"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_SPEC: Final = 2
_AUDIENCES: Final = 1


def is_token_request(info: RequestInfo) -> bool:
    """Whether the request mints a ServiceAccount's token."""
    return info.verb == "create" and info.full_resource == "serviceaccounts/token" and info.api_group == ""


def read_audiences(body: bytes, *, content_type: str) -> tuple[str, ...] | None:
    """Every audience that any reader could find in the body; None when it cannot be read with certainty.

    Args:
        body: complete.
        content_type: of the body; the API server takes none for JSON.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if media_type in {"", JSON}:
            return _json_audiences(body)
        if media_type == PROTOBUF:
            specs = protobuf.messages(protobuf.unwrap(body), _SPEC)
            return tuple(audience.decode() for spec in specs for audience in protobuf.messages(spec, _AUDIENCES))
    except (ValueError, RecursionError):
        return None
    return None


def _json_audiences(body: bytes) -> tuple[str, ...] | None:
    document = json.loads(body, object_pairs_hook=unambiguous)
    spec = _field(document, "spec", default={})
    audiences = _field(spec, "audiences", default=[])
    if not isinstance(audiences, list) or not all(isinstance(item, str) for item in audiences):
        return None
    return tuple(audiences)


def _field(document: object, key: str, *, default: object) -> object:
    if not isinstance(document, dict):
        return None
    value = document.get(key)
    return default if value is None else value


def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse keys that another reader could take for the same one."""
    if len({key.casefold() for key, _ in pairs}) != len(pairs):
        raise ValueError("a repeated key")
    return dict(pairs)
