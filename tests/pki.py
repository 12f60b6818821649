"""Certificates for tests, made when they are needed."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


class Certificate(NamedTuple):
    """Paths of PEM files."""

    chain: str
    key: str


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _subject_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


class Authority:
    """A certificate authority that nobody trusts but whom we tell to."""

    def __init__(self, folder: Path, called: str = "authority") -> None:
        self._folder = folder
        self._called = called
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("extproc test authority")
        self._count = 0
        certificate = self._sign(self._name, self._key, (), issuer=None)
        self.bundle = folder / f"{called}.pem"
        self.bundle.write_bytes(certificate.public_bytes(_PEM))

    def issue(self, *names: str) -> Certificate:
        """Return a certificate for `names`, signed by this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(self._sign(_name(names[0]), key, names, self._key), key)

    def self_signed(self, *names: str) -> Certificate:
        """Return a certificate that vouches for itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = self._sign(_name(names[0]), key, names, key, _name(names[0]))
        return self._write(signed, key)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[str, ...],
        issuer: ec.EllipticCurvePrivateKey | None,
        issuer_name: x509.Name | None = None,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer_name or self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
        )
        if names:
            alternatives = x509.SubjectAlternativeName(map(_subject_name, names))
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(issuer or key, hashes.SHA256())

    def _write(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> Certificate:
        self._count += 1
        chain = self._folder / f"{self._called}-cert{self._count}.pem"
        secret = self._folder / f"{self._called}-key{self._count}.pem"
        chain.write_bytes(certificate.public_bytes(_PEM))
        secret.write_bytes(
            key.private_bytes(
                _PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Certificate(str(chain), str(secret))
