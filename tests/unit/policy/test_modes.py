"""Enforce, DryRun and Audit: what each does, and which of them wins."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from k8s_mcp_server.policy.access import effective_access, only_dry_runs
from k8s_mcp_server.policy.compile import CompiledPolicy, InvalidPolicy, Mode, read_policy
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from tests.support.asking import CATALOG, NAMESPACES, ask, body, context, policy, rule, seen

pytestmark = pytest.mark.unit

AUDITED = datetime(2026, 1, 15, tzinfo=UTC)
EXPIRED = datetime(2026, 2, 15, tzinfo=UTC)
EVERYTHING = rule("get list watch", "*", groups="*", namespaces=["*"])


def dry(*rules: dict[str, Any], name: str = "dry", **spec: Any) -> CompiledPolicy:
    return policy(name, *rules, mode="DryRun", **spec)


def audit(*rules: dict[str, Any], name: str = "audit", **spec: Any) -> CompiledPolicy:
    return policy(name, *rules, mode="Audit", **{"expiresAfter": "720h", **spec})


class TestDryRun:
    WRITE = "patch configmaps x -n team-a"
    RULE = rule("*", "configmaps")

    def test_a_write_is_made_a_dry_run_and_a_read_is_not(self) -> None:
        assert ask(self.WRITE, dry(self.RULE)).dry_run
        decision = ask("get configmaps x -n team-a", dry(self.RULE))
        assert (decision.verdict, decision.dry_run) == (Verdict.EXACT, False)

    def test_what_no_rule_allows_is_denied_as_ever(self) -> None:
        assert ask("patch configmaps x -n team-b", dry(self.RULE)).reason is Reason.NOT_ALLOWED

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_the_strictest_of_the_policies_that_allow_it_wins(self, order: tuple[int, ...]) -> None:
        policies = [policy("a", self.RULE), dry(self.RULE), policy("z", self.RULE)]
        decision = ask(self.WRITE, *(policies[place] for place in order))
        assert decision.dry_run
        assert decision.matched is not None
        assert decision.matched.policy == "dry"

    def test_a_policy_that_does_not_allow_it_does_not_make_it_a_dry_run(self) -> None:
        decision = ask(self.WRITE, policy("a", self.RULE), dry(rule("*", "services")))
        assert (decision.allowed, decision.dry_run) == (True, False)

    @pytest.mark.parametrize(
        "state", [{"suspend": True}, {"expiresAt": "2026-01-02T00:00:00Z"}], ids=["suspended", "expired"]
    )
    def test_a_policy_that_is_not_active_makes_nothing_a_dry_run(self, state: dict[str, Any]) -> None:
        decision = ask(self.WRITE, policy("a", self.RULE), dry(self.RULE, **state))
        assert (decision.allowed, decision.dry_run) == (True, False)

    @pytest.mark.parametrize(
        ("text", "given"),
        [
            pytest.param("create pods/exec x -n team-a", "pods/exec", id="exec"),
            pytest.param("create pods/portforward x -n team-a", "pods/portforward", id="port-forward"),
            pytest.param("get pods/proxy x -n team-a", "pods/proxy", id="a GET through a proxy"),
            pytest.param("get services/proxy x -n team-a", "services/proxy", id="a GET through a Service"),
            pytest.param("create serviceaccounts/token x -n team-a", "serviceaccounts/token", id="a token"),
            pytest.param("create pods/binding x -n team-a", "pods/binding", id="a binding"),
            pytest.param("create bindings -n team-a", "bindings", id="a binding the older way"),
        ],
    )
    def test_what_has_no_dry_run_is_refused_also_where_another_policy_allows_it(self, text: str, given: str) -> None:
        give = rule("*", given)
        decision = ask(text, policy("a", give), dry(give), audiences=("elsewhere",))
        assert (decision.verdict, decision.reason) == (Verdict.DENY, Reason.NO_DRY_RUN)
        assert "policy dry allows only dry runs" in decision.message

    def test_an_aggregated_api_has_no_dry_run_and_a_custom_resource_has(self) -> None:
        give = rule("*", "pods widgets", groups="metrics.k8s.io acme.example")
        aggregated = ask("delete pods.metrics.k8s.io x -n team-a", dry(give))
        assert aggregated.reason is Reason.NO_DRY_RUN
        for custom, reason in ((True, Reason.ALLOWED_BY_RULE), (False, Reason.NO_DRY_RUN)):
            catalog = _with_widgets(custom=custom)
            assert ask("delete widgets.acme.example x -n team-a", dry(give), catalog=catalog).reason is reason

    @pytest.mark.parametrize(
        "text",
        [
            "create deployments.apps -n team-a",
            "update deployments.apps/scale x -n team-a",
            "patch deployments.apps/status x -n team-a",
            "delete pods x -n team-a",
            "deletecollection pods -n team-a",
            "create pods/eviction x -n team-a",
        ],
    )
    def test_what_the_api_server_stores_itself_has_one(self, text: str) -> None:
        give = rule("*", "deployments deployments/scale deployments/status pods pods/eviction", groups="- apps")
        assert ask(text, dry(give)).dry_run

    def test_a_write_to_a_path_is_refused(self) -> None:
        paths = {"nonResourceURLs": ["/metrics"], "verbs": ["get", "post"]}
        assert ask("post /metrics", dry(paths)).reason is Reason.NO_DRY_RUN
        assert ask("get /metrics", dry(paths)).allowed

    def test_a_client_of_nothing_but_dry_runs_is_known_before_it_asks(self) -> None:
        assert only_dry_runs(context([dry(self.RULE)]))
        assert not only_dry_runs(context([dry(self.RULE), policy("a", self.RULE)]))
        assert not only_dry_runs(context([]))


class TestAudit:
    def asked(self, text: str, *policies: Any, **more: Any) -> Decision:
        return ask(text, *policies, **{"now": AUDITED, **more})

    def test_a_read_that_no_rule_allows_passes_and_says_what_it_would_have_been(self) -> None:
        decision = self.asked("get configmaps x -n team-b", audit(rule("get", "pods")))
        assert (decision.verdict, decision.reason, decision.allowed) == (Verdict.AUDIT, Reason.NOT_ALLOWED, True)
        assert decision.message.startswith("Would be denied: ")
        assert decision.matched is not None
        assert decision.matched.policy == "audit"

    def test_what_a_rule_allows_is_as_in_mode_enforce(self) -> None:
        give = rule("*", "configmaps")
        assert self.asked("get configmaps x -n team-a", audit(give)).verdict is Verdict.EXACT
        assert self.asked("delete configmaps x -n team-a", audit(give)).verdict is Verdict.EXACT
        assert self.asked("list configmaps", audit(give)).verdict is Verdict.FILTERED

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("get secrets x -n team-b", id="sensitive: a Secret"),
            pytest.param("list secrets", id="sensitive: all Secrets"),
            pytest.param("get roles.rbac.authorization.k8s.io x -n team-b", id="sensitive: RBAC"),
            pytest.param("create pods/exec x -n team-b", id="sensitive: exec"),
            pytest.param("get pods/proxy x -n team-b", id="sensitive: a proxy"),
            pytest.param("create configmaps -n team-b", id="a create"),
            pytest.param("patch configmaps x -n team-b", id="a patch"),
            pytest.param("delete configmaps x -n team-b", id="a delete"),
            pytest.param("deletecollection configmaps -n team-b", id="a deletecollection"),
            pytest.param("post /metrics", id="a write to a path"),
            pytest.param("get pods x -n kube-system", id="kube-system"),
            pytest.param("list pods -n argocd", id="a protected namespace"),
            pytest.param("get namespaces kube-system", id="the object of a protected namespace"),
            pytest.param("get pods x -n k8s-mcp-system", id="our own namespace"),
            pytest.param("get pods x -n unknown", id="a namespace that is not known"),
            pytest.param("get gadgets.acme.example x -n team-b", id="a resource that is not known"),
            pytest.param("create subjectaccessreviews.authorization.k8s.io", id="never: reviews about others"),
        ],
    )
    def test_the_floor_holds(self, text: str) -> None:
        assert self.asked(text, audit(rule("get", "pods"))).verdict is Verdict.DENY

    def test_an_upgraded_read_is_below_the_floor(self) -> None:
        assert not self.asked("watch pods -n team-b", audit(), upgrade=True).allowed

    @pytest.mark.parametrize(
        ("text", "form"),
        [pytest.param("list pods", "{}/x", id="pods"), pytest.param("list namespaces", "/{}", id="namespaces")],
    )
    def test_a_list_of_all_namespaces_is_cut_to_the_floor(self, text: str, form: str) -> None:
        decision = self.asked(text, audit())
        open_ones = [form.format(name) for name in ("team-a", "team-a-test", "team-b", "default")]
        assert decision.verdict is Verdict.AUDIT
        assert seen(decision, *map(form.format, NAMESPACES)) == open_ones

    def test_a_list_of_the_cluster_is_whole(self) -> None:
        decision = self.asked("list nodes", audit())
        assert (decision.verdict, decision.cut) == (Verdict.AUDIT, None)

    def test_denies_hold_and_cut(self) -> None:
        denying = audit(deny=[rule("*", "pods"), rule("*", "nodes", clusterScoped=True, resourceNames=["n1"])])
        assert self.asked("get pods x -n team-a", denying).reason is Reason.DENIED_BY_RULE
        assert seen(self.asked("list pods", denying), "team-a/x", "team-b/x") == ["team-b/x"]
        assert seen(self.asked("list nodes", denying), "/n1", "/n2") == ["/n2"]
        hidden = audit(deny=[rule("*", "*", groups="*", namespaces=["team-b"])])
        assert seen(self.asked("list namespaces", hidden), "/team-a", "/team-b") == ["/team-a"]

    def test_a_deny_by_label_holds_where_it_may_not_be_told(self) -> None:
        by_label = audit(deny=[rule("*", "pods", namespaceSelector={"matchLabels": {"team": "b"}})])
        decision = self.asked("get pods x -n team-b", by_label)
        assert (decision.verdict, decision.reason) == (Verdict.DENY, Reason.NOT_ALLOWED)

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(policy("other", rule("get", "services")), id="Enforce"),
            pytest.param(policy("other", rule("get", "services"), suspend=True), id="a suspended Enforce"),
            pytest.param(policy("other", rule("get", "services"), mode="DryRun"), id="DryRun"),
            pytest.param(read_policy(body("other", tools=[])), id="invalid"),
        ],
    )
    def test_one_policy_of_another_mode_ends_it(self, other: Any) -> None:
        for policies in ([audit(), other], [other, audit()]):
            assert self.asked("get configmaps x -n team-b", *policies).verdict is Verdict.DENY

    def test_an_expired_or_suspended_audit_lets_nothing_pass(self) -> None:
        assert not self.asked("get configmaps x -n team-b", audit(), now=EXPIRED).allowed
        assert not self.asked("get configmaps x -n team-b", audit(suspend=True)).allowed
        assert self.asked("get configmaps x -n team-b", audit(suspend=True), audit(name="b")).allowed

    def test_a_stale_snapshot_or_a_block_lets_nothing_pass(self) -> None:
        assert self.asked("get configmaps x -n team-b", audit(), age=31).reason is Reason.SNAPSHOT_STALE
        assert self.asked("get configmaps x -n team-b", audit(block=True)).reason is Reason.BLOCKED

    def test_nothing_is_suggested_that_only_audit_lets_pass(self) -> None:
        decision = self.asked("delete configmaps x -n team-b", audit(rule("delete", "configmaps", namespaces=["none"])))
        assert decision.nearest == ()

    @pytest.mark.parametrize(
        "spec",
        [
            pytest.param({}, id="no expiry"),
            pytest.param({"expiresAt": "2026-01-20T00:00:00Z"}, id="an expiry at a time"),
            pytest.param({"expiresAfter": "720h1s"}, id="more than 30 days"),
        ],
    )
    def test_it_needs_an_expiry_within_30_days_of_creation(self, spec: dict[str, Any]) -> None:
        assert isinstance(read_policy(body("p", EVERYTHING, mode="Audit", **spec)), InvalidPolicy)


@pytest.mark.parametrize(
    ("mode", "words"), [(Mode.DRY_RUN, "mode DryRun: every write"), (Mode.AUDIT, "mode Audit: reads")]
)
def test_check_access_says_the_mode(mode: Mode, words: str) -> None:
    shown = effective_access(context([policy("p", mode=mode.value, expiresAfter="1h")])).render()
    assert words in shown
    assert words not in effective_access(context([policy("p")])).render()


def _with_widgets(*, custom: bool) -> Any:
    from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope

    widgets = ApiResource(
        group="acme.example", resource="widgets", kind="Widget", scope=Scope.NAMESPACED, custom=custom
    )
    return Catalog([*CATALOG, widgets])
