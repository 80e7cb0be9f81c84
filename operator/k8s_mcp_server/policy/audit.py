"""Mode Audit: what would be denied passes and is recorded, down to a floor.

The floor is what a rule about everything would give for reading: nothing sensitive, nothing in protected or unknown
namespaces, no write. Denies were decided before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.case import Case, reference
from k8s_mcp_server.policy.compile import CompiledPolicy, Mode
from k8s_mcp_server.policy.cuts import NamespaceCut, ObjectCut
from k8s_mcp_server.policy.decision import Decision, ListCut, Verdict
from k8s_mcp_server.policy.matching import Fit, Question, narrows_namespace, rule_gives
from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.refuse import refuse
from k8s_mcp_server.policy.rules import Rule
from k8s_mcp_server.policy.scopes import ClusterScope, NamespaceNames, Reach, reach
from k8s_mcp_server.policy.sensitive import READING_VERBS
from k8s_mcp_server.policy.virtual import HELM_GROUP

if TYPE_CHECKING:
    from k8s_mcp_server.policy.scopes import RuleScope

_EVERY_NAMESPACE: Final = NamespaceNames(names=Names.of(["*"]))


def _reads_everything(scope: RuleScope) -> Rule:
    everything = frozenset({"*"})
    return Rule(name="audit", scope=scope, groups=everything, resources=everything, verbs=READING_VERBS)


# Wildcards do not reach virtual resources. Of Helm's releases only the metadata is not sensitive.
_READS_RELEASES: Final = Rule(
    name="audit",
    scope=_EVERY_NAMESPACE,
    groups=frozenset({HELM_GROUP}),
    resources=frozenset({"releases"}),
    verbs=READING_VERBS,
)
_FLOOR: Final = (_reads_everything(_EVERY_NAMESPACE), _reads_everything(ClusterScope()), _READS_RELEASES)


def pass_under_audit(case: Case) -> Decision | None:
    """Order, 4: if all policies that name the client are in mode Audit, reads above the floor pass."""
    if not all(isinstance(policy, CompiledPolicy) and policy.mode is Mode.AUDIT for policy in case.policies.named):
        return None
    if not _is_above_floor(case):
        return None
    denied = refuse(case, nearest=())
    return Decision(
        verdict=Verdict.AUDIT,
        reason=denied.reason,
        message=f"Would be denied: {denied.message}",
        matched=reference(case.giving[0], rule=""),
        cut=_cut(case),
    )


def _is_above_floor(case: Case) -> bool:
    question = case.question
    if question is None:
        return case.request.verb == "get"
    if question.is_about_namespaces and case.request.name and not _is_open(case.request.name, question):
        return False
    return any(isinstance(rule_gives(rule, question), Fit) for rule in _FLOOR)


def _is_open(namespace: str, question: Question) -> bool:
    """Whether the namespace is known and not protected."""
    found = reach(_EVERY_NAMESPACE, namespace, known=question.known, environment=question.environment)
    return found is Reach.INSIDE


def _cut(case: Case) -> ListCut | None:
    """What protected namespaces and denies take out of a list; None where they take nothing."""
    question = case.question
    if question is None or not question.is_collection_read:
        return None
    if question.is_namespace_list:
        return NamespaceCut(
            visible=lambda name: (
                _is_open(name, question) and not any(narrows_namespace(deny, name, question) for deny in case.narrowing)
            )
        )
    rules = tuple(rule for rule in _FLOOR if isinstance(rule_gives(rule, question), Fit))
    is_whole = any(rule_gives(rule, question) is Fit.WHOLE for rule in rules)
    if is_whole and not case.narrowing:
        return None
    return ObjectCut(rules=rules, denies=tuple(case.narrowing), known=question.known, environment=question.environment)
