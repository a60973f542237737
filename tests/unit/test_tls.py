"""Certificates: what the CA can vouch for, when they are made again, mistakes with one's own."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kit import tls
from kit.errors import KitError

ADDRESS = "127.0.0.1"
DEFAULT = tls.Settings(None, None, tls.DEFAULT_ORIGINS)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in ("CA_FILE", "CA_CERTIFICATE", "CA_KEY", "SERVER_CERTIFICATE", "SERVER_KEY"):
        monkeypatch.setattr(tls, name, tmp_path / "tls" / getattr(tls, name).name)
    return tmp_path / "tls"


def shake_hands(certificate, key, name):
    """Connect to a server that has the certificate, as a client that trusts the CA."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=tls.CA_FILE)
    ours, theirs = socket.socketpair()

    def serve():
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(ours, server_hostname=name).close()
    finally:
        ours.close()
        thread.join()


def signed(folder, names, *, days=30):
    """Sign a certificate for other names with the CA's key, as a thief would."""
    ca = x509.load_pem_x509_certificate(tls.CA_CERTIFICATE.read_bytes())
    ca_key = serialization.load_pem_private_key(tls.CA_KEY.read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        # Python 3.13 and newer refuse a certificate without it, whatever its name.
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    files = folder / "own.pem", folder / "own.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def test_vouches_for_the_instances_address():
    tls.prepare(DEFAULT, [ADDRESS])
    shake_hands(tls.SERVER_CERTIFICATE, tls.SERVER_KEY, ADDRESS)


@pytest.mark.parametrize("name", ["198.18.0.9", "bank.example"])
def test_a_stolen_ca_key_is_good_for_nothing_else(folder, name):
    tls.prepare(DEFAULT, [ADDRESS])
    kind = x509.IPAddress(ipaddress.ip_address(name)) if name[0] == "1" else x509.DNSName(name)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        shake_hands(*signed(folder, [kind]), name)


def test_keys_are_for_their_owner_alone():
    tls.prepare(DEFAULT, [ADDRESS])
    for file in (tls.CA_KEY, tls.SERVER_KEY):
        assert file.stat().st_mode & 0o777 == 0o600


def test_made_once_and_again_for_another_address():
    tls.prepare(DEFAULT, [ADDRESS])
    first = tls.CA_FILE.read_text(), tls.SERVER_CERTIFICATE.read_text()
    tls.prepare(DEFAULT, [ADDRESS])
    assert (tls.CA_FILE.read_text(), tls.SERVER_CERTIFICATE.read_text()) == first
    tls.prepare(DEFAULT, ["198.18.0.9"])
    assert tls.CA_FILE.read_text() != first[0]


def test_a_run_that_was_cut_off_after_its_ca_leaves_no_certificate_of_the_old_one():
    tls.prepare(DEFAULT, [ADDRESS])
    tls._make_ca(["198.18.0.9"])  # noqa: SLF001  # and no more
    tls.prepare(DEFAULT, ["198.18.0.9"])
    shake_hands(tls.SERVER_CERTIFICATE, tls.SERVER_KEY, "198.18.0.9")


def test_servers_trust_each_other_while_one_after_the_other_learns_of_a_further_one():
    tls.prepare(DEFAULT, [ADDRESS])
    before = tls.CA_FILE.read_text(), tls.SERVER_CERTIFICATE.read_text()
    further = tls.prepare(DEFAULT, [ADDRESS, "127.0.0.2"])[1]
    assert tls.SERVER_CERTIFICATE.read_text() == before[1]
    shake_hands(tls.SERVER_CERTIFICATE, tls.SERVER_KEY, ADDRESS)
    shake_hands(further["kit_tls_certificate"], further["kit_tls_private_key"], "127.0.0.2")
    tls.SERVER_CERTIFICATE.unlink()  # one that is signed now, to who knows the old CA only
    tls.prepare(DEFAULT, [ADDRESS, "127.0.0.2"])
    tls.CA_FILE.write_text(before[0])
    shake_hands(tls.SERVER_CERTIFICATE, tls.SERVER_KEY, ADDRESS)


def test_renewed_before_its_end_by_the_same_ca(monkeypatch):
    monkeypatch.setattr(tls, "SERVER_DAYS", tls.RENEW_DAYS - 1)
    tls.prepare(DEFAULT, [ADDRESS])
    first = tls.CA_FILE.read_text(), tls.SERVER_CERTIFICATE.read_text()
    tls.prepare(DEFAULT, [ADDRESS])
    assert tls.CA_FILE.read_text() == first[0]
    assert tls.SERVER_CERTIFICATE.read_text() != first[1]


def test_ones_own_certificate_gives_the_name(folder):
    tls.prepare(DEFAULT, [ADDRESS])
    files = signed(folder, [x509.DNSName("*.example.org"), x509.DNSName("push.example.org")])
    (variables,) = tls.prepare(tls.Settings(*files, ("https://app.example.org",)), [ADDRESS])
    assert variables["webdis_edge_server_name"] == "push.example.org"
    assert variables["webdis_edge_certificate"] == str(files[0])
    assert variables["webdis_edge_origins"] == ["https://app.example.org"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("other key", "is not the key of"),
        ("no key", "is not a PEM key"),
        ("no certificate", "holds no PEM certificate"),
        ("ended", "not today"),
        ("no name", "is for no full name or address"),
    ],
)
def test_a_mistake_with_ones_own_certificate_is_one_sentence(folder, change, message):
    tls.prepare(DEFAULT, [ADDRESS])
    names = [x509.DNSName("*.example.org" if change == "no name" else "push.example.org")]
    certificate, key = signed(folder, names, days=-1 if change == "ended" else 30)
    if change == "other key":
        key = tls.SERVER_KEY
    elif change == "no key":
        key.write_text("nonsense")
    elif change == "no certificate":
        certificate.write_text("nonsense")
    with pytest.raises(KitError, match=message) as refused:
        tls.prepare(tls.Settings(certificate, key, tls.DEFAULT_ORIGINS), [ADDRESS])
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TLS": "yes"}, "TLS=yes is not known; valid are: 0, 1"),
        ({"TLS": "1", "TLS_KEY": "/etc/hostname"}, "only TLS_KEY is set"),
        ({"TLS_KEY": "/etc/hostname"}, "TLS_KEY has no meaning without TLS=1"),
        ({"ORIGINS": "https://app.example.org"}, "ORIGINS has no meaning without TLS=1"),
        ({"TLS": "1", "TLS_KEY": "/no", "TLS_CERTIFICATE": "/no"}, "cannot be read"),
    ],
    ids=str,
)
def test_mistaken_variables_are_refused(monkeypatch, environment, message):
    for name in ("TLS", "TLS_CERTIFICATE", "TLS_KEY", "ORIGINS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KitError, match=message):
        tls.settings_from_environment()


def test_without_tls_there_are_no_certificates(folder):
    assert tls.prepare(None, [ADDRESS, "198.18.0.9"]) == [{"kit_tls": False}] * 2
    assert not folder.exists()


def test_each_node_has_a_certificate_of_its_own_by_one_ca():
    nodes = [ADDRESS, "198.18.0.9", "198.18.0.10"]
    found = tls.prepare(DEFAULT, nodes)
    for variables, address in zip(found, nodes, strict=True):
        shake_hands(
            Path(variables["kit_tls_certificate"]), Path(variables["kit_tls_private_key"]), address
        )
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(
            Path(found[1]["kit_tls_certificate"]), Path(found[1]["kit_tls_private_key"]), ADDRESS
        )
