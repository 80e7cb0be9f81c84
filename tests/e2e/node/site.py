"""Where the service is installed: its Service, its Pods, its agents."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import yaml

from devtools.image.build import DEFAULT_NAME
from devtools.manifests.kustomizations import MANIFESTS, Kustomization
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.node import NodeCluster

NAMESPACE: Final = "k8s-mcp-system"
NAME: Final = "k8s-mcp-server"
IMAGE: Final = DEFAULT_NAME

AGENTS: Final = "agents"
SHOP: Final = "shop"
AUDIENCE: Final = "k8s-mcp-server"
HOST: Final = f"{NAME}.{NAMESPACE}.svc"
READER: Final[dict[str, Any]] = {
    "tools": ["kubectl"],
    "rules": [{"namespaces": [SHOP], "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
}
_WITHIN: Final = 30.0
_STEP: Final = 0.05
_ENOSYS: Final = 38
_NO_LANDLOCK: Final = "no-landlock.json"

_GROUP: Final = "rbac.authorization.k8s.io"
_RIGHTS: Final = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete", "patch"]},
    {
        "apiGroups": [""],
        "resources": ["pods/attach", "pods/eviction", "pods/exec", "pods/portforward", "pods/proxy"],
        "verbs": ["create", "get"],
    },
    {"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]},
]
NODE_RIGHTS: Final = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": f"{_GROUP}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "e2e-node"},
                "rules": _RIGHTS,
            },
            {
                "apiVersion": f"{_GROUP}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "e2e-node"},
                "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": "e2e-node"},
                "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
            },
        ],
    }
)
"""A ceiling for what these tests let agents do, beside what the manifests give."""


class Site:
    """The installed service on its node."""

    def __init__(self, node: NodeCluster) -> None:
        self.node = node
        address = self._get("service", NAME)["spec"]["clusterIP"]
        self.url = f"http://{address}/mcp"

    def agent(self, name: str, spec: dict[str, Any] | None = None) -> Agent:
        """Make a ServiceAccount and its policy; return the agent, outside the cluster, when every replica knows it."""
        self.node.kubectl("create", "serviceaccount", name, f"--namespace={AGENTS}")
        agent = Agent(self.url, self.node.service_account_token(AGENTS, name, audience=AUDIENCE), host=HOST)
        if spec is not None:
            subject = {"kind": "ServiceAccount", "namespace": AGENTS, "name": name}
            self.apply_policy(name, {"subjects": [subject], **spec})
            for one in self.at_each_replica(agent):
                self.eventually(partial(_knows, one, name))
        return agent

    def apply_policy(self, name: str, spec: dict[str, Any]) -> None:
        """Create or replace a policy as the administrator."""
        body = {
            "apiVersion": "k8s-mcp.io/v1alpha1",
            "kind": "McpAccessPolicy",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.node.kubectl("apply", "--filename=-", input=json.dumps(body))

    def forget(self, name: str) -> None:
        """Remove an agent and its policy."""
        self.node.kubectl("delete", "mcpap", name, "--ignore-not-found")
        self.node.kubectl("delete", "serviceaccount", name, f"--namespace={AGENTS}", "--ignore-not-found")

    def pods(self) -> list[dict[str, Any]]:
        """The service's Pods that are not on their way out."""
        listed = self._get("pods", "--selector=app.kubernetes.io/name=k8s-mcp-server")["items"]
        return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]

    def replicas(self) -> list[str]:
        """The addresses of the Pods that are ready."""
        return [pod["status"]["podIP"] for pod in self.pods() if is_ready(pod)]

    def at_each_replica(self, agent: Agent) -> list[Agent]:
        """The same client, past the Service: once for each replica, which learn of policies by themselves."""
        return [Agent(f"http://{address}:8080/mcp", agent.token, host=HOST) for address in self.replicas()]

    @contextmanager
    def beside(self, name: str, change: Callable[[dict[str, Any]], None]) -> Iterator[str]:
        """A Pod of the service outside its Deployment, with the Deployment's template changed; yields its address."""
        spec = self._get("deployment", NAME)["spec"]["template"]["spec"]
        change(spec)
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        self.node.kubectl("create", "--filename=-", input=json.dumps(body))
        try:
            started = "jsonpath={.status.containerStatuses[0].started}=true"
            self.node.kubectl("wait", f"pod/{name}", f"--namespace={NAMESPACE}", f"--for={started}", "--timeout=60s")
            yield str(self._get("pod", name)["status"]["podIP"])
        finally:
            self.node.kubectl("delete", "pod", name, f"--namespace={NAMESPACE}", "--wait=false")

    def with_component(self, name: str) -> Callable[[dict[str, Any]], None]:
        """What `beside` changes so that the Pod is as the Deployment's are with a component of the manifests."""
        overlay = Kustomization(name=name, folder=MANIFESTS, components=(MANIFESTS / "components" / name,))
        documents = yaml.safe_load_all(overlay.build(kubectl=self.node.layout.tools / "kubectl"))
        template = next(body["spec"]["template"]["spec"] for body in documents if body["kind"] == "Deployment")

        def change(spec: dict[str, Any]) -> None:
            spec.clear()
            spec.update(template)

        return change

    def without_landlock(self) -> dict[str, str]:
        """A seccomp profile (of a Pod's securityContext) under which the kernel seems to have no Landlock."""
        profile = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["landlock_create_ruleset"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS}],
        }
        (self.node.layout.seccomp / _NO_LANDLOCK).write_text(json.dumps(profile), encoding="ascii")
        return {"type": "Localhost", "localhostProfile": _NO_LANDLOCK}

    def await_rollout(self) -> None:
        """Wait until the Deployment is as it is stated."""
        self.node.kubectl(
            "rollout", "status", f"deployment/{NAME}", f"--namespace={NAMESPACE}", "--timeout=240s", timeout_seconds=250
        )

    def eventually(self, holds: Callable[[], object], *, within: float = _WITHIN) -> None:
        """Return when it holds; fail when it does not within so many seconds."""
        deadline = time.monotonic() + within
        while not holds():
            assert time.monotonic() < deadline, f"did not come about within {within:g} s"
            time.sleep(_STEP)

    def _get(self, *what: str) -> Any:
        found = self.node.kubectl("get", *what, f"--namespace={NAMESPACE}", "--output=json")
        return json.loads(found.stdout)


def _knows(agent: Agent, policy: str) -> bool:
    return f"'{policy}'" in agent.check_access().everything


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether the Pod's readiness says yes."""
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def workload(name: str, *, namespace: str = SHOP, script: str = "sleep infinity", **spec: Any) -> dict[str, Any]:
    """A Pod that meets `restricted` and runs a shell script; the service's own image has the shell."""
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["/bin/sh", "-c", script],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            **spec,
        },
    }
