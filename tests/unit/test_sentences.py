"""Every sentence about policies has a test that shows it, and the table that says so is true."""

from __future__ import annotations

import pytest

from devtools.sentences import DOCUMENT, TABLE, Shown, faults, sentences, shown_by, table

pytestmark = pytest.mark.unit

TEXT = """# A title

Two sentences. `Code` begins the second: it goes
on in a new line.

| a | b |
|---|---|
| `x` | means y |

- An item.
1. A step. Another.
"""


def test_a_text_is_read_sentence_by_sentence() -> None:
    assert list(sentences(TEXT)) == [
        "Two sentences.",
        "`Code` begins the second: it goes on in a new line.",
        "`x` — means y",
        "An item.",
        "A step.",
        "Another.",
    ]


def test_every_sentence_of_the_policy_s_page_is_shown_by_tests_that_there_are() -> None:
    assert faults(DOCUMENT.read_text(encoding="utf-8"), shown_by()) == []


def test_the_table_is_up_to_date() -> None:
    written = table(DOCUMENT.read_text(encoding="utf-8"), shown_by())
    assert TABLE.read_text(encoding="utf-8") == written, "write it anew: python -m devtools.sentences"


def test_what_is_not_shown_is_told() -> None:
    shown = {
        "Two.": Shown(tests=()),
        "Three.": Shown(tests=("unit/test_sentences.py::test_gone", "unit/nowhere.py::test_x")),
        "Four.": Shown(tests=()),
    }
    assert faults("One. Two. Three.", shown) == [
        "nothing is stated to show: One.",
        "no sentence any more: Four.",
        "no test, and no reason: Two.",
        "no such test: unit/test_sentences.py::test_gone",
        "no such test: unit/nowhere.py::test_x",
        "no test, and no reason: Four.",
    ]
