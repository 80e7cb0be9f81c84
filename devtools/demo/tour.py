"""The guided tour: what each step asks, as whom, and what must come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from devtools.demo.teams import AUDITOR, BILLING_READER, NEWCOMER, SHOP_DEPLOYER, Agent
from k8s_mcp_server.serving.form import fields_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_CALL_SECONDS = 60.0

_PRIVILEGED_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: innocent, namespace: shop}
spec:
  containers:
    - {name: app, image: registry.example.com/app:1.0, securityContext: {privileged: true}}
  volumes: [{name: node, hostPath: {path: /}}]
"""

_CHART = {
    "web/Chart.yaml": "{apiVersion: v2, name: web, version: 1.0.0}",
    "web/templates/settings.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: web-settings}
data: {greeting: hello}
""",
}
_GREEDY_CHART = _CHART | {
    "web/templates/rights.yaml": """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: default, namespace: shop}]
""",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the tour.

    Args:
        title: what it shows.
        agent: who calls.
        command: the command line; None calls ``check_access``.
        cli: that runs it.
        stdin: a manifest.
        files: a chart.
        status: the result's ``status`` that must come back.
        shows: texts that must be in the result.
        hides: texts that must not be.
    """

    title: str
    agent: Agent
    command: str | None
    cli: str = "kubectl"
    stdin: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    status: str = "succeeded"
    shows: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back for one step.

    Args:
        text: all that a model would read.
        details: the fields of the result.
    """

    step: Step
    status: str
    text: str
    details: dict[str, Any]

    @property
    def shown(self) -> str:
        """What the tour shows: what the command printed; where it printed nothing, what the service said."""
        if self.step.command is None:
            return self.text
        told = {name: str(self.details.get(name, "")) for name in ("stdout", "stderr", "reason", "message", "hint")}
        printed = [told["stdout"], told["stderr"]]
        said = [": ".join(filter(None, (told["reason"], told["message"]))), told["hint"]]
        note = ["(cut to what the policy allows)"] if self.details.get("filtered") else []
        return "\n".join(text.rstrip() for text in ([*printed, *note] if any(printed) else said) if text)

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with it; nothing, when the tour holds."""
        everything = f"{self.text}\n{self.details}"
        wrong = [] if self.status == self.step.status else [f"expected {self.step.status}, got {self.status}"]
        wrong += [f"did not show {word!r}" for word in self.step.shows if word not in self.shown]
        return (*wrong, *(f"showed {word!r}" for word in self.step.hides if word in everything))


STEPS = (
    Step("An agent asks what it may do", SHOP_DEPLOYER, None, shows=("shop-deployer", "deploy")),
    Step("It works in its own namespace", SHOP_DEPLOYER, "get pods -n shop", shows=("cart-",)),
    Step(
        "Pipes work; no shell is involved",
        SHOP_DEPLOYER,
        "get pods -n shop -o json | jq -r '.items[].metadata.name' | sort | head -2",
        shows=("cart-",),
    ),
    Step("It deploys", SHOP_DEPLOYER, "scale deployment cart -n shop --replicas=4", shows=("scaled",)),
    Step(
        "All namespaces: the list is cut to what the policy allows",
        SHOP_DEPLOYER,
        "get pods -A",
        shows=("shop-staging", "cart-"),
        hides=("billing", "ledger", "k8s-mcp-system", "kube-system"),
    ),
    Step(
        "Someone else's namespace",
        SHOP_DEPLOYER,
        "get pods -n billing",
        status="denied",
        shows=("shop-deployer",),
        hides=("ledger",),
    ),
    Step("Secrets", SHOP_DEPLOYER, "get secrets -n shop", status="denied"),
    Step(
        "Another spelling, straight at the API",
        SHOP_DEPLOYER,
        "get --raw /api/v1/namespaces/billing/secrets/payment-key",
        status="denied",
        hides=("not-a-real-key",),
    ),
    Step("A shell trick", SHOP_DEPLOYER, "get pods -n shop; cat /etc/passwd", status="refused", hides=("root:",)),
    Step(
        "A privileged Pod",
        SHOP_DEPLOYER,
        "apply -f -",
        stdin=_PRIVILEGED_POD,
        status="failed",
        shows=("violates PodSecurity",),
    ),
    Step(
        "helm installs a chart that comes with the call",
        SHOP_DEPLOYER,
        "install web ./web -n shop",
        cli="helm",
        files=_CHART,
        shows=("deployed",),
    ),
    Step(
        "A chart that makes more than the policy allows: refused before anything exists",
        SHOP_DEPLOYER,
        "upgrade web ./web -n shop",
        cli="helm",
        files=_GREEDY_CHART,
        status="denied",
        shows=("clusterrolebindings",),
    ),
    Step("so the release is as it was", SHOP_DEPLOYER, "history web -n shop", cli="helm", hides=("failed", "pending")),
    Step("The auditor reads across namespaces", AUDITOR, "get deployments -A", shows=("ledger", "cart")),
    Step("but not Secrets", AUDITOR, "get secret payment-key -n billing", status="denied", hides=("not-a-real-key",)),
    Step("and changes nothing", AUDITOR, "delete deployment ledger -n billing", status="denied"),
    Step("A deny beats every allow", BILLING_READER, "get configmap ledger-settings -n billing", status="denied"),
    Step("No policy: no access, and a word on what to do", NEWCOMER, "get pods -n shop", status="denied"),
)


async def walk(url: str, tokens: dict[str, str]) -> AsyncIterator[Outcome]:
    """Take every step as its agent, over real MCP connections; yields each outcome as it comes."""
    for step in STEPS:
        yield await _take(step, url=url, token=tokens[step.agent.name])


async def _take(step: Step, *, url: str, token: str) -> Outcome:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=_CALL_SECONDS) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        if step.command is None:
            result = await client.call_tool("check_access", {})
        else:
            inputs = {"stdin": step.stdin, "files": dict(step.files)}
            arguments = {"command": step.command} | {name: given for name, given in inputs.items() if given}
            result = await client.call_tool(f"execute_{step.cli}", arguments)
    text = "\n".join(block.text for block in result.content if block.type == "text")
    details = fields_of(result)
    status = str(details.get("status", "succeeded" if not result.is_error else "failed"))
    return Outcome(step, status, text, details)
