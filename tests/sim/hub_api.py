"""The API of the simulated Hub: accounts, repositories, branches, tags and history.

What the real one answers is read off huggingface_hub 2.4, the client; what that leaves open is marked as a guess.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tests.sim.hub_access import REPO
from tests.sim.hub_content import Content
from tests.sim.hub_model import Repository, stamp
from tests.sim.hub_wire import Refused


class Api(Content):
    """Everything under /api but files."""

    routes: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create"),
        ("DELETE", r"/api/repos/delete", "delete"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", REPO + r"(?:/revision/(?P<revision>[^/]+))?", "info"),
        ("PUT", REPO + r"/settings", "settings"),
        ("GET", REPO + r"/refs", "refs"),
        ("POST DELETE", REPO + r"/branch/(?P<branch>[^/]+)", "branch"),
        ("POST DELETE", REPO + r"/tag/(?P<tag>[^/]+)", "tag"),
        ("GET", REPO + r"/commits/(?P<revision>[^/]+)", "commits"),
        ("POST", REPO + r"/super-squash/(?P<branch>[^/]+)", "super_squash"),
        *Content.routes,
    )

    # accounts and repositories

    def whoami(self) -> None:
        user = self.user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        token = {"displayName": "test", "role": user[1]}
        self.say({"type": "user", "name": user[0], "orgs": [], "auth": {"type": "access_token", "accessToken": token}})

    def create(self) -> None:
        asked, user = self.json(), self.user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        owner = asked.get("organization") or user[0]
        if owner != user[0] or user[1] != "write":
            raise Refused(403, f'You don\'t have the rights to create a model under the namespace "{owner}"')
        kind, name = asked.get("type") or "model", f"{owner}/{asked['name']}"
        url = f"{self.server_state.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        with self.server_state.repositories.lock:
            if (kind, name) in self.server_state.repositories.all:
                self.say({"error": f"You already created this {kind} repo", "url": url}, 409)
                return
            made = self.server_state.repositories.create(kind, name, asked.get("visibility") == "private")
        self.say({"url": url, "name": name, "id": f"{id(made):024x}"})

    def delete(self) -> None:
        asked = self.json()
        kind = asked.get("type") or "model"
        found = self.seen(kind + "s", f"{asked.get('organization') or (self.user() or ('',))[0]}/{asked['name']}", True)
        del self.server_state.repositories.all[found.kind, found.name]
        self.send(b"OK")

    def validate_yaml(self) -> None:
        self.drain()
        self.say({"errors": [], "warnings": []})

    def info(self, kinds: str, name: str, revision: str) -> None:
        repository = self.seen(kinds, name)
        commit = self.at(repository, revision or "main")
        blobs = "blobs" in self.query
        siblings = []
        for path, entry in sorted(commit.tree.items()):
            shown: dict[str, Any] = {"rfilename": path}
            if blobs:
                shown |= {"size": entry.size, "blobId": entry.oid}
                if entry.sha:
                    lfs = entry.listed(path)["lfs"]
                    shown["lfs"] = {"sha256": entry.sha, "size": entry.size, "pointerSize": lfs["pointerSize"]}
            siblings.append(shown)
        content = {
            "id": name,
            "author": name.split("/")[0],
            "sha": commit.oid,
            "lastModified": stamp(commit.date),
            "createdAt": stamp(repository.created),
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "usedStorage": repository.used(),
            "siblings": siblings,
        }
        if wanted := self.query.get("expand"):
            content = {key: value for key, value in content.items() if key in ("id", *wanted)}
        self.say(content)

    def settings(self, kinds: str, name: str) -> None:
        asked = self.json()
        repository = self.seen(kinds, name, write=True)
        if "visibility" in asked:
            repository.private = asked["visibility"] == "private"
        self.say({"visibility": "private" if repository.private else "public"})

    # history

    def refs(self, kinds: str, name: str) -> None:
        repository = self.seen(kinds, name)
        with self.server_state.repositories.lock:
            answer: dict[str, Any] = {
                key: [{"name": at, "ref": f"refs/{ref}/{at}", "targetCommit": oid} for at, oid in names.items()]
                for key, ref, names in (("branches", "heads", repository.branches), ("tags", "tags", repository.tags))
            }
        answer["converts"] = []
        if "include_prs" in self.query:
            answer["pullRequests"] = []
        self.say(answer)

    def branch(self, kinds: str, name: str, branch: str) -> None:
        asked = self.json()
        repository = self.seen(kinds, name, write=True)
        self.point(repository, repository.branches, branch, asked.get("startingPoint") or "main")

    def tag(self, kinds: str, name: str, tag: str) -> None:
        asked = self.json()
        repository = self.seen(kinds, name, write=True)
        if self.command == "DELETE":
            self.point(repository, repository.tags, tag, "")
        else:  # the URL has the revision to tag, the body the tag's name
            self.point(repository, repository.tags, asked["tag"], tag)

    def point(self, repository: Repository, refs: dict[str, str], name: str, target: str) -> None:
        with self.server_state.repositories.lock:
            if self.command == "DELETE":
                if refs.pop(name, None) is None:
                    raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
            elif name in refs:
                raise Refused(409, f"Reference already exists: {name}")
            else:
                refs[name] = self.at(repository, target).oid
        self.say({})

    def commits(self, kinds: str, name: str, revision: str) -> None:
        repository = self.seen(kinds, name)
        history = repository.history(self.at(repository, revision).oid)
        authors = [{"user": name.split("/")[0]}]
        self.say(
            [
                {"id": c.oid, "title": c.title, "message": c.message, "authors": authors, "date": stamp(c.date)}
                for c in history
            ]
        )

    def super_squash(self, kinds: str, name: str, branch: str) -> None:
        asked = self.json()
        repository = self.seen(kinds, name, write=True)
        with self.server_state.repositories.lock:
            if branch not in repository.branches:
                raise Refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
            tree = self.at(repository, branch).tree
            repository.commit(branch, tree, asked.get("message", ""), "", root=True)
        self.say({})
