"""Which test shows which sentence of a document: `python -m devtools.sentences` writes docs/policy-tests.md.

The sentences are read from docs/policy.md, what shows each stands in tests/data/policy_sentences.yaml, and a unit test
compares: a sentence that nobody shows, a test that is gone, and a table that is not up to date are failures.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "policy.md"
SHOWN = ROOT / "tests" / "data" / "policy_sentences.yaml"
TABLE = ROOT / "docs" / "policy-tests.md"
_TESTS = ROOT / "tests"

_HEAD = """# Which test shows which sentence

Every sentence of [policy.md](policy.md), with the tests that fail when it is no longer true, named `file::test`,
below `tests/`. Written by `make sentences`; `make test` compares.

| sentence | shown by |
|---|---|
"""
_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z`*])")
_RULER = re.compile(r"\|[-| ]+\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What shows a sentence.

    Args:
        tests: ``file::test``, below ``tests/``.
        why_none: why no test can: it points elsewhere, explains, or warns.
    """

    tests: tuple[str, ...]
    why_none: str = ""


def sentences(text: str) -> Iterator[str]:
    """The sentences of a Markdown text: of its paragraphs, its items and its tables' rows; not of its headings."""
    block: list[str] = []
    lines = [*text.splitlines(), ""]
    for line, following in pairwise([*lines, ""]):
        starts_anew = not line.strip() or line.startswith(("#", "|", "- ")) or re.match(r"\d+\. ", line)
        if starts_anew and block:
            yield from _split(" ".join(block))
            block = []
        if line.startswith("|"):
            if not (_RULER.fullmatch(line) or _RULER.fullmatch(following)):
                yield " — ".join(cell.strip() for cell in line.strip("|").split("|"))
        elif line.strip() and not line.startswith("#"):
            block.append(re.sub(r"^(- |\d+\. )", "", line).strip())


def _split(block: str) -> Iterator[str]:
    return (part for part in _SENTENCE_END.split(block) if part)


def shown_by(path: Path = SHOWN) -> dict[str, Shown]:
    """What is stated to show each sentence."""
    stated = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        sentence: Shown(tests=tuple(entry)) if isinstance(entry, list) else Shown(tests=(), why_none=entry)
        for sentence, entry in stated.items()
    }


@cache
def tests_of(file: str) -> frozenset[str]:
    """The names of the test functions of a file below ``tests/``; none when it does not exist."""
    path = _TESTS / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def faults(document: str, shown: dict[str, Shown]) -> list[str]:
    """What is wrong with the mapping, one line each."""
    written = list(sentences(document))
    found = [f"nothing is stated to show: {sentence}" for sentence in written if sentence not in shown]
    found += [f"no sentence any more: {sentence}" for sentence in shown if sentence not in written]
    for sentence, entry in shown.items():
        if not entry.tests and not entry.why_none:
            found.append(f"no test, and no reason: {sentence}")
        for test in entry.tests:
            file, _, name = test.partition("::")
            if name not in tests_of(file):
                found.append(f"no such test: {test}")
    return found


def table(document: str, shown: dict[str, Shown]) -> str:
    """The table as Markdown."""
    rows = []
    for sentence in sentences(document):
        entry = shown[sentence]
        tests = "<br>".join(f"`{test}`" for test in entry.tests) or f"_{entry.why_none}_"
        rows.append(f"| {sentence} | {tests} |")
    return _HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Write the table; 1 when the mapping is at fault."""
    parser = argparse.ArgumentParser(prog="python -m devtools.sentences", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the sentences alone")
    options = parser.parse_args()
    document = DOCUMENT.read_text(encoding="utf-8")
    if options.list:
        print("\n".join(sentences(document)))
        return 0
    shown = shown_by()
    if wrong := faults(document, shown):
        print("\n".join(wrong), file=sys.stderr)
        return 1
    TABLE.write_text(table(document, shown), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
