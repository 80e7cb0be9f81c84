"""The tokenizer against the real bash, and every refusal it makes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from k8s_mcp_server.commands.limits import MAX_COMMAND_BYTES, MAX_LINE_BYTES, MAX_STAGES, MAX_WORDS
from k8s_mcp_server.commands.tokenizer import tokenize
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.execution.pipeline import Pipeline, StderrTo

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("get pods", [("get", "pods")], id="words"),
        pytest.param("  get\tpods \n", [("get", "pods")], id="blanks around words"),
        pytest.param("a 'b c' \"d e\" f\\ g", [("a", "b c", "d e", "f g")], id="quotes"),
        pytest.param("a '' \"\"", [("a", "", "")], id="empty words"),
        pytest.param("a'b'\"c\"d", [("abcd",)], id="quotes within a word"),
        pytest.param("""a "\\"\\$\\`\\\\\\n" """, [("a", '"$`\\\\n')], id="escapes in double quotes"),
        pytest.param("a | b|c", [("a",), ("b",), ("c",)], id="pipes"),
        pytest.param("grep 'a|b'", [("grep", "a|b")], id="a quoted bar is data"),
        pytest.param("get -l 'app in (a,b)'", [("get", "-l", "app in (a,b)")], id="quoted parentheses are data"),
        pytest.param("get *.y {a,b} ~ a?b", [("get", "*.y", "{a,b}", "~", "a?b")], id="no globs, braces or home"),
        pytest.param("get a=b c#d", [("get", "a=b", "c#d")], id="equals and hash within words"),
        pytest.param("get pods # all | wc", [("get", "pods")], id="a comment"),
        pytest.param("get pods | # all\n wc", [("get", "pods"), ("wc",)], id="a comment after a bar"),
        pytest.param("\n\n get pods\n", [("get", "pods")], id="empty lines around it"),
        pytest.param("get pods ; \n", [("get", "pods")], id="a semicolon at the end"),
        pytest.param("grep foo$ | wc", [("grep", "foo$"), ("wc",)], id="a dollar at the end of a word"),
        pytest.param('grep "foo$"', [("grep", "foo$")], id="a dollar before a closing quote"),
        pytest.param("grep '$x `y`'", [("grep", "$x `y`")], id="expansions in single quotes are data"),
        pytest.param("get \\\n  pods", [("get", "pods")], id="a line continued by a backslash"),
        pytest.param("get |\n  wc", [("get",), ("wc",)], id="a line continued after a bar"),
        pytest.param("apply -f - 'a\nb'", [("apply", "-f", "-", "a\nb")], id="a line break in quotes"),
        pytest.param("get pödß", [("get", "pödß")], id="other scripts"),
    ],
)
def test_words_and_stages(text: str, expected: list[tuple[str, ...]]) -> None:
    assert [stage.argv for stage in tokenize(text).stages] == expected


@pytest.mark.parametrize(
    ("text", "stderr", "discard_stdout"),
    [
        pytest.param("a 2>&1", StderrTo.STDOUT, False, id="errors into the output"),
        pytest.param("a 2>/dev/null", StderrTo.DISCARD, False, id="no errors"),
        pytest.param("a 2> /dev/null b", StderrTo.DISCARD, False, id="with a blank, between words"),
        pytest.param("a >/dev/null", StderrTo.CAPTURE, True, id="no output"),
        pytest.param("a 1>/dev/null", StderrTo.CAPTURE, True, id="no output, by number"),
        pytest.param("a>/dev/null", StderrTo.CAPTURE, True, id="without a blank"),
        pytest.param("a &>/dev/null", StderrTo.DISCARD, True, id="neither"),
        pytest.param("a >/dev/null 2>&1", StderrTo.DISCARD, True, id="output dropped, then errors into it"),
        pytest.param("a 2>&1 >/dev/null", StderrTo.STDOUT, True, id="errors into the output, then output dropped"),
        pytest.param("a 2>&1 2>/dev/null", StderrTo.DISCARD, False, id="the last one counts"),
        pytest.param("a 2", StderrTo.CAPTURE, False, id="a number is a word"),
    ],
)
def test_redirections_that_are_understood(text: str, stderr: StderrTo, discard_stdout: bool) -> None:
    stage = tokenize(text).stages[0]
    assert (stage.stderr, stage.discard_stdout) == (stderr, discard_stdout)


@pytest.mark.parametrize(
    ("text", "words", "stdin"),
    [
        pytest.param("apply -f - <<'EOF'\na: $x\nb\nEOF", ("apply", "-f", "-"), "a: $x\nb\n", id="quoted"),
        pytest.param('apply -f - <<"EOF"\na\nEOF\n', ("apply", "-f", "-"), "a\n", id="double quotes"),
        pytest.param("apply <<EOF -f -\na\nEOF", ("apply", "-f", "-"), "a\n", id="bare, without expansions"),
        pytest.param("apply -f - << 'END OF IT'\nEOF\nEND OF IT", ("apply", "-f", "-"), "EOF\n", id="words"),
        pytest.param("apply -f - <<'EOF'\nEOF", ("apply", "-f", "-"), "", id="empty"),
        pytest.param("apply -f - <<'EOF'\n EOF\nEOF \nEOF", ("apply", "-f", "-"), " EOF\nEOF \n", id="near misses"),
    ],
)
def test_a_here_document_becomes_the_input(text: str, words: tuple[str, ...], stdin: str) -> None:
    pipeline = tokenize(text)
    assert (pipeline.stages[0].argv, pipeline.stdin) == (words, stdin.encode())


def test_a_here_document_and_a_pipe() -> None:
    pipeline = tokenize("apply -f - <<'EOF' | grep x\nbody | not a stage\nEOF")
    assert [stage.argv for stage in pipeline.stages] == [("apply", "-f", "-"), ("grep", "x")]
    assert pipeline.stdin == b"body | not a stage\n"


@pytest.mark.parametrize(
    ("text", "reason", "instead"),
    [
        pytest.param("", "EmptyCommand", "get pods", id="empty"),
        pytest.param(" \n\t", "EmptyCommand", "get pods", id="only blanks"),
        pytest.param("a\0b", "ControlCharacter", "Leave it out", id="NUL"),
        pytest.param("get 'a\x1b[31mb'", "ControlCharacter", "Leave it out", id="escape in quotes"),
        pytest.param("get\r\n", "ControlCharacter", "line feed", id="carriage return"),
        pytest.param("get \x85", "ControlCharacter", "Leave it out", id="C1 control"),
        pytest.param("get \ud800", "InvalidText", "UTF-8", id="half a surrogate pair"),
        pytest.param("x" * (MAX_COMMAND_BYTES + 1), "CommandTooLong", "stdin", id="too long"),
        pytest.param("x" * 1_000_000, "CommandTooLong", "stdin", id="one megabyte"),
        pytest.param("é" * MAX_COMMAND_BYTES, "CommandTooLong", "stdin", id="too long in UTF-8"),
        pytest.param("x" * (MAX_LINE_BYTES + 1), "CommandTooLong", "stdin", id="line too long"),
        pytest.param("a " * (MAX_WORDS + 1), "CommandTooLong", "stdin", id="too many words"),
        pytest.param("|".join("a" * (MAX_STAGES + 1)), "TooManyStages", "Join filters", id="too many stages"),
        pytest.param("get 'x", "UnbalancedQuote", "Close it", id="single quote"),
        pytest.param('get "x', "UnbalancedQuote", "Close it", id="double quote"),
        pytest.param('get "x\\"', "UnbalancedQuote", "Close it", id="escaped closing quote"),
        pytest.param("get x\\", "UnbalancedQuote", "`get x`", id="backslash at the end"),
        pytest.param("get pods; id", "ShellOperator", "`get pods`", id="semicolon"),
        pytest.param("get pods && id", "ShellOperator", "`get pods`", id="and"),
        pytest.param("get pods || id", "ShellOperator", "`get pods`", id="or"),
        pytest.param("get pods & id", "ShellOperator", "`get pods`", id="background"),
        pytest.param("get pods 2>/dev/null; id", "ShellOperator", "`get pods 2>/dev/null`", id="after a redirection"),
        pytest.param("get pods |& grep x", "ShellOperator", "`get pods 2>&1 | grep x`", id="bar and ampersand"),
        pytest.param("! get pods", "ShellOperator", "exit_code", id="negation"),
        pytest.param("get pods\nget nodes", "ShellOperator", "`get pods`", id="second line"),
        pytest.param("get pods\n| wc", "ShellOperator", "`get pods`", id="bar on the second line"),
        pytest.param("get > x", "Redirection", "`get`", id="output file"),
        pytest.param("get >> x", "Redirection", "`get`", id="appended file"),
        pytest.param("get >/dev/nullx", "Redirection", "`get`", id="almost /dev/null"),
        pytest.param("get 2>err", "Redirection", "`get 2`", id="error file"),
        pytest.param("get >&2", "Redirection", "`get`", id="output into errors"),
        pytest.param("get 2>&12", "Redirection", "`get 2`", id="another descriptor"),
        pytest.param("get 12>/dev/null", "Redirection", "`get 12`", id="a descriptor above two"),
        pytest.param("get &> x", "ShellOperator", "`get`", id="both into a file"),
        pytest.param("get < x", "Redirection", "stdin", id="input file"),
        pytest.param("get <<< x", "Redirection", "stdin", id="here-string"),
        pytest.param("get 2<<'E'\nx\nE", "Redirection", "stdin", id="here-document of another descriptor"),
        pytest.param("get <(id)", "Redirection", "stdin", id="process substitution"),
        pytest.param("apply <<-'E'\nE", "Redirection", "stdin", id="here-document with tabs removed"),
        pytest.param("apply <<'E'\nx", "HereDocument", "Close it", id="here-document without an end"),
        pytest.param("apply <<'E'", "HereDocument", "Close it", id="here-document without a body"),
        pytest.param("apply <<'E' <<'F'\nE\nF", "HereDocument", "stdin", id="two here-documents"),
        pytest.param("get | apply <<'E'\nE", "HereDocument", "stdin", id="here-document of a later stage"),
        pytest.param("apply <<'E'\nE\nget", "ShellOperator", "another call", id="text after a here-document"),
        pytest.param("apply <<E\n$x\nE", "ShellExpansion", "<<'E'", id="expansion in a here-document"),
        pytest.param("get $x", "ShellExpansion", "single quotes", id="variable"),
        pytest.param("get ${x}", "ShellExpansion", "single quotes", id="variable in braces"),
        pytest.param("get $'x'", "ShellExpansion", "single quotes", id="dollar quote"),
        pytest.param("get $(id)", "ShellExpansion", "call of its own", id="command substitution"),
        pytest.param("get `id`", "ShellExpansion", "call of its own", id="backticks"),
        pytest.param('get "$x"', "ShellExpansion", "single quotes", id="variable in double quotes"),
        pytest.param('get "$(id)"', "ShellExpansion", "call of its own", id="substitution in double quotes"),
        pytest.param('get "`id`"', "ShellExpansion", "call of its own", id="backticks in double quotes"),
        pytest.param("get (x)", "Subshell", "`get '(x)'`", id="parentheses"),
        pytest.param("get x)", "Subshell", "`get 'x)'`", id="closing parenthesis"),
        pytest.param("(x)", "Subshell", "single quotes", id="only parentheses"),
        pytest.param("A=b get", "Assignment", "Leave it out", id="assignment"),
        pytest.param("get | A+=b wc", "Assignment", "Leave it out", id="assignment in a later stage"),
        pytest.param("get |", "EmptyStage", "Remove", id="nothing after a bar"),
        pytest.param("| get", "EmptyStage", "Remove", id="nothing before a bar"),
        pytest.param("get | | wc", "EmptyStage", "Remove", id="nothing between bars"),
        pytest.param("2>&1", "EmptyStage", "Remove", id="only a redirection"),
    ],
)
def test_what_is_refused_and_what_to_write_instead(text: str, reason: str, instead: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        tokenize(text)
    assert refused.value.reason == reason
    assert instead in refused.value.instead
    assert len(refused.value.message) < 250


# What we accept, bash must split into the same words: its handler of unknown commands writes down what each stage gets.
WORDS = (
    "a",
    "bc",
    "-o",
    "json",
    "=",
    ".items[]",
    "=b",
    "x=y",
    "-",
    "--",
    ":",
    "/",
    ",",
    "+",
    "^",
    "@",
    "é",
    "1",
    "2",
    "12",
)
BLANKS = (" ", " ", " ", "  ", "\t", "\n", "|", "|", " | ", " | ", "|\n")
QUOTES = ("'", "'", '"', '"', "\\", '\\"', "\\$", "\\\n", "\\n", "\\|", "'a|b'", '"a|b"', '"x $ y"', '"$"')
SYNTAX = (
    "$",
    "a$",
    "$ ",
    "$x",
    "$(id)",
    "`",
    "*",
    "?",
    "[a]",
    "{a,b}",
    "{",
    "}",
    "#",
    "!",
    "&",
    ";",
    ">",
    "<",
    "(",
    ")",
)
REDIRECTIONS = (" 2>&1 ", " 2>/dev/null", ">/dev/null", " &>/dev/null", " >/dev/null", "2> /dev/null")
HERE_DOCUMENTS = (" <<'E'\nx\nE\n", " <<E\nx\nE\n", "<<E", "\nE\n", "\nE")
ATOMS = (*WORDS, *BLANKS, *QUOTES, *SYNTAX, *REDIRECTIONS, *HERE_DOCUMENTS)
LINES = 2000
Program = tuple[tuple[str, ...], str]  # its words, and the input of the first


def test_what_is_accepted_is_read_as_bash_reads_it(tmp_path: Path) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - not a secret
    print("seed", seed)
    source = random.Random(seed)  # noqa: S311 - not a secret
    accepted: list[tuple[str, Pipeline]] = []
    while len(accepted) < LINES:
        line = "first " + "".join(source.choice(ATOMS) for _ in range(source.randint(1, 10)))
        try:
            pipeline = tokenize(line)
        except CommandRefused:
            continue
        if all(_plain_program(stage.argv[0]) for stage in pipeline.stages):
            accepted.append((line, pipeline))
    for (line, pipeline), read in zip(accepted, _read_by_bash([line for line, _ in accepted], tmp_path), strict=True):
        ours = [(stage.argv, "") for stage in pipeline.stages[1:]]
        ours.append((pipeline.stages[0].argv, (pipeline.stdin or b"").decode()))
        assert sorted(read) == sorted(ours), line
    assert sum(len(pipeline.stages) > 1 for _, pipeline in accepted) > LINES / 100
    assert sum(pipeline.stdin is not None for _, pipeline in accepted) > LINES / 100


def _plain_program(word: str) -> bool:
    """Not a path, an option of the printer, nor a word that bash keeps for itself or expands only there."""
    return word.replace("-", "a").isalnum() and word.isascii()


def _read_by_bash(lines: list[str], folder: Path) -> list[list[Program]]:
    """What bash passes to the programs of each line, without globs, braces and history, in one bash for all."""
    script = [
        "set -f +B",
        "command_not_found_handle() {",
        '  local text="" word',
        '  if [[ $1 == first ]]; then IFS= read -r -d "" text; fi',
        '  printf "%s\\0" "$@" $\'\\001\'"$text" >&9',  # in one write: stages run at once
        "}",
        "PATH=/nonexistent",
    ]
    for number, line in enumerate(lines):
        script += [f"exec 9>{folder}/{number}", f"eval {_single(line)} </dev/null >/dev/null 2>&1"]
    path = folder / "script.sh"
    path.write_text("\n".join(script), encoding="utf-8")
    subprocess.run(["/bin/bash", "--norc", "--noprofile", str(path)], env={"LANG": "C.UTF-8"}, check=False, timeout=120)
    return [_words((folder / str(number)).read_text(encoding="utf-8")) for number in range(len(lines))]


def _single(line: str) -> str:
    return "'" + line.replace("'", "'\\''") + "'"


def _words(text: str) -> list[Program]:
    programs: list[Program] = []
    words: list[str] = []
    for part in text.split("\0")[:-1]:
        if part.startswith("\x01"):
            programs.append((tuple(words), part[1:]))
            words = []
        else:
            words.append(part)
    return programs


def test_the_longest_accepted_command_takes_no_time_to_speak_of() -> None:
    """A quadratic scanner would not end within the test's time limit."""
    line = "get " + "'" + "x" * (MAX_LINE_BYTES - 10) + "'"
    for _ in range(50):
        assert len(tokenize(line).stages) == 1
    body = json.dumps("y" * (MAX_COMMAND_BYTES - MAX_LINE_BYTES))
    assert tokenize(f"apply -f - <<'E'\n{body}\nE").stdin == f"{body}\n".encode()
    assert sys.getrecursionlimit() < MAX_LINE_BYTES
