"""The requests that a review is about, so that a review is decided as those requests would be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.permissions import required_requests
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.request import RequestInfo

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.reviews.wire import NonResourceAttributes, ResourceAttributes

VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_METHODS: Final = {
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A verb on a resource.

    Args:
        namespace: empty for every namespace, and ignored where the resource is in none.
        name: empty for every object.
    """

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @classmethod
    def of(cls, attributes: ResourceAttributes) -> Action:
        """What a SelfSubjectAccessReview asks about."""
        return cls(
            verb=attributes.verb,
            group=attributes.group,
            resource=attributes.resource,
            subresource=attributes.subresource,
            namespace=attributes.namespace,
            name=attributes.name,
        )

    @property
    def names_everything(self) -> bool:
        """Whether it is about every resource of a kind that no request could name."""
        return "*" in (self.group, self.resource, self.subresource)

    def requests(self, scope: Scope | None) -> tuple[RequestInfo, ...]:
        """Every permission that the action needs when it is carried out.

        kubectl asks about cluster-scoped resources with the current namespace, which is dropped. A token request is
        meant for an audience that may be asked for.

        Args:
            scope: of the resource; None when it is not known.
        """
        namespace = "" if scope is Scope.CLUSTER else self.namespace
        if (self.group, self.resource) == ("", "namespaces"):
            namespace = self.name  # as in RequestInfo
        verbs = VERBS if self.verb == "*" else (self.verb,)
        return tuple(
            required
            for verb in verbs
            for required in required_requests(
                RequestInfo(
                    is_resource_request=True,
                    path="",
                    verb=verb,
                    api_prefix="apis" if self.group else "api",
                    api_group=self.group,
                    namespace=namespace,
                    resource=self.resource,
                    subresource=self.subresource,
                    name=self.name,
                    audiences=(),
                ),
                method=_METHODS.get(verb, "GET"),
                content_type="",
            )
        )


def path_request(attributes: NonResourceAttributes) -> RequestInfo:
    """The request for a path."""
    return RequestInfo(is_resource_request=False, path=attributes.path, verb=attributes.verb)
