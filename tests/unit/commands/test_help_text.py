"""Help texts, cut to what an agent needs."""

from __future__ import annotations

import pytest

from k8s_mcp_server.commands.help_text import subcommands, trim

pytestmark = pytest.mark.unit

KUBECTL = """Mark node as unschedulable.

Examples:
  # Mark node "foo" as unschedulable
  kubectl cordon foo

Options:
    --dry-run='none':
\tMust be "none", "server", or "client". If client strategy, only print the object.

    --kubeconfig='':
\tPath to the kubeconfig file.

    -l, --selector='':
\tSelector to filter on.

Usage:
  kubectl cordon NODE [options]

Use "kubectl options" for a list of global command-line options (applies to all commands).
"""
HELM = """This command upgrades a release.

Usage:
  helm upgrade [RELEASE] [CHART] [flags]

Flags:
      --atomic                  if set, roll back
  -f, --values strings          specify values
  -h, --help                    help for upgrade

Global Flags:
      --kube-token string       bearer token
"""
ROOT = """kubectl controls the Kubernetes cluster manager.

Basic Commands (Beginner):
  create          Create a resource from a file or from stdin
  expose          Take a service

Other Commands:
  version       Print the versions

Usage:
  kubectl [flags] [options]
"""


def test_flags_are_one_line_each_and_those_that_cannot_be_used_are_left_out() -> None:
    text = trim(KUBECTL, without={"kubeconfig"})
    assert '  --dry-run=\'none\': Must be "none", "server", or "client"' in text.splitlines()
    assert "  -l, --selector='': Selector to filter on." in text.splitlines()
    assert "kubeconfig" not in text
    assert "kubectl cordon NODE [options]" in text
    assert "kubectl cordon foo" in text
    assert "Use " not in text


def test_global_flags_and_help_itself_are_left_out() -> None:
    text = trim(HELM)
    assert "--values strings" in text
    assert "kube-token" not in text
    assert "--help" not in text


def test_a_long_description_ends_at_a_word() -> None:
    text = trim("word " * 1000)
    assert len(text) < 620
    assert text.endswith("word …")


def test_subcommands_are_found_under_every_heading() -> None:
    assert subcommands(ROOT) == {
        "create": "Create a resource from a file or from stdin",
        "expose": "Take a service",
        "version": "Print the versions",
    }
    assert subcommands(HELM) == {}
