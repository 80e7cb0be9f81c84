"""What the plan of a call may ask: which application is meant, and whether the client may see it.

Argo CD's requests name an application without its project, and policies need both. So it is looked up, with the
instance's own token, for clients only who may see some application at all; and a client learns nothing of those that
it may not see, not even that they are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.argocd.objects import Application, is_name, read_application, single
from k8s_mcp_server.gateway.protobuf import Unreadable
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.explain import quoted
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.virtual import ARGOCD_GROUP

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.argocd.instance import ArgoCD
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.gateway.outgoing import Attribution
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.tools import Tool

LIST: Final = "/application.ApplicationService/List"
_QUERY_NAME, _QUERY_NAMESPACE, _LIST_ITEMS = 1, 7, 2


class Denied(Exception):
    """The call is denied before anything of it is forwarded."""

    def __init__(self, decision: Decision, request: RequestInfo | None = None) -> None:
        super().__init__(decision.message)
        self.decision = decision
        self.request = request


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Questions of one call.

    Args:
        instance: the Argo CD that it is about.
        authorizer: decides.
        attribution: in whose name look-ups are made.
    """

    instance: ArgoCD
    authorizer: Authorizer
    client: Client
    tool: Tool
    attribution: Attribution

    def request(self, verb: str, resource: str, name: str = "") -> RequestInfo:
        """What is asked of Argo CD, in the words of policies; ``name`` is as Argo CD's own RBAC has it."""
        qualified = f"{self.instance.qualifier}:{name}" if name and self.instance.qualifier else name
        return RequestInfo(
            is_resource_request=True, path="", verb=verb, api_group=ARGOCD_GROUP, resource=resource, name=qualified
        )

    def about(self, verb: str, application: Application, *, resource: str = "applications") -> RequestInfo:
        """A request about an application."""
        return self.request(verb, resource, self.name_of(application))

    def name_of(self, application: Application) -> str:
        """project/name, or project/namespace/name outside of the control plane's namespace.

        Source: ``RBACName`` in util/security/rbac.go of argo-cd v3.
        """
        namespace = application.namespace or self.instance.namespace
        within = "" if namespace == self.instance.namespace else f"{namespace}/"
        return f"{application.project}/{within}{application.name}"

    async def require(self, *requests: RequestInfo) -> Decision:
        """The decision about requests that must all be allowed.

        Raises:
            Denied: one is not.
        """
        decision = await self.authorizer.authorize(requests, client=self.client, tool=self.tool)
        if not decision.allowed:
            raise Denied(decision, requests[-1])
        return decision

    async def visible(self, name: str, *, namespace: str, project: str) -> Application:
        """The application of that name, which the client may see.

        Args:
            namespace: as the client states it; empty for the control plane's.
            project: as the client states it; empty for any.

        Raises:
            Denied: the client may see none, or not this one, or there is none.
            CallFailed: it could not be looked up.
            Unreadable: these are no names.
        """
        await self.require(self.request("get", "applications"))
        found = await self.find(name, namespace=namespace)
        if found is not None and project in ("", found.project) and await self.sees(found):
            return found
        raise await self.hidden(name, project=project)

    async def sees(self, application: Application) -> bool:
        """Whether the client may see an application."""
        request = self.about("get", application)
        return (await self.authorizer.authorize([request], client=self.client, tool=self.tool)).allowed

    async def find(self, name: str, *, namespace: str) -> Application | None:
        """The application of that name, whoever may see it; None when there is none.

        Raises:
            CallFailed: it could not be looked up.
            Unreadable: these are no names.
        """
        namespace = namespace or self.instance.namespace
        if not is_name(name) or not is_name(namespace):
            raise Unreadable("the application's name is no name")
        query = protobuf.text_field(_QUERY_NAME, name) + protobuf.text_field(_QUERY_NAMESPACE, namespace)
        answer = await self.instance.ask(LIST, query, attribution=self.attribution)
        item = single(answer, _LIST_ITEMS)
        return read_application(item) if item else None

    async def hidden(self, name: str, *, project: str = "") -> Denied:
        """What is said of an application that is not there, and of one that the client may not see."""
        request = self.request("get", "applications", f"{project}/{name}")
        decided = await self.authorizer.authorize([request], client=self.client, tool=self.tool)
        message = (
            f"{quoted(self.client.username)} may not get application {quoted(name)}: there is none of that name"
            f"{f' in project {quoted(project)}' if project else ''}, or no rule allows it. Rules name applications as "
            "project/name."
        )
        hidden = Decision(verdict=Verdict.DENY, reason=Reason.NOT_ALLOWED, message=message, nearest=decided.nearest)
        return Denied(hidden, request)
