"""`python -m devtools.helm_table`: write the tables of docs/helm.md from the catalogue of helm's subcommands.

What works and what is refused is the catalogue's, which a test compares with the bundled helm; the rights stand here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from k8s_mcp_server.commands.helm.catalog import ALIASES, CHART_OPERAND, FLAGS, REFUSED, REFUSED_FLAGS

DOCUMENT: Final = Path(__file__).resolve().parents[1] / "docs" / "helm.md"

_META: Final = "`releases` get, list"
_CONTENT: Final = "`releases/content` get, list"
_OBJECTS: Final = "the chart's objects"
NEEDS: Final = {
    "list": _META,
    "status": f"{_META}; to show notes, {_CONTENT}",
    "history": _META,
    "get metadata": _META,
    "get all": _CONTENT,
    "get hooks": _CONTENT,
    "get manifest": _CONTENT,
    "get notes": _CONTENT,
    "get values": _CONTENT,
    "install": f"`releases` get, list, create, update; {_CONTENT}; {_OBJECTS}: get, create, patch",
    "upgrade": f"`releases` get, list, create, update; {_CONTENT}; {_OBJECTS}: get, create, patch, delete",
    "rollback": f"`releases` get, list, create, update; {_CONTENT}; {_OBJECTS}: get, create, patch, delete",
    "uninstall": f"`releases` get, list, update, delete; {_CONTENT}; {_OBJECTS}: get, delete",
    "test": f"`releases` get, list, update; {_CONTENT}; the test's objects: get, create, patch, delete, watch",
    "pull": "nothing",
    "search repo": "nothing",
    "template": "nothing; with `--dry-run=server`, get of the objects",
    "lint": "nothing",
    "show all": "nothing",
    "show chart": "nothing",
    "show crds": "nothing",
    "show readme": "nothing",
    "show values": "nothing",
    "help": "nothing",
    "version": "nothing",
}

_ANY_CHART: Final = " `./chart`, `REPOSITORY/CHART`, `oci://…`"
_CHARTS: Final = {"lint": " `./chart`", "pull": " `REPOSITORY/CHART`, `oci://…`"}

_MARK: Final = "Written by `python -m devtools.helm_table`"


def render() -> str:
    """The document: what people wrote above the mark's paragraph, and the tables below it."""
    text, mark, rest = DOCUMENT.read_text(encoding="utf-8").partition(_MARK)
    lines = [text + mark + rest.partition("\n\n")[0], "", "| works | needs in its namespace |", "|---|---|"]
    aliases = {name: [alias for alias, target in ALIASES.items() if target == name] for name in FLAGS}
    for name in sorted(FLAGS):
        also = f" ({', '.join(f'`{alias}`' for alias in sorted(aliases[name]))})" if aliases[name] else ""
        chart = _CHARTS.get(name, _ANY_CHART) if name in CHART_OPERAND else ""
        lines.append(f"| `helm {name}`{chart}{also} | {NEEDS[name]} |")
    lines += ["", "| refused | why | instead |", "|---|---|---|"]
    lines += [f"| `helm {name}` | it {what} | {instead} |" for name, (what, instead) in sorted(REFUSED.items())]
    lines += ["", "| flag refused | why |", "|---|---|"]
    by_reason: dict[tuple[str, str], list[str]] = {}
    for flag, reason in REFUSED_FLAGS.items():
        by_reason.setdefault(reason, []).append(f"`--{flag}`")
    for (why, instead), flags in by_reason.items():
        lines.append(f"| {', '.join(flags)} | {why}{f': {instead}' if instead else ''} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
