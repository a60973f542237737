"""Certificates of an instance: a small local CA and what it signs, or the user's own."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kit.checkout import KIT_DIR, NAME, host_name, write_private
from kit.errors import KitError, choice

TLS_DIR = KIT_DIR / "tls"
CA_FILE = TLS_DIR / "ca.pem"  # what clients trust
CA_CERTIFICATE, CA_KEY = TLS_DIR / "ca_own.pem", TLS_DIR / "ca_own.key"
# Of the first node; those of others stand beside them, named after their node.
SERVER_CERTIFICATE, SERVER_KEY = TLS_DIR / "server.pem", TLS_DIR / "server.key"
CA_DAYS = 3650
SERVER_DAYS = 397
RENEW_DAYS = 30  # before the end
SEE = "See docs/troubleshooting.md#certificates."
# A page of the demo, on whichever port it runs.
DEFAULT_ORIGINS = ("http://127.0.0.1:*", "http://localhost:*")


@dataclass(frozen=True)
class Settings:
    """What the person asked for.

    Args:
        certificate: PEM file of their own certificate, its chain after it; None for
            one of the local CA.
        key: PEM file of that certificate's key, without a passphrase.
        origins: Origins of the pages that may connect; ``*`` stands for any port.
    """

    certificate: Path | None
    key: Path | None
    origins: tuple[str, ...]


def settings_from_environment() -> Settings | None:
    """Read ``TLS``, ``TLS_CERTIFICATE``, ``TLS_KEY`` and ``ORIGINS``; None without TLS.

    Raises:
        KitError: A value is not allowed, or one of the two files comes without the other.
    """
    asked = choice("TLS", ("0", "1"), "0")
    names = ("TLS_CERTIFICATE", "TLS_KEY")
    own = {name: Path(value).resolve() for name in names if (value := os.environ.get(name))}
    if asked == "0":
        for name in (*own, *(["ORIGINS"] if os.environ.get("ORIGINS") else [])):
            raise KitError(f"{name} has no meaning without TLS=1.", 2)
        return None
    if len(own) == 1:
        raise KitError(
            f"{' and '.join(names)} belong together: only {next(iter(own))} is set. {SEE}", 2
        )
    for name, path in own.items():
        if not os.access(path, os.R_OK):
            raise KitError(f"{name}={path} cannot be read. {SEE}", 2)
    origins = tuple(os.environ.get("ORIGINS", "").split()) or DEFAULT_ORIGINS
    return Settings(own.get("TLS_CERTIFICATE"), own.get("TLS_KEY"), origins)


def prepare(settings: Settings | None, addresses: list[str]) -> list[dict[str, Any]]:
    """Make the certificates that are missing or about to end.

    Args:
        settings: What the person asked for; None for no TLS.
        addresses: IP address of each node.

    Returns:
        For each node, the inventory variables that the playbook takes them from.

    Raises:
        KitError: The person's own certificate cannot be used.
    """
    if settings is None:
        return [{"kit_tls": False} for _ in addresses]
    certificates = [
        SERVER_CERTIFICATE.with_stem(host_name(node)) for node in range(1, len(addresses) + 1)
    ]
    if not _still_good(CA_CERTIFICATE, addresses, ca=True):
        if not CA_KEY.exists():
            for certificate in certificates:
                certificate.unlink(missing_ok=True)
        _make_ca(addresses)
    trusted = CA_CERTIFICATE.read_text(encoding="utf-8")
    found = []
    for certificate, address in zip(certificates, addresses, strict=True):
        key = certificate.with_suffix(".key")
        if not _still_good(certificate, [address]):
            _sign_server(certificate, key, address)
        found.append(
            {
                "kit_tls": True,
                "kit_tls_ca": str(CA_CERTIFICATE),
                "kit_tls_certificate": str(certificate),
                "kit_tls_private_key": str(key),
                "webdis_edge_server_name": address,
                "webdis_edge_certificate": str(certificate),
                "webdis_edge_private_key": str(key),
                "webdis_edge_origins": list(settings.origins),
            }
        )
    if settings.certificate and settings.key:
        name, roots = _check_own(settings.certificate, settings.key, addresses[0])
        trusted += roots
        for variables in found:
            variables |= {
                "webdis_edge_server_name": name,
                "webdis_edge_certificate": str(settings.certificate),
                "webdis_edge_private_key": str(settings.key),
            }
    write_private(CA_FILE, trusted)
    return found


def _address_of(address: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(address))


def _network_of(address: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(address))


def _names_of(certificate: x509.Certificate) -> list[str]:
    """Return the addresses and names that a certificate is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return [str(one) for one in addresses] + extension.value.get_values_for_type(x509.DNSName)


def _still_good(path: Path, addresses: list[str], *, ca: bool = False) -> bool:
    """Tell whether a certificate of ours is there, for these addresses, for long enough."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    if certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=RENEW_DAYS):
        return False
    if not ca:
        return set(addresses) <= set(_names_of(certificate))
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    return all(_network_of(one) in (constraints.permitted_subtrees or []) for one in addresses)


def _builder(subject: str, issuer: str, days: int) -> x509.CertificateBuilder:
    def name(common_name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + timedelta(days=days))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _ca_name() -> str:
    return f"webdis-kit {NAME}"


def _make_ca(addresses: list[str]) -> None:
    """Make a CA that can vouch for these addresses and for no name at all.

    People put it among the roots that their browser trusts: whoever steals its key
    must not become their bank. One that vouches for more addresses keeps the key of the one
    before, so that servers of which some know the new one already trust each other.
    """
    key = _ca_key() if CA_KEY.exists() else ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    only = [
        *map(_network_of, addresses),
        # A kind of name that is not listed at all would be free.
        x509.DNSName("webdis-kit.invalid"),
    ]
    certificate = (
        _builder(_ca_name(), _ca_name(), CA_DAYS)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints(only, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(CA_KEY, _pem(key))
    write_private(CA_CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM).decode())


def _ca_key() -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(CA_KEY.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KitError(f"{CA_KEY} is not a key of ours; remove {TLS_DIR}.")
    return key


def _sign_server(path: Path, key_path: Path, address: str) -> None:
    """Make a server's key and let the CA vouch for it."""
    ca = x509.load_pem_x509_certificate(CA_CERTIFICATE.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    issuer = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        # No address in the subject: OpenSSL would take it for a name, which is not permitted.
        _builder(f"{_ca_name()} server", _ca_name(), SERVER_DAYS)
        .public_key(public)
        .add_extension(x509.SubjectAlternativeName([_address_of(address)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
        )
        .sign(_ca_key(), hashes.SHA256())
    )
    write_private(key_path, _pem(key))
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM).decode())


def _check_own(certificate: Path, key: Path, address: str) -> tuple[str, str]:
    """Check the person's own certificate.

    Returns:
        The name or address that browsers will use, and the roots in its chain, as PEM.

    Raises:
        KitError: It cannot be used; the message says why.
    """
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except ValueError:
        raise KitError(
            f"TLS_CERTIFICATE={certificate} holds no PEM certificate. {SEE}", 2
        ) from None
    try:
        public = serialization.load_pem_private_key(key.read_bytes(), None).public_key()
    except (TypeError, ValueError):
        raise KitError(f"TLS_KEY={key} is not a PEM key without a passphrase. {SEE}", 2) from None
    if public != chain[0].public_key():
        raise KitError(f"TLS_KEY={key} is not the key of {certificate}. {SEE}", 2)
    if not chain[0].not_valid_before_utc <= datetime.now(UTC) < chain[0].not_valid_after_utc:
        raise KitError(
            f"TLS_CERTIFICATE={certificate} is valid from {chain[0].not_valid_before_utc:%Y-%m-%d} "
            f"to {chain[0].not_valid_after_utc:%Y-%m-%d}, not today. {SEE}",
            2,
        )
    names = [name for name in _names_of(chain[0]) if not name.startswith("*")]
    if not names:
        raise KitError(
            f"TLS_CERTIFICATE={certificate} is for no full name or address; browsers need one "
            f"among its subject alternative names. {SEE}",
            2,
        )
    roots = [one for one in chain if one.issuer == one.subject]
    pem = "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in roots)
    return (address if address in names else names[0]), pem
