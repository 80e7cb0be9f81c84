"""``continue`` tokens of filtered lists, sealed: the API server's name the object at which a page ends.

A sealed token opens only in the command and for the path that got it.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PREFIX: Final = "k8s-mcp."
_NONCE_BYTES: Final = 12


class NotOurs(ValueError):
    """The token was not sealed for this command and path."""


class ContinueSealer:
    """Seals and opens tokens with a key that lives and dies with the process."""

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(bit_length=256))

    def seal(self, token: str, *, command_id: str, path: str) -> str:
        """A token that says nothing."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, token.encode(), _binding(command_id, path))
        return _PREFIX + base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, token: str, *, command_id: str, path: str) -> str:
        """The API server's token.

        Raises:
            NotOurs: it was sealed elsewhere, or not at all.
        """
        if not token.startswith(_PREFIX):
            raise NotOurs
        try:
            data = base64.urlsafe_b64decode(token.removeprefix(_PREFIX))
            opened = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _binding(command_id, path))
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise NotOurs from error
        return opened.decode()

    @staticmethod
    def is_sealed(token: str) -> bool:
        """Whether it looks like one of ours."""
        return token.startswith(_PREFIX)


def _binding(command_id: str, path: str) -> bytes:
    return f"{command_id}\0{path}".encode()
