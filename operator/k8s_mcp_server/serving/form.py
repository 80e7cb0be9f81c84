"""In which of MCP's two places a tool's result has the cluster's output: ``content`` or ``structuredContent``.

Never in both, for clients differ in what they give a model: some ``content`` alone, some ``structuredContent`` alone
wherever there is any (https://github.com/anthropics/claude-code/issues/79944), some both. So the output is in
``content``, with our own fields in ``_meta`` and no ``structuredContent`` beside it; who wants that says so in the URL.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock, Tool

PARAMETER: Final = "results"
"""Of the endpoint's query."""
META_FIELDS: Final = "k8s-mcp.io/result"
META_SOURCE: Final = "k8s-mcp.io/source"
META_TRUSTED: Final = "k8s-mcp.io/trusted"
FILE: Final = "file "
"""Before a file's name, as the source of a block."""
OUTPUT_FIELDS: Final = ("stdout", "stderr", "files")


class Form(StrEnum):
    """Where the output is."""

    TEXT = "text"
    STRUCTURED = "structured"


def in_form(result: CallToolResult, form: Form) -> CallToolResult:
    """The result with its output in one place; it comes with it in both, or with text alone."""
    fields = result.structured_content
    if fields is None:
        return result
    if form is Form.STRUCTURED:
        return result.model_copy(update={"content": [block for block in result.content if not _is_output(block)]})
    own = {name: value for name, value in fields.items() if name not in OUTPUT_FIELDS}
    return result.model_copy(update={"structured_content": None, "meta": {**(result.meta or {}), META_FIELDS: own}})


def described_in(tool: Tool, form: Form) -> Tool:
    """The tool as it is listed: a schema of its output promises ``structuredContent``, so it needs that form."""
    return tool if form is Form.STRUCTURED else tool.model_copy(update={"output_schema": None})


def fields_of(result: CallToolResult) -> dict[str, Any]:
    """The fields of a result in either form, with the output; what a client in Python reads a result with."""
    if result.structured_content is not None:
        return dict(result.structured_content)
    fields = dict((result.meta or {}).get(META_FIELDS) or {})
    for block in result.content:
        source = str((block.meta or {}).get(META_SOURCE, ""))
        if block.type == "text" and source in OUTPUT_FIELDS:
            fields[source] = block.text
        elif block.type == "text" and source.startswith(FILE):
            name = source.removeprefix(FILE)
            fields.setdefault("files", {})[name] = block.text.removeprefix(f"--- {name}\n")
    return fields


def _is_output(block: ContentBlock) -> bool:
    return (block.meta or {}).get(META_TRUSTED) is False
