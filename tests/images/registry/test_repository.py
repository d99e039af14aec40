from __future__ import annotations

from collections.abc import Iterator

import pytest

from images.oci import media
from images.oci.manifest import Manifest, build
from images.registry.errors import DigestMismatch, Missing, RegistryError, Unreachable
from images.registry.push import push_image
from images.registry.registries import Registries
from images.registry.repository import Repository
from images.registry.upload import push_blob
from tests.images.registry.conftest import SmallImage, bytes_blob, noise
from tests.sim.fake_registry import FakeRegistry
from tests.sim.fault_proxy import FaultProxy, Rule


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def pushed(repository: Repository) -> SmallImage:
    image = SmallImage([noise(2000, 41)])
    push_image(image, repository, ["v1"])
    return image


# manifests


def test_a_manifest_is_read_byte_for_byte(behind: Repository, pushed: SmallImage) -> None:
    found = behind.manifest("v1")
    assert (found.raw, found.media_type) == (pushed.manifest.raw, media.OCI_MANIFEST)
    assert behind.manifest(found.digest) == found
    head = behind.head("v1")
    assert head is not None
    assert (head.digest, head.size, head.media_type) == (found.digest, len(found.raw), media.OCI_MANIFEST)


def test_what_is_not_there(behind: Repository) -> None:
    assert behind.head("v9") is None
    assert behind.tags() == []
    with pytest.raises(Missing) as caught:
        behind.manifest("v9")
    assert caught.value.exit_code == 2
    assert "check the tag" in caught.value.next_step
    assert str(behind) in caught.value.what


def test_other_bytes_than_asked_for_are_refused(behind: Repository, proxy: FaultProxy, pushed: SmallImage) -> None:
    proxy.add(Rule("GET", "/manifests/", replace=lambda raw: raw + b" "))
    with pytest.raises(DigestMismatch):
        behind.manifest(pushed.manifest.digest)


def test_a_header_that_lies_is_refused(behind: Repository, proxy: FaultProxy, pushed: SmallImage) -> None:
    proxy.add(Rule("GET", "/manifests/", headers={"Docker-Content-Digest": "sha256:" + "0" * 64}))
    with pytest.raises(DigestMismatch, match="expected sha256:000"):
        behind.manifest("v1")


def test_old_servers_without_a_digest_header_are_read(
    behind: Repository, proxy: FaultProxy, pushed: SmallImage
) -> None:
    proxy.add(Rule(".*", "/manifests/", times=9, drop=("Docker-Content-Digest",)))
    assert behind.manifest("v1").digest == pushed.manifest.digest
    head = behind.head("v1")
    assert head is not None
    assert head.digest == pushed.manifest.digest


def test_parameters_of_the_content_type_are_ignored(registries: Registries, fake: FakeRegistry) -> None:
    fake.quirks.content_type_suffix = "; charset=utf-8"
    repository = registries.repository(f"{fake.host}/a")
    push_image(SmallImage([b"x"]), repository, ["v1"])
    assert repository.manifest("v1").media_type == media.OCI_MANIFEST


def test_a_type_that_the_body_denies_is_refused(behind: Repository, proxy: FaultProxy, pushed: SmallImage) -> None:
    proxy.add(Rule("GET", "/manifests/", headers={"Content-Type": media.DOCKER_MANIFEST}))
    with pytest.raises(DigestMismatch, match="the manifest says it is"):
        behind.manifest("v1")


def test_a_stored_manifest_must_have_our_digest(behind: Repository, proxy: FaultProxy, pushed: SmallImage) -> None:
    proxy.add(Rule("PUT", "/manifests/", headers={"Docker-Content-Digest": "sha256:" + "1" * 64}))
    with pytest.raises(DigestMismatch, match="stored"):
        behind.put_manifest("v2", pushed.manifest)


def test_tags_come_from_all_pages(registries: Registries, fake: FakeRegistry) -> None:
    fake.quirks.page = 2
    repository = registries.repository(f"{fake.host}/a")
    tags = [f"v{n}" for n in range(5)]
    push_image(SmallImage([b"x"]), repository, tags)
    assert repository.tags() == tags
    assert fake.count("GET", "/tags/list") == 3


def test_a_manifest_is_deleted_once(repository: Repository, pushed: SmallImage) -> None:
    assert repository.delete_manifest(pushed.manifest.digest)
    assert not repository.delete_manifest(pushed.manifest.digest)


def test_a_registry_that_forbids_deletes_says_so(behind: Repository, proxy: FaultProxy, pushed: SmallImage) -> None:
    proxy.add(Rule("DELETE", status=405, body=b'{"errors":[{"code":"UNSUPPORTED","message":"disabled"}]}'))
    with pytest.raises(RegistryError, match="UNSUPPORTED: disabled"):
        behind.delete_manifest(pushed.manifest.digest)


# blobs


def test_a_cut_download_goes_on_by_range(behind: Repository, proxy: FaultProxy) -> None:
    blob = bytes_blob(noise(3_000_000, 42))
    push_blob(behind, blob)
    proxy.add(Rule("GET", "/blobs/sha256", cut_response=1_000_000), Rule("GET", "/blobs/sha256", cut_response=500_000))
    assert b"".join(map(bytes, behind.stream(blob.descriptor))) == blob.data
    ranges = [seen.headers.get("range") for seen in proxy.requests("GET", "/blobs/sha256")]
    assert ranges == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_server_without_range_is_read_from_the_start(registries: Registries, fake: FakeRegistry) -> None:
    fake.quirks.ranges = False
    repository, blob = registries.repository(f"{fake.host}/a"), bytes_blob(noise(100_000, 43))
    push_blob(repository, blob)
    assert b"".join(map(bytes, repository.stream(blob.descriptor, 60_000))) == blob.data[60_000:]


def test_one_wrong_byte_is_noticed(behind: Repository, proxy: FaultProxy) -> None:
    blob = bytes_blob(noise(50_000, 44))
    push_blob(behind, blob)
    proxy.add(Rule("GET", "/blobs/sha256", flip=40_000))
    with pytest.raises(DigestMismatch, match="sent other bytes"):
        behind.blob(blob.descriptor)


def test_a_download_that_keeps_being_cut_ends(behind: Repository, proxy: FaultProxy) -> None:
    blob = bytes_blob(noise(50_000, 45))
    push_blob(behind, blob)
    proxy.add(Rule("GET", "/blobs/sha256", times=99, cut_response=0))
    with pytest.raises(Unreachable, match="after 4 tries") as caught:
        behind.blob(blob.descriptor)
    assert (caught.value.digest, caught.value.offset) == (blob.descriptor.digest, 0)


def test_authorization_does_not_follow_a_redirect(
    registries: Registries, fake: FakeRegistry, proxy: FaultProxy, registry: str, name: str, tmp_path: object
) -> None:
    """A blob GET that is sent to another host, as S3-backed registries do."""
    blob = bytes_blob(noise(1000, 46))
    push_blob(registries.repository(f"{registry}/{name}"), blob)
    with FakeRegistry(redirect_blobs=f"http://{proxy.host}") as first:
        repository = registries.repository(f"{first.host}/{name}")
        push_blob(repository, blob)
        repository.transport.authorizer.header = lambda scopes: "Bearer secret"  # type: ignore[method-assign]
        assert repository.blob(blob.descriptor) == blob.data
        assert first.requests("GET", "/blobs/sha256")[0].headers["authorization"] == "Bearer secret"
    (seen,) = proxy.requests("GET", "/blobs/sha256")
    assert "authorization" not in seen.headers
    assert seen.path.endswith("?signature=x")


def test_a_redirect_to_a_metadata_service_is_refused(registries: Registries) -> None:
    with FakeRegistry(redirect_blobs="http://169.254.169.254") as fake:
        repository, blob = registries.repository(f"{fake.host}/a"), bytes_blob(b"abc")
        push_blob(repository, blob)
        with pytest.raises(RegistryError, match="not safe to follow"):
            repository.blob(blob.descriptor)


def test_a_blob_above_the_limit_is_not_read(repository: Repository) -> None:
    with pytest.raises(RegistryError, match="limit 10"):
        repository.blob(bytes_blob(b"12345678901").descriptor, limit=10)


# referrers


def sbom(subject: Manifest, note: str) -> Manifest:
    empty = {"mediaType": media.OCI_EMPTY, "digest": bytes_blob(b"{}").descriptor.digest, "size": 2}
    return build(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "artifactType": "application/vnd.cyclonedx+json",
            "config": empty,
            "layers": [empty],
            "subject": subject.descriptor.to_json(),
            "annotations": {"note": note},
        }
    )


def attach(repository: Repository, subject: Manifest, note: str) -> str:
    push_blob(repository, bytes_blob(b"{}", media.OCI_EMPTY))
    return repository.put_referrer(sbom(subject, note))


def test_a_server_that_keeps_referrers_needs_no_tag(registries: Registries, fake: FakeRegistry) -> None:
    repository, image = registries.repository(f"{fake.host}/a"), SmallImage([b"x"])
    push_image(image, repository, ["v1"])
    digest = attach(repository, image.manifest, "1")
    assert [found.digest for found in repository.referrers(image.manifest.digest)] == [digest]
    assert repository.tags() == ["v1"]


def test_else_the_fallback_tag_lists_each_once(repository: Repository, pushed: SmallImage) -> None:
    subject = pushed.manifest
    digests = [attach(repository, subject, note) for note in ("1", "2", "1")]
    found = repository.referrers(subject.digest, "application/vnd.cyclonedx+json")
    assert [entry.digest for entry in found] == digests[:2]
    assert [entry.annotations for entry in found] == [{"note": "1"}, {"note": "2"}]
    assert repository.referrers(subject.digest, "application/other") == []
    assert "sha256-" + subject.digest[7:] in repository.tags()


def test_a_write_that_someone_else_overtook_is_repeated(
    behind: Repository, repository: Repository, proxy: FaultProxy, pushed: SmallImage
) -> None:
    subject = pushed.manifest
    proxy.add(Rule("PUT", "/manifests/sha256-", status=201))  # lost: as if another writer's version came after
    digest = attach(behind, subject, "mine")
    assert [entry.digest for entry in repository.referrers(subject.digest)] == [digest]


def test_another_thing_at_the_fallback_tag_is_left_alone(repository: Repository, pushed: SmallImage) -> None:
    repository.put_manifest("sha256-" + pushed.manifest.digest[7:], pushed.manifest)
    with pytest.raises(RegistryError, match="is not an index"):
        attach(repository, pushed.manifest, "1")


# words


def test_a_warning_is_shown_once(registries: Registries) -> None:
    said: list[str] = []
    with FakeRegistry(warning="this repository goes away") as fake:
        repository = registries.repository(f"{fake.host}/a")
        repository.transport.say = said.append
        push_image(SmallImage([b"x"]), repository, ["v1"])
        assert said == [f"{fake.host} warns: this repository goes away"]


def test_a_body_that_is_no_json_is_quoted(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("GET", "/manifests/", status=400, body=b"<html>\n  Bad\tgateway\x1b[31m</html>"))
    with pytest.raises(RegistryError, match=r"400 <html> Bad gateway\[31m</html>"):
        behind.manifest("v1")


@pytest.mark.parametrize("raw", [b"[]", b"{", b"\xff"])
def test_a_manifest_that_is_no_object_is_an_error(behind: Repository, proxy: FaultProxy, raw: bytes) -> None:
    kind = {"Content-Type": media.OCI_MANIFEST}
    proxy.add(Rule("GET", "/manifests/", status=200, headers=kind, body=raw))
    with pytest.raises(Exception, match="the manifest is not"):
        behind.manifest("v1")
