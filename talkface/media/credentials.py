"""Content credentials (C2PA): a signed statement in the file that a video is synthetic and has not been changed since.

It needs c2pa-python: pip install "talkface[c2pa]". With the user's own certificate, validators name the signer; whether
they trust it depends on their list of authorities. Without one, a certificate is made for this one video: validators
find the statement valid, and its signer unknown ("signingCredential.untrusted").
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkface._version import __version__
from talkface.errors import TalkfaceError
from talkface.files import require_file
from talkface.media.mark import SYNTHETIC

VALID_DAYS = 3650  # of a certificate that is made for one video
UNTRUSTED = "signingCredential.untrusted"
INSTALL = "pip install 'talkface[c2pa]'"


@dataclass(frozen=True)
class Credentials:
    """What the content credentials of a file say."""

    generator: str
    """The program that wrote them, with its version."""

    source_type: str | None
    """IPTC digital source type of the action that made the file, as an address."""

    signer: str
    intact: bool
    """Whether the signature is valid and the file has not been changed since it was signed."""

    trusted: bool
    """Whether the signer's certificate comes from an authority that the library trusts."""


class Signer:
    """Signs videos.

    Args:
        pem: file with a private key and its chain of certificates, the signer's first, in PEM. None makes a certificate
            of its own.

    Raises:
        TalkfaceError: c2pa-python is not installed, or the file has no usable key and certificate.
    """

    def __init__(self, pem: Path | None = None) -> None:
        self._c2pa = _library()
        chain, key, algorithm = _own_certificate() if pem is None else _read_pem(pem)
        try:
            info = self._c2pa.C2paSignerInfo(algorithm, chain, key, None)
            self._signer = self._c2pa.Signer.from_info(info)
        except self._c2pa.C2paError as error:
            raise _refused(pem, error) from error

    def sign(self, video: Path) -> None:
        """Put content credentials into an mp4, in place.

        Raises:
            TalkfaceError: the library does not accept the certificate or the file.
        """
        maker = {"name": "talkface", "version": __version__}
        created = {"action": "c2pa.created", "digitalSourceType": SYNTHETIC, "softwareAgent": maker}
        manifest = {
            "claim_generator_info": [maker],
            "format": "video/mp4",
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [created]}}],
        }
        signed = video.with_name(f"{video.stem}.c2pa{video.suffix}")
        try:
            with self._c2pa.Builder(json.dumps(manifest)) as builder:
                builder.sign_file(video, signed, self._signer)
            signed.replace(video)
        except self._c2pa.C2paError as error:
            raise TalkfaceError(
                f"The content credentials cannot be written: {error}.",
                "Check the certificate of --c2pa-signer, or render without --c2pa.",
            ) from error
        finally:
            signed.unlink(missing_ok=True)


def read_credentials(video: Path) -> Credentials | None:
    """Return what the content credentials of a file say; None if it has none.

    Raises:
        TalkfaceError: c2pa-python is not installed, or the credentials cannot be read.
    """
    c2pa = _library()
    try:
        with c2pa.Reader(video) as reader:
            manifest: dict[str, Any] = reader.get_active_manifest() or {}
            state = reader.get_validation_state()
    except c2pa.C2paError as error:
        if "ManifestNotFound" in str(error) or "NotSupported" in str(error):
            return None
        raise TalkfaceError(f"The content credentials of {video.name} cannot be read: {error}.") from error
    generators = [f"{one.get('name', '')} {one.get('version', '')}" for one in manifest.get("claim_generator_info", [])]
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion.get("label", "").startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
    ]
    types = [action["digitalSourceType"] for action in actions if action.get("digitalSourceType")]
    signature = manifest.get("signature_info") or {}
    return Credentials(
        generator=" ".join(generators).strip() or "an unknown program",
        source_type=types[0] if types else None,
        signer=signature.get("common_name") or signature.get("issuer") or "unknown",
        intact=state in ("Valid", "Trusted"),
        trusted=state == "Trusted",
    )


def _library() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise TalkfaceError("Content credentials need c2pa-python, which is not installed.", INSTALL) from error
    return c2pa


def _own_certificate() -> tuple[bytes, bytes, bytes]:
    """A new key and a certificate that it has signed itself: chain, key, algorithm."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "talkface"),
            x509.NameAttribute(NameOID.COMMON_NAME, "talkface, self-signed"),
        ]
    )
    now, public = datetime.datetime.now(datetime.timezone.utc), key.public_key()
    use = x509.KeyUsage(True, *[False] * 8)  # digital signatures only
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(use, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private, b"es256"


def _read_pem(path: Path) -> tuple[bytes, bytes, bytes]:
    """Chain, key and algorithm of a PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    data = require_file(path, "a certificate in PEM").read_bytes()
    pem = serialization.Encoding.PEM
    try:
        key = serialization.load_pem_private_key(data, password=None)
        chain = b"".join(one.public_bytes(pem) for one in x509.load_pem_x509_certificates(data))
    except (ValueError, TypeError) as error:
        raise _refused(path, error) from error
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size in (256, 384, 521):
        return chain, private, {256: b"es256", 384: b"es384", 521: b"es512"}[key.key_size]
    if isinstance(key, rsa.RSAPrivateKey):
        return chain, private, b"ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return chain, private, b"ed25519"
    raise _refused(path, ValueError("its key is of a kind that C2PA does not use"))


def _refused(pem: Path | None, error: Exception) -> TalkfaceError:
    return TalkfaceError(
        f"{pem or 'The certificate'} cannot be used to sign: {error}.",
        "Give one PEM file with a private key without password (EC, Ed25519 or RSA) and its chain of certificates.",
    )
