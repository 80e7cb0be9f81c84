"""Whether the cluster's CRD and this server mean the same by a policy.

The API server drops every field that the CRD does not declare. Under a CRD that is older than the server a policy may
therefore have lost what its author wrote, a deny among it, and nothing would tell: nothing is decided then, and no LIST
counts that was made then. A newer CRD declares fields that the server does not know; a policy that uses one is invalid,
and says so itself.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.cluster.discovery import CRDS
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.compile import API_VERSION
from k8s_mcp_server.policy.definition import declared_fields, read_fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from k8s_mcp_server.cluster.client import ApiClient
    from k8s_mcp_server.cluster.objects import Listing

logger = logging.getLogger(__name__)

CRD_NAME: Final = "mcpaccesspolicies.k8s-mcp.io"
_VERSION: Final = API_VERSION.rpartition("/")[2]
_MOST_NAMED: Final = 5
# An API server goes on serving by the CRD before until it has noticed the new one; it takes as long itself before it
# says that a CRD is established (apiextensions-apiserver, customresource_handler.go).
SETTLE_SECONDS: Final = 5.0


class PolicyDefinition:
    """What is known of the CRD. Readable from any thread.

    Args:
        clock: seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = boot_clock) -> None:
        self._clock = clock
        self._is_read = False
        self._whole_from = -math.inf
        self._told = ""

    @property
    def is_read(self) -> bool:
        """Whether it was looked at."""
        return self._is_read

    @property
    def is_outdated(self) -> bool:
        """Whether it lacks fields that this server reads, or did a moment ago."""
        return self._clock() < self._whole_from

    async def guard(self, client: ApiClient, listed: Callable[[], Awaitable[Listing]]) -> Listing:
        """The LIST that ``listed`` makes, if the CRD lacked nothing before it and after it.

        Raises:
            Unavailable: the CRD lacks something or could not be looked at, or the LIST failed.
        """
        if self.is_outdated or not self._is_read:
            await self._require_all(client)
        listing = await listed()
        await self._require_all(client)
        return listing

    async def _require_all(self, client: ApiClient) -> None:
        try:
            await self.look(client)
        except Unavailable as error:
            raise Unavailable(f"their definition could not be read: {error}") from error
        if self.is_outdated:
            raise Unavailable("their definition is older than this server, or was a moment ago")

    async def look(self, client: ApiClient) -> None:
        """Look at it once. One that is not there lacks nothing: then there are no policies.

        Raises:
            Unavailable: the API server does not answer, or not with a list.
        """
        answer = await client.request("GET", CRDS, query={"fieldSelector": f"metadata.name={CRD_NAME}"})
        try:
            found = [item for item in answer.json().get("items") or () if item["metadata"]["name"] == CRD_NAME]
            self._take(found[0] if found else None)
        except (KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"it makes no sense: {error!r}") from error

    def _take(self, crd: Mapping[str, Any] | None) -> None:
        versions = {version["name"]: version for version in crd["spec"]["versions"]} if crd is not None else {}
        version = versions.get(_VERSION)
        declared = declared_fields(version["schema"]["openAPIV3Schema"]) if version else read_fields()
        missing = read_fields() - declared
        if missing:
            self._whole_from = math.inf
        elif self._whole_from == math.inf:
            self._whole_from = self._clock() + SETTLE_SECONDS
        self._is_read = True
        self._tell(_words(versions, missing=missing, unknown=declared - read_fields()))

    def _tell(self, words: str) -> None:
        """Log what changed, once."""
        if words and words != self._told:
            logger.warning("%s", words)
        self._told = words


def _words(versions: Mapping[str, Mapping[str, Any]], *, missing: frozenset[str], unknown: frozenset[str]) -> str:
    if versions and not versions.get(_VERSION, {}).get("served"):
        served = [name for name, version in versions.items() if version.get("served")]
        return f"The CRD serves {_some(served) or 'nothing'}, and this server reads {_VERSION}: nothing is allowed."
    if missing:
        return f"The CRD is older than this server and lacks {_some(missing)}: nothing is allowed. Apply the newer CRD."
    if unknown:
        return (
            f"The CRD is newer than this server, which does not know {_some(unknown)}: "
            "a policy that uses them is invalid and gives nothing."
        )
    return ""


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return ", ".join(listed[:_MOST_NAMED]) + more
