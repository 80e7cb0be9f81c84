"""Secrets of the service's own namespace, read when they are needed and not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8s_mcp_server.cluster.client import ApiClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8s_mcp_server.cluster.connection import ApiServer


class OwnSecrets:
    """Reads them.

    Args:
        api_server: where they are.
        namespace: the service's own.
    """

    def __init__(self, api_server: ApiServer, *, namespace: str) -> None:
        self._api_server = api_server
        self._namespace = namespace

    async def read(self, name: str) -> Mapping[str, Any]:
        """One Secret, as the API server has it.

        Raises:
            Unavailable: it is not there, may not be read, or the API server does not answer.
        """
        async with ApiClient.connect(self._api_server) as client:
            answer = await client.request("GET", f"/api/v1/namespaces/{self._namespace}/secrets/{name}")
        return answer.json()
