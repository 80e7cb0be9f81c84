"""`make mutation`: every rule of gateway/requestinfo.py, changed one at a time; the tests must notice each change.

A mutant is judged by the table of tests/unit/gateway/test_requestinfo.py and by a corpus: random requests with what the
real API server logged them as. ``python -m devtools.record_requestinfo`` records the corpus anew.
"""

from __future__ import annotations

import ast
import copy
import json
import re
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from k8s_mcp_server.gateway.target import parse_target
from tests.support.random_targets import read_like_go

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "operator" / "k8s_mcp_server" / "gateway" / "requestinfo.py"
TABLE: Final = ROOT / "tests" / "unit" / "gateway" / "test_requestinfo.py"
CORPUS: Final = ROOT / "tests" / "data" / "requestinfo_corpus.jsonl"
_VERB_PREFIX: Final = re.compile(r"/+(?:api/[^/]*|apis/[^/]*/[^/]*)/(?:watch|proxy)(?:/|$)")
ATTRIBUTES: Final = ("verb", "api_group", "api_version", "namespace", "resource", "subresource", "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A changed module.

    Args:
        line: where.
        change: what, in words.
        tree: the module's syntax.
    """

    line: int
    change: str
    tree: ast.Module


Change = tuple[str, Callable[[Any], None]]


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module: one comparison, condition, text, table entry or slice is changed in each."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        for index, (change, _) in enumerate(_changes(node)):
            changed = copy.deepcopy(tree)
            target = next(item for place, item in enumerate(ast.walk(changed)) if place == number)
            list(_changes(target))[index][1](target)
            yield Mutant(line=getattr(node, "lineno", 0), change=change, tree=ast.fix_missing_locations(changed))


def _changes(node: ast.AST) -> Iterator[Change]:
    found = _RULES.get(type(node))
    return found(node) if found else iter(())


def _conditions(node: ast.BoolOp) -> Iterator[Change]:
    yield "and becomes or, or becomes and", _swap_bool
    for index in range(len(node.values)):
        yield f"operand {index} left out", partial(_drop_operand, index=index)


def _negations(node: ast.UnaryOp) -> Iterator[Change]:
    if isinstance(node.op, ast.Not):
        yield "not left out", _drop_not


def _entries(node: ast.Dict) -> Iterator[Change]:
    for index, key in enumerate(node.keys):
        if isinstance(key, ast.Constant):
            yield f"entry {key.value!r} left out", partial(_drop_entry, index=index)


def _elements(node: ast.Set) -> Iterator[Change]:
    for index in range(len(node.elts) if len(node.elts) > 1 else 0):
        yield f"element {index} left out", partial(_drop_element, index=index)


def _branches(_: ast.IfExp) -> Iterator[Change]:
    yield "branches swapped", _swap_branches


def _slices(node: ast.Slice) -> Iterator[Change]:
    if isinstance(node.lower, ast.Constant):
        yield "slice from one later", _shorten


_OPPOSITE: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
}


def _comparisons(node: ast.Compare) -> Iterator[Change]:
    opposite = _OPPOSITE.get(type(node.ops[0]))
    if opposite is not None:
        name = opposite.__name__
        yield f"{type(node.ops[0]).__name__} becomes {name}", partial(_reverse, operator=opposite())
    for side in ("left", "right"):
        literal = node.left if side == "left" else node.comparators[0]
        if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
            yield f"{literal.value!r} becomes another text", partial(_change_text, side=side)


_RULES: Final[dict[type[ast.AST], Callable[[Any], Iterator[Change]]]] = {
    ast.Compare: _comparisons,
    ast.BoolOp: _conditions,
    ast.UnaryOp: _negations,
    ast.Dict: _entries,
    ast.Set: _elements,
    ast.IfExp: _branches,
    ast.Slice: _slices,
}


def _change_text(node: Any, *, side: str) -> None:
    literal = node.left if side == "left" else node.comparators[0]
    literal.value += "x"


def _reverse(node: Any, *, operator: ast.cmpop) -> None:
    node.ops = [operator]


def _drop_operand(node: Any, *, index: int) -> None:
    del node.values[index]
    if len(node.values) == 1:
        node.values *= 2  # a lone operand is no syntax


def _drop_element(node: Any, *, index: int) -> None:
    node.elts.pop(index)


def _shorten(node: Any) -> None:
    node.lower.value += 1


def _swap_bool(node: Any) -> None:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def _drop_not(node: Any) -> None:
    node.operand = ast.UnaryOp(op=ast.Not(), operand=node.operand)


def _drop_entry(node: Any, *, index: int) -> None:
    del node.keys[index], node.values[index]


def _swap_branches(node: Any) -> None:
    node.body, node.orelse = node.orelse, node.body


def killer(mutant: Mutant, corpus: list[dict[str, Any]]) -> str:
    """What noticed the mutant: a row of the table, a request of the corpus, the import; empty when nothing did."""
    module = types.ModuleType("mutant")
    try:
        exec(compile(mutant.tree, str(SOURCE), "exec"), module.__dict__)  # noqa: S102 - our own source, changed
    except NameError as error:  # a rule that is read when the module is
        return f"import: {error}"
    return _by_table(module) or _by_corpus(module, corpus)


def _by_table(module: types.ModuleType) -> str:
    for method, raw, *expected in _rows():
        target = parse_target(raw)
        if _reading(module, method, target.path, target.query) != tuple(expected):
            return f"table: {method} {raw}"
    return ""


def _by_corpus(module: types.ModuleType, corpus: list[dict[str, Any]]) -> str:
    for event in corpus:
        decoded = read_like_go(event["target"])
        if decoded is not None and _reading(module, event["method"], *decoded) != tuple(event["logged"]):
            return f"corpus: {event['method']} {event['target']}"
    return ""


def _reading(module: types.ModuleType, method: str, path: str, query: Any) -> tuple[str, ...] | str:
    try:
        info = module.request_info(method, path, query)
        uses_prefix = module.uses_verb_prefix(path)
    except Exception as error:  # noqa: BLE001 - as above
        return type(error).__name__
    if uses_prefix is not bool(_VERB_PREFIX.match(path)):
        return "another verb prefix"
    return tuple(getattr(info, name) for name in ATTRIBUTES)


def _rows() -> list[tuple[str, ...]]:
    """The unit test's table, read without importing the test."""
    for node in ast.parse(TABLE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "RESOURCE_REQUESTS":
            rows: list[tuple[str, ...]] = ast.literal_eval(node.value)
            return rows
    raise AssertionError(f"{TABLE} has no table")


def read_corpus() -> list[dict[str, Any]]:
    """The recorded requests: method, target, and what the API server took each for."""
    return [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]


def run() -> tuple[list[tuple[Mutant, str]], list[Mutant]]:
    """Judge every mutant: those that were noticed and by what, and the survivors.

    Raises:
        ValueError: the module itself, unchanged, differs from the table or the corpus.
    """
    source, corpus = SOURCE.read_text(encoding="utf-8"), read_corpus()
    unchanged = killer(Mutant(line=0, change="", tree=ast.parse(source)), corpus)
    if unchanged:
        raise ValueError(f"unchanged, it differs: {unchanged}")
    judged = [(mutant, killer(mutant, corpus)) for mutant in mutants(source)]
    return [item for item in judged if item[1]], [mutant for mutant, by in judged if not by]


def main() -> int:
    """Print each mutant and what noticed it; the exit code says whether one survived."""
    began = time.monotonic()
    noticed, survivors = run()
    for mutant, by in noticed:
        print(f"line {mutant.line}: {mutant.change}: {by}")
    for mutant in survivors:
        print(f"SURVIVED line {mutant.line}: {mutant.change}")
    print(f"{len(noticed)} mutants noticed, {len(survivors)} survived, {time.monotonic() - began:.1f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
