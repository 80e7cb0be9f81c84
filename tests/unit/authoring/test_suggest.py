"""`policy suggest`: the least policies for what an audit log shows, and rules that nobody used."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s_mcp_server.policy.decision import Decision, Reason, RuleRef, Verdict
from k8s_mcp_server.policy.identity import Authenticator, Client
from k8s_mcp_server.policy.request import RequestInfo
from tests.support.audited import ALLOWED, BOT, DEPLOYMENT, PODS, log, record
from tests.support.policy_commands import policy, rule, run, write

pytestmark = pytest.mark.unit


def rules(path: Path, *more: str) -> list[dict[str, Any]]:
    """The rules suggested for the only client."""
    (found,) = run("policy", "suggest", path, *more, "-o", "json").value
    suggested: list[dict[str, Any]] = found["policy"]["spec"]["rules"]
    return suggested


def core(verbs: list[str], resources: list[str], **fields: Any) -> dict[str, Any]:
    """A rule about the core group in shop."""
    return {"namespaces": ["shop"], "apiGroups": [""], "resources": resources, **fields, "verbs": verbs}


def test_what_is_suggested_is_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    log_subresource = replace(PODS, subresource="log")
    path = log(
        tmp_path / "a.log", record(PODS, ALLOWED), record(replace(PODS, verb="list", name="")), record(log_subresource)
    )
    assert rules(path) == [core(["get", "list"], ["pods"]), core(["get"], ["pods/log"])]


def test_the_suggestion_passes_the_check_and_allows_the_requests(tmp_path: Path) -> None:
    path = log(tmp_path / "a.log", record(PODS), record(DEPLOYMENT, method="PATCH"))
    answer = run("policy", "suggest", path)
    suggested = tmp_path / "suggested.yaml"
    suggested.write_text(answer.out, encoding="utf-8")
    assert run("policy", "check", suggested).code == 0
    assert "agents/bot" in run("policy", "who-can", "get", "pods", "-n", "shop", suggested).out
    assert run("policy", "who-can", "delete", "pods", "-n", "shop", suggested).out.startswith("nobody")


def test_equal_rules_of_several_namespaces_are_one(tmp_path: Path) -> None:
    path = log(tmp_path / "a.log", record(PODS), record(replace(PODS, namespace="shop-dev")))
    assert rules(path) == [{**core(["get"], ["pods"]), "namespaces": ["shop", "shop-dev"]}]


def test_sensitive_resources_are_held_to_their_names(tmp_path: Path) -> None:
    path = log(tmp_path / "a.log", record(replace(PODS, resource="secrets", name="tls")))
    assert rules(path) == [core(["get"], ["secrets"], resourceNames=["tls"])]


def test_names_are_held_to_when_asked(tmp_path: Path) -> None:
    path = log(tmp_path / "a.log", record(PODS), record(replace(PODS, verb="list", name="")))
    assert rules(path, "--names") == [core(["list"], ["pods"]), core(["get"], ["pods"], resourceNames=["web-0"])]


@pytest.mark.parametrize(
    ("method", "target", "verbs"),
    [
        pytest.param("PATCH", "/x?fieldManager=kubectl", ["patch"], id="patch"),
        pytest.param("PATCH", "/x?fieldManager=kubectl&force=false", ["create", "patch"], id="server-side apply"),
    ],
)
def test_what_may_create_needs_create(tmp_path: Path, method: str, target: str, verbs: list[str]) -> None:
    path = log(tmp_path / "a.log", record(DEPLOYMENT, method=method, target=target))
    assert [item["verbs"] for item in rules(path)] == [verbs]


def test_exec_needs_create_however_it_connects(tmp_path: Path) -> None:
    path = log(tmp_path / "a.log", record(replace(PODS, subresource="exec")))
    assert rules(path) == [core(["create"], ["pods/exec"])]


def test_cluster_scoped_resources_and_paths_have_their_scope(tmp_path: Path) -> None:
    nodes = replace(PODS, resource="nodes", namespace="", name="", verb="list")
    metrics = RequestInfo(is_resource_request=False, path="/metrics", verb="get")
    assert rules(log(tmp_path / "a.log", record(nodes), record(metrics))) == [
        {"clusterScoped": True, "apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ]


def test_discovery_and_the_namespace_itself_need_no_rule(tmp_path: Path) -> None:
    discovery = RequestInfo(is_resource_request=False, path="/apis", verb="get")
    itself = replace(PODS, resource="namespaces", name="shop")
    assert rules(log(tmp_path / "a.log", record(discovery), record(itself), record(PODS))) == [core(["get"], ["pods"])]


def test_a_list_of_all_namespaces_is_given_where_the_client_works(tmp_path: Path) -> None:
    everywhere = replace(PODS, verb="list", namespace="", name="")
    path = log(tmp_path / "a.log", record(everywhere), record(PODS))
    assert rules(path) == [core(["get", "list"], ["pods"])]
    assert "# list pods was asked for in all namespaces; it is given for shop\n" in run("policy", "suggest", path).out


@pytest.mark.parametrize(
    ("request_", "note"),
    [
        pytest.param(
            replace(PODS, verb="create", api_group="authentication.k8s.io", resource="tokenreviews", namespace=""),
            "reviews about other identities are never allowed",
            id="never",
        ),
        pytest.param(replace(PODS, namespace="k8s-mcp-system"), "out of reach for everyone", id="own namespace"),
        pytest.param(replace(PODS, verb="impersonate"), "impersonation is never allowed", id="impersonate"),
    ],
)
def test_what_no_policy_can_give_is_said(tmp_path: Path, request_: RequestInfo, note: str) -> None:
    answer = run("policy", "suggest", log(tmp_path / "a.log", record(request_)))
    assert note in answer.out
    assert "nothing to give" in answer.out


def test_what_a_deny_takes_is_said_and_no_rule_is_suggested_for_it(tmp_path: Path) -> None:
    taken = Decision(verdict=Verdict.DENY, reason=Reason.DENIED_BY_RULE)
    path = log(tmp_path / "a.log", record(PODS), record(replace(PODS, resource="configmaps"), taken))
    answer = run("policy", "suggest", path)
    assert "was denied by a deny, and what a deny takes no rule gives" in answer.out
    assert [rule["resources"] for rule in yaml.safe_load(answer.out)["spec"]["rules"]] == [["pods"]]


def test_workloads_without_pod_security_are_told_what_they_need(tmp_path: Path) -> None:
    refused = Decision(verdict=Verdict.DENY, reason=Reason.PRIVILEGED_WORKLOAD)
    answer = run("policy", "suggest", log(tmp_path / "a.log", record(DEPLOYMENT, refused, method="PATCH")))
    assert "# workloads in shop need its label pod-security.kubernetes.io/enforce" in answer.out
    assert "allowPrivilegedWorkloads:" not in yaml.safe_dump(yaml.safe_load(answer.out))


def test_each_client_gets_a_policy_and_one_can_be_chosen(tmp_path: Path) -> None:
    developer = Client(username="oidc:dev-1", authenticator=Authenticator.OIDC)
    path = log(tmp_path / "a.log", record(PODS), record(PODS, client=developer))
    found = run("policy", "suggest", path, "-o", "json").value
    assert [item["policy"]["spec"]["subjects"] for item in found] == [
        [{"kind": "User", "name": "oidc:dev-1"}],
        [{"kind": "ServiceAccount", "namespace": "agents", "name": "bot"}],
    ]
    (chosen,) = run("policy", "suggest", path, "--as", "serviceaccount:agents/bot", "-o", "json").value
    assert chosen["client"] == BOT.username


def test_a_log_without_requests_exits_2(tmp_path: Path) -> None:
    answer = run("policy", "suggest", log(tmp_path / "a.log"))
    assert (answer.code, "no requests" in answer.err) == (2, True)


def test_a_line_that_only_looks_like_the_log_exits_2_and_says_which(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text('x\n{"kind": "Request", "attributes": {"verb": "get"}}\n', encoding="utf-8")
    answer = run("policy", "suggest", path)
    assert (answer.code, "a.log:2: " in answer.err) == (2, True)


class TestUnused:
    """`--unused DAYS`."""

    USED = Decision(
        verdict=Verdict.EXACT,
        reason=Reason.ALLOWED_BY_RULE,
        matched=RuleRef(policy="sample", uid="", resource_version="", rule="read"),
    )

    def policies(self, tmp_path: Path) -> Path:
        return write(tmp_path / "a.yaml", policy(rule(name="read"), rule("delete", name="remove")))

    def test_rules_that_allowed_nothing_are_listed(self, tmp_path: Path) -> None:
        path = log(tmp_path / "a.log", record(PODS, self.USED))
        answer = run("policy", "suggest", path, "--unused", "30", "--policies", self.policies(tmp_path))
        assert answer.out.splitlines()[:2] == [
            "POLICY   RULE     LAST USED",
            "sample   remove   never in this log",
        ]
        assert "The log begins at" in answer.out

    def test_a_rule_used_too_long_ago_is_listed_with_its_time(self, tmp_path: Path) -> None:
        path = log(tmp_path / "a.log", record(PODS, self.USED), age=timedelta(days=40))
        words = ("--unused", "30", "--policies", self.policies(tmp_path), "-o", "json")
        values = run("policy", "suggest", path, *words).value
        assert [(item["rule"], bool(item["lastUsed"])) for item in values["unused"]] == [
            ("read", True),
            ("remove", False),
        ]

    def test_a_log_of_denials_only_says_nothing_and_exits_2(self, tmp_path: Path) -> None:
        path = log(tmp_path / "a.log", record(PODS))
        answer = run("policy", "suggest", path, "--unused", "30", "--policies", self.policies(tmp_path))
        assert (answer.code, "audit_requests: All" in answer.err) == (2, True)

    def test_without_policies_there_is_nothing_to_compare(self, tmp_path: Path) -> None:
        path = log(tmp_path / "a.log", record(PODS, self.USED))
        assert run("policy", "suggest", path, "--unused", "30").code == 2
