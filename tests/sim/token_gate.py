"""Bearer tokens before a registry: the `gate` of a FaultProxy. Token calls are answered at /token of the same host."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.sim.fault_proxy import FaultProxy, Seen

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class TokenGate:
    """What the token service accepts and how it answers. issued: scopes of every token, in order."""

    proxy: FaultProxy
    users: dict[str, str] = field(default_factory=dict)  # none: anonymous may do everything
    refresh_tokens: set[str] = field(default_factory=set)
    only_first_scope: bool = False
    narrow: str = ""  # the challenge names only this action
    post_status: int = 200  # 404: no POST
    answer_key: str = "token"
    uses: int = 1_000_000  # requests a token is good for
    realm: str = ""
    more_challenges: str = ""
    issued: list[list[str]] = field(default_factory=list)
    spent: dict[str, int] = field(default_factory=dict)
    give_refresh: str = ""

    def __call__(self, seen: Seen) -> Answer | None:
        parts = urlsplit(seen.path)
        if parts.path == "/token":
            return self.token(seen, parse_qs(parts.query))
        needed = self.needed(seen, parse_qs(parts.query))
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if token.startswith("t") and self.spent.get(token, self.uses) < self.uses:
            self.spent[token] += 1
            granted = self.issued[int(token[1:])]
            if all(any(covers(scope, need) for scope in granted) for need in needed):
                return None
        scope = f"{needed[0].rpartition(':')[0]}:{self.narrow}" if self.narrow else needed[0]
        realm = self.realm or f"http://{self.proxy.host}/token"
        challenge = f'Bearer realm="{realm}",service="sim",scope="{scope}"'
        first = f"{self.more_challenges}, " if self.more_challenges else ""
        return 401, {"WWW-Authenticate": first + challenge}, b'{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}'

    def needed(self, seen: Seen, query: dict[str, list[str]]) -> list[str]:
        name = urlsplit(seen.path).path.removeprefix("/v2/")
        for mark in ("/blobs/", "/manifests/", "/tags/", "/referrers/"):
            name = name.partition(mark)[0]
        action = "pull" if seen.method in ("GET", "HEAD") and "/uploads/" not in seen.path else "pull,push"
        return [f"repository:{name}:{action}"] + [f"repository:{source}:pull" for source in query.get("from", [])]

    def token(self, seen: Seen, query: dict[str, list[str]]) -> Answer:
        scopes = query.get("scope", [])
        if seen.method == "POST":
            form = parse_qs(seen.content.decode())
            if self.post_status != 200:
                return self.post_status, {}, b"{}"
            if form["refresh_token"][0] not in self.refresh_tokens:
                return 401, {}, b"{}"
            return self.give(form["scope"][0].split())
        if self.users:
            user, _, password = (
                base64.b64decode(seen.headers.get("authorization", "").removeprefix("Basic ")).decode().partition(":")
            )
            if self.users.get(user) != password:
                return 401, {}, b'{"details":"incorrect username or password"}'
        return self.give(scopes)

    def give(self, scopes: list[str]) -> Answer:
        self.issued.append(scopes[:1] if self.only_first_scope else scopes)
        value = f"t{len(self.issued) - 1}"
        self.spent[value] = 0
        answer = {self.answer_key: value, "expires_in": 300}
        if self.give_refresh:
            answer["refresh_token"] = self.give_refresh
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def covers(granted: str, needed: str) -> bool:
    name, _, actions = granted.rpartition(":")
    other, _, wanted = needed.rpartition(":")
    return name == other and set(wanted.split(",")) <= set(actions.split(","))
