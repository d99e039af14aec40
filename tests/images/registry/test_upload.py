from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from images.oci import digest as digests
from images.oci.manifest import Descriptor
from images.registry.errors import DigestMismatch, Interrupted, LoginNeeded, RegistryError, Unreachable
from images.registry.journal import Journal
from images.registry.registries import Registries
from images.registry.repository import Repository
from images.registry.source import BytesBlob, FileBlob
from images.registry.upload import Chunking, push_blob
from tests.images.registry.conftest import bytes_blob, noise
from tests.sim.fake_registry import FakeRegistry
from tests.sim.fault_proxy import FaultProxy, Rule

MB = 1 << 20
SMALL = Chunking(chunk=MB, one_shot=MB)
UPLOADS = "/blobs/uploads/"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def at_fake(registries: Registries, fake: FakeRegistry) -> Repository:
    return registries.repository(f"{fake.host}/a/b")


# have it, mount it, send it


@pytest.mark.parametrize("size", [0, 1, 32, 100_000])
def test_a_small_blob_is_one_post_and_one_put(behind: Repository, proxy: FaultProxy, size: int) -> None:
    blob = bytes_blob(noise(size, size + 7))
    assert push_blob(behind, blob).how == "uploaded"
    assert behind.blob(blob.descriptor) == blob.data
    assert (proxy.count("POST"), proxy.count("PUT"), proxy.count("PATCH")) == (1, 1, 0)


def test_a_blob_that_is_there_costs_one_question(behind: Repository, proxy: FaultProxy) -> None:
    blob = bytes_blob(noise(1000, 3))
    push_blob(behind, blob)
    before = len(proxy.seen)
    pushed = push_blob(behind, blob)
    assert (pushed.how, pushed.bytes_sent) == ("exists", 0)
    assert [seen.method for seen in proxy.seen[before:]] == ["HEAD"]


def test_a_large_blob_goes_in_chunks(behind: Repository, proxy: FaultProxy) -> None:
    blob = bytes_blob(noise(3 * MB + 5, 4))
    assert push_blob(behind, blob, chunking=SMALL).bytes_sent == 3 * MB + 5
    ranges = [seen.headers["content-range"] for seen in proxy.requests("PATCH")]
    assert ranges == ["0-1048575", "1048576-2097151", "2097152-3145727", "3145728-3145732"]
    assert behind.has_blob(blob.descriptor.digest)


def test_a_neighbour_s_blob_is_mounted(registries: Registries, registry: str, repository: Repository) -> None:
    blob, neighbour = bytes_blob(noise(5000, 5)), registries.repository(f"{registry}/neighbour")
    push_blob(neighbour, blob)
    pushed = push_blob(repository, blob, mount_from=[neighbour.name])
    assert (pushed.how, pushed.bytes_sent) == ("mounted", 0)
    assert repository.blob(blob.descriptor) == blob.data


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500])
def test_a_refused_mount_is_sent(behind: Repository, proxy: FaultProxy, status: int) -> None:
    proxy.add(Rule("POST", "mount=", times=9, status=status))
    blob = bytes_blob(noise(5000, status))
    assert push_blob(behind, blob, mount_from=["neighbour"]).how == "uploaded"


def test_a_mount_that_answers_202_has_opened_the_upload(at_fake: Repository, fake: FakeRegistry) -> None:
    assert push_blob(at_fake, bytes_blob(b"x" * 50), mount_from=["elsewhere"]).how == "uploaded"
    assert fake.count("POST") == 1


def test_a_mount_whose_connection_is_reset_is_sent(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("POST", "mount=", times=2, lose_answer=True))
    assert push_blob(behind, bytes_blob(noise(900, 6)), mount_from=["neighbour"]).how == "uploaded"


# Location


@pytest.mark.parametrize("relative", [True, False])
def test_the_newest_location_is_used_and_its_query_kept(
    at_fake: Repository, fake: FakeRegistry, relative: bool
) -> None:
    """The fake answers 404 to any Location but its last, and to one whose `keep=a%2Bb` was changed."""
    fake.quirks.relative_location = relative
    blob = bytes_blob(noise(4 * MB, 7))
    push_blob(at_fake, blob, chunking=SMALL)
    assert fake.blobs["a/b"][blob.descriptor.digest] == blob.data
    assert fake.count("PATCH") == 4


@pytest.mark.parametrize("target", ["http://169.254.169.254/x", "http://10.0.0.1/upload", "http://[::1]:1/x"])
def test_a_location_inside_our_network_is_refused(behind: Repository, proxy: FaultProxy, target: str) -> None:
    proxy.add(Rule("POST", UPLOADS, headers={"Location": target}))
    with pytest.raises(RegistryError, match="not safe to follow"):
        push_blob(behind, bytes_blob(noise(99, 8)))


# chunks


def test_the_server_s_smallest_chunk_is_kept(at_fake: Repository, fake: FakeRegistry) -> None:
    fake.quirks.min_chunk = 2 * MB
    push_blob(at_fake, bytes_blob(noise(5 * MB, 9)), chunking=SMALL)
    assert [call.body for call in fake.requests("PATCH")] == [2 * MB, 2 * MB, MB]


def test_the_server_s_largest_chunk_is_kept(at_fake: Repository, fake: FakeRegistry) -> None:
    fake.quirks.max_chunk = MB
    push_blob(at_fake, bytes_blob(noise(3 * MB, 10)), chunking=Chunking(chunk=8 * MB, one_shot=MB))
    assert max(call.body for call in fake.requests("PATCH")) <= MB - 65536


def test_a_server_without_chunks_gets_one_shot(at_fake: Repository, fake: FakeRegistry) -> None:
    fake.quirks.no_chunks = True
    blob = bytes_blob(noise(2 * MB, 11))
    push_blob(at_fake, blob, chunking=SMALL)
    assert fake.blobs["a/b"][blob.descriptor.digest] == blob.data


def test_416_goes_on_at_the_server_s_offset(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("PATCH", UPLOADS, after=1, status=416))
    blob = bytes_blob(noise(3 * MB, 12))
    assert push_blob(behind, blob, chunking=SMALL).bytes_sent <= 4 * MB
    assert behind.has_blob(blob.descriptor.digest)


# cuts


@pytest.mark.parametrize("status_code", [204, 202])
@pytest.mark.parametrize("at", [1, 300_000, MB - 1])
def test_a_cut_chunk_goes_on_at_the_next_byte(
    at_fake: Repository, fake: FakeRegistry, at: int, status_code: int
) -> None:
    fake.quirks.status_code = status_code
    fake.cuts = [("PATCH", MB), ("PATCH", at)]
    blob = bytes_blob(noise(4 * MB, 13))
    push_blob(at_fake, blob, chunking=Chunking(chunk=2 * MB, one_shot=MB))
    assert fake.blobs["a/b"][blob.descriptor.digest] == blob.data
    assert fake.body_bytes() <= 4 * MB + 1, "each byte once (Range 0-0 is read as nothing)"


def test_a_cut_one_shot_goes_on_in_chunks(at_fake: Repository, fake: FakeRegistry) -> None:
    fake.cuts = [("PUT", 400_000)]
    blob = bytes_blob(noise(MB, 14))
    push_blob(at_fake, blob)
    assert fake.blobs["a/b"][blob.descriptor.digest] == blob.data
    assert fake.body_bytes() == MB


def test_docker_s_registry_forgets_an_upload_that_is_cut_in_a_chunk(behind: Repository, proxy: FaultProxy) -> None:
    """Measured on 2.8.2: bytes stay, but the signed state says otherwise. The blob begins anew, and arrives."""
    proxy.add(Rule("PATCH", UPLOADS, after=1, cut_request=300_000))
    blob = bytes_blob(noise(3 * MB, 15))
    push_blob(behind, blob, chunking=SMALL)
    assert behind.has_blob(blob.descriptor.digest)
    assert proxy.count("POST") == 2


def test_an_answer_that_is_lost_costs_nothing(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("PUT", UPLOADS, lose_answer=True))
    blob = bytes_blob(noise(200_000, 16))
    push_blob(behind, blob)
    assert proxy.body_bytes() == 200_000


def test_a_forgotten_upload_is_opened_again(at_fake: Repository, fake: FakeRegistry) -> None:
    blob = bytes_blob(noise(3 * MB, 17))

    def forget_once() -> bool:
        if fake.count("PATCH") == 2 and fake.count("POST") == 1:
            fake.quirks.expire = 1
        return False

    push_blob(at_fake, blob, chunking=SMALL, stopped=forget_once)
    assert fake.blobs["a/b"][blob.descriptor.digest] == blob.data
    assert fake.count("POST") == 2


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 522])
def test_a_registry_that_is_unwell_twice_is_asked_again(behind: Repository, proxy: FaultProxy, status: int) -> None:
    proxy.add(Rule("PATCH|PUT|POST", UPLOADS, times=2, status=status))
    blob = bytes_blob(noise(1000, status))
    push_blob(behind, blob)
    assert behind.has_blob(blob.descriptor.digest)


def test_a_registry_that_stays_unwell_is_an_error_that_says_where(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("PUT", UPLOADS, times=99, status=503, body=b'{"errors":[{"code":"UNAVAILABLE"}]}'))
    with pytest.raises(RegistryError) as caught:
        push_blob(behind, bytes_blob(noise(100, 18)))
    assert (caught.value.status, caught.value.codes, caught.value.attempt) == (503, ("UNAVAILABLE",), 4)
    assert "?..." in caught.value.url
    assert "_state" not in str(caught.value)


def test_a_body_that_is_too_large_for_the_server_is_not_tried_again(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("PATCH|PUT", UPLOADS, times=9, status=413))
    with pytest.raises(RegistryError, match="takes no body of this size"):
        push_blob(behind, bytes_blob(noise(100, 19)))
    assert proxy.count("PUT") == 1


def test_a_refused_push_names_the_login_command(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("POST", UPLOADS, times=9, status=403))
    with pytest.raises(LoginNeeded) as caught:
        push_blob(behind, bytes_blob(noise(100, 20)))
    assert f"docker login {proxy.host}" in caught.value.next_step


def test_a_silent_server_is_given_up(registries: Registries, proxy: FaultProxy, name: str) -> None:
    from dataclasses import replace

    repository = registries.repository(f"{proxy.host}/{name}")
    short = replace(registries.policy, idle_seconds=0.1, tries=2)
    repository.transport.policy, repository.transport.wire.idle_seconds = short, 0.1
    proxy.add(Rule("HEAD", times=9, wait=0.5))
    with pytest.raises(Unreachable, match="no answer in time"):
        push_blob(repository, bytes_blob(b"abc"))


# digests


def test_bytes_changed_on_the_way_are_sent_once_more(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("PUT", UPLOADS, flip_request=500))
    blob = bytes_blob(noise(1000, 21))
    push_blob(behind, blob)
    assert behind.blob(blob.descriptor) == blob.data


def test_bytes_that_keep_changing_are_an_error(behind: Repository, proxy: FaultProxy) -> None:
    proxy.add(Rule("PUT", UPLOADS, times=99, flip_request=500))
    with pytest.raises(RegistryError) as caught:
        push_blob(behind, bytes_blob(noise(1000, 22)))
    assert "DIGEST_INVALID" in caught.value.codes


def test_a_registry_that_lies_about_what_it_stored_is_an_error(at_fake: Repository, fake: FakeRegistry) -> None:
    fake.quirks.lie_stored = "sha256:" + "0" * 64
    with pytest.raises(DigestMismatch, match="says it stored"):
        push_blob(at_fake, bytes_blob(b"abc"))


@pytest.mark.parametrize("chunking", [Chunking(), SMALL])
def test_a_file_that_is_not_what_its_digest_says_is_never_stored(
    repository: Repository, tmp_path: Path, chunking: Chunking
) -> None:
    data = noise(2 * MB, 23)
    (tmp_path / "layer").write_bytes(data[:-1] + b"!")
    source = FileBlob(tmp_path / "layer", Descriptor("x", digests.of_bytes(data), len(data)))
    with pytest.raises(RegistryError):
        push_blob(repository, source, chunking=chunking)
    assert not repository.has_blob(source.descriptor.digest)


def test_a_file_that_is_too_short_is_an_error(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "layer").write_bytes(b"12345")
    source = FileBlob(tmp_path / "layer", Descriptor("x", digests.of_bytes(b"1234567"), 7))
    with pytest.raises(DigestMismatch, match="ended at byte 5"):
        push_blob(repository, source)


# across processes


def test_a_stop_between_chunks_is_gone_on_with(behind: Repository, proxy: FaultProxy, tmp_path: Path) -> None:
    blob, journal = bytes_blob(noise(4 * MB, 24)), Journal(tmp_path / "journal")
    with pytest.raises(Interrupted):
        push_blob(behind, blob, journal=journal, chunking=SMALL, stopped=lambda: proxy.count("PATCH") == 2)
    (entry,) = journal.entries()
    assert (entry.offset, entry.size) == (2 * MB, 4 * MB)
    pushed = push_blob(behind, blob, journal=journal, chunking=SMALL)
    assert (pushed.how, pushed.bytes_sent) == ("resumed", 2 * MB)
    assert proxy.body_bytes() == 4 * MB, "each byte once"
    assert journal.entries() == []


def test_a_journal_of_a_forgotten_upload_begins_anew(at_fake: Repository, fake: FakeRegistry, tmp_path: Path) -> None:
    blob, journal = bytes_blob(noise(4 * MB, 25)), Journal(tmp_path)
    with pytest.raises(Interrupted):
        push_blob(at_fake, blob, journal=journal, chunking=SMALL, stopped=lambda: fake.count("PATCH") == 2)
    fake.uploads.clear()
    assert push_blob(at_fake, blob, journal=journal, chunking=SMALL).how == "uploaded"
    assert fake.blobs["a/b"][blob.descriptor.digest] == blob.data


def test_a_resumed_blob_of_other_bytes_is_refused_by_its_digest(
    at_fake: Repository, fake: FakeRegistry, tmp_path: Path
) -> None:
    """The prefix is not read again: the registry's own check of the whole blob is what counts then."""
    blob, journal = bytes_blob(noise(4 * MB, 26)), Journal(tmp_path)
    with pytest.raises(Interrupted):
        push_blob(at_fake, blob, journal=journal, chunking=SMALL, stopped=lambda: fake.count("PATCH") == 2)
    next(iter(fake.uploads.values())).data[5] ^= 1
    assert push_blob(at_fake, blob, journal=journal, chunking=SMALL).bytes_sent == 6 * MB
    assert fake.blobs["a/b"][blob.descriptor.digest] == blob.data


def test_a_blob_that_came_complete_in_the_meantime_drops_the_journal(
    at_fake: Repository, fake: FakeRegistry, tmp_path: Path
) -> None:
    blob, journal = bytes_blob(noise(3 * MB, 27)), Journal(tmp_path)
    with pytest.raises(Interrupted):
        push_blob(at_fake, blob, journal=journal, chunking=SMALL, stopped=lambda: fake.count("PATCH") == 1)
    push_blob(at_fake, blob)
    assert push_blob(at_fake, blob, journal=journal).how == "exists"
    assert journal.entries() == []


def test_a_source_is_read_from_any_offset() -> None:
    room = memoryview(bytearray(4))
    source = BytesBlob(b"0123456789", Descriptor("x", digests.of_bytes(b"0123456789"), 10))
    assert (source.open(7).readinto(room), bytes(room[:3])) == (3, b"789")
