"""Each rule of RequestInfo is needed by a test: changed, it no longer reads what the API server was seen to read."""

from __future__ import annotations

import pytest

from devtools.mutation import read_corpus, run

pytestmark = pytest.mark.unit


def test_every_mutant_of_the_request_info_rules_is_noticed() -> None:
    noticed, survivors = run()
    assert [(mutant.line, mutant.change) for mutant in survivors] == []
    assert len(noticed) >= 80


def test_the_corpus_is_a_recording_of_many_kinds_of_requests() -> None:
    corpus = read_corpus()
    verbs = {event["logged"][0] for event in corpus}
    assert len(corpus) >= 500
    assert verbs >= {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "proxy"}
