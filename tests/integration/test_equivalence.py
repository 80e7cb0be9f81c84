"""kubectl's whole vocabulary, directly and through a gateway that allows everything: byte for byte the same.

The commands are in devtools/vocabulary, what may differ in its ``normalise``. They run once, for all tests here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from devtools.cluster import ExistingCluster
from devtools.toolchain import ensure_tools
from devtools.vocabulary.compare import compare
from devtools.vocabulary.kubectl import ENDLESS
from devtools.vocabulary.reading import ANSWERED, READING, REFUSED
from devtools.vocabulary.table import DOCUMENT, render, unlisted
from devtools.vocabulary.writing import WRITING

if TYPE_CHECKING:
    from devtools.cluster import TestCluster
    from devtools.vocabulary.compare import Compared
    from devtools.vocabulary.step import Scenario

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def places(scenarios: tuple[Scenario, ...], *, first: int = 0) -> list[object]:
    """The place of each command in what ``compare`` returns, named by the command."""
    lines = [step.line for scenario in scenarios for step in scenario]
    return [pytest.param(first + number, id=f"{number}: {line}") for number, line in enumerate(lines)]


def count(scenarios: tuple[Scenario, ...]) -> int:
    return sum(len(scenario) for scenario in scenarios)


AFTER_READING = count(READING)
AFTER_REFUSED = AFTER_READING + count(REFUSED)
AFTER_ANSWERED = AFTER_REFUSED + count(ANSWERED)


def differs(place: int, command: Compared) -> bool:
    """Whether the two ways differ in a command that writes, where nothing is known that would make them."""
    if place < AFTER_ANSWERED:
        return False
    return command.through != command.direct or command.direct.code == ENDLESS


@pytest.fixture(scope="module")
def compared(cluster: TestCluster) -> list[Compared]:
    """Every command, run both ways. Where writing differs all is run again: what the gateway does, it does again, and
    what controllers did between two commands they do not."""
    if isinstance(cluster, ExistingCluster):
        pytest.skip("the vocabulary needs simulated pods, which run whatever image they name")
    kubectl, keep = ensure_tools(["kubectl"])["kubectl"], os.environ.get("K8S_SKIP_CLEANUP") == "true"
    once = compare(cluster, kubectl, keep=keep)
    if not any(map(differs, range(len(once)), once)):
        return once
    again = compare(cluster, kubectl, keep=keep)
    return [
        second if differs(place, first) else first
        for place, (first, second) in enumerate(zip(once, again, strict=True))
    ]


@pytest.mark.parametrize("place", [*places(READING), *places(WRITING, first=AFTER_ANSWERED)])
def test_a_command_does_the_same_through_the_gateway(compared: list[Compared], place: int) -> None:
    command = compared[place]
    assert command.direct.code != ENDLESS
    assert command.through == command.direct


@pytest.mark.parametrize("place", places(REFUSED, first=AFTER_READING))
def test_what_the_policy_cannot_know_is_refused_before_the_api_server_says_that_it_is_missing(
    compared: list[Compared], place: int
) -> None:
    command = compared[place]
    assert command.through != command.direct
    assert (command.through.code, command.through.stdout) == (1, "")
    assert command.through.stderr.startswith("Error from server (Forbidden): ")


@pytest.mark.parametrize("place", places(ANSWERED, first=AFTER_REFUSED))
def test_what_is_about_the_client_is_answered_for_it_and_not_for_the_service(
    compared: list[Compared], place: int
) -> None:
    command = compared[place]
    assert command.through.code == 0
    assert command.through.stdout == "yes\n" or command.through != command.direct


def test_the_vocabulary_is_large(compared: list[Compared]) -> None:
    assert len(compared) == AFTER_ANSWERED + count(WRITING)
    assert len({command.step.line for command in compared}) >= 300
    assert len({command.step.words[0] for command in compared if command.asked}) >= 25


def test_the_document_says_what_the_commands_asked_for(compared: list[Compared]) -> None:
    assert unlisted(compared) == set()
    written = DOCUMENT.read_text(encoding="utf-8").splitlines()
    observed = render(compared, ensure_tools(["kubectl"])["kubectl"]).splitlines()
    assert [line for line in observed if line not in written] == [], "make tables writes it anew"
    assert observed == written
