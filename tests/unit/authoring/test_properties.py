"""What holds for all policies: a diff misses nothing, a suggestion is enough and no more, the pod's RBAC suffices."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from k8s_mcp_server.authoring.audit_lines import AuditedRequest
from k8s_mcp_server.authoring.changes import Change
from k8s_mcp_server.authoring.clients import client_of
from k8s_mcp_server.authoring.diff import compare
from k8s_mcp_server.authoring.documents import Document
from k8s_mcp_server.authoring.grants import subjects_of
from k8s_mcp_server.authoring.inputs import Inputs, read_inputs, sort_documents
from k8s_mcp_server.authoring.rbac import server_rbac
from k8s_mcp_server.authoring.resources import ResourceName, Served
from k8s_mcp_server.authoring.suggest import suggest
from k8s_mcp_server.authoring.world import World, build_world
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.compile import CompiledPolicy
from k8s_mcp_server.policy.decision import Reason, Verdict
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.sensitive import is_review_about_oneself
from k8s_mcp_server.policy.snapshot import Namespace
from k8s_mcp_server.policy.tools import Tool
from tests.support.policy_commands import ENFORCED, namespace, policy, role, rule

pytestmark = pytest.mark.unit

NOW = datetime(2026, 6, 1, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[3] / "examples"
SERVED = Served.built_in()
CLIENT = Client(username="(someone)", groups=frozenset({"oidc:team-a"}))
NAMESPACES = {"team-a": {"team": "a"}, "team-b": {"team": "b", **ENFORCED}, "other": {}, "kube-system": {"team": "a"}}
RESOURCES = [SERVED.find(text) for text in ("pods", "secrets", "deployments", "pods/exec", "nodes")]
VERBS = ("get", "list", "create", "patch", "delete")
OBJECTS = ("web-1", "db")

SELECTORS = st.sampled_from(
    [
        {"matchLabels": {"team": "a"}},
        {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["b"]}]},
        {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
        {"matchLabels": {"team": "b", "env": "prod"}},
        {"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]},
        {"matchSubject": {"label": "team", "groupPrefix": "oidc:team-"}},
        {"matchSubject": {"label": "team", "groupPrefix": "oidc:team-"}, "matchLabels": {"env": "prod"}},
    ]
)
SCOPES = st.one_of(
    st.lists(
        st.sampled_from(["team-a", "team-*", "*-prod", "*", "kube-system"]), min_size=1, max_size=2, unique=True
    ).map(lambda names: {"namespaces": names}),
    SELECTORS.map(lambda selector: {"namespaceSelector": selector}),
    st.just({"clusterScoped": True}),
)
RULES = st.builds(
    lambda scope, verbs, resources, names, privileged: rule(
        " ".join(verbs),
        " ".join(resources),
        groups="- apps",
        **scope,
        **({"resourceNames": names} if names else {}),
        **({"allowPrivilegedWorkloads": True} if privileged else {}),
    ),
    SCOPES,
    st.lists(st.sampled_from([*VERBS, "*"]), min_size=1, max_size=3, unique=True),
    st.lists(
        st.sampled_from(["pods", "secrets", "deployments", "pods/exec", "nodes", "*"]),
        min_size=1,
        max_size=3,
        unique=True,
    ),
    st.lists(st.sampled_from(["web-*", "db"]), max_size=1),
    st.booleans(),
)
LABELS = st.fixed_dictionaries(
    {},
    optional={
        "team": st.sampled_from(["a", "b", "c"]),
        "env": st.sampled_from(["prod", "dev"]),
        "pod-security.kubernetes.io/enforce": st.sampled_from(["baseline", "privileged"]),
    },
)
DENIES = RULES.map(lambda item: {key: value for key, value in item.items() if key != "allowPrivilegedWorkloads"})
OWN_RIGHTS = RULES.map(lambda item: {**item, "fromRBAC": True})
BY_ROLE = st.builds(
    lambda scope, name: {**scope, "roleRef": {"kind": "ClusterRole", "name": name}},
    SCOPES,
    st.sampled_from(["pods", "some-deployments", "everything", "unknown"]),
)
ROLES = [
    role("pods", {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list", "create"]}),
    role(
        "some-deployments",
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["db"], "verbs": ["get", "patch"]},
    ),
    role("everything", {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
]
POLICIES = st.builds(
    lambda rules, denies: policy(*rules, deny=denies),
    st.lists(st.one_of(RULES, OWN_RIGHTS, BY_ROLE), max_size=2),
    st.lists(DENIES, max_size=1),
)


def inputs(body: dict[str, Any]) -> Inputs:
    """A policy among the namespaces and roles of these tests."""
    bodies = (body, *ROLES, *(namespace(name, **labels) for name, labels in NAMESPACES.items()))
    return sort_documents(Document(source="test", body=item) for item in bodies)


def questions(names: tuple[str, ...] = tuple(NAMESPACES)) -> list[tuple[ResourceName, str, str, str]]:
    """Resource, verb, namespace and name of everything that can be asked in this small world."""
    found = []
    for resource, verb in itertools.product(RESOURCES, VERBS):
        if verb not in SERVED.verbs(resource) or (resource.subresource == "exec" and verb != "create"):
            continue  # the API server does not serve it, and the gateway takes every exec for a create
        places = ("",) if SERVED.scope(resource) is Scope.CLUSTER else names
        objects = ("",) if verb in {"list", "create"} else OBJECTS
        found += [(resource, verb, *where) for where in itertools.product(places, objects)]
    return found


def seen(world: World, resource: ResourceName, verb: str, place: str, name: str) -> frozenset[str]:
    """The objects that a request reaches: of a list those that are not cut out."""
    decision = world.decide(resource.request(verb, namespace=place, name=name), client=CLIENT)
    if not decision.allowed:
        return frozenset()
    if verb != "list":
        return frozenset({name})
    cut = decision.cut
    return frozenset(item for item in OBJECTS if cut is None or cut.allows(namespace=place, name=item))


def tells(change: Change, resource: ResourceName, verb: str, place: str, name: str) -> bool:
    """Whether a sentence is about this."""
    about = verb in change.verbs and str(resource) in change.whats and (place in change.places or not change.places)
    return about and (not change.names or not name or Names.of(change.names).matches(name))


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(old=POLICIES, new=POLICIES)
def test_a_diff_tells_every_right_that_somebody_gains_or_loses(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = inputs(old), inputs(new)
    changes = compare(before, after, now=NOW)
    worlds = [
        [replace(build_world(side, now=NOW), own_rights=own_rights) for side in (before, after)]
        for own_rights in (False, True)
    ]
    for sides, (resource, verb, place, name) in itertools.product(worlds, questions()):
        was, becomes = (seen(world, resource, verb, place, name) for world in sides)
        for gained, objects in ((True, becomes - was), (False, was - becomes)):
            for item in objects:
                told = any(tells(change, resource, verb, place, item) for change in changes if change.gained is gained)
                assert told, (gained, verb, str(resource), place, item, [str(change) for change in changes])


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(old=POLICIES, new=POLICIES, labels=LABELS)
@example(
    # What was given where Pod Security enforces is given anywhere, as far as the client's own RBAC does.
    old=policy(rule("create", "pods", namespaces=["team-*"])),
    new=policy(rule("create", "pods", namespaces=["team-*"], fromRBAC=True, allowPrivilegedWorkloads=True)),
    labels={},
)
def test_a_diff_misses_no_namespace_that_no_file_describes(
    old: dict[str, Any], new: dict[str, Any], labels: dict[str, str]
) -> None:
    before, after = (
        sort_documents(Document(source="test", body=item) for item in (body, *ROLES)) for body in (old, new)
    )
    told = {
        (change.gained, verb, what)
        for change in compare(before, after, now=NOW)
        for verb in change.verbs
        for what in change.whats
    }
    real = {name: Namespace(name=name, labels=labels) for name in ("team-a", "team-b-prod", "b-prod", "other")}
    worlds = [
        [
            World.build(
                side.compiled(now=NOW),
                namespaces=real,
                served=SERVED,
                now=NOW,
                cluster=side.cluster,
                own_rights=own_rights,
            )
            for side in (before, after)
        ]
        for own_rights in (False, True)
    ]
    for sides, (resource, verb, place, name) in itertools.product(worlds, questions(tuple(real))):
        was, becomes = (seen(world, resource, verb, place, name) for world in sides)
        if becomes - was:
            assert (True, verb, str(resource)) in told, (place, labels)
        if was - becomes:
            assert (False, verb, str(resource)) in told, (place, labels)


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(body=POLICIES)
def test_a_diff_of_a_policy_with_itself_is_empty(body: dict[str, Any]) -> None:
    assert compare(inputs(body), inputs(body), now=NOW) == []


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(asked=st.lists(st.sampled_from(questions(("team-a", "team-b"))), min_size=1, max_size=6, unique=True))
def test_a_suggestion_allows_what_was_asked_and_nothing_else(asked: list[tuple[ResourceName, str, str, str]]) -> None:
    lines = [_line(resource.request(verb, namespace=place, name=name)) for resource, verb, place, name in asked]
    (suggestion,) = suggest(lines, served=SERVED, names=False, now=NOW)
    world = build_world(
        sort_documents(
            [
                Document(source="test", body=suggestion.body),
                *(Document(source="test", body=namespace(name, **ENFORCED)) for name in ("team-a", "team-b")),
            ]
        ),
        now=NOW,
    )
    kinds = {(resource, verb, place) for resource, verb, place, _ in asked}
    for resource, verb, place, name in questions(("team-a", "team-b")):
        request = resource.request(verb, namespace=place, name=name)
        allowed = world.decide(request, client=lines[0].client).allowed
        if (resource, verb, place, name) in asked:
            assert allowed, (str(resource), verb, place)
        if (resource, verb, place) not in kinds:
            assert not allowed, (str(resource), verb, place)


@pytest.mark.parametrize("folder", ["policies", "demo"])
def test_the_pod_s_rbac_covers_whatever_the_examples_give(folder: str) -> None:
    given_inputs = read_inputs([str(EXAMPLES / folder), str(EXAMPLES / "demo" / "namespaces.yaml")])
    world = build_world(given_inputs, now=NOW)
    policies = [item for item in world.snapshot.policies.values() if isinstance(item, CompiledPolicy)]
    known = dict(world.snapshot.namespaces)
    whole = Inputs(policies=given_inputs.policies, namespaces=known)
    found = server_rbac(policies, inputs=whole, environment=Environment(), across_namespaces=False)
    subjects = [client_of(subject) for subject in subjects_of(policies)]
    for name, client, verb in itertools.product(sorted(SERVED), subjects, ("get", "list", "create", "patch", "delete")):
        if verb not in SERVED.verbs(name):
            continue
        places = [""] if SERVED.scope(name) is Scope.CLUSTER else ["shop", "billing", "team-a"]
        for place in places:
            request = name.request(verb, namespace=place, name="" if verb in {"list", "create"} else "web")
            decision = world.decide(request, client=client)
            # Kubernetes' own system:basic-user lets everyone ask about themselves.
            given_to_all = is_review_about_oneself(request) or decision.reason is Reason.NAMESPACE_VISIBLE
            if decision.allowed and not given_to_all:
                assert _holds(found.objects, request), (request, client.username)


def _line(request: RequestInfo) -> AuditedRequest:
    return AuditedRequest(
        time=NOW,
        client=Client(username="system:serviceaccount:agents:bot"),
        tool=Tool.KUBECTL,
        method={"create": "POST", "patch": "PATCH", "delete": "DELETE"}.get(request.verb, "GET"),
        target="/",
        request=request,
        verdict=Verdict.DENY,
        reason=Reason.NOT_ALLOWED,
        policy="",
        rule="",
    )


def _holds(objects: tuple[dict[str, Any], ...], request: RequestInfo) -> bool:
    """RBAC's own decision about the pod."""
    roles = {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in objects}
    for item in objects:
        where = item["metadata"].get("namespace", "")
        if "roleRef" not in item or where not in ("", request.namespace):
            continue
        kind = item["roleRef"]["kind"]
        role = roles[kind, "" if kind == "ClusterRole" else where, item["roleRef"]["name"]]
        for held in role["rules"]:
            if (
                request.api_group in held.get("apiGroups", ())
                and request.full_resource in held["resources"]
                and request.verb in held["verbs"]
                and request.name in held.get("resourceNames", [request.name])
            ):
                return True
    return False
