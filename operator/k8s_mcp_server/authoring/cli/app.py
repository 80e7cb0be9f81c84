"""The commands by name."""

from __future__ import annotations

import typer

from k8s_mcp_server.authoring.cli import asking, checking, writing

policy_app = typer.Typer(
    help="Work on policies without a cluster: check, test, explain, compare, write.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
policy_app.command("check")(checking.check_command)
policy_app.command("test")(checking.run_tests_command)
policy_app.command("diff")(checking.diff_command)
policy_app.command("explain")(asking.explain_command)
policy_app.command("who-can")(asking.who_can_command)
policy_app.command("suggest")(writing.suggest_command)
policy_app.command("rbac")(writing.rbac_command)
policy_app.command("new")(writing.new_command)
