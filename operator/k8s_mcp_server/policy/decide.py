"""The decision: one request of one client, answered from one snapshot, in the order that the specification gives.

Pure: the same arguments give the same answer, whatever the order of policies. Each step either answers or leaves the
request to the next; what no step allows is denied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from k8s_mcp_server.policy import explain
from k8s_mcp_server.policy.argocd_projects import allow_project_list, allow_visible_project
from k8s_mcp_server.policy.audit import pass_under_audit
from k8s_mcp_server.policy.case import Case, DecisionContext, allow, allow_cut, allow_dry_run, reference, refusal
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.compile import CompiledPolicy, Mode
from k8s_mcp_server.policy.cuts import DenyCut, NamespaceCut, ObjectCut
from k8s_mcp_server.policy.decision import Decision, ListCut, Reason, RuleRef, Verdict
from k8s_mcp_server.policy.dry_run import has_dry_run, may_change
from k8s_mcp_server.policy.matching import Fit, Question, deny_takes, narrows_namespace, rule_gives
from k8s_mcp_server.policy.nearest import nearest
from k8s_mcp_server.policy.next_command import next_command
from k8s_mcp_server.policy.refuse import refuse, why_inactive
from k8s_mcp_server.policy.scopes import NamespaceLabels
from k8s_mcp_server.policy.sensitive import is_review_about_oneself, why_never
from k8s_mcp_server.policy.virtual import scope_of

if TYPE_CHECKING:
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.rules import Rule

__all__ = ["DecisionContext", "allows", "decide", "decide_denies", "depends_on_rbac", "why_withheld"]

Step: TypeAlias = Callable[[Case], Decision | None]

_DISCOVERY_PATHS = frozenset({"/api", "/apis", "/openapi/v2", "/openapi/v3", "/version"})
_DISCOVERY_PREFIXES = ("/api/", "/apis/", "/openapi/v3/")


def decide(request: RequestInfo, context: DecisionContext) -> Decision:
    """Whether the client may make the request with the tool, and why."""
    case = Case.of(request, context)
    confirms = partial(allows, context=context)
    decision = _judge(case) or refuse(case, nearest=nearest(case, allows=confirms))
    if decision.allowed or decision.reason is Reason.SNAPSHOT_STALE:
        return decision
    return replace(decision, next_command=next_command(case, allows=confirms))


def decide_denies(request: RequestInfo, context: DecisionContext) -> Decision:
    """Whether any deny takes the request, for what is given under another name: a release is a Secret, too.

    No answer of this function gives anything: whether a rule does is asked about that other name.
    """
    case = Case.of(request, context)
    withheld = _first(_WITHHOLDING, case)
    if withheld is not None:
        return withheld
    if case.has_untold_deny:
        return refuse(case, nearest=())
    if case.narrowing and case.question is not None:
        return allow_cut(DenyCut(denies=tuple(case.narrowing), known=case.question.known), matched=None)
    return allow(None, message="No deny takes it.")


def why_withheld(request: RequestInfo, context: DecisionContext) -> Decision | None:
    """What says no to a request that a right of another name gives whole; None when nothing does.

    A deny that would take part of a list takes all of it here: nobody cuts the answer.
    """
    decision = decide_denies(request, context)
    if not decision.allowed:
        return decision
    if decision.verdict is Verdict.FILTERED:
        return refusal(Reason.DENIED_BY_RULE, explain.withheld(context.client, request))
    return None


def depends_on_rbac(request: RequestInfo, context: DecisionContext) -> bool:
    """Whether the answer depends on what the cluster's RBAC gives the client, which is to be looked up then."""
    case = Case.of(request, context)
    if not case.policies.use_rbac:
        return False
    rules = [rule for _, rule in case.rules() if rule.from_rbac]
    if not rules or _find_scope(case) is not None or case.question is None:
        return False
    question = replace(case.question, in_rbac=True)
    return any(isinstance(rule_gives(rule, question), Fit) for rule in rules)


def _judge(case: Case) -> Decision | None:
    """What the first step says that says anything; None when nothing allows the request."""
    withheld = _first(_WITHHOLDING, case) or _check_active(case)
    if withheld is not None or case.has_untold_deny:
        return withheld
    return _first(_GIVING, case)


def _first(steps: Sequence[Step], case: Case) -> Decision | None:
    for step in steps:
        decision = step(case)
        if decision is not None:
            return decision
    return None


def allows(request: RequestInfo, *, context: DecisionContext) -> bool:
    """As ``decide``, without the words: for those who ask about many requests."""
    decision = _judge(Case.of(request, context))
    return decision is not None and decision.verdict in {Verdict.EXACT, Verdict.FILTERED}


def _check_freshness(case: Case) -> Decision | None:
    age, limit = case.context.snapshot_age, case.context.environment.max_snapshot_age
    if age <= limit:
        return None
    return refusal(Reason.SNAPSHOT_STALE, explain.stale(age, limit=limit))


def _check_named(case: Case) -> Decision | None:
    if case.policies.named:
        return None
    return refusal(Reason.NO_POLICY, explain.no_policy(case.context.client))


def _check_blocked(case: Case) -> Decision | None:
    """Order, 1: ``block``, and invalid policies that may hold a deny."""
    refusing = case.policies.refusing
    if not refusing:
        return None
    blocking = tuple(policy for policy in refusing if policy.block)
    reason = Reason.BLOCKED if blocking else Reason.POLICY_INVALID
    shown = blocking or refusing
    message = explain.refusing(case.context.client, shown, reason=reason)
    return refusal(reason, message, matched=reference(shown[0], rule=""))


def _check_never(case: Case) -> Decision | None:
    """What no policy can give."""
    request, environment = case.request, case.context.environment
    if not request.is_resource_request:
        return None
    own = environment.own_namespace
    if own and own in (request.namespace, _namespace_object(request)):
        why, reason = "this service's own namespace is out of reach for everyone", Reason.OWN_NAMESPACE
    else:
        why, reason = why_never(request, environment), Reason.NEVER_ALLOWED
    return refusal(reason, explain.never(case.context.client, request, why=why)) if why else None


def _find_scope(case: Case) -> Decision | None:
    """What discovery says about the resource; a request that does not fit its scope has no meaning."""
    request, context = case.request, case.context
    if not request.verb:
        return refusal(Reason.MALFORMED_REQUEST, explain.malformed(context.client, request))
    if not request.is_resource_request:
        return None
    scope = scope_of(context.catalog, group=request.api_group, resource=request.resource)
    if scope is None:
        return refusal(Reason.UNKNOWN_RESOURCE, explain.unknown_resource(context.client, request))
    case.question = Question.of(
        request,
        scope=scope,
        known=context.snapshot.namespaces,
        environment=context.environment,
        in_rbac=context.rights.allow(request),
    )
    if _is_misplaced(case.question):
        return refusal(Reason.MALFORMED_REQUEST, explain.malformed(context.client, request))
    return None


def _check_denies(case: Case) -> Decision | None:
    """Order, 2: any deny of any policy that names the client. What takes part of a list is kept for the cut."""
    for policy, deny in case.policies.denies:
        if case.question is None:
            taken = Fit.WHOLE if deny.is_about_path(case.request) else None
        else:
            taken = deny_takes(deny, case.question)
        if taken is Fit.WHOLE and _would_tell_labels(case, deny):
            case.has_untold_deny = True
            continue  # it is refused all the same, and in words that do not tell the namespace's labels
        if taken is Fit.WHOLE:
            message = explain.denied(case.context.client, case.request, policy, rule=deny.name)
            return refusal(Reason.DENIED_BY_RULE, message, matched=reference(policy, rule=deny.name))
        if taken is Fit.PART:
            case.narrowing.append(deny)
    return None


def _would_tell_labels(case: Case, deny: Rule) -> bool:
    """Whether naming the deny would tell a client about the labels of a namespace that it cannot see."""
    question = case.question
    if question is None or question.scope is not Scope.NAMESPACED or not isinstance(deny.scope, NamespaceLabels):
        return False
    if not case.request.namespace or case.rule_in(case.request.namespace) is not None:
        return False
    return not any(isinstance(rule_gives(rule, question), Fit) for _, rule in case.rules())


def _check_active(case: Case) -> Decision | None:
    """Some policy must count for this command before anything is given, discovery included."""
    if case.giving:
        return None
    return why_inactive(case)


def _allow_discovery(case: Case) -> Decision | None:
    request = case.request
    if request.is_resource_request or request.verb != "get":
        return None
    if request.path not in _DISCOVERY_PATHS and not request.path.startswith(_DISCOVERY_PREFIXES):
        return None
    return allow(None, reason=Reason.ALWAYS_ALLOWED, message="Everyone with a policy may read this.")


def _allow_own_review(case: Case) -> Decision | None:
    if not is_review_about_oneself(case.request):
        return None
    return allow(None, reason=Reason.ALWAYS_ALLOWED, message="Everyone with a policy may ask about itself.")


def _allow_path(case: Case) -> Decision | None:
    if case.question is not None:
        return None
    found = [(policy, rule) for policy, rule in case.rules() if rule.is_about_path(case.request)]
    return _allow_strictest(case, found) if found else None


def _allow_strictest(case: Case, found: Sequence[tuple[CompiledPolicy, Rule]]) -> Decision:
    """Allow what these rules give, in the strictest mode of their policies."""
    dry = [(policy, rule) for policy, rule in found if policy.mode is Mode.DRY_RUN]
    if not dry or not may_change(case.request):
        policy, rule = found[0]
        return allow(reference(policy, rule=rule.name))
    policy, rule = dry[0]
    matched = reference(policy, rule=rule.name)
    if not has_dry_run(case.request, case.context.catalog):
        message = explain.no_dry_run(case.context.client, case.request, policy)
        return refusal(Reason.NO_DRY_RUN, message, matched=matched)
    return allow_dry_run(matched)


def _allow_by_rules(case: Case) -> Decision | None:
    """Order, 3: a rule gives it."""
    question = case.question
    if question is None:
        return None
    found = [(policy, rule, fit) for policy, rule in case.rules() if isinstance(fit := rule_gives(rule, question), Fit)]
    if not found:
        return None
    whole = [(policy, rule) for policy, rule, fit in found if fit is Fit.WHOLE]
    if whole and not case.narrowing:
        return _allow_strictest(case, whole)
    policy, rule = whole[0] if whole else found[0][:2]
    cut = ObjectCut(
        rules=tuple(rule for _, rule, _ in found),
        denies=tuple(case.narrowing),
        known=question.known,
        environment=question.environment,
    )
    return _cut(case, cut, matched=reference(policy, rule=rule.name))


def _allow_namespace_list(case: Case) -> Decision | None:
    """Namespaces themselves are listed as far as the client may see them."""
    question = case.question
    if question is None or not question.is_namespace_list:
        return None
    giving = [(policy, rule) for policy, rule in case.rules() if isinstance(rule_gives(rule, question), Fit)]
    names = [rule.resource_names for _, rule in giving]

    def visible(name: str) -> bool:
        if name == question.environment.own_namespace or any(
            narrows_namespace(item, name, question) for item in case.narrowing
        ):
            return False
        listed = any(item is None or item.matches(name) for item in names)
        return listed or case.rule_in(name) is not None

    if giving:
        policy, rule = giving[0]
        return _cut(case, NamespaceCut(visible=visible), matched=reference(policy, rule=rule.name))
    matched = case.first_namespace_rule()
    if matched is None:
        return None
    return _cut(case, NamespaceCut(visible=visible), matched=matched, reason=Reason.NAMESPACE_VISIBLE)


def _allow_visible_namespace(case: Case) -> Decision | None:
    """The object ``namespaces/X`` is readable where the client has any rule in X."""
    request = case.request
    name = _namespace_object(request)
    if request.verb != "get" or request.subresource or not name:
        return None
    matched = case.rule_in(name)
    return allow(matched, reason=Reason.NAMESPACE_VISIBLE) if matched else None


def _cut(case: Case, cut: ListCut, *, matched: RuleRef, reason: Reason = Reason.ALLOWED_BY_RULE) -> Decision:
    """Allow a list that is cut, unless nobody could cut it."""
    if case.request.upgrade:
        return refusal(Reason.NOT_ALLOWED, explain.uncuttable(case.context.client, case.request))
    return allow_cut(cut, matched=matched, reason=reason)


def _namespace_object(request: RequestInfo) -> str:
    """The name of the namespace that is itself the object asked for; empty for anything else."""
    return request.name if request.resource == "namespaces" and not request.api_group else ""


def _is_misplaced(question: Question) -> bool:
    """Whether the request is not where its resource lives: such a path names nothing that the API serves."""
    request = question.request
    if question.scope is Scope.NAMESPACED:
        return not request.namespace and not question.is_collection_read
    return bool(request.namespace) and not (question.is_about_namespaces and request.namespace == request.name)


_WITHHOLDING: tuple[Step, ...] = (
    _check_freshness,
    _check_named,
    _check_blocked,
    _check_never,
    _find_scope,
    _check_denies,
)
_GIVING: tuple[Step, ...] = (
    _allow_discovery,
    _allow_own_review,
    _allow_path,
    _allow_namespace_list,
    allow_project_list,
    _allow_by_rules,
    _allow_visible_namespace,
    allow_visible_project,
    pass_under_audit,
)
