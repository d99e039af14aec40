"""Large files of the simulated Hub: the LFS batch, completion and verify steps, and the list of stored objects."""

from __future__ import annotations

from math import ceil
from typing import Any, ClassVar

from tests.sim.hub_access import REPO
from tests.sim.hub_api import Api
from tests.sim.hub_model import Repository, git_oid, pointer, stamp
from tests.sim.hub_storage import SIGNATURE, join_parts
from tests.sim.hub_wire import Refused

GIT = r"/(?:(?P<kinds>datasets)/)?(?P<name>[^/]+/[^/]+)\.git"


class Hub(Api):
    """Everything the Hub's own host answers."""

    routes: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("POST", GIT + r"/info/lfs/objects/batch", "lfs_batch"),
        ("POST", GIT + r"/info/lfs/verify", "lfs_verify"),
        ("POST", r"/api/complete_multipart", "complete_multipart"),
        ("GET", REPO + r"/lfs-files", "lfs_files"),
        ("POST", REPO + r"/lfs-files/batch", "delete_lfs_files"),
        *Api.routes,
    )

    def lfs_batch(self, kinds: str, name: str) -> None:
        """git-lfs, docs/api/batch.md; multipart as huggingface_hub's lfs.py expects it."""
        asked = self.json()
        repository = self.seen(kinds or "models", name, write=True)
        new = {o["oid"]: o["size"] for o in asked["objects"] if not repository.has(o["oid"])}
        quota = self.faults.quota
        if quota is not None:
            used = self.server_state.repositories.used_by(name.split("/")[0])
            if used + sum(new.values()) > quota:
                # huggingface_hub issue 3048; which request of an upload is refused is a guess.
                raise Refused(
                    403,
                    "Private repository storage limit reached, please upgrade your plan to increase your private "
                    "storage limit.",
                )
        objects = [self.lfs_object(repository, kinds, name, **one) for one in asked["objects"]]
        self.say({"transfer": "basic", "objects": objects})

    def lfs_object(self, repository: Repository, kinds: str, name: str, oid: str, size: int) -> dict[str, Any]:
        answer: dict[str, Any] = {"oid": oid, "size": size}
        if repository.has(oid):
            return answer  # no actions: it is there
        state, part = self.server_state, self.server_state.part_bytes
        verify = f"{state.url}/{kinds + '/' if kinds else ''}{name}.git/info/lfs/verify"
        if part is not None and size > part:
            urls = {
                f"{number:05d}": f"{state.storage_url}/parts/{state.key(repository)}/{oid}/{number}?{SIGNATURE}"
                for number in range(1, ceil(size / part) + 1)
            }
            href = f"{state.url}/api/complete_multipart?uploadId={state.key(repository)}.{oid}&{SIGNATURE}"
            upload: dict[str, Any] = {"href": href, "header": {"chunk_size": str(part), **urls}}
        else:
            upload = {"href": state.object_url(repository, oid)}
        answer["actions"] = {"upload": upload, "verify": {"href": verify}}
        return answer

    def complete_multipart(self) -> None:
        """Signed by its URL: the client sends no token here (lfs.py, _upload_multi_part)."""
        asked = self.json()
        key, _, sha = self.query["uploadId"][0].partition(".")
        repository = self.server_state.by_key(key)
        if repository is None or SIGNATURE not in self.parts.query or asked["oid"] != sha:
            raise Refused(403, "bad signature")
        path, size = join_parts(repository, sha, [part["etag"] for part in asked["parts"]])
        self.server_state.store(repository, sha, size, path)
        self.say({})

    def lfs_verify(self, kinds: str, name: str) -> None:
        asked = self.json()
        repository = self.seen(kinds or "models", name, write=True)
        if not repository.has(asked["oid"]):
            raise Refused(404, "Object does not exist in storage")  # wording: a guess
        self.say({"success": True})

    def lfs_files(self, kinds: str, name: str) -> None:
        repository = self.seen(kinds, name, write=True)
        with self.server_state.repositories.lock:
            stored = sorted(repository.stored.values(), key=lambda one: one.pushed)
        self.say(
            [
                {
                    "fileOid": one.sha,
                    "filename": one.filename,
                    "oid": git_oid("blob", pointer(one.sha, one.size)),  # hf_api.py only says "OID of the LFS object"
                    "pushedAt": stamp(one.pushed),
                    "ref": "main",
                    "size": one.size,
                }
                for one in stored
                if one.filename is not None
            ]
        )

    def delete_lfs_files(self, kinds: str, name: str) -> None:
        asked = self.json()["deletions"]
        repository = self.seen(kinds, name, write=True)
        if len(asked["sha"]) > 1000:
            raise Refused(413, "too many objects")
        with self.server_state.repositories.lock:
            repository.drop(set(asked["sha"]))
            if asked["rewriteHistory"]:
                repository.rewrite_without(set(asked["sha"]))
        self.say({"success": True})
