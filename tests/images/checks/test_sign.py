"""sign: cosign's signatures are ours and ours are cosign's. The key file below was made by cosign 2.5 for this test."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from images.checks import keys, sign
from images.checks.verify import verify_image
from images.oci.digest import of_bytes
from images.oci.manifest import Descriptor, canonical
from profiles.errors import WrongInput
from tests.images.checks.conftest import Workshop

# stoker: allow-secret (a throw-away key, its password is `pw`)
COSIGN_KEY = """-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJMUThHUUEyKzFOSUs5SVVWY05PQmV1bWhmNzFuRGcv
NjVJZjcybFJ6NFBJPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJ6Y3JCc01kYUVKc3FoekNQcG5tdFdvVWZkaEdYVzdpNyJ9LCJj
aXBoZXJ0ZXh0Ijoid0J3VnA5aUVNTitjYU5QWXFORndvcmk5TkhOTEx6MXc1amp3
VGJtM1YvNFB4MDdtSy9qUmo0NzV2TFgwV1BuaHJ3Kzk1Wm8vcGxnOVNZeVZ4NW10
VHBmcjdzTEt4SGZJbEYyTXJJSTF6U09jaG5NcFo4Y0Z3SzV6V3Rxcmc2UG5XVlJr
dm9YMFhKK3BoaEZHQUY0L1B3d1JpVFVPWXVIejhhUzBtdWdoSUE3VG1jM1VFcy9z
MzJNWWsvay9DUk5GZWVqWnltMmVvRWVzaVE9PSJ9
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----
"""
COSIGN_PUB = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEwVnyXjJolGLrg1cKS8zjW2SzaUZh
EHlXQTu025Emia8rSFxXtbuF8nQ5O9NYgy2iEuvVgEU2RiA03PizF8SsMA==
-----END PUBLIC KEY-----
"""


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return new_pair(tmp_path, "first")


def new_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """(private, public) as the error messages tell people to make them."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", str(private))
    openssl("ec", "-in", str(private), "-pubout", "-out", str(public))
    return private, public


@pytest.fixture
def cosigns(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "cosign.key", tmp_path / "cosign.pub"
    private.write_text(COSIGN_KEY)
    public.write_text(COSIGN_PUB)
    return private, public


class TestSigning:
    def test_a_signed_image_verifies_with_the_public_key(self, workshop: Workshop, pair: tuple[Path, Path]):
        image = workshop.push()
        sign.sign_image(workshop.repository(), image.manifest.descriptor, pair[0])
        report = verify_image(workshop.bench, workshop.ref(image.plan.tag), str(pair[1]))
        assert report.ok
        assert [one.ok for one in report.checks if one.check == "signature"] == [True]

    def test_the_form_is_cosigns(self, workshop: Workshop, pair: tuple[Path, Path], tmp_path: Path):
        image = workshop.push()
        target = workshop.repository()
        tag = sign.sign_image(target, image.manifest.descriptor, pair[0])
        assert tag == f"sha256-{image.digest[7:]}.sig"
        manifest = target.manifest(tag)
        [layer] = manifest.layers
        assert layer.media_type == "application/vnd.dev.cosign.simplesigning.v1+json"
        payload = target.blob(layer)
        assert json.loads(payload) == {
            "critical": {
                "identity": {"docker-reference": f"{workshop.registry}/{workshop.name}"},
                "image": {"docker-manifest-digest": image.digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
        assert json.loads(target.blob(manifest.config))["rootfs"]["diff_ids"] == [layer.digest]
        # openssl agrees with the signature.
        (tmp_path / "payload").write_bytes(payload)
        (tmp_path / "sig").write_bytes(base64.b64decode(layer.annotations["dev.cosignproject.cosign/signature"]))
        openssl(
            "dgst",
            "-sha256",
            "-verify",
            str(pair[1]),
            "-signature",
            str(tmp_path / "sig"),
            str(tmp_path / "payload"),
        )

    def test_signing_twice_changes_nothing(self, workshop: Workshop, pair: tuple[Path, Path]):
        image, target = workshop.push(), workshop.repository()
        tag = sign.sign_image(target, image.manifest.descriptor, pair[0])
        first = target.manifest(tag)
        sign.sign_image(target, image.manifest.descriptor, pair[0])
        assert target.manifest(tag).raw == first.raw

    def test_the_same_key_and_image_give_the_same_bytes(self, pair: tuple[Path, Path]):
        private = keys.private_key(pair[0])
        payload = sign.payload_of("127.0.0.1:5000/x", of_bytes(b"image"))
        assert sign.signed(private, payload) == sign.signed(private, payload)

    def test_signatures_of_others_stay(self, workshop: Workshop, pair: tuple[Path, Path], tmp_path: Path):
        image, target = workshop.push(), workshop.repository()
        other = new_pair(tmp_path, "second")
        for private, _ in (pair, other):
            tag = sign.sign_image(target, image.manifest.descriptor, private)
        manifest = target.manifest(tag)
        assert len(manifest.layers) == 2
        assert len(json.loads(target.blob(manifest.config))["rootfs"]["diff_ids"]) == 2
        for _, public in (pair, other):
            assert sign.faults(target, image.digest, public) == []


class TestVerifying:
    def verdict(self, workshop: Workshop, tag: str, key: Path) -> str:
        report = verify_image(workshop.bench, workshop.ref(tag), str(key))
        [found] = [one for one in report.checks if one.check == "signature"]
        assert found.ok is False
        assert not report.ok
        return found.detail

    def test_unsigned(self, workshop: Workshop, pair: tuple[Path, Path]):
        assert "nobody has signed it" in self.verdict(workshop, workshop.push().plan.tag, pair[1])

    def test_signed_by_someone_else(self, workshop: Workshop, pair: tuple[Path, Path], tmp_path: Path):
        image = workshop.push()
        sign.sign_image(workshop.repository(), image.manifest.descriptor, new_pair(tmp_path, "second")[0])
        assert "not by this key" in self.verdict(workshop, image.plan.tag, pair[1])

    def test_a_signature_of_another_image_moved_here(self, workshop: Workshop, pair: tuple[Path, Path]):
        first, second, target = workshop.push(), workshop.push(trainer="print('two')\n"), workshop.repository()
        tag = sign.sign_image(target, first.manifest.descriptor, pair[0])
        target.for_push().put_manifest(sign.tag_of(second.digest), target.manifest(tag))
        assert "signs another image" in self.verdict(workshop, second.plan.tag, pair[1])

    def test_a_payload_that_was_exchanged(self, workshop: Workshop, pair: tuple[Path, Path]):
        image, target = workshop.push(), workshop.repository()
        tag = sign.sign_image(target, image.manifest.descriptor, pair[0])
        before = target.manifest(tag)
        payload = target.blob(before.layers[0]).replace(b'"optional":null', b'"optional":{}')
        layer = Descriptor(sign.PAYLOAD, of_bytes(payload), len(payload), dict(before.layers[0].extra))
        config, manifest = sign.with_layer(None, layer)
        workshop.put(tag, manifest, (payload, layer), (config, manifest.config))
        assert "its text was changed" in self.verdict(workshop, image.plan.tag, pair[1])

    def test_signed_text_of_another_kind(self, workshop: Workshop, pair: tuple[Path, Path]):
        image = workshop.push()
        payload = canonical(["not", "a", "payload"])
        signature = base64.b64encode(sign.signed(keys.private_key(pair[0]), payload)).decode()
        extra = {"annotations": {sign.SIGNATURE: signature}}
        layer = Descriptor(sign.PAYLOAD, of_bytes(payload), len(payload), extra)
        config, manifest = sign.with_layer(None, layer)
        workshop.put(sign.tag_of(image.digest), manifest, (payload, layer), (config, manifest.config))
        assert "no cosign payload" in self.verdict(workshop, image.plan.tag, pair[1])

    def test_a_wrong_key_is_told_before_anything_is_read(self, workshop: Workshop, pair: tuple[Path, Path]):
        with pytest.raises(WrongInput, match="private key") as told:
            verify_image(workshop.bench, workshop.ref("never-asked-for"), str(pair[0]))
        assert "-pubout" in told.value.next_step


class TestKeys:
    def test_cosigns_own_key_file(self, cosigns: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("COSIGN_PASSWORD", "pw")
        assert keys.private_key(cosigns[0]).public_key() == keys.public_key(cosigns[1])

    @pytest.mark.parametrize("password", ["wrong", ""])
    def test_a_wrong_password(self, cosigns: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, password: str):
        monkeypatch.setenv("COSIGN_PASSWORD", password)
        with pytest.raises(WrongInput, match="does not open"):
            keys.private_key(cosigns[0])

    def test_no_password(self, cosigns: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv("COSIGN_PASSWORD", raising=False)
        with pytest.raises(WrongInput, match="COSIGN_PASSWORD is not set"):
            keys.private_key(cosigns[0])

    @pytest.mark.parametrize("form", ["pkcs8", "pkcs8 with a password", "sec1 with a password"])
    def test_other_forms_of_the_same_key(
        self, pair: tuple[Path, Path], tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("COSIGN_PASSWORD", "secret words")
        out = str(tmp_path / "other.pem")
        if form == "pkcs8":
            openssl("pkcs8", "-topk8", "-nocrypt", "-in", str(pair[0]), "-out", out)
        elif form.startswith("pkcs8"):
            openssl("pkcs8", "-topk8", "-passout", "pass:secret words", "-in", str(pair[0]), "-out", out)
        else:
            openssl("ec", "-aes256", "-passout", "pass:secret words", "-in", str(pair[0]), "-out", out)
        assert keys.private_key(Path(out)).private_numbers() == keys.private_key(pair[0]).private_numbers()

    def test_a_key_with_its_parameters_in_front(self, tmp_path: Path):
        path = tmp_path / "long.pem"  # what openssl writes without -noout
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-out", str(path))
        assert keys.private_key(path)

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            ("ecparam -genkey -name secp384r1 -noout", "P-256"),
            ("genpkey -algorithm ed25519", "P-256"),
            ("", "no private key"),
        ],
    )
    def test_what_is_no_key_for_this(self, tmp_path: Path, command: str, said: str):
        path = tmp_path / "key.pem"
        path.write_bytes(b"this is no key\n")
        if command:
            openssl(*command.split(), "-out", str(path))
        with pytest.raises(WrongInput, match=said) as told:
            keys.private_key(path)
        assert "openssl ecparam" in told.value.next_step
        with pytest.raises(WrongInput):
            keys.public_key(path)

    def test_damaged_and_absent_files(self, cosigns: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("COSIGN_PASSWORD", "pw")
        text = cosigns[0].read_text()
        cosigns[0].write_text(text[:200] + "\n" + text.splitlines()[-1])
        with pytest.raises(WrongInput, match="can be read"):
            keys.private_key(cosigns[0])
        with pytest.raises(WrongInput, match="cannot read"):
            keys.private_key(cosigns[0].with_name("nothing.key"))
