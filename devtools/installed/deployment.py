"""What the Deployment in the API server says about the service's process, and the few things that must differ here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.cluster import TestCluster

NAMESPACE = "k8s-mcp-system"
NAME = "k8s-mcp-server"


@dataclass(frozen=True, slots=True)
class Difference:
    """One environment variable that differs from the Pod's, and why it must."""

    variable: str
    why: str


DIFFERENCES = (
    Difference("KUBERNETES_SERVICE_HOST", "the kubelet sets it to the API server's address inside the cluster"),
    Difference("KUBERNETES_SERVICE_PORT", "likewise"),
    Difference("K8S_MCP_CA_FILE", "the kubelet mounts the CA; here it is a file of this run"),
    Difference("K8S_MCP_TOKEN_FILE", "the kubelet mounts the token; here a TokenRequest fetched it"),
    Difference("K8S_MCP_CONFIG", "the kubelet mounts the ConfigMap; here its content is a file of this run"),
    Difference("K8S_MCP_HOST", "loopback only, on this machine"),
    Difference("K8S_MCP_PORT", "a free port"),
    Difference("K8S_MCP_HEALTH_HOST", "loopback only, on this machine"),
    Difference("K8S_MCP_HEALTH_PORT", "a free port"),
    Difference("K8S_MCP_TOOLS_DIR", "the image has the CLIs in /usr/local/bin"),
    Difference("K8S_MCP_RUNTIME_DIR", "the Pod has an emptyDir there"),
    Difference("PATH", "the image sets it"),
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The parts of the applied Deployment that decide how the process runs.

    Args:
        args: the container's arguments.
        env: its environment, with field references resolved as the kubelet would.
        service_account: whose token the process holds.
        token_seconds: the projected token's lifetime, in seconds.
        config: the ConfigMap's files by name.
    """

    args: tuple[str, ...]
    env: dict[str, str]
    service_account: str
    token_seconds: int
    config: dict[str, str]

    @classmethod
    def read(cls, cluster: TestCluster) -> Deployment:
        """Read the Deployment and its ConfigMap back from the API server."""
        body = _get(cluster, "deployment", NAME)
        pod = body["spec"]["template"]["spec"]
        container = pod["containers"][0]
        return cls(
            args=tuple(container["args"]),
            env={item["name"]: _value(item) for item in container["env"]},
            service_account=pod["serviceAccountName"],
            token_seconds=_token_seconds(pod["volumes"]),
            config=_get(cluster, "configmap", _config_map(pod["volumes"]))["data"],
        )

    def environment(self, *, here: dict[str, str]) -> dict[str, str]:
        """The process's environment: the Pod's, with what ``DIFFERENCES`` allows to differ.

        Raises:
            ValueError: ``here`` sets a variable that is not in ``DIFFERENCES``.
        """
        known = {difference.variable for difference in DIFFERENCES}
        if unknown := sorted(set(here) - known):
            raise ValueError(f"not among the allowed differences from the Deployment: {', '.join(unknown)}")
        return {**self.env, **here}

    def write_config(self, folder: Path) -> Path:
        """Write the ConfigMap's files as the kubelet would mount them; returns the settings file."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.config.items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder / "config.yaml"


def _get(cluster: TestCluster, kind: str, name: str) -> dict[str, Any]:
    answer = cluster.kubectl("get", kind, name, "--namespace", NAMESPACE, "--output", "json")
    body: dict[str, Any] = json.loads(answer.stdout)
    return body


def _value(item: dict[str, Any]) -> str:
    if "value" in item:
        return str(item["value"])
    field = item["valueFrom"]["fieldRef"]["fieldPath"]
    return {"metadata.name": f"{NAME}-local", "metadata.namespace": NAMESPACE}[field]


def _token_seconds(volumes: list[dict[str, Any]]) -> int:
    return next(
        int(source["serviceAccountToken"]["expirationSeconds"])
        for volume in volumes
        for source in volume.get("projected", {}).get("sources", ())
        if "serviceAccountToken" in source
    )


def _config_map(volumes: list[dict[str, Any]]) -> str:
    return next(str(volume["configMap"]["name"]) for volume in volumes if "configMap" in volume)
