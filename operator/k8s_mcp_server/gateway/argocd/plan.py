"""What a call needs and becomes: the permissions, the message that is forwarded, and how its answer is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from k8s_mcp_server.gateway.protobuf import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_mcp_server.policy.request import RequestInfo


class Answer(Enum):
    """What may be seen of the answer."""

    WHOLE = "whole"
    ITEMS = "items"  # of a list: those that the cut allows
    OBJECT = "object"  # one, if the cut allows it
    EVENTS = "events"  # of a watch: those about what the cut allows


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A call that was understood.

    Args:
        required: every permission that it needs.
        message: to forward.
        path: the method to forward it to; empty for the one that was called.
        answer: what may be seen of the answer.
        name_of: of an object of the answer, as Argo CD's RBAC has it; for all but ``WHOLE``.
        without: fields of the answer that the client does not get.
        dry_run_field: of the message, which makes it a dry run; 0 where it has none.
        is_dry: the client asks for a dry run itself.
        may_take_long: as in a call.
        own: our own answer, without a call.
    """

    required: tuple[RequestInfo, ...]
    message: bytes = b""
    path: str = ""
    answer: Answer = Answer.WHOLE
    name_of: Callable[[bytes], str] | None = None
    without: tuple[int, ...] = ()
    dry_run_field: int = 0
    is_dry: bool = False
    may_take_long: bool = False
    own: bytes | None = None


class NotOffered(Unreadable):
    """The call is refused whoever makes it; the text says why, and what to do instead."""
