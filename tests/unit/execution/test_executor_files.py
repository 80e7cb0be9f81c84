"""What a command finds and leaves in its folder."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from k8s_mcp_server.errors import CommandRefused, Unavailable
from k8s_mcp_server.execution.result import ApiAccess, KilledFor
from k8s_mcp_server.policy.limits import Limits
from tests.support.executors import ENDLESS, LIMITS, left_in
from tests.support.sandboxed import make_executor, pipeline, python_stage

if TYPE_CHECKING:
    from k8s_mcp_server.execution.executor import Executor
    from k8s_mcp_server.execution.result import Progress

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


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
