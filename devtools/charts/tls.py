"""A private CA, and certificates that it signs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

_LIFETIME = dt.timedelta(hours=12)


class Authority:
    """A CA that lives as long as a test run.

    Args:
        folder: where it writes ``ca.crt``, and certificates with their keys.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "charts of this test")])
        self.file = folder / "ca.crt"
        self.file.write_bytes(self._sign(self._name, self._key, ca=True, host="").public_bytes(_PEM))

    def certificate(self, host: str) -> tuple[Path, Path]:
        """A new certificate for a host name, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._folder / f"{host}.crt", self._folder / f"{host}.key"
        certificate[0].write_bytes(self._sign(name, key, ca=False, host=host).public_bytes(_PEM))
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        certificate[1].write_bytes(private)
        return certificate

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool, host: str) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


_PEM = serialization.Encoding.PEM
