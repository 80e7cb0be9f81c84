"""Splits a command line into words and stages, without a shell and without any expansion.

Understood as bash understands them: words, single and double quotes, backslashes, ``|``, ``2>&1``, ``2>/dev/null``,
``>/dev/null``, ``&>/dev/null``, one here-document for the first stage, a backslash at the end of a line and a line
break after ``|``. All else that means something to a shell is refused, with what to write instead. Globs, braces
and ``~`` are ordinary characters here, because no file is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.limits import MAX_LINE_BYTES, MAX_STAGES, MAX_WORDS
from k8s_mcp_server.commands.rewrite import (
    check_loop,
    in_single_quotes,
    inner_first,
    is_of_the_shell,
    with_word_quoted,
    without_broken_lines,
    without_loop,
)
from k8s_mcp_server.commands.text import check_text
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.execution.pipeline import Pipeline, Stage, StderrTo

if TYPE_CHECKING:
    from collections.abc import Callable

_BLANK: Final = " \t"
_REDIRECTION: Final = re.compile(r"(?:(?P<null>&>|[12]?>)[ \t]*/dev/null|(?P<both>2>&1))(?=[\s|;&<>()]|$)")
_HEREDOC: Final = re.compile(
    r"<<[ \t]*(?:'(?P<single>[^'\n]+)'|\"(?P<double>\w[\w.-]*)\"|(?P<bare>\w[\w.-]*))(?=[\s|;&<>()]|$)"
)
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*(?:\[[^]]*\])?\+?=")
_EXPANDED_IN_HEREDOC: Final = re.compile(r"[$`\\]")
_ESCAPED_IN_QUOTES: Final = '"\\$`\n'
_LITERAL_AFTER_DOLLAR: Final = " \"|)].,/:%^+=~\t\n'\\"  # after these bash leaves a $ in double quotes alone


def tokenize(text: str) -> Pipeline:
    """Split a command line.

    Args:
        text: what the client wrote, at most 16 KiB and a here-document.

    Returns:
        The stages as they are written; whether their programs may be run is decided elsewhere.

    Raises:
        CommandRefused: the text is empty, too long, no clean text, or has shell syntax that is not understood here.
    """
    check_text(text)
    check_loop(text)
    return _Scanner(text).scan()


@dataclass(slots=True)
class _OpenStage:
    words: list[str]
    stderr: StderrTo = StderrTo.CAPTURE
    discard_stdout: bool = False


class _Scanner:
    """One pass over the text.

    Each ``_on_…`` method is entered at its character and leaves ``_at`` behind what it took.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._stages: list[Stage] = []
        self._open = _OpenStage(words=[])
        self._word: list[str] = []
        self._in_word = False
        self._heredoc: re.Match[str] | None = None
        self._stdin: str | None = None
        self._handlers: dict[str, Callable[[], None]] = {
            " ": self._on_blank,
            "\t": self._on_blank,
            "\n": self._on_line_break,
            "'": self._on_single_quote,
            '"': self._on_double_quote,
            "\\": self._on_backslash,
            "|": self._on_bar,
            "1": self._on_maybe_redirection,
            "2": self._on_maybe_redirection,
            "&": self._on_ampersand,
            ">": self._on_greater,
            "<": self._on_less,
            "$": self._on_dollar,
            "`": self._on_backtick,
            ";": self._on_semicolon,
            "(": self._on_parenthesis,
            ")": self._on_parenthesis,
            "#": self._on_hash,
        }

    def scan(self) -> Pipeline:
        while self._at < len(self._text):
            self._handlers.get(self._text[self._at], self._on_character)()
        if self._heredoc is not None and self._stdin is None:
            raise self._unfinished_heredoc()
        self._end_stage()
        if len(self._text.encode()) - len((self._stdin or "").encode()) > MAX_LINE_BYTES:
            raise CommandRefused(
                "CommandTooLong",
                f"The command line is longer than {MAX_LINE_BYTES // 1024} KiB.",
                instead="Pass long text in the stdin argument.",
            )
        return Pipeline(stages=tuple(self._stages), stdin=None if self._stdin is None else self._stdin.encode())

    # Words

    def _on_character(self) -> None:
        self._take(self._text[self._at], length=1)

    def _on_blank(self) -> None:
        self._end_word()
        self._at += 1

    def _on_single_quote(self) -> None:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise self._unbalanced("'")
        self._take(self._text[self._at + 1 : end], length=end + 1 - self._at)

    def _on_double_quote(self) -> None:
        start = self._at
        self._take("", length=1)
        while self._at < len(self._text):
            character, following = self._text[self._at], self._text[self._at + 1 : self._at + 2]
            if character == '"':
                self._at += 1
                return
            if character == "\\" and following and following in _ESCAPED_IN_QUOTES:
                self._take("" if following == "\n" else following, length=2)
            elif character == "`" or (character == "$" and not (following and following in _LITERAL_AFTER_DOLLAR)):
                raise self._expansion(within_quotes=True)
            else:
                self._take(character, length=1)
        self._at = start
        raise self._unbalanced('"')

    def _on_backslash(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if not following:
            raise CommandRefused(
                "UnbalancedQuote",
                "The command ends with a backslash, which quotes the character after it.",
                instead=self._write_before(),
            )
        if following == "\n":
            self._at += 2
        else:
            self._take(following, length=2)

    def _take(self, characters: str, *, length: int) -> None:
        self._word.append(characters)
        self._in_word = True
        self._at += length

    def _end_word(self) -> None:
        if not self._in_word:
            return
        self._open.words.append("".join(self._word))
        self._word = []
        self._in_word = False
        if len(self._open.words) > MAX_WORDS:
            raise CommandRefused(
                "CommandTooLong",
                f"One program has more than {MAX_WORDS} words.",
                instead="Split it into several calls, or pass the text in the stdin argument.",
            )

    # Stages

    def _on_bar(self) -> None:
        pair = self._text[self._at : self._at + 2]
        if pair == "||":
            raise self._operator("||", "runs a second command when the first one fails")
        if pair == "|&":
            rest = self._text[self._at + 2 :].strip()
            raise CommandRefused(
                "ShellOperator", "`|&` is not understood.", instead=f"Write: `{self._before()} 2>&1 | {rest}`"
            )
        self._end_stage()
        if len(self._stages) >= MAX_STAGES:
            raise CommandRefused(
                "TooManyStages",
                f"A pipeline may have {MAX_STAGES} programs.",
                instead="Join filters: awk or jq do the work of several.",
            )
        self._at += 1

    def _end_stage(self) -> None:
        self._end_word()
        words = tuple(self._open.words)
        if not words:
            where = "after the last `|`" if self._at >= len(self._text) else "before a `|`"
            raise CommandRefused(
                "EmptyStage", f"There is no program {where}.", instead="Remove the `|`, or name a program."
            )
        if found := _ASSIGNMENT.match(words[0]):
            raise CommandRefused(
                "Assignment",
                f"`{found.group()}…` before a command sets a variable, and there are none here.",
                instead="Leave it out, and write values where they are used.",
            )
        if words[0] == "!":
            raise CommandRefused(
                "ShellOperator", "`!` before a command is not understood.", instead="Leave it out; read exit_code."
            )
        self._stages.append(Stage(argv=words, stderr=self._open.stderr, discard_stdout=self._open.discard_stdout))
        self._open = _OpenStage(words=[])

    def _on_line_break(self) -> None:
        if not (self._stages or self._open.words or self._in_word or self._heredoc):
            self._on_blank()
            return
        if self._heredoc is not None and self._stdin is None:
            self._end_word()
            self._read_heredoc(self._heredoc)
            return
        rest = self._text[self._at :].strip()
        after_bar = bool(self._stages) and not self._open.words and not self._in_word
        if rest and not after_bar:
            raise self._operator("a line break", "starts a second command")
        self._on_blank()

    # Redirections and here-documents

    def _on_maybe_redirection(self) -> None:
        if self._in_word or not self._redirect():
            self._on_character()

    def _on_greater(self) -> None:
        if self._is_number_before() or not self._redirect():
            raise CommandRefused(
                "Redirection",
                "`>` would write a file, and there are none here: output comes back to you.",
                instead=self._write_before(),
            )

    def _is_number_before(self) -> bool:
        return self._in_word and "".join(self._word).isdigit()

    def _on_ampersand(self) -> None:
        if self._redirect():
            return
        if self._text.startswith("&&", self._at):
            raise self._operator("&&", "runs a second command after the first")
        raise self._operator("&", "runs a command in the background")

    def _redirect(self) -> bool:
        found = _REDIRECTION.match(self._text, self._at)
        if found is None:
            return False
        self._end_word()
        stage = self._open
        if found["both"]:
            stage.stderr = StderrTo.DISCARD if stage.discard_stdout else StderrTo.STDOUT
        else:
            stage.discard_stdout = stage.discard_stdout or found["null"] != "2>"
            if found["null"] in ("2>", "&>"):
                stage.stderr = StderrTo.DISCARD
        self._at = found.end()
        return True

    def _on_less(self) -> None:
        found = _HEREDOC.match(self._text, self._at)
        # To a shell `2<<E` opens descriptor 2, and is no word `2` before a here-document.
        if found is None or self._is_number_before() or self._text.startswith("<<<", self._at):
            raise CommandRefused(
                "Redirection",
                "`<` would read a file or a shell's text, and there are none here.",
                instead=f"Pass the text in the stdin argument, and write: `{self._before() or 'apply -f -'}`",
            )
        if self._heredoc is not None or self._stages:
            raise CommandRefused(
                "HereDocument",
                "Only the first program of a pipeline can have a here-document, and only one.",
                instead="Pass the text in the stdin argument; it becomes the first program's input.",
            )
        self._end_word()
        self._heredoc = found
        self._at = found.end()

    def _read_heredoc(self, opening: re.Match[str]) -> None:
        delimiter = opening["single"] or opening["double"] or opening["bare"]
        start = self._at + 1
        end = re.compile(rf"^{re.escape(delimiter)}$", re.MULTILINE).search(self._text, start)
        if end is None:
            raise self._unfinished_heredoc()
        body = self._text[start : end.start()]
        if opening["bare"] and _EXPANDED_IN_HEREDOC.search(body):
            raise CommandRefused(
                "ShellExpansion",
                f"In a here-document opened with <<{delimiter} a shell expands `$`, backticks and backslashes.",
                instead=f"Open it with <<'{delimiter}', so that its text is taken as it is.",
            )
        if self._text[end.end() :].strip():
            self._at = end.end()
            raise self._operator("text after the here-document", "starts a second command")
        self._stdin = body
        self._at = len(self._text)

    def _unfinished_heredoc(self) -> CommandRefused:
        return CommandRefused(
            "HereDocument",
            "The here-document has no end: its closing word must stand alone on a line.",
            instead="Close it, or pass the text in the stdin argument.",
        )

    # Everything else that a shell would act on

    def _on_dollar(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if following and following not in " \t\n|":
            raise self._expansion(within_quotes=False)
        self._on_character()

    def _on_backtick(self) -> None:
        raise self._expansion(within_quotes=False)

    def _on_semicolon(self) -> None:
        if self._open.words and not self._text[self._at + 1 :].strip(" \t\n") and self._heredoc is None:
            self._on_blank()
            return
        raise self._operator(";", "starts a second command")

    def _on_parenthesis(self) -> None:
        quoted = with_word_quoted(self._text, self._at)
        raise CommandRefused(
            "Subshell",
            f"`{self._text[self._at]}` outside quotes starts or ends a subshell.",
            instead=f"Write: `{quoted}`" if quoted else "Put the word in single quotes, such as -l 'app in (a,b)'.",
        )

    def _on_hash(self) -> None:
        if self._in_word:
            self._on_character()
            return
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    # Refusals

    def _before(self) -> str:
        return self._text[: self._at].strip()

    def _write_before(self) -> str:
        before = without_loop(self._before())
        if before.endswith("\\"):
            before = without_broken_lines(self._text)
        return f"Write: `{before}`" if before else "Start with the command itself"

    def _operator(self, operator: str, effect: str) -> CommandRefused:
        named = f"`{operator}`" if operator in (";", "&", "&&", "||") else operator
        if is_of_the_shell(self._before()):
            rest = self._text[self._at :].lstrip("&|; \n")
            return CommandRefused(
                "ShellOperator",
                f"There is no shell here: {named} {effect}, and what a shell would remember of the first is gone.",
                instead=f"Write: `{rest}`",
            )
        return CommandRefused(
            "ShellOperator",
            f"There is no shell here: {named} {effect}, and one call runs one command or pipeline.",
            instead=f"{self._write_before()}; send the rest in another call.",
        )

    def _expansion(self, *, within_quotes: bool) -> CommandRefused:
        where = " in double quotes" if within_quotes else ""
        if self._text[self._at] == "`" or self._text.startswith("$(", self._at):
            return CommandRefused(
                "ShellExpansion",
                f"There is no shell here: a command inside a command{where} is not run.",
                instead=inner_first(self._text),
            )
        instead = in_single_quotes(self._text) if within_quotes else ""
        return CommandRefused(
            "ShellExpansion",
            f"There is no shell here: `$`{where} is not expanded.",
            instead=f"Write: `{instead}`"
            if instead
            else "Write the value itself, or put a literal `$` in single quotes.",
        )

    def _unbalanced(self, quote: str) -> CommandRefused:
        return CommandRefused(
            "UnbalancedQuote",
            f"The quote {quote} at character {self._at + 1} is not closed.",
            instead=f"Close it; a {quote} that is meant as such is written as \\{quote}.",
        )
