"""`policy explain` with the real kubectl: which requests it makes, without a cluster, and how each is decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devtools.toolchain import ensure_tools
from tests.support.policy_commands import (
    Answer,
    binding,
    crd,
    enforced,
    policy,
    role,
    role_rule,
    rule,
    run,
    write,
)

pytestmark = pytest.mark.integration

READ = rule("get list watch", "pods pods/log services deployments", groups="- apps")
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "example"}]},
        },
    },
}


@pytest.fixture(scope="module")
def tools_dir() -> Path:
    """Where the kubectl of the tests is."""
    return ensure_tools(["kubectl"])["kubectl"].parent


class Explain:
    """The command, with a policy of some rules."""

    def __init__(self, folder: Path, tools_dir: Path) -> None:
        self._folder = folder
        self._tools_dir = tools_dir

    def __call__(self, command: str, *rules: dict[str, Any], more: tuple[object, ...] = (), **spec: Any) -> Answer:
        widgets = crd("widgets", group="example.com", kind="Widget")
        path = write(self._folder / "a.yaml", policy(*(rules or (READ,)), **spec), enforced("team-a"), widgets)
        who = ("--as-group", "oidc:team-a", "-n", "team-a", "--tools-dir", self._tools_dir)
        return run("policy", "explain", command, path, *who, *more)

    def requests(self, command: str, *rules: dict[str, Any], more: tuple[object, ...] = ()) -> list[tuple[str, str]]:
        """Each request but discovery as ``verb resource``, with its verdict."""
        value = self(command, *rules, more=(*more, "-o", "json")).value
        return [
            (f"{item['attributes']['verb']} {item['attributes']['resource']}", item["verdict"])
            for item in value["requests"]
            if item["attributes"]
        ]


@pytest.fixture
def explain(tmp_path: Path, tools_dir: Path) -> Explain:
    """The command."""
    return Explain(tmp_path, tools_dir)


def test_a_command_is_explained_request_by_request(explain: Explain) -> None:
    answer = explain("kubectl delete deployment web", rule("delete get", "deployments", groups="apps", name="tidy"))
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "a member of oidc:team-a: kubectl delete deployment web",
        '  allow     delete deployments.apps "web" in namespace "team-a"  (sample/tidy)',
        '  allow     get deployments.apps "web" in namespace "team-a"  (sample/tidy)',
        "  and 2 requests for discovery, open to every client with a policy",
    ]


def test_a_denied_command_exits_1_and_says_what_is_missing(explain: Explain) -> None:
    answer = explain("kubectl scale deployment web --replicas 2")
    assert answer.code == 1
    assert '  deny      patch deployments.apps/scale "web" in namespace "team-a"  (NotAllowed)' in answer.out
    assert 'Missing: verb "patch" on "deployments/scale" in apiGroup "apps"' in answer.out


@pytest.mark.parametrize(
    ("command", "requests"),
    [
        pytest.param("get pods", [("list pods", "allow")], id="get"),
        pytest.param("get pods -A", [("list pods", "filtered")], id="get everywhere"),
        pytest.param("get pods web -o json | jq .kind", [("get pods", "allow")], id="a pipeline"),
        pytest.param("get secrets", [("list secrets", "deny")], id="secrets"),
        pytest.param(
            "logs deployment/web",
            [("get deployments", "allow"), ("list pods", "allow"), ("get pods/log", "allow")],
            id="logs",
        ),
        pytest.param(
            "exec web -- ls",
            [("get pods", "allow"), ("get pods/exec", "deny"), ("create pods/exec", "deny")],
            id="exec, which tries twice when denied",
        ),
        pytest.param("get widgets", [("list widgets", "deny")], id="a custom resource"),
        pytest.param("get nodes", [("list nodes", "deny")], id="cluster scope"),
    ],
)
def test_the_requests_are_those_that_kubectl_makes(
    explain: Explain, command: str, requests: list[tuple[str, str]]
) -> None:
    assert explain.requests(f"kubectl {command}") == requests


WRITES = rule("get patch create", "deployments pods/exec", groups="- apps")


@pytest.mark.parametrize(
    ("command", "more", "requests"),
    [
        pytest.param("apply -f -", (), ["get deployments", "patch deployments"], id="apply"),
        pytest.param(
            "apply -f -", ("--absent",), ["get deployments", "get namespaces", "create deployments"], id="first apply"
        ),
        pytest.param("apply --server-side -f -", (), ["patch deployments"], id="server-side apply"),
    ],
)
def test_what_a_command_reads_decides_what_it_writes(
    explain: Explain, tmp_path: Path, command: str, more: tuple[str, ...], requests: list[str]
) -> None:
    manifest = write(tmp_path / "web.yaml", DEPLOYMENT)
    found = explain.requests(f"kubectl {command}", WRITES, more=("--input", manifest, *more))
    assert found == [(item, "allow") for item in requests]


def test_server_side_apply_needs_create_as_in_the_service(explain: Explain, tmp_path: Path) -> None:
    manifest = write(tmp_path / "web.yaml", DEPLOYMENT)
    words = "kubectl apply --server-side -f -"
    answer = explain(words, rule("get patch", "deployments", groups="apps"), more=("--input", manifest))
    assert answer.code == 1
    assert 'Missing: verb "create" on "deployments"' in answer.out


def test_exec_makes_one_connection_and_needs_create(explain: Explain) -> None:
    assert explain.requests("kubectl exec web -- ls", READ, WRITES) == [
        ("get pods", "allow"),
        ("get pods/exec", "allow"),
    ]
    assert "(and needs create)" in explain("kubectl exec web -- ls", READ, WRITES).out


def test_everything_that_a_command_needs_is_seen_past_the_first_denial(explain: Explain) -> None:
    nothing = rule("get", "configmaps")
    stopped = explain.requests("kubectl rollout restart deployment web", nothing)
    assert stopped == [("get deployments", "deny")]
    whole = explain("kubectl rollout restart deployment web", nothing, more=("--past-denials", "-o", "json"))
    verdicts = [item["verdict"] for item in whole.value["requests"] if item["attributes"]]
    assert (whole.code, verdicts) == (1, ["deny", "deny"])


def test_a_command_that_kubectl_itself_refuses_is_shown_as_such(explain: Explain) -> None:
    answer = explain("kubectl get pods --no-such-flag")
    assert answer.code == 0
    assert "unknown flag: --no-such-flag" in answer.out


def test_an_expired_policy_gives_nothing_and_says_so(explain: Explain) -> None:
    answer = explain("kubectl get pods", expiresAt="2020-01-01T00:00:00Z")
    assert (answer.code, "PolicyExpired" in answer.out) == (1, True)


def test_a_namespace_that_no_file_has_is_assumed_and_said(explain: Explain) -> None:
    answer = explain("kubectl get pods -n team-b", rule(namespaces=["team-b"]))
    assert "Assumed: namespace team-b exists and has no labels" in answer.out


@pytest.mark.parametrize(
    ("command", "given", "code"),
    [
        pytest.param("get pods", {"roleRef": {"kind": "ClusterRole", "name": "view"}}, 0, id="a role"),
        pytest.param("get secrets", {"roleRef": {"kind": "ClusterRole", "name": "edit"}}, 1, id="what no role brings"),
        pytest.param("get pods", {"fromRBAC": True}, 0, id="own rights"),
        pytest.param("get services", {"fromRBAC": True}, 1, id="own rights that are not there"),
    ],
)
def test_roles_and_own_rights_are_as_the_cluster_s_files_say(
    explain: Explain, tmp_path: Path, command: str, given: dict[str, Any], code: int
) -> None:
    member = {"kind": "Group", "name": "oidc:team-a"}
    held = role("reads-pods", role_rule("get list", "pods secrets"))
    state = write(tmp_path / "state.yaml", held, binding("reads-pods", member, namespace="team-a"))
    scoped = {"namespaces": ["team-a"], **given}
    assert explain(f"kubectl {command}", scoped, more=("--cluster-state", state)).code == code


def test_own_rights_that_no_file_says_are_denied_and_said_to_be_unknown(explain: Explain) -> None:
    answer = explain("kubectl get pods", {"namespaces": ["team-a"], "fromRBAC": True})
    assert answer.code == 1
    assert "(RBACUnavailable)" in answer.out
    assert "  Not known: what the clients' own RBAC gives (sample/rules[0])" in answer.out
