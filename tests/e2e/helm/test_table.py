"""Every subcommand of helm is run, and the document has what each needed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from devtools.charts.examples import EXAMPLES, FILES, HOOKS, OBJECTS
from devtools.charts.table import BEGIN, DOCUMENT, END, Needs, needed, render, rules
from k8s_mcp_server.commands.helm.catalog import FLAGS, REFUSED, REFUSED_FLAGS
from k8s_mcp_server.policy.virtual import HELM_GROUP
from tests.support.tables import compare_or_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.helm.conftest import HelmAgent, Site
    from tests.support.agent import Answer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

FIRST: Final = "shop-charts"
SECOND: Final = "least-charts"
EVERYTHING: Final[Needs] = {
    ("", OBJECTS): frozenset({"*"}),
    ("", HOOKS): frozenset({"*"}),
    (HELM_GROUP, "releases"): frozenset({"*"}),
}
CONTENT: Final[Needs] = {(HELM_GROUP, "releases/content"): frozenset({"get", "list"})}


@pytest.fixture(scope="module")
def second(site: Site) -> Iterator[str]:
    """A namespace in which the examples are run once more."""
    site.cluster.kubectl("create", "namespace", SECOND)
    yield SECOND
    site.cluster.kubectl("delete", "namespace", SECOND, "--wait=false")


def run(agent: HelmAgent, line: str) -> Answer:
    return agent.helm(line, files=FILES)


def records(site: Site, answer: Answer) -> list[dict[str, Any]]:
    """The audit lines of a command's requests, but for those that everybody may make."""
    lines = map(json.loads, site.service.audit_log.read_text(encoding="utf-8").splitlines())
    mine = (each for each in lines if each["kind"] == "Request" and each["commandID"] == answer.fields["command_id"])
    return [each for each in mine if each["reason"] != "AlwaysAllowed"]


def test_each_subcommand_has_an_example() -> None:
    assert {path for path, _ in EXAMPLES} == set(FLAGS)


def test_the_document_says_what_each_subcommand_needs_and_that_is_enough(
    site: Site, new_agent: Callable[..., HelmAgent], second: str
) -> None:
    """Run without the content of releases, with it where that does not do, and once more with just what it took."""
    without_content = new_agent(rules=rules(EVERYTHING, FIRST))
    with_everything = new_agent(rules=rules({**EVERYTHING, **CONTENT}, FIRST))
    needs: dict[str, Needs] = {}
    failed: list[str] = []
    for _, line in EXAMPLES:
        answer = run(without_content, line)
        if answer.status == "denied":
            answer = run(with_everything, line)
        if answer.status != "succeeded":
            failed.append(f"{line}: {answer.text}")
        needs[line] = needed(records(site, answer))
    assert not failed, "\n".join(failed)
    for _, line in EXAMPLES:
        least = new_agent(rules=rules(needs[line], second), defaultNamespace=second)
        answer = run(least, line)
        if answer.status != "succeeded":
            failed.append(f"{line} with {needs[line]}: {answer.text}")
    assert not failed, "\n".join(failed)
    compare_or_write(DOCUMENT, render(needs), begin=BEGIN, end=END)


def test_each_subcommand_and_flag_that_the_document_calls_refused_is_refused_with_what_to_do_instead(
    new_agent: Callable[..., HelmAgent],
) -> None:
    agent = new_agent()
    lines = {name: instead for name, (_, instead) in REFUSED.items()}
    lines |= {f"template web ./chart --{flag}": why for flag, (why, _) in REFUSED_FLAGS.items()}
    answers = {line: run(agent, line) for line in lines}
    assert [line for line, answer in answers.items() if answer.status != "refused"] == []
    assert [line for line, said in lines.items() if said not in answers[line].text] == []
