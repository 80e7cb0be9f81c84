"""What one command may ask for by a right of another name: the requests, and what may be said through a port-forward.

``istioctl`` is given virtual resources ("the configuration of this proxy"), not the port-forwards and reads that it
makes of them. A plan says which requests those are. It opens nothing by itself: each request is still decided, by the
right that the plan names for it, and a deny of the request itself still wins. What no plan mentions goes by the
ordinary rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.sensitive import COLLECTION_READS

if TYPE_CHECKING:
    from k8s_mcp_server.policy.request import RequestInfo

Ports = dict[int, frozenset[str] | None]
"""For each port of a port-forward the HTTP requests that may be made through it, as ``GET /path``; None where what is
said is TLS, which nobody in between can read."""
_ANY: Final = Names.of(["*"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Requests of one kind, and the right that gives them.

    Args:
        verbs: as the API server's RequestInfo has them; a port-forward's is ``create``, however it is asked for.
        group: of the API.
        resource: with its subresource, such as ``pods/portforward``.
        namespace: where; empty for all namespaces at once, and for what is in none.
        names: of the objects; a request without a name is matched by ``*`` alone.
        right: what must be allowed; None for what is answered with nothing, whoever asks.
        right_is_by_name: the right is asked for with the name of the request.
        ports: of a port-forward.
        audiences: of a token; it must be for these, no more and no less.
        unseen: what the client is told that it does not see where this is answered with nothing; else the resource.
    """

    verbs: frozenset[str]
    group: str
    resource: str
    namespace: str = ""
    names: Names = _ANY
    right: RequestInfo | None
    right_is_by_name: bool = False
    ports: Ports = field(default_factory=dict)
    audiences: frozenset[str] = frozenset()
    unseen: str = ""

    def covers(self, request: RequestInfo) -> bool:
        """Whether the request is of this kind."""
        verb = "create" if self.resource == "pods/portforward" and request.verb == "get" else request.verb
        return (
            request.is_resource_request
            and verb in self.verbs
            and request.api_group == self.group
            and request.full_resource == self.resource
            and _place(request) == self.namespace
            and self.names.matches(request.name)
            and (not self.audiences or frozenset(request.audiences or ()) == self.audiences)
        )

    def right_for(self, request: RequestInfo) -> RequestInfo | None:
        """The right that gives this request."""
        if self.right is None or not self.right_is_by_name:
            return self.right
        return replace(self.right, name=request.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPlan:
    """All of one command.

    Args:
        rights: that the command needs as a whole; asked about before it starts.
        openings: the first that covers a request counts.
        may_see_less: lists and watches that are denied are answered with nothing, and the result says so; otherwise a
            client that waits for all of them waits for ever.
    """

    rights: tuple[RequestInfo, ...] = ()
    openings: tuple[Opening, ...] = ()
    may_see_less: bool = False

    def find(self, request: RequestInfo) -> Opening | None:
        """The opening that covers the request."""
        return next((each for each in self.openings if each.covers(request)), None)

    def and_(self, other: CommandPlan) -> CommandPlan:
        """The plan of two commands that share a token."""
        return CommandPlan(
            rights=(*self.rights, *other.rights),
            openings=(*self.openings, *other.openings),
            may_see_less=self.may_see_less or other.may_see_less,
        )

    def leaves_out(self, request: RequestInfo) -> bool:
        """Whether a denial of the request may become an answer with nothing in it."""
        return self.may_see_less and request.verb in COLLECTION_READS and not request.upgrade


def _place(request: RequestInfo) -> str:
    """The namespace of what is asked for; the object ``namespaces/X`` is in none."""
    return "" if request.resource == "namespaces" and not request.api_group else request.namespace
