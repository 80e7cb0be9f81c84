"""A virtual right gives requests of another name; what nobody gets, and what a deny takes, it does not give."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from k8s_mcp_server.policy.decide import why_withheld
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.tools import Tool
from tests.support.asking import ask, context, grant, request, rule

pytestmark = pytest.mark.unit

GROUP = "istioctl.istio.io"
PROXIES = rule("get", "proxyconfigs", groups=GROUP)


def withheld(text: str, *denies: dict[str, object], **more: object) -> Reason | None:
    policy = grant(PROXIES, tools=["istioctl"], deny=list(denies))
    found = why_withheld(request(text), context([policy], tool=Tool.ISTIOCTL, **more))  # type: ignore[arg-type]
    return found.reason if found is not None else None


def test_nothing_says_no_to_what_no_rule_gives() -> None:
    assert withheld("create pods/portforward cart -n team-a") is None


@pytest.mark.parametrize(
    "deny",
    [
        rule("*", "pods/portforward"),
        rule("*", "pods/*", namespaces=["*"]),
        rule("create", "*", groups="*", namespaces=["team-*"]),
    ],
)
def test_a_deny_of_the_request_says_no(deny: dict[str, object]) -> None:
    assert withheld("create pods/portforward cart -n team-a", deny) is Reason.DENIED_BY_RULE


def test_a_deny_of_something_else_does_not() -> None:
    assert withheld("create pods/portforward cart -n team-a", rule("*", "secrets")) is None


def test_a_deny_of_a_part_of_a_list_takes_it_whole() -> None:
    assert withheld("list pods -n team-a", rule("*", "pods", resourceNames=["db-*"])) is Reason.DENIED_BY_RULE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("get pods x -n k8s-mcp-system", Reason.OWN_NAMESPACE),
        ("create tokenreviews.authentication.k8s.io", Reason.NEVER_ALLOWED),
        ("get nonsense.example.com x -n team-a", Reason.UNKNOWN_RESOURCE),
    ],
)
def test_what_nobody_gets_is_not_given(text: str, reason: Reason) -> None:
    environment = Environment(own_namespace="k8s-mcp-system")
    assert withheld(text, environment=environment) is reason


def test_a_stale_snapshot_says_no() -> None:
    assert withheld("get pods x -n team-a", age=1e9) is Reason.SNAPSHOT_STALE


@pytest.mark.parametrize(
    ("text", "rules", "is_given"),
    [
        ("get proxyconfigs.istioctl.istio.io cart -n team-a", [PROXIES], True),
        ("get proxyconfigs.istioctl.istio.io cart -n team-b", [PROXIES], False),
        ("get proxyconfigs.istioctl.istio.io cart -n team-a", [rule("get", "*", groups="*")], False),
        ("get proxyconfigs.istioctl.istio.io cart -n team-a", [rule("get", "*", groups=GROUP)], False),
        ("get proxysecrets.istioctl.istio.io cart -n team-a", [PROXIES], False),
        ("create tokens.istioctl.istio.io -n istio-system", [rule("create", "tokens", groups=GROUP)], False),
        (
            "create tokens.istioctl.istio.io -n istio-system",
            [rule("create", "tokens", groups=GROUP, namespaces=["*"])],
            False,
        ),
        (
            "create tokens.istioctl.istio.io -n istio-system",
            [rule("create", "tokens", groups=GROUP, namespaces=["istio-system"])],
            True,
        ),
        ("get meshes.istioctl.istio.io", [rule("get", "meshes", groups=GROUP, namespaces=["*"])], False),
        ("get meshes.istioctl.istio.io", [rule("get", "meshes", groups=GROUP, clusterScoped=True)], True),
    ],
)
def test_istioctls_rights_are_given_by_name_alone(text: str, rules: list[dict[str, object]], is_given: bool) -> None:
    policy = grant(*rules, tools=["istioctl"])
    assert ask(text, policy, tool=Tool.ISTIOCTL).allowed is is_given


def test_istioctls_rights_are_below_the_floor_of_mode_audit() -> None:
    policy = grant(tools=["istioctl"], mode="Audit", expiresAfter="720h")
    soon = {"tool": Tool.ISTIOCTL, "now": datetime(2026, 1, 2, tzinfo=UTC)}
    assert not ask("get proxyconfigs.istioctl.istio.io cart -n team-a", policy, **soon).allowed
    assert ask("get pods cart -n team-a", policy, **soon).allowed


def test_a_token_has_no_dry_run() -> None:
    tokens = rule("create", "tokens", groups=GROUP, namespaces=["istio-system"])
    policy = grant(tokens, tools=["istioctl"], mode="DryRun")
    decision = ask("create tokens.istioctl.istio.io -n istio-system", policy, tool=Tool.ISTIOCTL)
    assert decision.reason is Reason.NO_DRY_RUN
