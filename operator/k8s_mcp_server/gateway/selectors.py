"""Field and label selectors, read as far as the API server reads them to understand a request.

Ports of k8s.io/apimachinery/pkg/fields/selector.go (``ParseSelector``) and of the grammar of
k8s.io/apimachinery/pkg/labels/selector.go (``Parse``), v0.37. A selector that does not parse changes what the API
server takes a request for (see requestinfo.py), so both must be exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_OPERATOR: Final = re.compile(r"!=|==|=")
_TOKEN: Final = re.compile(r"[ \t\r\n]*(?:(!=|==|[=!(),<>])|([^ \t\r\n=!(),<>]+))")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_DNS_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_LONGEST_INT64: Final = 19
_LONGEST_NAME: Final = 63
_LONGEST_SUBDOMAIN: Final = 253


class SelectorError(ValueError):
    """The API server could not parse this selector either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldTerm:
    """One requirement of a field selector."""

    field: str
    negated: bool
    value: str


def is_int64(text: str) -> bool:
    """Whether Go's ``strconv.ParseInt(text, 10, 64)`` accepts the text."""
    if not _INTEGER.fullmatch(text):
        return False
    digits = text.lstrip("+-").lstrip("0") or "0"
    if len(digits) > _LONGEST_INT64:
        return False
    return int(digits) <= (1 << 63) - (not text.startswith("-"))


def parse_field_selector(selector: str) -> tuple[FieldTerm, ...]:
    """The terms of a field selector, in the order in which the API server keeps them (sorted by their text).

    Raises:
        SelectorError: a term has no operator, or a value holds an unescaped or wrongly escaped character.
    """
    terms = []
    for part in sorted(_split_terms(selector)):
        if not part:
            continue
        operator = _OPERATOR.search(part)
        if operator is None:
            raise SelectorError("a term has no operator")
        value = _unescape(part[operator.end() :])
        terms.append(FieldTerm(field=part[: operator.start()], negated=operator[0] == "!=", value=value))
    return tuple(terms)


def _split_terms(selector: str) -> list[str]:
    terms, start, escaped = [], 0, False
    for index, char in enumerate(selector):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            terms.append(selector[start:index])
            start = index + 1
    terms.append(selector[start:])
    return terms


def _unescape(value: str) -> str:
    out, escaped = [], False
    for char in value:
        if escaped:
            if char not in "\\,=":
                raise SelectorError("unknown escape sequence")
            out.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",=":
            raise SelectorError("unescaped character in a value")
        else:
            out.append(char)
    if escaped:
        raise SelectorError("a value ends in a backslash")
    return "".join(out)


def label_selector_parses(selector: str) -> bool:
    """Whether ``labels.Parse`` accepts the text."""
    try:
        _LabelParser(selector).parse()
    except SelectorError:
        return False
    return True


class _LabelParser:
    """Recursive descent over the grammar in ``labels.Parse``; it keeps nothing, it only accepts or refuses."""

    def __init__(self, selector: str) -> None:
        self._tokens = _label_tokens(selector)
        self._next = 0

    def parse(self) -> None:
        if self._peek() == "":
            return
        while True:
            self._requirement()
            separator = self._take()
            if separator == "":
                return
            if separator != "," or self._peek() in {"", ","}:
                raise SelectorError("expected ',' or the end")

    def _peek(self) -> str:
        return self._tokens[self._next]

    def _take(self) -> str:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _requirement(self) -> None:
        absent = self._peek() == "!"
        if absent:
            self._take()
        _check_label_key(_identifier(self._take()))
        if absent or self._peek() in {"", ","}:
            return
        operator = self._take()
        if operator in {"in", "notin"}:
            self._value_set()
        elif operator in {"=", "==", "!=", "<", ">"}:
            self._exact_value(operator)
        else:
            raise SelectorError("expected an operator")

    def _exact_value(self, operator: str) -> None:
        value = "" if self._peek() in {"", ","} else _identifier(self._take())
        if operator in {"<", ">"} and not is_int64(value):
            raise SelectorError("expected an integer")
        _check_label_value(value)

    def _value_set(self) -> None:
        if self._take() != "(":
            raise SelectorError("expected '('")
        if self._peek() == ")":
            self._take()
            return
        while True:
            item = self._take()
            if item == ",":
                if self._peek() == ")":
                    break
                continue
            _check_label_value(_identifier(item))
            if self._peek() == ")":
                break
            if self._peek() != ",":
                raise SelectorError("expected ',' or ')'")
        self._take()


def _label_tokens(selector: str) -> list[str]:
    """Operators and identifiers; the empty string ends the list, as NUL ends the lexer's input."""
    text = selector.partition("\0")[0].rstrip(" \t\r\n")
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise SelectorError("unreadable")
        tokens.append(match[1] or match[2])
        position = match.end()
    return [*tokens, ""]


def _identifier(token: str) -> str:
    if not token or token[0] in "=!(),<>":
        raise SelectorError("expected an identifier")
    return token


def _check_label_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= _LONGEST_SUBDOMAIN and _SUBDOMAIN.fullmatch(prefix)):
        raise SelectorError("the key's prefix is no DNS subdomain")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise SelectorError("the key is no label key")


def _check_label_value(value: str) -> None:
    if value and (len(value) > _LONGEST_NAME or not _NAME.fullmatch(value)):
        raise SelectorError("the value is no label value")
