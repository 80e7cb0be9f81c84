"""How a command that ran has ended, in the words of a result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from k8s_mcp_server.commands.advice import answer_in_exit_code, narrower, without_following
from k8s_mcp_server.commands.files import MAX_NAME
from k8s_mcp_server.execution.result import KilledFor
from k8s_mcp_server.serving.result import FOLLOWED, CommandResult, Status
from k8s_mcp_server.serving.text import SafeText, escape_name, json_size, safe_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from k8s_mcp_server.execution.pipeline import Pipeline
    from k8s_mcp_server.execution.result import Result
    from k8s_mcp_server.policy.decision import Decision, Reason
    from k8s_mcp_server.policy.limits import Limits

# Both together, with what we say ourselves, below the 1 MiB that clients take as one server-sent event.
_STDOUT_JSON_BYTES: Final = 800_000
_STDERR_JSON_BYTES: Final = 100_000
_DENIALS_SHOWN: Final = 5
MORE_ABOUT_DENIALS: Final = "check_access shows what you may do and whom to ask"
_ASK_FOR_LESS: Final = (
    "ask for less: one namespace, a name, -l or --field-selector, -o name or custom-columns, --tail for logs, or a "
    "pipe into head, grep or jq"
)
SERVER_RBAC: Final = "ServerRBAC"
# What the API server says of us (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go); for a hint alone.
_BEYOND_US: Final = re.compile(rb'User "system:serviceaccount:[^"]{1,200}" cannot [a-z]+ (?:resource|path) ')
_HINTS: Final = {
    FOLLOWED: "`wait --for=…` ends by itself; without --watch or --follow the answer comes at once",
    SERVER_RBAC: "tell whoever runs this service: no policy can give more than its own RBAC",
}
_KILLED: Final = {
    KilledFor.DISK: ("DiskLimit", "ended: it wrote more to its working directory than it may"),
    KilledFor.CPU: ("CpuLimit", "ended: it used more processor time than it may"),
    KilledFor.MEMORY: ("MemoryLimit", "ended: it used more memory than it may"),
}


class Requests(Protocol):
    """What the gateway saw of a command's requests."""

    @property
    def requests_denied(self) -> int:
        """How many were denied."""

    @property
    def requests_revoked(self) -> int:
        """How many were ended because the policy changed while they ran."""

    @property
    def ended_by(self) -> Decision | None:
        """The denial that ended the command as a whole."""

    @property
    def filtered(self) -> bool:
        """Whether an answer was cut to the policy."""

    @property
    def left_out(self) -> Collection[str]:
        """Resources whose lists and watches were answered with nothing."""

    @property
    def dry_runs(self) -> int:
        """How many writes changed nothing."""

    @property
    def writes(self) -> int:
        """How many others there were."""

    @property
    def next_command(self) -> str:
        """What works now, when something was denied; may be empty."""

    @property
    def notes(self) -> Sequence[str]:
        """What the service changed in the command."""

    @property
    def namespaces(self) -> Collection[str]:
        """Those that requests named."""

    @property
    def denials(self) -> Sequence[str]:
        """What was said about the denied ones."""

    @property
    def denial_reasons(self) -> Collection[Reason]:
        """Why they were denied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The identity and limits of a command that ran.

    Args:
        pipeline: what was run.
        limits: that were in force for it; its timeout is the one asked for.
        longest_timeout: seconds that it could have asked for.
        timeout_clamped: it asked for more.
    """

    command_id: str
    cluster: str
    pipeline: Pipeline
    limits: Limits
    longest_timeout: int
    timeout_clamped: bool


def outcome_of(result: Result, *, run: Run, requests: Requests) -> CommandResult:
    """The result for the client: status, output made safe to read, and what policy did to it."""
    most = run.limits.output_bytes
    stdout = _cut_at_a_line(
        safe_text(result.stdout, max_bytes=most, max_json_bytes=_STDOUT_JSON_BYTES), more=result.stdout_truncated
    )
    stderr = safe_text(result.stderr, max_bytes=most, max_json_bytes=_STDERR_JSON_BYTES)
    files, left_out = _files(result, max_bytes=most, max_json_bytes=_STDOUT_JSON_BYTES - json_size(stdout.text))
    truncated = result.stdout_truncated or result.stderr_truncated or stdout.truncated or stderr.truncated
    status, reason, message = _verdict(result, run=run, requests=requests)
    shorter = narrower(run.pipeline, lines=stdout.text.count("\n")) if truncated else ""
    return CommandResult(
        status=status,
        command_id=run.command_id,
        cluster=run.cluster,
        exit_code=result.exit_code,
        namespaces=tuple(map(_in_one_line, requests.namespaces)),
        dry_run=_dry_run(requests),
        stdout=stdout.text,
        stderr=stderr.text,
        files=files,
        files_left_out=left_out,
        truncated=truncated,
        filtered=requests.filtered,
        notes=tuple(requests.notes),
        not_seen=tuple(map(_in_one_line, sorted(requests.left_out))),
        duration_seconds=round(result.duration_seconds, 3),
        timeout_seconds=run.limits.timeout_seconds,
        timeout_clamped=run.timeout_clamped,
        reason=reason,
        message=message,
        hint=_hint(status, reason=reason, truncated=truncated, run=run),
        next_command=shorter or _next(status, reason=reason, run=run, requests=requests),
        denials=tuple(dict.fromkeys(requests.denials))[:_DENIALS_SHOWN],
    )


def _cut_at_a_line(text: SafeText, *, more: bool) -> SafeText:
    """A last line of which the end is missing is left out, when there are others."""
    at = text.text.rfind("\n") + 1
    return SafeText(text=text.text[:at], truncated=True) if (more or text.truncated) and at else text


def _next(status: Status, *, reason: str, run: Run, requests: Requests) -> str:
    if status is Status.DENIED:
        return requests.next_command
    return without_following(run.pipeline) if reason == FOLLOWED else ""


def _files(result: Result, *, max_bytes: int, max_json_bytes: int) -> tuple[dict[str, str], tuple[str, ...]]:
    """The files that fit beside the output whole and are text, and the names of the others."""
    shown: dict[str, str] = {}
    left_out = [_in_one_line(name) for name in result.files_left_out]
    for raw, content in result.files.items():
        name, text = escape_name(raw), safe_text(content, max_bytes=max_bytes, max_json_bytes=max(max_json_bytes, 0))
        if len(name) > MAX_NAME or text.truncated or not _is_text(content):
            left_out.append(_in_one_line(raw))
            continue
        shown[name] = text.text
        max_bytes -= len(text.text.encode())
        max_json_bytes -= json_size(text.text)
    return shown, tuple(left_out)


def _in_one_line(name: str) -> str:
    """A name from elsewhere (a chart's author calls files and namespaces what he likes) among our own words."""
    shown = escape_name(name)
    return shown if len(shown) <= MAX_NAME else f"{shown[:MAX_NAME]}…"


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _verdict(result: Result, *, run: Run, requests: Requests) -> tuple[Status, str, str]:
    if result.timed_out and without_following(run.pipeline):
        message = f"followed for {run.limits.timeout_seconds} s, as long as it may run; what came by then is here"
        return Status.TIMED_OUT, FOLLOWED, message
    if result.timed_out:
        return Status.TIMED_OUT, "Timeout", f"ended after {run.limits.timeout_seconds} s"
    if result.killed_for is KilledFor.OUTPUT:
        return (
            Status.TRUNCATED,
            "OutputLimit",
            "ended when its output reached the limit; what it changes may be incomplete",
        )
    if result.killed_for in _KILLED:
        return Status.FAILED, *_KILLED[result.killed_for]
    if requests.ended_by is not None and result.killed_for is KilledFor.POLICY and not requests.requests_revoked:
        message = f"ended while it ran; what it changes may be incomplete. {requests.ended_by.message}"
        return Status.DENIED, requests.ended_by.reason.value, message
    return _verdict_on_ended(result, run=run, requests=requests)


def _verdict_on_ended(result: Result, *, run: Run, requests: Requests) -> tuple[Status, str, str]:
    """How a command did that came to its own end."""
    if requests.requests_revoked:  # also with exit code 0: kubectl takes the end of a watch for a success
        message = "a policy changed while it ran, which ended a request; the output stops there"
        return Status.DENIED, _why(requests), message
    if result.exit_code == 0:  # also where a denied request was one that the command can do without
        return Status.SUCCEEDED, "", ""
    if answer := answer_in_exit_code(run.pipeline, result.stage_exit_codes):
        return Status.SUCCEEDED, "", f"exit code {result.exit_code}: {answer}"
    if requests.requests_denied:
        return Status.DENIED, _why(requests), "policy refused a request that the command needs"
    if _BEYOND_US.search(result.stderr):
        return (
            Status.FAILED,
            SERVER_RBAC,
            "your policy allows this; the service itself may not, by its RBAC in the cluster",
        )
    return Status.FAILED, "", ""


def _dry_run(requests: Requests) -> str:
    """What a client must know before it reads the output of a command that a policy made a dry run."""
    dry, all_ = requests.dry_runs, requests.dry_runs + requests.writes
    if not dry:
        return ""
    if dry == all_:
        return "DRY RUN, nothing changed"
    return f"DRY RUN in part: {dry} of {all_} writes changed nothing"


def _why(requests: Requests) -> str:
    """The reason that all denied requests share; where they differ, a word for all."""
    reasons = {reason.value for reason in requests.denial_reasons}
    return reasons.pop() if len(reasons) == 1 else "PolicyDenied"


def _hint(status: Status, *, reason: str, truncated: bool, run: Run) -> str:
    if truncated:
        return _ASK_FOR_LESS
    if reason in _HINTS:
        return _HINTS[reason]
    if status is Status.TIMED_OUT:
        quicker = "ask for something quicker; without --watch or --follow, for example"
        if run.limits.timeout_seconds < run.longest_timeout:
            return f"{quicker}; or pass a longer `timeout`, up to {run.longest_timeout} s"
        return quicker
    if status is Status.DENIED:
        return MORE_ABOUT_DENIALS
    return ""
