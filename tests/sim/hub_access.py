"""Who asks the simulated Hub, and what they may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.hub_model import Commit, Repository
from tests.sim.hub_wire import Refused, Wire

if TYPE_CHECKING:
    from tests.sim.hub import HubServer

REPO = r"/api/(?P<kinds>models|datasets)/(?P<name>[^/]+/[^/]+)"


class Access(Wire):
    """Who asks, and what they may see."""

    server_state: HubServer

    def user(self) -> tuple[str, str] | None:
        """(name, role) of the token; None without one."""
        given = self.headers.get("Authorization")
        if given is None:
            return None
        found = self.server_state.tokens.get(given.removeprefix("Bearer "))
        if found is None:
            # The client knows this text: utils/_http.py, hf_raise_for_status.
            raise Refused(401, "Invalid credentials in Authorization header")
        return found

    def seen(self, kinds: str, name: str, write: bool = False) -> Repository:
        """The repository, if the asker may see it and, with `write`, write to it."""
        user = self.user()
        found = self.server_state.repositories.all.get((kinds.removesuffix("s") or "model", name))
        mine = user is not None and name.startswith(f"{user[0]}/")
        if found is None or (found.private and not mine):
            # 401 without a token, as for private repositories (same place); 404 with one.
            if user is None:
                raise Refused(401, "Repository not found", "RepoNotFound")
            raise Refused(404, "Repository not found", "RepoNotFound")
        if write and user is None:
            raise Refused(401, "Invalid username or password.")
        if write and not (mine and user is not None and user[1] == "write"):
            raise Refused(403, "You don't have the required permissions for this operation")  # wording: a guess
        return found

    def at(self, repository: Repository, revision: str) -> Commit:
        found = repository.find(revision)
        if found is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found
