"""Files of the simulated Hub's repositories: commits that change them, trees that list them, reading them.

What the real one answers is read off huggingface_hub 2.4, the client; what that leaves open is marked as a guess.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import re
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from tests.sim.hub_access import REPO, Access
from tests.sim.hub_model import REGULAR_BYTES, File, Repository, git_oid
from tests.sim.hub_wire import Refused


class Content(Access):
    """Commits, trees and files."""

    routes = (
        ("POST", REPO + r"/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", REPO + r"/commit/(?P<revision>[^/]+)", "commit"),
        ("GET", REPO + r"/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", "tree"),
        ("POST", REPO + r"/paths-info/(?P<revision>[^/]+)", "paths_info"),
        (
            "GET HEAD",
            r"/(?:(?P<kinds>datasets)/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
            "resolve",
        ),
        (
            "GET HEAD",
            r"/api/resolve-cache/(?P<kinds>models|datasets)/(?P<name>[^/]+/[^/]+)/(?P<revision>[^/]+)/(?P<path>.+)",
            "resolve_cache",
        ),
    )

    # writing

    def preupload(self, kinds: str, name: str, revision: str) -> None:
        asked = self.json()
        repository = self.seen(kinds, name, write=True)
        tree = self.at(repository, revision).tree
        if len(asked["files"]) > 256:  # _upload_pipeline.py: "server-side limit"
            raise Refused(413, "too many files")
        ignored = asked.get("gitIgnore")
        if ignored is None and ".gitignore" in tree:
            ignored = repository.blobs[tree[".gitignore"].oid].decode()
        attributes = repository.blobs[tree[".gitattributes"].oid].decode() if ".gitattributes" in tree else ""
        patterns = re.findall(r"^(\S+).*filter=lfs", attributes, re.MULTILINE)
        files = []
        for file in asked["files"]:
            path, sample = file["path"], base64.b64decode(file["sample"])
            # By size and by .gitattributes as the Hub documents it; that content with a zero byte counts as binary
            # and becomes an LFS file is a guess (git's own rule for binary files).
            large = file["size"] > REGULAR_BYTES or b"\0" in sample or matches(path, patterns)
            answer = {"path": path, "uploadMode": "lfs" if large else "regular"}
            answer["shouldIgnore"] = matches(path, (ignored or "").split())
            if path in tree:  # CommitOperationAdd._local_oid: sha256 of LFS files, git's sha1 of others
                answer["oid"] = tree[path].sha or tree[path].oid
            files.append(answer)
        self.say({"files": files})

    def commit(self, kinds: str, name: str, revision: str) -> None:
        lines = [json.loads(line) for line in self.drain().splitlines() if line.strip()]
        repository = self.seen(kinds, name, write=True)
        header = lines[0]["value"]
        with self.server_state.repositories.lock:
            if revision not in repository.branches:
                raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            parent = header.get("parentCommit")
            if parent is not None and not repository.branches[revision].startswith(parent):
                raise Refused(412, "A commit has happened since. Please refresh and try again.")  # wording: recalled
            tree = dict(repository.commits[repository.branches[revision]].tree)
            for line in lines[1:]:
                self.change(repository, tree, line["key"], line["value"])
            made = repository.commit(revision, tree, header["summary"], header.get("description", ""))
        place = f"{self.server_state.url}/{'' if kinds == 'models' else kinds + '/'}{name}"
        self.say({"success": True, "commitOid": made.oid, "commitUrl": f"{place}/commit/{made.oid}", "hookOutput": ""})

    def change(self, repository: Repository, tree: dict[str, File], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if key == "file":
            data = base64.b64decode(value["content"])
            if len(data) > REGULAR_BYTES:
                raise Refused(400, f"{path} is too large for a regular file: use LFS")  # wording: a guess
            tree[path] = repository.keep(data)
        elif key == "lfsFile":
            if not repository.has(value["oid"]):
                # Each large file is checked to be there (hub-docs, storage-limits.md); the wording is that of a push.
                raise Refused(400, f"LFS pointer pointed to a file that does not exist: {path}")
            size = value.get("size") or repository.stored[value["oid"]].size
            tree[path] = repository.large(value["oid"], size)
        elif key == "deletedFile":
            if tree.pop(path, None) is None:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")  # hf_api.py, create_commit
        elif key == "deletedFolder":
            inside = [known for known in tree if known.startswith(path.rstrip("/") + "/")]
            if not inside:
                raise Refused(404, "A folder with this name doesn't exist", "EntryNotFound")  # a guess
            for known in inside:
                del tree[known]
        else:
            raise Refused(400, f"unknown operation: {key}")

    # reading

    def tree(self, kinds: str, name: str, revision: str, path: str) -> None:
        repository = self.seen(kinds, name)
        tree = self.at(repository, revision).tree
        below = path.strip("/") + "/" if path else ""
        recursive = self.query.get("recursive", ["false"])[0].lower() == "true"
        entries = listed(tree, below, recursive)
        if below and not entries:
            raise Refused(404, f"{path} does not exist on {revision!r}", "EntryNotFound")  # hf_file_system.py
        page, begin = self.server_state.page, int(self.query.get("cursor", ["0"])[0])
        headers = {}
        if begin + page < len(entries):
            following = urlencode({**{key: values[0] for key, values in self.query.items()}, "cursor": begin + page})
            headers["Link"] = f'<{self.server_state.url}{self.parts.path}?{following}>; rel="next"'
        self.say(entries[begin : begin + page], headers=headers)

    def paths_info(self, kinds: str, name: str, revision: str) -> None:
        asked = parse_qs(self.drain().decode())
        repository = self.seen(kinds, name)
        if len(asked.get("paths", [])) > 1000:  # _commit_api.py, FETCH_LFS_BATCH_SIZE
            raise Refused(413, "too many parameters")
        entries = {entry["path"]: entry for entry in listed(self.at(repository, revision).tree, "", True)}
        self.say([entries[path] for path in asked.get("paths", []) if path in entries])

    def resolve(self, kinds: str, name: str, revision: str, path: str) -> None:
        repository = self.seen(kinds or "models", name)
        commit = self.at(repository, revision)
        headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        entry = commit.tree.get(path)
        if entry is None:
            raise Refused(404, "Entry not found", "EntryNotFound", headers)
        headers |= {"X-Linked-Size": str(entry.size), "X-Linked-Etag": f'"{entry.sha or entry.oid}"'}
        if entry.sha:
            headers["Location"] = self.server_state.object_url(repository, entry.sha)
            self.send(b"", 302, headers)
            return
        # That small files are served from another path of the same host: recalled from the Hub's answers in 2025; the
        # client follows such redirects (utils/_http.py, _httpx2_follow_hub_redirects_with_backoff).
        where = f"/api/resolve-cache/{kinds or 'models'}/{name}/{commit.oid}/{quote(path)}"
        self.send(b"", 307, {**headers, "Location": where})

    def resolve_cache(self, kinds: str, name: str, revision: str, path: str) -> None:
        repository = self.seen(kinds, name)
        entry = self.at(repository, revision).tree[path]
        data = repository.blobs[entry.oid]
        headers = {"X-Repo-Commit": revision, "Accept-Ranges": "bytes", "ETag": f'"{entry.oid}"'}
        if ranged := self.ranged(len(data)):
            headers["Content-Range"] = f"bytes {ranged[0]}-{ranged[1]}/{len(data)}"
            self.send(data[ranged[0] : ranged[1] + 1], 206, headers)
        else:
            self.send(data, 200, headers)


def matches(path: str, patterns: list[str]) -> bool:
    """Git's patterns as far as tests need them: on the whole path, or on its last part."""
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(name, pattern) for pattern in patterns)


def listed(tree: dict[str, File], below: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below a folder, by path."""
    entries: dict[str, dict[str, Any]] = {}
    for path, entry in tree.items():
        if not path.startswith(below):
            continue
        parts = path[len(below) :].split("/")
        for depth in range(1, len(parts)):
            if recursive or depth == 1:
                folder = below + "/".join(parts[:depth])
                oid = git_oid("tree", folder.encode())  # not git's: nothing looks at it
                entries[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
        if recursive or len(parts) == 1:
            entries[path] = entry.listed(path)
    return [entries[path] for path in sorted(entries)]
