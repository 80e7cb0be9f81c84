"""Whether the cluster's CRD and this server mean the same by a policy.

The API server drops every field that the CRD does not declare. Under a CRD that is older than the server a policy may
therefore have lost what its author wrote, a deny among it, and nothing would tell: nothing is decided then. A newer CRD
declares fields that the server does not know; a policy that uses one is invalid, and says so itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.cluster.discovery import CRDS
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.compile import API_VERSION
from k8s_mcp_server.policy.definition import declared_fields, read_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from k8s_mcp_server.cluster.client import ApiClient

logger = logging.getLogger(__name__)

CRD_NAME: Final = "mcpaccesspolicies.k8s-mcp.io"
RETRY_INTERVAL: Final = 1.0
_VERSION: Final = API_VERSION.rpartition("/")[2]
_MOST_NAMED: Final = 5


class PolicyDefinition:
    """What is known of the CRD. Readable from any thread."""

    def __init__(self) -> None:
        self._is_read = False
        self._missing: frozenset[str] = frozenset()
        self._told = ""

    @property
    def is_read(self) -> bool:
        """Whether it was looked at."""
        return self._is_read

    @property
    def is_outdated(self) -> bool:
        """Whether it lacks fields that this server reads."""
        return bool(self._missing)

    async def run(self, client: ApiClient, *, interval: float) -> None:
        """Look at it every ``interval`` seconds, for ever; while that fails, what was seen last stands."""
        while True:
            try:
                await self.look(client)
                wait = interval
            except Unavailable as error:
                self._tell(f"The definition of policies could not be read: {error}")
                wait = min(RETRY_INTERVAL, interval)
            await asyncio.sleep(wait)

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
        self._missing = read_fields() - declared
        self._is_read = True
        self._tell(_words(versions, missing=self._missing, unknown=declared - read_fields()))

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
