"""Pipelines from start to end: pipes, limits, exit codes, and what is left behind (nothing)."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from k8s_mcp_server.errors import CommandRefused, Unavailable
from k8s_mcp_server.execution import limits as process_limits
from k8s_mcp_server.execution.pipeline import Pipeline, Stage, StderrTo
from k8s_mcp_server.execution.result import ApiAccess, KilledFor
from k8s_mcp_server.execution.sandbox import kernel
from k8s_mcp_server.policy.limits import Limits
from tests.support.eventually import eventually
from tests.support.sandboxed import make_executor, pipeline, python_stage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from concurrent.futures import Future

    from k8s_mcp_server.execution.executor import Executor
    from k8s_mcp_server.execution.result import Progress
    from k8s_mcp_server.execution.sandbox.profile import Profile
    from k8s_mcp_server.execution.sandbox.spawn import ProcessSpec

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LIMITS = Limits(timeout_seconds=30, memory_bytes=256 * 1024 * 1024)
ENDLESS = ("awk", 'BEGIN { while (1) print "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" }')
SILENT = ("awk", "BEGIN { while (1) { } }")


@pytest.fixture
def executor(tmp_path: Path) -> Executor:
    return make_executor(tmp_path, progress_seconds=0.05)


@pytest.fixture
def orphans_come_here() -> Iterator[None]:
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    yield
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 0)


def processes_in(folder: Path) -> list[str]:
    """Command lines of the processes whose environment names the folder."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit() and int(each.name) != os.getpid():
            try:
                if str(folder).encode() in (each / "environ").read_bytes():
                    found.append((each / "cmdline").read_text(encoding="utf-8"))
            except OSError:
                continue
    return found


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


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


async def test_output_stops_at_the_cap_and_ends_the_command(executor: Executor) -> None:
    limits = Limits(timeout_seconds=30, output_bytes=1000)
    with anyio.fail_after(20):
        result = await executor.run(pipeline(ENDLESS), access=None, limits=limits)
    assert len(result.stdout) == 1000
    assert result.stdout_truncated
    assert (result.exit_code, result.killed_for) == (None, KilledFor.OUTPUT)


async def test_output_of_exactly_the_cap_is_whole(executor: Executor) -> None:
    limits = Limits(timeout_seconds=30, output_bytes=5)
    result = await executor.run(pipeline(("head", "-c", "5")), access=None, limits=limits, stdin=b"x" * 5)
    assert (result.exit_code, result.stdout, result.stdout_truncated) == (0, b"xxxxx", False)


async def test_error_output_is_capped_without_holding_the_command_back(executor: Executor) -> None:
    stage = python_stage("import os\nfor _ in range(64): os.write(2, b'e' * 65536)\nos.write(1, b'done')")
    result = await executor.run(pipeline(stage), access=None, limits=LIMITS)
    assert (result.exit_code, result.stdout) == (0, b"done")
    assert len(result.stderr) == 65_536
    assert result.stderr_truncated


async def test_a_writer_is_held_back_while_nobody_reads(executor: Executor, tmp_path: Path) -> None:
    """The first stage counts what it could write while the second reads nothing: a pipe's worth, not what it has."""
    writer = python_stage(
        "import os\nos.set_blocking(1, False)\nwritten = 0\n"
        "try:\n while True: written += os.write(1, b'x' * 65536)\n"
        "except BlockingIOError:\n os.write(2, str(written).encode())"
    )
    reader = python_stage("import sys, time; time.sleep(0.5); sys.stdin.read()")
    result = await executor.run(pipeline(writer, reader), access=None, limits=LIMITS)
    assert 0 < int(result.stderr) <= 1024 * 1024
    assert left_in(tmp_path) == []


async def test_the_time_limit_ends_the_command_and_keeps_what_it_wrote(executor: Executor, tmp_path: Path) -> None:
    stage = python_stage("import time; print('before', flush=True); time.sleep(99)")
    with anyio.fail_after(20):
        result = await executor.run(
            pipeline(stage, ("sed", "-u", "s/^/> /")), access=None, limits=Limits(timeout_seconds=1)
        )
    assert (result.timed_out, result.exit_code, result.killed_for) == (True, None, KilledFor.TIMEOUT)
    assert result.stdout == b"> before\n"
    assert processes_in(tmp_path) == []
    assert left_in(tmp_path) == []


# What native code in a program could still do: vfork, which stops the parent, and go on in the child.
VFORK = """
import ctypes, os, time
libc = ctypes.CDLL(None)
x86 = os.uname().machine == "x86_64"
if libc.syscall(58 if x86 else 220, 0 if x86 else 0x4111, 0, 0, 0, 0) == 0:
    LEAVE
    libc.syscall(1 if x86 else 64, 1, b"child", 5)
    time.sleep(99)
"""


async def test_the_time_limit_ends_whole_groups(executor: Executor, tmp_path: Path) -> None:
    stage = python_stage(VFORK.replace("LEAVE", "pass"))
    with anyio.fail_after(20):
        result = await executor.run(pipeline(stage), access=None, limits=Limits(timeout_seconds=1))
    assert (result.timed_out, result.stdout) == (True, b"child")
    assert processes_in(tmp_path) == []


async def test_a_process_that_left_its_group_is_found_and_ended(
    executor: Executor, tmp_path: Path, orphans_come_here: None
) -> None:
    stage = python_stage(VFORK.replace("LEAVE", "libc.setsid()"))
    with anyio.fail_after(40):
        result = await executor.run(pipeline(stage), access=None, limits=Limits(timeout_seconds=1))
        assert (result.timed_out, result.stdout) == (True, b"child")
        await eventually(lambda: not processes_in(tmp_path))


async def test_children_that_are_not_of_the_sandbox_are_left_alone(executor: Executor) -> None:
    with anyio.fail_after(20):
        async with await anyio.open_process(["/bin/sh", "-c", "read line"]) as other:
            await executor.run(pipeline(("wc",)), access=None, limits=LIMITS)
            assert executor._sandbox.end_strays() == 0
            assert other.returncode is None
            assert other.stdin is not None
            await other.stdin.aclose()


async def test_cancellation_kills_everything_and_leaves_nothing(executor: Executor, tmp_path: Path) -> None:
    stages = pipeline(python_stage("import time; print('up', flush=True); time.sleep(99)"), ("grep", "up"))
    started = asyncio.Event()

    async def note(_: Progress) -> None:
        started.set()

    task = asyncio.create_task(executor.run(stages, access=None, limits=LIMITS, on_progress=note))
    with anyio.fail_after(20):
        await started.wait()
        assert len(processes_in(tmp_path)) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert processes_in(tmp_path) == []
    assert left_in(tmp_path) == []


async def test_a_cancelled_scope_of_anyio_leaves_nothing_either(executor: Executor, tmp_path: Path) -> None:
    with anyio.move_on_after(0.3) as scope, anyio.fail_after(20):
        await executor.run(pipeline(SILENT, SILENT), access=None, limits=LIMITS)
    assert scope.cancelled_caught
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("steps", range(12))
async def test_cancellation_at_any_moment_of_the_start_leaves_nothing(
    executor: Executor, tmp_path: Path, steps: int
) -> None:
    task = asyncio.create_task(executor.run(pipeline(SILENT, SILENT, SILENT), access=None, limits=LIMITS))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with anyio.fail_after(20), pytest.raises(asyncio.CancelledError):
        await task
    assert left_in(tmp_path) == []


async def test_an_error_of_the_progress_callback_ends_the_command(executor: Executor, tmp_path: Path) -> None:
    async def fail(_: Progress) -> None:
        raise ConnectionError("the client has gone")

    with anyio.fail_after(20), pytest.raises(ConnectionError, match="gone"):
        await executor.run(pipeline(SILENT), access=None, limits=LIMITS, on_progress=fail)
    assert left_in(tmp_path) == []


async def test_progress_tells_bytes_and_seconds(executor: Executor) -> None:
    seen: list[Progress] = []

    async def note(progress: Progress) -> None:
        seen.append(progress)

    stage = python_stage("import time; print('12345', flush=True); time.sleep(0.4)")
    await executor.run(pipeline(stage), access=None, limits=LIMITS, on_progress=note)
    assert seen[-1].stdout_bytes == 6
    assert [each.seconds for each in seen] == sorted(each.seconds for each in seen)


async def test_a_process_that_needs_too_much_memory_fails_alone(executor: Executor) -> None:
    limits = Limits(timeout_seconds=30, memory_bytes=64 * 1024 * 1024)
    stage = python_stage("bytearray(80 * 1024 * 1024)")
    result = await executor.run(pipeline(stage), access=None, limits=limits)
    assert result.exit_code == 1
    assert b"MemoryError" in result.stderr


@pytest.mark.parametrize(
    ("script", "killed_for"),
    [
        pytest.param("while True: pass", KilledFor.CPU, id="processor time"),
        pytest.param("import signal; signal.raise_signal(signal.SIGKILL)", KilledFor.MEMORY, id="killed by the kernel"),
        pytest.param(
            "import signal as s; s.signal(s.SIGXFSZ, s.SIG_DFL); s.raise_signal(s.SIGXFSZ)",
            KilledFor.DISK,
            id="file size",
        ),
        pytest.param(
            "import sys; sys.exit('fatal error: runtime: cannot allocate memory')",
            KilledFor.MEMORY,
            id="Go's own words",
        ),
        pytest.param(
            "import sys; sys.exit('fatal error: out of memory allocating heap arena map')",
            KilledFor.MEMORY,
            id="Go's words at its start",
        ),
        pytest.param("import sys; sys.exit('error: not found')", KilledFor.NONE, id="an ordinary failure"),
    ],
)
async def test_what_ended_a_command_is_told(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, script: str, killed_for: KilledFor
) -> None:
    monkeypatch.setattr(process_limits, "cpu_seconds", lambda _: 1)
    with anyio.fail_after(30):
        result = await executor.run(pipeline(python_stage(script)), access=None, limits=LIMITS)
    assert result.killed_for is killed_for
    assert (result.exit_code is None) is bool(killed_for)


async def test_a_stage_that_cannot_be_started_ends_those_before_it(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = executor._sandbox.start

    def start_no_sort(spec: ProcessSpec, *, profile: Profile) -> Future[subprocess.Popen[bytes]]:
        return start(
            replace(spec, executable=Path("/nonexistent")) if spec.argv == ("sort",) else spec, profile=profile
        )

    monkeypatch.setattr(executor._sandbox, "start", start_no_sort)
    with anyio.fail_after(20), pytest.raises(Unavailable, match="started"):
        await executor.run(pipeline(SILENT, ("sort",)), access=None, limits=LIMITS)
    assert left_in(tmp_path) == []


async def test_a_full_disk_is_unavailability(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="folder"):
        await make_executor(tmp_path / "missing").run(pipeline(("wc",)), access=None, limits=LIMITS)


async def test_a_folder_beyond_its_quota_ends_the_command(executor: Executor, tmp_path: Path) -> None:
    script = (
        "import os, time\nfor i in range(3):\n"
        " with open(os.environ['HOME'] + f'/{i}', 'wb') as f: f.write(b'x' * (30 * 1024 * 1024))\ntime.sleep(99)"
    )
    with anyio.fail_after(30):
        result = await executor.run(pipeline(python_stage(script)), access=None, limits=LIMITS)
    assert result.killed_for is KilledFor.DISK
    assert left_in(tmp_path) == []


async def test_a_tree_made_to_resist_is_removed_all_the_same(executor: Executor, tmp_path: Path) -> None:
    script = (
        "import os\nos.chdir(os.environ['HOME'])\nos.mkdir('locked', 0)\n"
        "for _ in range(1500):\n os.mkdir('d'); os.chdir('d')\nopen('leaf', 'w').close()\nos.mkdir('e', 0o500)"
    )
    result = await executor.run(pipeline(python_stage(script)), access=None, limits=LIMITS)
    assert (result.exit_code, result.stderr) == (0, b"")
    assert left_in(tmp_path) == []


async def test_sort_may_use_a_folder_that_is_not_the_kubeconfigs(executor: Executor, tmp_path: Path) -> None:
    lines = b"".join(b"%06d\n" % number for number in range(20_000, 0, -1))
    access = ApiAccess(server_url="https://127.0.0.1:1", ca_pem="CA", token="one-shot")
    limits = Limits(timeout_seconds=30, output_bytes=1_000_000)
    stages = pipeline(("sort", "-S", "20k"))
    result = await executor.run(stages, access=access, limits=limits, stdin=lines)
    assert result.stdout == b"".join(sorted(lines.splitlines(keepends=True)))
    assert left_in(tmp_path) == []


async def test_the_kubeconfig_names_the_gateway_and_is_the_owners_alone(executor: Executor) -> None:
    script = (
        "import json, os, stat\npath = os.environ['KUBECONFIG']\n"
        "modes = [stat.S_IMODE(os.stat(p).st_mode) for p in (path, os.path.dirname(path))]\n"
        "print(json.dumps([modes, json.load(open(path))]))"
    )
    access = ApiAccess(server_url="https://127.0.0.1:7", ca_pem="CA", token="one-shot", namespace="team-a")
    result = await executor.run(pipeline(python_stage(script)), access=access, limits=LIMITS)
    assert result.exit_code == 0, result.stderr
    text = result.stdout.decode()
    assert text.startswith(f"[[{0o600}, {0o700}]")
    for part in ("https://127.0.0.1:7", "one-shot", "team-a", "Q0E="):
        assert part in text


async def test_many_commands_at_once_do_not_meet(executor: Executor, tmp_path: Path) -> None:
    async def one(number: int) -> bytes:
        stages = pipeline(("tr", "a", "b"), ("sort",), ("uniq", "-c"))
        return (await executor.run(stages, access=None, limits=LIMITS, stdin=b"a%d\n" % number)).stdout

    with anyio.fail_after(30):
        outputs = await asyncio.gather(*(one(number) for number in range(20)))
    assert [output.split() for output in outputs] == [[b"1", b"b%d" % number] for number in range(20)]
    assert left_in(tmp_path) == []


async def test_no_descriptor_is_left_open(executor: Executor) -> None:
    await executor.run(pipeline(("wc",)), access=None, limits=LIMITS)
    before = len(left_in(Path("/proc/self/fd")))
    await executor.run(pipeline(("wc",), ("sort",)), access=None, limits=LIMITS, stdin=b"x")
    await executor.run(pipeline(ENDLESS), access=None, limits=LIMITS)
    with pytest.raises(CommandRefused):
        await executor.run(pipeline(("nothing",)), access=None, limits=LIMITS)
    assert len(left_in(Path("/proc/self/fd"))) == before


READ_AND_WRITE = """
import os
print(os.listdir("."), open("given.txt").read(), end="")
open("made.txt", "w").write("made")
open("given.txt", "a").write(" and changed")
"""


async def test_a_command_finds_its_files_and_leaves_its_own(executor: Executor) -> None:
    files = {"given.txt": b"given"}
    result = await executor.run(pipeline(python_stage(READ_AND_WRITE)), access=None, limits=LIMITS, files=files)
    assert result.stdout == b"['given.txt'] given", result.stderr
    assert result.files == {"given.txt": b"given and changed", "made.txt": b"made"}


START = """
import _posixsubprocess, os, sys
try:
    os.posix_spawn(sys.argv[1], ["diff", "a", "b"], {}, setsid=False)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
except OSError as error:
    print(error.errno)
"""


@pytest.mark.parametrize(("helper", "printed"), [("diff", b"1c1\n< 1\n---\n> 2\n1\n"), ("", b"13\n")])
async def test_a_stage_starts_its_helper_and_no_other_program(executor: Executor, helper: str, printed: bytes) -> None:
    program = str(executor.binaries.helpers["diff"].path)
    stage = replace(python_stage(START, program), helper=helper)
    files = {"a": b"1\n", "b": b"2\n"}
    result = await executor.run(pipeline(stage), access=None, limits=LIMITS, files=files)
    assert result.stdout == printed, result.stderr


async def test_a_helper_that_is_not_here_is_said(executor: Executor) -> None:
    with pytest.raises(CommandRefused, match="not installed"):
        await executor.run(pipeline(replace(python_stage("0"), helper="pr")), access=None, limits=LIMITS)


async def test_a_command_that_is_to_end_is_ended_and_what_it_put_out_is_kept(executor: Executor) -> None:
    ended = asyncio.Event()
    stages = pipeline(("awk", 'BEGIN { print "kept"; fflush(); while (1) { } }'))
    seen = asyncio.Event()

    async def look(progress: Progress) -> None:
        if progress.stdout_bytes:
            seen.set()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(
            executor.run(stages, access=None, limits=LIMITS, on_progress=look, ended=ended),
        )
        await seen.wait()
        ended.set()
    result = running.result()
    assert (result.killed_for, result.exit_code, result.stdout) == (KilledFor.POLICY, None, b"kept\n")


async def test_a_command_that_ends_by_itself_just_then_keeps_its_exit_code(executor: Executor) -> None:
    ended = asyncio.Event()
    ended.set()
    result = await executor.run(pipeline(("sort",)), access=None, limits=LIMITS, stdin=b"b\na\n", ended=ended)
    assert (result.killed_for, result.exit_code, result.stdout) == (KilledFor.NONE, 0, b"a\nb\n")
