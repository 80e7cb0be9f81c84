"""What must hold for all policies: denies never widen, rules never narrow, and the order of things never matters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from k8s_mcp_server.policy.compile import Mode
from k8s_mcp_server.policy.decide import decide, decide_denies
from k8s_mcp_server.policy.decision import Decision, Verdict
from k8s_mcp_server.policy.rights import Rights
from tests.support.asking import CATALOG, NAMESPACES, context, policy, request

if TYPE_CHECKING:
    from k8s_mcp_server.policy.compile import CompiledPolicy
    from k8s_mcp_server.policy.request import RequestInfo

pytestmark = pytest.mark.unit

NAMES = ["web", "web-1", "db"]
OBJECTS = [(namespace, name) for namespace in ("", "new", *NAMESPACES) for name in (*NAMES, *NAMESPACES)]
GROUPS = ["", "apps", "rbac.authorization.k8s.io", "helm.sh"]
RESOURCES = [
    "pods",
    "pods/exec",
    "pods/log",
    "secrets",
    "services",
    "deployments",
    "namespaces",
    "nodes",
    "roles",
    "releases",
]
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]


def some(values: list[str], *extra: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from([*values, *extra]), min_size=1, max_size=4, unique=True)


SCOPES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(
        lambda names: {"namespaces": names}, some(["team-a", "team-b", "kube-system"], "*", "team-*", "*-test", "new")
    ),
    st.builds(lambda team: {"namespaceSelector": {"matchLabels": {"team": team}}}, st.sampled_from(["a", "b"])),
    st.just({"clusterScoped": True}),
)


def rules(*, reading_only_with_star: bool) -> st.SearchStrategy[dict[str, Any]]:
    def build(scope: dict[str, Any], **fields: Any) -> dict[str, Any]:
        if reading_only_with_star and "*" in fields["apiGroups"]:
            fields["verbs"] = [verb for verb in fields["verbs"] if verb in {"get", "list", "watch"}] or ["get"]
        return {**scope, **fields}

    return st.builds(
        build,
        SCOPES,
        apiGroups=some(GROUPS, "*"),
        resources=some(RESOURCES, "*", "pods/*", "*/exec"),
        verbs=some(VERBS, "*"),
        resourceNames=st.one_of(st.just([]), some(["web", "db"], "web*", "*")),
    )


OWN_RIGHTS = st.builds(lambda scope, **fields: {**scope, **fields, "fromRBAC": True}, SCOPES, verbs=some(VERBS, "*"))
RULES = st.one_of(rules(reading_only_with_star=True), OWN_RIGHTS)
DENIES = rules(reading_only_with_star=False)
POLICIES: st.SearchStrategy[list[CompiledPolicy]] = st.lists(
    st.builds(
        lambda given, denied, **spec: policy("policy", *given, deny=denied, **spec),
        st.lists(RULES, min_size=1, max_size=4),
        st.lists(DENIES, max_size=2),
        suspend=st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=3,
).map(lambda found: [replace(item, name=f"policy-{place}") for place, item in enumerate(found)])

IN_ANY_MODE: st.SearchStrategy[list[CompiledPolicy]] = st.builds(
    lambda policies, modes: [replace(item, mode=mode) for item, mode in zip(policies, modes, strict=False)],
    POLICIES,
    st.one_of(st.just([Mode.AUDIT] * 3), st.lists(st.sampled_from(Mode), min_size=3, max_size=3)),
)


@st.composite
def requests(draw: st.DrawFn, namespaces: tuple[str, ...] = ("", *NAMESPACES, "new")) -> RequestInfo:
    resource = draw(st.sampled_from(list(CATALOG)))
    group = f".{resource.group}" if resource.group else ""
    subresource = draw(st.sampled_from(["", "", "/exec", "/log", "/status"]))
    name = draw(st.sampled_from(["", *NAMES]))
    namespace = draw(st.sampled_from(namespaces))
    text = f"{draw(st.sampled_from(VERBS))} {resource.resource}{group}{subresource} {name}"
    return request(text + (f" -n {namespace}" if namespace and resource.scope == "Namespaced" else ""))


def shown(decision: Decision) -> frozenset[tuple[str, str]]:
    """Which objects a decision lets through, of a fixed set; all of them when it is exact."""
    if decision.verdict is Verdict.DENY:
        return frozenset()
    cut = decision.cut
    return frozenset(item for item in OBJECTS if cut is None or cut.allows(namespace=item[0], name=item[1]))


def answers(asked: RequestInfo, policies: list[CompiledPolicy]) -> Decision:
    """What the policies say to a client to whom the cluster's own RBAC gives everything."""
    return decide(asked, replace(context(policies), rights=Rights(answers={asked: True})))


THOROUGH = settings(max_examples=60, deadline=None)


@THOROUGH
@given(IN_ANY_MODE, DENIES, requests(), st.integers(0, 2))
def test_adding_a_deny_never_widens(
    policies: list[CompiledPolicy], deny: dict[str, Any], asked: RequestInfo, place: int
) -> None:
    target = policies[place % len(policies)]
    denied = replace(target, denies=(*target.denies, *policy("x", deny=[deny]).denies))
    more = [denied if item is target else item for item in policies]
    assert shown(answers(asked, more)) <= shown(answers(asked, policies))


WIDE_DENIES = st.builds(lambda scope: {**scope, "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, SCOPES)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(RULES, min_size=1, max_size=2),
    WIDE_DENIES,
    requests(namespaces=("", "team-a", "team-b")),
    st.sampled_from(Mode),
)
def test_nothing_that_a_deny_takes_is_ever_given(
    given_rules: list[dict[str, Any]], deny: dict[str, Any], asked: RequestInfo, mode: Mode
) -> None:
    assume(asked.resource != "namespaces")  # of their list a deny takes by the names of the objects themselves
    policies = [replace(policy("policy", *given_rules, deny=[deny]), mode=mode)]
    assert shown(answers(asked, policies)) <= shown(decide_denies(asked, context(policies)))


@THOROUGH
@given(POLICIES, requests(), st.integers(0, 2))
def test_removing_a_rule_never_widens(policies: list[CompiledPolicy], asked: RequestInfo, place: int) -> None:
    target = policies[place % len(policies)]
    fewer = [replace(item, rules=item.rules[1:]) if item is target else item for item in policies]
    assert shown(answers(asked, fewer)) <= shown(answers(asked, policies))


@THOROUGH
@given(IN_ANY_MODE, requests(), st.randoms(use_true_random=False))
def test_the_order_of_policies_never_matters(policies: list[CompiledPolicy], asked: RequestInfo, random: Any) -> None:
    shuffled = random.sample(policies, len(policies))
    first, second = answers(asked, policies), answers(asked, shuffled)
    assert replace(first, cut=None) == replace(second, cut=None)
    assert shown(first) == shown(second)


@THOROUGH
@given(POLICIES, requests())
def test_a_list_shows_what_the_same_list_of_each_namespace_shows(
    policies: list[CompiledPolicy], asked: RequestInfo
) -> None:
    if asked.verb not in {"list", "watch"} or asked.namespace or asked.name or asked.subresource:
        return
    resource = CATALOG.find(group=asked.api_group, resource=asked.resource)
    if resource is None or resource.scope == "Cluster":
        return
    by_namespace = {
        (namespace, name)
        for namespace in NAMESPACES
        for found, name in shown(answers(replace(asked, namespace=namespace), policies))
        if found == namespace
    }
    assert shown(answers(asked, policies)) == by_namespace


@THOROUGH
@given(POLICIES, requests())
def test_what_is_suggested_is_allowed_and_our_namespace_is_never_reached(
    policies: list[CompiledPolicy], asked: RequestInfo
) -> None:
    decision = answers(asked, policies)
    assert not any(namespace == "k8s-mcp-system" for namespace, _ in shown(decision)) or decision.cut is None
    assert not decision.allowed or asked.namespace != "k8s-mcp-system"
    assert len(decision.nearest) <= 3
    for suggestion in decision.nearest:
        verb, what, *rest = suggestion.replace(" in ", " -n ").split()
        assert answers(request(" ".join([verb, what, *rest])), policies).allowed
