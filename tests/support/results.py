"""What a tool's result holds, wherever in it that stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8s_mcp_server.serving.form import META_SOURCE, fields_of

if TYPE_CHECKING:
    from mcp.types import CallToolResult

_FILE = "file "


def all_fields(result: CallToolResult) -> dict[str, Any]:
    """The fields of a result with what the command put out, which is text where the client did not ask otherwise."""
    found = fields_of(result)
    for block in result.content:
        source = str((block.meta or {}).get(META_SOURCE, ""))
        if block.type != "text":
            continue
        if source in {"stdout", "stderr"}:
            found[source] = block.text
        elif source.startswith(_FILE):
            name = source.removeprefix(_FILE)
            found.setdefault("files", {})[name] = block.text.removeprefix(f"--- {name}\n")
    return found


def text_of(result: CallToolResult) -> str:
    """Everything that a model would read: the text blocks joined."""
    return "\n".join(block.text for block in result.content if block.type == "text")
