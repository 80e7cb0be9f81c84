"""Whether the server's own RBAC holds what a policy gives, as the API server says: SelfSubjectAccessReview.

For the policy's author, in its status; no decision goes by it. Answers are kept for a minute and shared by all
policies, and there are only so many questions a second: where they run out, what was found before stands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from k8s_mcp_server.cluster.access_review import is_allowed
from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.cluster.conditions import Condition, State, conditions_of
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.ceiling import Need, needs
from k8s_mcp_server.policy.compile import InvalidPolicy, Policy
from k8s_mcp_server.policy.scopes import ClusterScope, for_anybody, inside

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.client import ApiClient
    from k8s_mcp_server.policy.catalog import Catalog
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.rules import Rule
    from k8s_mcp_server.policy.scopes import Namespace

PATH: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
KEPT_SECONDS: Final = 60.0
KEPT_ANSWERS: Final = 65_536
QUESTIONS_A_SECOND: Final = 50.0
QUESTIONS_AT_ONCE: Final = 1000.0
MOST_NAMESPACES: Final = 20
_MOST_MISSING: Final = 12  # in one policy; then it is not asked about any further
_MOST_NAMED: Final = 4

Attributes: TypeAlias = "tuple[Need, str]"
Ask: TypeAlias = "Callable[[Need, str], Awaitable[bool]]"


async def review_self(api: ApiClient, need: Need, namespace: str) -> bool:
    """One SelfSubjectAccessReview: whether the server itself holds a right, on one object at most.

    Args:
        need: with one name or none.
        namespace: empty for cluster-wide.

    Raises:
        Unavailable: the API server does not answer, or not with a review.
    """
    spec: dict[str, Any] = {"nonResourceAttributes": {"path": need.path, "verb": need.verb}}
    if not need.path:
        attributes = {
            "verb": need.verb,
            "group": need.group,
            "resource": need.resource,
            "subresource": need.subresource,
            "namespace": namespace,
            "name": next(iter(need.names), ""),
        }
        spec = {"resourceAttributes": attributes}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    return is_allowed((await api.request("POST", PATH, body=body)).json())


class _AskedTooMuch(Unavailable):
    """There were too many questions for now."""


class Answers:
    """What the API server said within the last minute about the server's own rights.

    Args:
        ask: one question.
        clock: seconds.
    """

    def __init__(self, ask: Ask, *, clock: Callable[[], float] = boot_clock) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[Attributes, tuple[bool, float]] = {}
        self._allowance = QUESTIONS_AT_ONCE
        self._refilled_at = clock()

    async def holds(self, need: Need, namespace: str) -> bool:
        """Whether the server holds a right there: on every object, or on each of those that the need names.

        Raises:
            Unavailable: the API server does not answer, or was asked too much.
        """
        if await self._one(replace(need, names=()), namespace):
            return True
        for name in need.names:
            if not await self._one(replace(need, names=(name,)), namespace):
                return False
        return bool(need.names)

    async def _one(self, need: Need, namespace: str) -> bool:
        key, now = (need, namespace), self._clock()
        known = self._known.get(key)
        if known is not None and now - known[1] < KEPT_SECONDS:
            return known[0]
        self._take(now)
        allowed = await self._ask(need, namespace)
        if len(self._known) >= KEPT_ANSWERS:
            self._known.clear()
        self._known[key] = (allowed, now)
        return allowed

    def _take(self, now: float) -> None:
        refill = (now - self._refilled_at) * QUESTIONS_A_SECOND
        self._allowance = min(QUESTIONS_AT_ONCE, self._allowance + refill)
        self._refilled_at = now
        if self._allowance < 1:
            raise _AskedTooMuch("too many questions about the server's own rights for now")
        self._allowance -= 1


@dataclass(slots=True)
class _Findings:
    """What is known about one policy's rules so far: by rule, in order."""

    missing: dict[str, list[str]] = field(default_factory=dict)
    unknown: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        return sum(map(len, self.missing.values())) >= _MOST_MISSING

    def lacks(self, rule: Rule, need: Need, place: str) -> None:
        """The server does not hold a right; of a wildcard it may still hold a part."""
        found = self.missing if need.exact else self.unknown
        found.setdefault(f"{rule.name} lacks " if need.exact else f"{rule.name}: not all of ", []).append(
            f"{need}{place}"
        )

    def condition(self) -> Condition:
        """What they amount to."""
        if self.missing:
            return within(State.FALSE, "MissingRights", f"{_listed(self.missing)}; policy rbac prints the roles")
        if self.unknown:
            return within(State.UNKNOWN, "NotAllChecked", _listed(self.unknown))
        return within(State.TRUE, "RightsHeld", "the server's own RBAC holds everything that the rules give")


class Ceiling:
    """Compares policies with the server's own rights.

    Args:
        answers: what the API server says.
        catalog: what it serves now.
        environment: decides which namespaces a rule reaches.
    """

    def __init__(self, answers: Answers, *, catalog: Callable[[], Catalog], environment: Environment) -> None:
        self._answers = answers
        self._catalog = catalog
        self._environment = environment
        self._needs: dict[object, tuple[Need, ...]] = {}
        self._needs_of: Catalog | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it is known what the API server serves."""
        return len(self._catalog()) > 0

    async def compare(
        self, policy: Policy, *, namespaces: Mapping[str, Namespace], previous: Mapping[str, Any]
    ) -> Condition:
        """The condition ``WithinServerRBAC`` of a policy that was given the rules of its roles.

        Args:
            previous: its status now; stands while the API server cannot be asked.
        """
        if isinstance(policy, InvalidPolicy):
            return within(State.UNKNOWN, "InvalidSpec", "the policy cannot be read")
        findings = _Findings()
        try:
            for rule in policy.rules:
                await self._compare(rule, namespaces, findings)
        except Unavailable as error:
            return _kept(previous, policy) or within(State.UNKNOWN, "NotAsked", str(error))
        return findings.condition()

    async def _compare(self, rule: Rule, namespaces: Mapping[str, Namespace], findings: _Findings) -> None:
        scope = for_anybody(rule.scope)
        for need in self._needs_for(rule):
            if findings.is_full:
                return
            if await self._answers.holds(need, ""):
                continue
            if scope is None:
                findings.lacks(rule, need, "")
            else:
                reached = sorted(inside(scope, known=namespaces, environment=self._environment))
                await self._compare_in(reached, rule, need, findings)

    async def _compare_in(self, reached: Sequence[str], rule: Rule, need: Need, findings: _Findings) -> None:
        for namespace in reached[:MOST_NAMESPACES]:
            if not await self._answers.holds(need, namespace):
                findings.lacks(rule, need, f" in {namespace}")
                return
        if not reached:
            findings.unknown[f"{rule.name} reaches no namespace now"] = []
        elif len(reached) > MOST_NAMESPACES:
            asked = f"{rule.name}: only {MOST_NAMESPACES} of {len(reached)} namespaces were asked about"
            findings.unknown[asked] = []

    def _needs_for(self, rule: Rule) -> tuple[Need, ...]:
        """The needs of a rule, remembered: teams' policies often say the same about different namespaces."""
        catalog = self._catalog()
        if catalog is not self._needs_of:
            self._needs, self._needs_of = {}, catalog
        place = "namespaces" if for_anybody(rule.scope) is not None else rule.scope
        key = replace(rule, name="", scope=ClusterScope()), place
        if key not in self._needs:
            self._needs[key] = tuple(needs(rule, catalog))
        return self._needs[key]


def within(state: State, reason: str, message: str) -> Condition:
    """The condition ``WithinServerRBAC``."""
    return Condition(type="WithinServerRBAC", state=state, reason=reason, message=message)


def _kept(previous: Mapping[str, Any], policy: Policy) -> Condition | None:
    """What was found before about this very spec."""
    before = conditions_of(previous).get("WithinServerRBAC", {})
    if before.get("observedGeneration") != policy.generation or before.get("status") not in set(State):
        return None
    return within(State(before["status"]), str(before.get("reason")), str(before.get("message")))


def _listed(found: Mapping[str, list[str]]) -> str:
    return "; ".join(intro + _some(items) for intro, items in found.items())


def _some(items: list[str]) -> str:
    more = f" and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
    return ", ".join(items[:_MOST_NAMED]) + more
