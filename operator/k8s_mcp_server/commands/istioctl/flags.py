"""istioctl's flags as pflag reads them: which there are, whether they take a value, and which values are offered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXT: Final = r"[ -~]{0,256}"
FILE_NAME: Final = r"[-A-Za-z0-9_./]{1,256}"  # no comma: some flags take several at them
_TRUE: Final = frozenset({"", "1", "t", "T", "true", "TRUE", "True"})  # strconv.ParseBool; none is true, too
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag.

    Args:
        name: its long name.
        short: its letter, empty without one.
        values: a pattern of the values that are offered; None for a switch.
        instead: what to do where a value is not offered.
        names_file: whether a value must be ``-``, for the stdin argument, or a file of the command's.
    """

    name: str
    short: str = ""
    values: re.Pattern[str] | None = None
    instead: str = ""
    names_file: bool = False

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value of its own."""
        return self.values is None

    def __str__(self) -> str:
        return f"--{self.name}"


def value(name: str, short: str = "", *, like: str = _TEXT, instead: str = "") -> Flag:
    """A flag with a value that has this form."""
    return Flag(name=name, short=short, values=re.compile(like), instead=instead)


def file(name: str, short: str) -> Flag:
    """A flag that names a file."""
    return Flag(name=name, short=short, values=re.compile(FILE_NAME), names_file=True)


def switch(name: str, short: str = "") -> Flag:
    """A flag that is on or off."""
    return Flag(name=name, short=short)


def one_of(name: str, short: str = "", *, values: Iterable[str], instead: str = "") -> Flag:
    """A flag with one of these values."""
    return value(name, short, like="|".join(map(re.escape, values)), instead=instead)


def read_switch(text: str) -> bool | None:
    """What is said about a switch; None where it is neither on nor off."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


NAMESPACE: Final = value("namespace", "n", like=r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
ISTIO_NAMESPACE: Final = value("istioNamespace", "i", like=r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
HELP: Final = switch("help", "h")
GLOBAL: Final = (NAMESPACE, ISTIO_NAMESPACE, HELP)

# Flags of every subcommand that would choose who asks, whom, or what istioctl keeps: name, letter, takes a value.
FIXED: Final = {
    **dict.fromkeys(("kubeconfig", "context", "as", "as-uid", "as-group", "kubeclient-timeout", "vklog"), True),
    **dict.fromkeys(("log_target", "log_rotate", "log_output_level", "log_caller", "log_stacktrace_level"), True),
    **dict.fromkeys(("xds-address", "xds-label", "xds-port", "cert-dir", "authority", "proxy-admin-port"), True),
    **dict.fromkeys(("insecure", "plaintext", "log_as_json"), False),
}
FIXED_SHORT: Final = {"c": "kubeconfig"}

REVISION: Final = value("revision", "r", like=r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
TIMEOUT: Final = value("timeout", like=r"[0-9]{1,3}(ms|s|m)")
SELECTOR: Final = value("selector", "l", like=r"[-A-Za-z0-9_./=!, ()]{1,512}")
DUMP: Final = file("file", "f")
MANIFEST: Final = file("filename", "f")
CONFIG_OUTPUT: Final = one_of("output", "o", values=("json", "yaml", "short"))
PORT: Final = value("port", like=r"[0-9]{1,5}")
