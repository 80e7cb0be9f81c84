"""Requests whose answer will be cut: they ask for the one encoding that is filtered, and for what the filter reads.

The parameters of a media type are those of k8s.io/apiserver/pkg/endpoints/handlers/negotiation/negotiate.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.requestinfo import first

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.head import Headers
    from k8s_mcp_server.gateway.target import Target

_JSON: Final = "application/json"
_PARAMETERS: Final = frozenset({"as", "g", "v", "q"})


def json_only(headers: Headers) -> dict[str, str]:
    """Header fields to replace so that the answer is plain JSON: no protobuf, CBOR or YAML, no compression, no 304."""
    ranges = [item.strip() for value in headers.all("accept") for item in value.split(",")]
    return {
        "accept": ", ".join(item for item in ranges if _is_plain_json(item)) or _JSON,
        "accept-encoding": "",
        "if-none-match": "",
    }


def filterable(target: Target) -> Target:
    """The target, changed so that its answer can be cut.

    Table rows carry their object's metadata, watch events stay on one line, and a list comes whole: pages are counted
    before they are cut, so their number would tell how many objects there are that may not be seen.
    """
    target = target.without("pretty", "limit", "continue")
    if (first(target.query, "includeObject") or "Metadata") not in {"Metadata", "Object"}:
        return target.with_parameter("includeObject", "Metadata")
    return target


def _is_plain_json(media_range: str) -> bool:
    media_type, *parameters = (part.strip() for part in media_range.split(";"))
    return media_type.lower() == _JSON and all(
        parameter.partition("=")[0].lower() in _PARAMETERS for parameter in parameters
    )
