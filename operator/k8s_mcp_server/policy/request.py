"""What is asked of the API server, in the API server's own words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInfo:
    """One request's authorization attributes.

    Field for field ``RequestInfo`` of k8s.io/apiserver/pkg/endpoints/request/requestinfo.go: for a non-resource
    request only ``path`` and ``verb`` (the lower-case HTTP method) are set. ``namespaces/X`` has both ``namespace``
    and ``name`` X.

    A decision needs two facts more, which the API server's RequestInfo does not have.

    Args:
        upgrade: the connection asks to be upgraded (WebSocket, SPDY); after that no request is seen any more.
        audiences: ``spec.audiences`` of a TokenRequest; None when its body was not or could not be read.
    """

    is_resource_request: bool
    path: str
    verb: str
    api_prefix: str = ""
    api_group: str = ""
    api_version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    upgrade: bool = False
    audiences: tuple[str, ...] | None = None

    @property
    def full_resource(self) -> str:
        """``resource`` or ``resource/subresource``, as a rule's ``resources`` spells it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource
