"""The catalogue of kubectl's words against the kubectl that is bundled."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from devtools.toolchain.ensure import ensure_tools
from k8s_mcp_server.commands.catalog import (
    KUBECTL_GLOBAL_SWITCHES,
    KUBECTL_GLOBAL_VALUE_FLAGS,
    KUBECTL_SHORT_SWITCHES,
    KUBECTL_VERBS,
)

if TYPE_CHECKING:
    from pathlib import Path

# A cold machine builds kubectl first.
pytestmark = [pytest.mark.unit, pytest.mark.timeout(1800)]

UNLISTED = {"alpha", "help", "options"}  # verbs that `kubectl --help` does not list
SHELLS = {"bash", "fish", "powershell", "zsh"}  # arguments of `completion`, not listed as its commands


@pytest.fixture(scope="module")
def kubectl() -> Path:
    return ensure_tools(["kubectl"])["kubectl"]


def help_of(kubectl: Path, *words: str) -> str:
    environment = {"HOME": "/nonexistent", "PATH": "/nonexistent"}
    done = subprocess.run([kubectl, *words], env=environment, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


def commands_in(text: str) -> set[str]:
    blocks = re.findall(r"^[A-Z][A-Za-z ()]*Commands[^\n]*:\n((?:  \S.*\n)*)", text, re.MULTILINE)
    return {line.split()[0] for block in blocks for line in block.splitlines()}


def test_verbs_are_kubectls(kubectl: Path) -> None:
    assert commands_in(help_of(kubectl, "--help")) == set(KUBECTL_VERBS) - UNLISTED


@pytest.mark.parametrize("verb", sorted(set(KUBECTL_VERBS) - UNLISTED))
def test_words_that_follow_a_verb_are_kubectls(kubectl: Path, verb: str) -> None:
    assert commands_in(help_of(kubectl, verb, "--help")) == KUBECTL_VERBS[verb] - SHELLS


def test_global_flags_are_kubectls(kubectl: Path) -> None:
    flags = re.findall(r"^    (?:-(\w), )?--([\w-]+)=(\S*):$", help_of(kubectl, "options"), re.MULTILINE)
    switches = {name for _, name, default in flags if default in ("true", "false")}
    valued = {word for short, name, _ in flags if name not in switches for word in (short, name) if word}
    assert switches == KUBECTL_GLOBAL_SWITCHES
    assert valued == KUBECTL_GLOBAL_VALUE_FLAGS


@pytest.mark.parametrize("verb", ["get", "exec", "run", "logs", "apply", "delete", "attach", "debug", "events"])
def test_short_switches_are_switches(kubectl: Path, verb: str) -> None:
    flags = re.findall(r"^    -(\w), --[\w-]+=(\S*):$", help_of(kubectl, verb, "--help"), re.MULTILINE)
    valued = {short for short, default in flags if default not in ("true", "false")}
    assert not valued & KUBECTL_SHORT_SWITCHES
    assert {short for short, default in flags if default in ("true", "false")} <= KUBECTL_SHORT_SWITCHES | {"f", "p"}
