"""The environment variables that choose the cluster of the tests."""

from __future__ import annotations

import pytest

from devtools.cluster import ClusterError, Switches

pytestmark = pytest.mark.unit


def test_without_variables_a_kwok_cluster_is_started_and_removed() -> None:
    switches = Switches.from_environment({})
    assert switches == Switches(use_kwok=True, use_existing=False, context=None, skip_cleanup=False)


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("K8S_MCP_TEST_USE_KWOK", "use_kwok"),
        ("K8S_MCP_TEST_USE_EXISTING_CLUSTER", "use_existing"),
        ("K8S_SKIP_CLEANUP", "skip_cleanup"),
    ],
)
@pytest.mark.parametrize(
    ("word", "truth"), [("true", True), ("True", True), ("1", True), (" yes ", True), ("false", False), ("0", False)]
)
def test_a_switch_is_read_in_the_usual_words(variable: str, field: str, word: str, truth: bool) -> None:
    assert getattr(Switches.from_environment({variable: word}), field) is truth


def test_an_empty_variable_counts_as_unset() -> None:
    assert Switches.from_environment({"K8S_MCP_TEST_USE_KWOK": "", "K8S_CONTEXT": ""}) == Switches()


def test_a_word_that_is_no_truth_value_is_refused() -> None:
    with pytest.raises(ClusterError, match="K8S_SKIP_CLEANUP is 'maybe'; write true or false"):
        Switches.from_environment({"K8S_SKIP_CLEANUP": "maybe"})


def test_the_context_is_taken_as_it_is() -> None:
    assert Switches.from_environment({"K8S_CONTEXT": "staging"}).context == "staging"


@pytest.mark.parametrize(("word", "oldest"), [("", False), ("pinned", False), ("oldest", True)])
def test_the_release_is_the_pinned_one_or_the_oldest(word: str, oldest: bool) -> None:
    assert Switches.from_environment({"K8S_MCP_TEST_KUBERNETES": word}).use_oldest is oldest


def test_a_release_that_there_is_not_is_refused() -> None:
    with pytest.raises(ClusterError, match="K8S_MCP_TEST_KUBERNETES is 'old'; write pinned or oldest"):
        Switches.from_environment({"K8S_MCP_TEST_KUBERNETES": "old"})
