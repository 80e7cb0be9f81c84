"""A decided write made into a dry run: the API server does everything but store it.

The parameter goes into the query. A DELETE with a body takes its options from the body only (``DeleteResource`` and
``DeleteCollection`` in k8s.io/apiserver/pkg/endpoints/handlers/delete.go), so there it goes into the body, too; a body
that cannot be read with certainty is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.tokenrequest import JSON, PROTOBUF, unambiguous

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.target import Target

_ALL: Final = "All"
# DeleteOptions in k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto.
_DRY_RUN_FIELD: Final = 5
_KNOWN_FIELDS: Final = frozenset(
    {
        "apiVersion", "kind", "gracePeriodSeconds", "preconditions", "orphanDependents", "propagationPolicy", "dryRun",
        "ignoreStoreReadErrorWithClusterBreakingPotential",
    }
)  # fmt: skip


class UnreadableBody(ValueError):
    """The body of a DELETE cannot be made into that of a dry run; the text says why."""


def dry_run_target(target: Target) -> Target:
    """The target with the parameter, whatever the client had there."""
    return target.with_parameter("dryRun", _ALL)


def dry_run_body(body: bytes, *, content_type: str) -> bytes:
    """The DeleteOptions of a DELETE, as those of a dry run.

    Args:
        body: complete and not empty.
        content_type: of the body; the API server takes none for JSON.

    Raises:
        UnreadableBody: it is not DeleteOptions that any reader would take for the same.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if media_type in {"", JSON}:
            return _json(body)
        if media_type == PROTOBUF:
            return protobuf.rewrap(body, _protobuf)
    except (ValueError, RecursionError) as error:
        raise UnreadableBody(f"its body is not to be read as DeleteOptions ({error})") from error
    raise UnreadableBody("its body is neither JSON nor protobuf")


def _json(body: bytes) -> bytes:
    options: Any = json.loads(body, object_pairs_hook=unambiguous)
    if not isinstance(options, dict):
        raise UnreadableBody("it is no object")
    if unknown := sorted(options.keys() - _KNOWN_FIELDS):
        raise UnreadableBody(f"unknown field {unknown[0][:64]!r}")
    return json.dumps({**options, "dryRun": [_ALL]}).encode()


def _protobuf(options: bytes) -> bytes:
    return protobuf.without(options, _DRY_RUN_FIELD) + protobuf.text_field(_DRY_RUN_FIELD, _ALL)
