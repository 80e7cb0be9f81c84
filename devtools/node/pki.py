"""Keys, certificates and kubeconfigs of a cluster: one authority, and an identity for each component."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_VALID: Final = dt.timedelta(days=30)
_EARLIER: Final = dt.timedelta(minutes=5)


class Authority:
    """The cluster's certificate authority, which writes what it signs to `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(common_name="k8s-mcp-node")
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._write("ca", key=self._key, certificate=self._certificate)

    def issue(self, file: str, *, common_name: str, organization: str = "", hosts: Iterable[str] = ()) -> None:
        """Write `file`.key and `file`.crt, for a client and, with `hosts` (names and addresses), for a server too."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = (
            self._builder(_name(common_name=common_name, organization=organization), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        if names := [_general_name(host) for host in hosts]:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        self._write(file, key=key, certificate=builder.sign(self._key, hashes.SHA256()))

    def write_kubeconfig(self, target: Path, *, server: str, identity: str) -> None:
        """Write the kubeconfig of an identity that `issue` made."""
        cluster = {"server": server, "certificate-authority-data": _data(self.folder / "ca.crt")}
        user = {
            "client-certificate-data": _data(self.folder / f"{identity}.crt"),
            "client-key-data": _data(self.folder / f"{identity}.key"),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "node", "cluster": cluster}],
            "users": [{"name": identity, "user": user}],
            "contexts": [{"name": "node", "context": {"cluster": "node", "user": identity}}],
            "current-context": "node",
        }
        target.touch(mode=0o600)
        target.write_text(json.dumps(config), encoding="utf-8")

    def write_key_pair(self, file: str) -> None:
        """Write `file`.key and `file`.pub: what signs ServiceAccount tokens."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(file, key=key)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.folder / f"{file}.pub").write_bytes(public)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + _VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _write(
        self, file: str, *, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate | None = None
    ) -> None:
        target = self.folder / f"{file}.key"
        target.touch(mode=0o600)
        target.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        if certificate is not None:
            (self.folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _name(*, common_name: str, organization: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _data(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode("ascii")
