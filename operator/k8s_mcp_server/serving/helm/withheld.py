"""Says that a release's values are withheld, where helm would print that there are none.

Who has `releases` and not `releases/content` gets records without values, manifests and notes; helm cannot tell those
from records that have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8s_mcp_server.authoring.resources import ResourceName
from k8s_mcp_server.errors import CommandDenied
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.policy.virtual import HELM_GROUP

if TYPE_CHECKING:
    from k8s_mcp_server.commands.helm.words import HelmCommand
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.identity import Client

_SHOWN_BY = {
    "get all": "values, manifest, hooks and notes",
    "get hooks": "hooks",
    "get manifest": "manifest",
    "get notes": "notes",
    "get values": "values",
}


async def check_content(command: HelmCommand, *, namespace: str, client: Client, authorizer: Authorizer) -> None:
    """Let a command go on that shows what it is asked for, or that the gateway refuses altogether.

    Raises:
        CommandDenied: the client sees that the release is there, and not what is in it.
    """
    what = _SHOWN_BY.get(command.name)
    if what is None or not command.operands or command.asks_for_help:
        return
    release, verb = command.operands[0], "get" if command.has("revision") else "list"

    async def decide(group: str, resource: str, part: str = "") -> Decision:
        name = ResourceName(group=group, resource=resource, subresource=part)
        request = name.request(verb, namespace=namespace, name=release if verb == "get" else "")
        return await authorizer.authorize([request], client=client, tool=Tool.HELM)

    content = await decide(HELM_GROUP, "releases", "content")
    ways = [content, await decide("", "secrets")]
    metadata = await decide(HELM_GROUP, "releases")
    if any(_gives(way, namespace, release) for way in ways) or not _gives(metadata, namespace, release):
        return
    raise CommandDenied(
        content.reason.value,
        f"the {what} of release {release[:53]} are withheld: to show them takes {verb} on releases/content of apiGroup "
        f"{HELM_GROUP} in namespace {namespace}, which holds whatever passwords the values hold",
        hint="`helm status` and `helm history` show what you may see",
        denials=(content.message,) if not content.allowed else (),
        next_command=f"helm status {release} -n {namespace}",
    )


def _gives(decision: Decision, namespace: str, release: str) -> bool:
    return decision.allowed and (decision.cut is None or decision.cut.allows(namespace=namespace, name=release))
