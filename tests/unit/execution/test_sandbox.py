"""What a command and a filter may start, reach, see and write under their profiles."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from k8s_mcp_server.execution.executor import Executor
from k8s_mcp_server.execution.pipeline import Stage
from k8s_mcp_server.execution.sandbox.landlock import ABI_WITH_TCP
from k8s_mcp_server.execution.sandbox.spawn import Sandbox
from k8s_mcp_server.policy.limits import Limits
from tests.support.sandboxed import attacker_binaries, make_executor, pipeline, python_program, python_stage

pytestmark = pytest.mark.unit

LIMITS = Limits(timeout_seconds=30, memory_bytes=256 * 1024 * 1024)


@pytest.mark.parametrize("path", ["/bin/sh", "/usr/bin/env", "/usr/bin/grep", sys.executable + "-copy"])
def test_a_command_executes_no_other_program(path: str, tmp_path: Path) -> None:
    script = (
        "import os, sys\ntry:\n os.execv(sys.argv[1], ['x'])\nexcept OSError as error:\n print(type(error).__name__)"
    )
    result = asyncio.run(make_executor(tmp_path).run(pipeline(python_stage(script, path)), access=None, limits=LIMITS))
    expected = b"PermissionError\n" if Path(path).exists() else b"FileNotFoundError\n"
    assert result.stdout == expected


def test_a_command_executes_nothing_that_it_wrote_itself(tmp_path: Path) -> None:
    script = (
        "import os, sys\ncopy = os.environ['HOME'] + '/copy'\n"
        "target = os.open(copy, os.O_WRONLY | os.O_CREAT, 0o755)\nos.write(target, open(sys.executable, 'rb').read())\n"
        "os.close(target)\ntry:\n os.execv(copy, [sys.executable, '-c', 'print(1)'])\n"
        "except PermissionError:\n print('refused')"
    )
    result = asyncio.run(make_executor(tmp_path).run(pipeline(python_stage(script)), access=None, limits=LIMITS))
    assert result.stdout == b"refused\n"


def test_a_command_without_access_has_no_network_at_all(tmp_path: Path) -> None:
    script = "import socket\ntry:\n socket.socket()\nexcept PermissionError:\n print('refused')"
    result = asyncio.run(make_executor(tmp_path).run(pipeline(python_stage(script)), access=None, limits=LIMITS))
    assert result.stdout == b"refused\n"


def test_no_core_file_is_written_and_the_limits_are_hard(tmp_path: Path) -> None:
    script = (
        "import resource as r\n"
        "print(r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_DATA)[1], r.getrlimit(r.RLIMIT_CPU)[1],"
        " r.getrlimit(r.RLIMIT_STACK)[1])"
    )
    result = asyncio.run(make_executor(tmp_path).run(pipeline(python_stage(script)), access=None, limits=LIMITS))
    assert result.stdout.split() == [b"(0,", b"0)", str(LIMITS.memory_bytes).encode(), b"35", b"8388608"]


def test_each_of_many_processes_has_a_bounded_stack(tmp_path: Path) -> None:
    """A limit that is set while a program is being loaded is lost; with several at a time that is one in five."""
    executor = make_executor(tmp_path)
    script = python_stage("import resource as r\nprint(r.getrlimit(r.RLIMIT_STACK))")

    async def run() -> list[bytes]:
        runs = (executor.run(pipeline(script), access=None, limits=LIMITS) for _ in range(16))
        return [result.stdout for result in await asyncio.gather(*runs)]

    printed = [line for _ in range(3) for line in asyncio.run(run())]
    assert printed == [b"(8388608, 8388608)\n"] * 48


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("awk", 'BEGIN { while ((getline line < "/etc/passwd") > 0) print line }'), id="awk reads a file"),
        pytest.param(("awk", 'BEGIN { print "x" > "TARGET" }'), id="awk writes a file"),
        pytest.param(
            ("awk", 'BEGIN { system("echo ran > TARGET"); "id" | getline x; print x }'), id="awk runs a command"
        ),
        pytest.param(("sed", "-n", "1e echo ran; w TARGET"), id="sed runs a command and writes a file"),
        pytest.param(("sed", "r /etc/passwd"), id="sed reads a file"),
        pytest.param(("grep", "-r", "root", "/etc"), id="grep reads files"),
        pytest.param(("sort", "-o", "TARGET"), id="sort writes a file"),
        pytest.param(("sort", "/etc/passwd"), id="sort reads a file"),
        pytest.param(("sort", "-S", "1k", "--compress-program=/bin/sh"), id="sort runs a program"),
        pytest.param(("uniq", "-", "TARGET"), id="uniq writes a file"),
        pytest.param(("jq", "-nR", "--rawfile", "x", "/etc/passwd", "$x"), id="jq reads a file"),
        pytest.param(("jq", "-n", 'import "x" as x; x::y', "-L", "/etc"), id="jq imports a module"),
        pytest.param(("wc", "--files0-from=/etc/passwd"), id="wc reads a list of files"),
        pytest.param(("head", "/etc/passwd"), id="head reads a file"),
        pytest.param(("tail", "-n", "1", "/proc/1/environ"), id="tail reads an environment"),
        pytest.param(("cut", "-c1-", "/etc/passwd"), id="cut reads a file"),
    ],
)
def test_a_filter_reaches_no_file_and_no_program(words: tuple[str, ...], tmp_path: Path) -> None:
    runtime, target = tmp_path / "runtime", tmp_path / "target"
    runtime.mkdir()
    argv = tuple(word.replace("TARGET", str(target)) for word in words)
    stages = pipeline(python_stage("print('line\\n' * 3)"), Stage(argv=argv))
    result = asyncio.run(make_executor(runtime).run(stages, access=None, limits=LIMITS))
    assert not target.exists()
    assert b"root" not in result.stdout
    assert b"ran" not in result.stdout
    assert list(runtime.iterdir()) == []


def test_a_filter_sees_an_environment_made_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("K8S_MCP_SECRET", "of the server")
    result = asyncio.run(make_executor(tmp_path).run(pipeline(("jq", "-cn", "env")), access=None, limits=LIMITS))
    assert json.loads(result.stdout) == {"LANG": "C.UTF-8", "PATH": "/nonexistent", "TERM": "dumb"}


def test_a_cli_sees_an_environment_made_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    script = "import json, os\nprint(json.dumps(dict(os.environ)))"
    result = asyncio.run(make_executor(tmp_path).run(pipeline(python_stage(script)), access=None, limits=LIMITS))
    environment = json.loads(result.stdout)
    assert set(environment) - {"LC_CTYPE"} == {
        "GOGC", "GOMEMLIMIT", "GOTRACEBACK", "HOME", "HTTPS_PROXY", "HTTP_PROXY", "KUBECACHEDIR", "KUBECONFIG", "LANG",
        "PATH", "TERM", "TMPDIR",
    }  # fmt: skip
    assert not Path(environment["PATH"]).exists()


def test_go_does_not_interrupt_its_threads_where_no_signal_may_be_sent(tmp_path: Path) -> None:
    script = "import os\nprint(os.environ['GODEBUG'])"
    executor = Executor(binaries=attacker_binaries(), sandbox=Sandbox(abi=ABI_WITH_TCP), runtime_dir=tmp_path)
    result = asyncio.run(executor.run(pipeline(python_stage(script)), access=None, limits=LIMITS))
    assert result.stdout == b"asyncpreemptoff=1\n"


def test_the_server_itself_stays_free(tmp_path: Path) -> None:
    asyncio.run(make_executor(tmp_path).run(pipeline(("wc", "-l")), access=None, limits=LIMITS))
    assert Path("/etc/passwd").read_text(encoding="utf-8")
    with closing(socket.socket(socket.AF_UNIX)):
        pass
    assert subprocess.run(["/bin/sh", "-c", "true"], check=True).returncode == 0
    assert python_program().path.exists()
