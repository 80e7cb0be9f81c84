"""Pipelines from start to end: pipes, limits, exit codes, and what is left behind (nothing)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.execution.pipeline import Pipeline, Stage, StderrTo
from k8s_mcp_server.execution.result import KilledFor
from tests.support.executors import ENDLESS, LIMITS, left_in
from tests.support.sandboxed import pipeline, python_stage

if TYPE_CHECKING:
    from k8s_mcp_server.execution.executor import Executor

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.mark.parametrize(
    ("words", "stdin", "expected"),
    [
        pytest.param(("grep", "-P", r"^\d+(?=b)"), b"12b\nab\n", b"12b\n", id="grep with its own compiler"),
        pytest.param(("grep", "-io", "ÄB"), "xäby\n".encode(), "äb\n".encode(), id="grep beyond ASCII"),
        pytest.param(("sed", "-E", "s/(a)(b)/\\2\\1/"), b"ab\n", b"ba\n", id="sed"),
        pytest.param(("awk", "-F:", "-v", "x=2", "{ print $x }"), b"a:b\n", b"b\n", id="awk"),
        pytest.param(("jq", "-r", ".items[].name"), b'{"items":[{"name":"a"}]}', b"a\n", id="jq"),
        pytest.param(("cut", "-d", ",", "-f2"), b"a,b\n", b"b\n", id="cut"),
        pytest.param(("tr", "[:lower:]", "[:upper:]"), b"a\n", b"A\n", id="tr"),
        pytest.param(("sort", "-t,", "-k2", "-n"), b"a,2\nb,1\n", b"b,1\na,2\n", id="sort"),
        pytest.param(("tail", "-n", "1"), b"a\nb\n", b"b\n", id="tail"),
        pytest.param(("column", "-t"), b"a b\nccc d\n", b"a    b\nccc  d\n", id="column"),
    ],
)
async def test_each_filter_works_in_its_sandbox(
    executor: Executor, words: tuple[str, ...], stdin: bytes, expected: bytes
) -> None:
    if words[0] not in executor.binaries.filters:
        assert words[0] == "column"  # the only one that a machine may lack
        return
    result = await executor.run(pipeline(words), access=None, limits=LIMITS, stdin=stdin)
    assert (result.stdout, result.stderr, result.exit_code) == (expected, b"", 0)


async def test_stages_are_joined_in_order(executor: Executor) -> None:
    stages = pipeline(("sed", "s/b/c/"), ("sort", "-r"), ("head", "-n", "1"))
    result = await executor.run(stages, access=None, limits=LIMITS, stdin=b"a\nb\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"c\n", b"")
    assert result.stage_exit_codes == (0, 0, 0)


async def test_input_larger_than_any_pipe_arrives_whole(executor: Executor) -> None:
    result = await executor.run(pipeline(("wc", "-c")), access=None, limits=LIMITS, stdin=b"x" * 5_000_000)
    assert result.stdout.split() == [b"5000000"]


async def test_a_here_document_is_the_first_stages_input(executor: Executor) -> None:
    stages = Pipeline(stages=(Stage(argv=("tr", "a", "b")),), stdin=b"aa")
    result = await executor.run(stages, access=None, limits=LIMITS)
    assert result.stdout == b"bb"


async def test_two_inputs_are_refused(executor: Executor) -> None:
    stages = Pipeline(stages=(Stage(argv=("tr", "a", "b")),), stdin=b"aa")
    with pytest.raises(CommandRefused) as refused:
        await executor.run(stages, access=None, limits=LIMITS, stdin=b"more")
    assert refused.value.reason == "TwoInputs"


async def test_a_program_that_is_not_installed_is_refused(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(CommandRefused) as refused:
        await executor.run(pipeline(("kubectl", "get")), access=None, limits=LIMITS)
    assert refused.value.reason == "ProgramMissing"
    assert left_in(tmp_path) == []


async def test_without_input_a_program_reads_the_end_of_the_file(executor: Executor) -> None:
    result = await executor.run(pipeline(("wc", "-c")), access=None, limits=LIMITS)
    assert result.stdout.split() == [b"0"]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        pytest.param({}, (b"out\n", b"err\n"), id="captured apart"),
        pytest.param({"stderr": StderrTo.STDOUT}, (b"err\nout\n", b""), id="2>&1"),
        pytest.param({"stderr": StderrTo.DISCARD}, (b"out\n", b""), id="2>/dev/null"),
        pytest.param({"discard_stdout": True}, (b"", b"err\n"), id=">/dev/null"),
        pytest.param({"stderr": StderrTo.STDOUT, "discard_stdout": True}, (b"err\n", b""), id="2>&1 >/dev/null"),
        pytest.param({"stderr": StderrTo.DISCARD, "discard_stdout": True}, (b"", b""), id=">/dev/null 2>&1"),
    ],
)
async def test_redirections(executor: Executor, stage: dict[str, object], expected: tuple[bytes, bytes]) -> None:
    words = python_stage("import os; os.write(2, b'err\\n'); os.write(1, b'out\\n')").argv
    made = Stage(argv=words, **stage)  # type: ignore[arg-type]  # a table of keyword arguments
    result = await executor.run(pipeline(made), access=None, limits=LIMITS)
    assert (result.stdout, result.stderr) == expected


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        pytest.param((3, 0), 3, id="an earlier stage's failure is the pipeline's"),
        pytest.param((3, 4), 4, id="the rightmost failure counts"),
        pytest.param((0, 1), 1, id="the last stage fails"),
        pytest.param((0, 0), 0, id="all succeed"),
    ],
)
async def test_exit_code_of_a_pipeline(executor: Executor, codes: tuple[int, ...], expected: int) -> None:
    stages = (python_stage(f"import sys; sys.stdin.read(); sys.exit({code})") for code in codes)
    result = await executor.run(pipeline(*stages), access=None, limits=LIMITS)
    assert (result.exit_code, result.stage_exit_codes) == (expected, codes)


async def test_a_stage_that_loses_its_reader_did_not_fail(executor: Executor) -> None:
    result = await executor.run(pipeline(ENDLESS, ("head", "-n", "2")), access=None, limits=LIMITS)
    assert result.exit_code == 0
    assert result.stage_exit_codes == (-13, 0)
    assert result.stdout.count(b"\n") == 2


async def test_the_last_stages_signal_is_a_failure(executor: Executor) -> None:
    stage = python_stage("import signal, os; signal.raise_signal(signal.SIGSEGV)")
    result = await executor.run(pipeline(stage), access=None, limits=LIMITS)
    assert (result.exit_code, result.stage_exit_codes) == (139, (-11,))


async def test_a_silent_stage_whose_reader_has_gone_is_ended(executor: Executor) -> None:
    stages = pipeline(python_stage("import time; print('one', flush=True); time.sleep(99)"), ("head", "-n", "1"))
    with anyio.fail_after(20):
        result = await executor.run(stages, access=None, limits=LIMITS)
    assert (result.exit_code, result.stdout, result.killed_for) == (0, b"one\n", KilledFor.NONE)
