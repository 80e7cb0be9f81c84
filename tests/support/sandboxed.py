"""Runs this Python as if it were a bundled CLI, so that a test can attack from inside the sandbox."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from k8s_mcp_server.execution.binaries import Binaries, Program, find_binaries, inspect_program
from k8s_mcp_server.execution.executor import Executor
from k8s_mcp_server.execution.pipeline import Pipeline, Stage
from k8s_mcp_server.execution.sandbox.landlock import supported_abi
from k8s_mcp_server.execution.sandbox.spawn import Sandbox

_LIBRARIES = tuple(Path(path) for path in ("/usr/lib", "/lib", "/lib64", "/etc/ld.so.cache"))


def python_program() -> Program:
    """This interpreter with its standard library; its name is its path, because Python finds its library by that."""
    program = inspect_program("python", path=Path(sys.executable))
    return Program(
        name=str(program.path),
        path=program.path,
        loader=program.loader,
        libraries=(*program.libraries, Path(os.__file__).parent, *_LIBRARIES),
    )


def attacker_binaries(*, folder: Path = Path("/nonexistent")) -> Binaries:
    """The filters of this machine, the CLIs in ``folder``, and Python as one more CLI."""
    found = find_binaries(folder)
    python = python_program()
    return Binaries(clis={**found.clis, python.name: python}, filters=found.filters, helpers=found.helpers)


def make_executor(runtime_dir: Path, *, binaries: Binaries | None = None, **options: Any) -> Executor:
    """An executor with the real sandbox."""
    return Executor(
        binaries=binaries or attacker_binaries(),
        sandbox=Sandbox(abi=supported_abi()),
        runtime_dir=runtime_dir,
        **options,
    )


def python_stage(script: str, *arguments: str) -> Stage:
    """A stage that runs a Python script as a CLI."""
    return Stage(argv=(python_program().name, "-I", "-S", "-c", script, *arguments))


def pipeline(*stages: Stage | tuple[str, ...]) -> Pipeline:
    """A pipeline; plain tuples are words."""
    return Pipeline(stages=tuple(each if isinstance(each, Stage) else Stage(argv=each) for each in stages))
