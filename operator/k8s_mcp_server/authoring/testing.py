"""Runs test files: every case is decided by the policy core, and compared with what its author expects."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.clients import client_text
from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.inputs import read_inputs
from k8s_mcp_server.authoring.world import World
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.explain import what
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.snapshot import Namespace

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.resources import Served
    from k8s_mcp_server.authoring.testfile import CaseModel, OneOrMore, TestFile
    from k8s_mcp_server.policy.identity import Client

WORDS: Final = {Verdict.EXACT: "allow", Verdict.FILTERED: "filtered", Verdict.DENY: "deny"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request of one case.

    Args:
        line: of the case, in its file.
        question: who asks for what, in words.
        problems: what differs from the expectation; empty when it passed.
        message: of the decision.
    """

    line: int
    question: str
    expected: str
    verdict: str
    reason: str
    message: str
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything is as expected."""
        return not self.problems


def run_test_file(file: TestFile, *, now: datetime, cluster: Iterable[str] = ()) -> Iterator[Outcome]:
    """Decide every case; policies that do not say otherwise were created ``now``.

    Args:
        cluster: files of the cluster, beside those that the test file names.

    Raises:
        UnusableInput: a policy, a resource or a client cannot be read.
    """
    inputs = read_inputs(file.sources, cluster=(*cluster, *file.cluster), objects=file.objects)
    served = inputs.served()
    policies = inputs.compiled(now=now)
    stated = {name: Namespace(name=name, labels=labels) for name, labels in file.model.labels.items()}
    for index, case in enumerate(file.model.cases):
        world = World.build(
            policies,
            namespaces={**inputs.namespaces, **stated},
            served=served,
            now=now + case.age,
            cluster=inputs.cluster,
        )
        world = world.with_catalog(Catalog((*_stated_resources(file), *world.catalog)))
        line = file.document.line(("cases", index))
        for request in _requests(case, served=served):
            yield _judge(case, request, world=world, line=line)


def _judge(case: CaseModel, request: RequestInfo, *, world: World, line: int) -> Outcome:
    client = case.asker
    decision = world.decide(request, client=client, tool=case.used_tool)
    verdict = WORDS[decision.verdict]
    return Outcome(
        line=line,
        question=f"{client_text(client)}: {what(request)}",
        expected=case.expect,
        verdict=verdict,
        reason=decision.reason.value,
        message=decision.message,
        problems=(*_problems(case, decision, verdict=verdict), *_unknown(decision, client, world=world)),
    )


def _problems(case: CaseModel, decision: Decision, *, verdict: str) -> Iterator[str]:
    if verdict != case.expect:
        yield f"expected {case.expect}, got {verdict} ({decision.reason})"
    elif case.reason and decision.reason != case.reason:
        yield f"expected {verdict} for {case.reason}, got {decision.reason}"
    for item in case.shows:
        if not _sees(decision, item):
            yield f"expected to see {item}"
    for item in case.hides:
        if _sees(decision, item):
            yield f"expected not to see {item}"


def _unknown(decision: Decision, client: Client, *, world: World) -> Iterator[str]:
    """What would have to be known to say this: a case must not pass because a file is missing."""
    if decision.reason is Reason.RBAC_UNAVAILABLE:
        yield "not known: what the client's own RBAC gives; add roles and bindings to cluster"
    if decision.verdict is Verdict.FILTERED or decision.reason is Reason.NOT_ALLOWED:
        for policy in world.snapshot.policies_for(client):
            for rule, role in getattr(policy, "missing_roles", ()):
                yield f"not known: ClusterRole {role} (rule {rule} of policy {policy.name}); add it to cluster"


def _sees(decision: Decision, item: str) -> bool:
    namespace, _, name = item.rpartition("/")
    if decision.cut is None:
        return decision.allowed
    return decision.cut.allows(namespace=namespace, name=name)


def _requests(case: CaseModel, *, served: Served) -> Iterator[RequestInfo]:
    for path, verb in itertools.product(_many(case.path), _many(case.verb)):
        yield RequestInfo(is_resource_request=False, path=path, verb=verb)
    names = [served.find(item) for item in _many(case.resource)]
    for namespace, resource, verb in itertools.product(_many(case.namespace), names, _many(case.verb)):
        yield resource.request(verb, namespace=namespace, name=case.name)


def _stated_resources(file: TestFile) -> Iterator[ApiResource]:
    for text, scope in file.model.resources.items():
        resource, dot, group = text.partition(".")
        if not dot:
            raise UnusableInput(f"{file.document.source}: resources: write {text} with its group: {text}.example.com")
        yield ApiResource(group=group, resource=resource, kind="", scope=Scope(scope))


def _many(value: OneOrMore) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
