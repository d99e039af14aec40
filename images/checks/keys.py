"""Keys for signatures: ECDSA on P-256, as cosign makes and expects them. No key or password is ever in a message."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from images.checks.secretbox import unsealed
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

COSIGN = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
PASSWORD = "COSIGN_PASSWORD"  # the variable's name, as cosign has it
MAKE = "make one: openssl ecparam -genkey -name prime256v1 -noout -out key.pem"
MOST_MEMORY = 1 << 30  # bytes scrypt may take; cosign's own parameters take 64 MiB


def private_key(path: Path) -> EllipticCurvePrivateKey:
    """The key in a PEM file: plain (PKCS #8 or SEC 1), or encrypted with the password in COSIGN_PASSWORD.

    Raises WrongInput with what to do: no such file, no key, another kind of key, no or a wrong password.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    data = content(path)
    label = pem_label(data)
    found: object
    try:
        if label in COSIGN:
            found = load_der_private_key(opened(data, path), None)
        else:
            encrypted = label == "ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in data
            found = load_pem_private_key(data, password(path) if encrypted else None)
    except (ValueError, TypeError):
        hint = f"check {PASSWORD}" if "ENCRYPTED" in label else MAKE
        raise WrongInput(f"{path} holds no private key that can be read", hint) from None
    if not isinstance(found, EllipticCurvePrivateKey) or found.curve.name != "secp256r1":
        raise WrongInput(f"{path} is not an ECDSA key on P-256, the only kind every cosign verifies", MAKE)
    return found


def public_key(path: Path) -> EllipticCurvePublicKey:
    """The public key in a PEM file. Raises WrongInput."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = content(path)
    if "PRIVATE" in pem_label(data):
        raise WrongInput(
            f"{path} is a private key; a public one is needed", f"openssl ec -in {path} -pubout, or cosign's .pub file"
        )
    try:
        found = load_pem_public_key(data)
    except ValueError:
        raise WrongInput(f"{path} holds no public key that can be read", "give a PEM file (cosign.pub)") from None
    if not isinstance(found, EllipticCurvePublicKey) or found.curve.name != "secp256r1":
        raise WrongInput(f"{path} is not an ECDSA key on P-256", "give the key that belongs to the signature")
    return found


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WrongInput(f"cannot read the key {path}: {error.strerror}", MAKE) from None


def pem_label(data: bytes) -> str:
    """'EC PRIVATE KEY' of `-----BEGIN EC PRIVATE KEY-----`; '' without such a line."""
    for line in data.decode("ascii", "replace").splitlines():
        if line.startswith("-----BEGIN ") and line.rstrip().endswith("-----") and "PARAMETERS" not in line:
            return line.rstrip()[len("-----BEGIN ") : -len("-----")]
    return ""


def password(path: Path) -> bytes:
    """Raises WrongInput when the variable is not set; an empty password is one."""
    if PASSWORD not in os.environ:
        raise WrongInput(f"the key {path} is encrypted and {PASSWORD} is not set", f"put its password into {PASSWORD}")
    return os.environ[PASSWORD].encode()


def opened(data: bytes, path: Path) -> bytes:
    """The PKCS #8 bytes in cosign's own format: JSON with scrypt and a NaCl secretbox
    (secure-systems-lab/go-securesystemslib encrypted/encrypted.go). Raises WrongInput, ValueError."""
    import hashlib

    lines = [line for line in data.decode("ascii", "replace").splitlines() if line and not line.startswith("-----")]
    try:
        value: Any = json.loads(base64.b64decode("".join(lines), validate=True))
        kdf, cipher = value["kdf"], value["cipher"]
        n, r, p = (int(kdf["params"][name]) for name in "Nrp")
        salt, nonce, box = (base64.b64decode(text) for text in (kdf["salt"], cipher["nonce"], value["ciphertext"]))
    except (KeyError, TypeError) as missing:
        raise ValueError from missing
    if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox") or len(nonce) != 24 or 128 * n * r > MOST_MEMORY:
        raise WrongInput(f"the key {path} is encrypted in a way that is not known here", MAKE)
    key = hashlib.scrypt(password(path), salt=salt, n=n, r=r, p=p, maxmem=MOST_MEMORY + (1 << 20), dklen=32)
    plain = unsealed(box, nonce, key)
    if plain is None:
        raise WrongInput(f"the password in {PASSWORD} does not open the key {path}", f"set the right {PASSWORD}")
    return plain
