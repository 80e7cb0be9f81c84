"""A running gateway before the real API server, with one command's session in it and a policy for two namespaces."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8s_mcp_server.gateway.exchange import Exchange
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.gateway.outgoing import COMMANDS_GROUP
from k8s_mcp_server.policy.identity import Client
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devtools.cluster import TestCluster
    from devtools.fixed import FixedSources
    from k8s_mcp_server.gateway.session import CommandSession

AGENT = Client(username="system:serviceaccount:agents:deployer")
KUBECTL_SECONDS = 30.0
PRIVILEGES = {"allowPrivilegedWorkloads": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the tests of this module share in the cluster: three namespaces and the service's own account."""

    cluster: TestCluster
    own: str
    team: str
    second: str
    other: str
    token: str
    group: str

    @property
    def service_account(self) -> str:
        return f"system:serviceaccount:{self.own}:gateway"


def apply(cluster: TestCluster, *objects: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def site_objects(mark: str, *, own: str, namespaces: tuple[str, ...]) -> list[dict[str, Any]]:
    """Namespaces, and the account with all rights but those to impersonate anyone else."""
    name = f"gateway-{mark}"
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
    return [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": item}} for item in namespaces),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gateway", "namespace": own}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": verbs},
                {
                    "apiGroups": [""],
                    "resources": ["serviceaccounts"],
                    "resourceNames": ["gateway"],
                    "verbs": ["impersonate"],
                },
                {
                    "apiGroups": [""],
                    "resources": ["groups"],
                    "resourceNames": ["system:serviceaccounts", f"system:serviceaccounts:{own}", COMMANDS_GROUP],
                    "verbs": ["impersonate"],
                },
                {
                    "apiGroups": ["authentication.k8s.io"],
                    "resources": ["userextras/k8s-mcp.io/client"],
                    "verbs": ["impersonate"],
                },
                {
                    "apiGroups": [""],
                    "resources": ["groups"],
                    "resourceNames": ["system:serviceaccounts", f"system:serviceaccounts:{own}", "k8s-mcp.io:commands"],
                    "verbs": ["impersonate"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": own}],
        },
    ]


def pod(name: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "main", "image": "example.com/web:1"}]},
    }


def configmap(name: str, namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


def secret(name: str, namespace: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "hidden"}}


def widgets(group: str) -> dict[str, Any]:
    """A custom resource without a schema of its own."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def widget(name: str, namespace: str, group: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": metadata, "spec": {"metadata": metadata}}


def deployer(site: Site) -> dict[str, Any]:
    """A policy for the two namespaces of a team: everything but what is sensitive, and exec by name."""
    namespaces = [site.team, site.second]
    return {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": "team", "uid": "5c6f", "resourceVersion": "41", "generation": 1},
        "spec": {
            "subjects": [{"kind": "ServiceAccount", "namespace": "agents", "name": "deployer"}],
            "rules": [
                {
                    "name": "deploy",
                    "namespaces": namespaces,
                    "apiGroups": ["", "apps", site.group],
                    "resources": ["*"],
                    "verbs": ["*"],
                    **PRIVILEGES,
                },
                {
                    "name": "streams",
                    "namespaces": namespaces,
                    "apiGroups": [""],
                    "resources": ["pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"],
                    "verbs": ["create"],
                },
            ],
        },
    }


@dataclass(slots=True, kw_only=True)
class Finished:
    """A kubectl that ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(slots=True, kw_only=True)
class Rig:
    """A running gateway and one command's session in it."""

    site: Site
    gateway: Gateway
    session: CommandSession
    policies: FixedSources
    audit: io.StringIO
    folder: Path
    kubectl_path: Path

    def kubeconfig(self) -> Path:
        """As the executor writes it."""
        path = self.folder / "kubeconfig"
        ca_file = self.folder / "gateway.pem"
        ca_file.write_text(self.gateway.ca_pem, encoding="ascii")
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "gateway",
                    "cluster": {
                        "server": f"https://127.0.0.1:{self.gateway.port}",
                        "certificate-authority": str(ca_file),
                    },
                }
            ],
            "users": [{"name": "command", "user": {"token": self.session.token}}],
            "contexts": [
                {
                    "name": "gateway",
                    "context": {"cluster": "gateway", "user": "command", "namespace": self.site.team},
                }
            ],
            "current-context": "gateway",
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    async def start(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        """Start kubectl."""
        process = await asyncio.create_subprocess_exec(
            self.kubectl_path,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.folder), "KUBECONFIG": str(self.kubeconfig()), "PATH": "", **(environment or {})},
        )
        assert process.stdin is not None
        process.stdin.write(stdin.encode())
        process.stdin.close()
        return process

    async def kubectl(self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Finished:
        """Run kubectl to its end."""
        process = await self.start(*arguments, stdin=stdin, environment=environment)
        try:
            async with asyncio.timeout(KUBECTL_SECONDS):
                stdout, stderr = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
            raise
        return Finished(code=process.returncode or 0, stdout=stdout.decode(), stderr=stderr.decode())

    def requests(self) -> list[dict[str, Any]]:
        """The audit lines so far."""
        return [json.loads(line) for line in self.audit.getvalue().splitlines()]


def watching(rig: Rig) -> str:
    """The targets of the requests that are being served now."""
    return " ".join(exchange._head.target for exchange in rig.session.in_flight if isinstance(exchange, Exchange))


async def settled(rig: Rig) -> list[dict[str, Any]]:
    """The audit lines once no request is being served any more."""
    await eventually(lambda: not rig.session.in_flight)
    return rig.requests()
