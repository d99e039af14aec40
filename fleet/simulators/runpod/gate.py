"""What stands before every call: the retired v1, the body's size, the key, the rate limit (providers.md 1.2, 1.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fleet.simulators.clock import SECOND
from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.problems import problem
from fleet.simulators.wire import Reply, Request

LARGEST = 102400  # bytes
WINDOWS = {"minute": 60, "hour": 3600, "day": 86400}
QUOTAS = {"minute": 6000, "hour": 300_000, "day": 5_000_000}  # invented; the spec's example has 60, 3000, 50000
OWN_POD = (("GET", ""), ("DELETE", ""), ("POST", "/action"))  # what a pod's key may do with its own pod (invented)


class Gate:
    """Guards one account."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._used: Counter[tuple[str, int]] = Counter()

    def guard(self, request: Request) -> Reply | None:
        """A refusal, or None. The order is known for the size only: before the key."""
        if request.path.startswith("/v1/"):
            return problem(410, "REST API v1 has been retired (wording and shape invented)")
        if len(request.body) > LARGEST and self.account.newer():
            return problem(413, "request body exceeds 102400 bytes (wording invented)")
        refusal = self._key(request)
        if refusal is not None:
            return refusal
        request.caller = request.caller or "account"
        return self._rate()

    def finish(self, request: Request, reply: Reply) -> None:
        """The rate limit's headers on authenticated answers."""
        if not request.caller or self.account.world.faults.take("ratelimit_headers_off") is not None:
            return
        left = [(name, quota, *self._left(name, quota)) for name, quota in self._quotas().items()]
        reply.headers["RateLimit"] = ", ".join(f'"{name}";r={rest};t={reset}' for name, _, rest, reset in left)
        policy = (f'"{name}";q={quota};w={WINDOWS[name]}' for name, quota, _, _ in left)
        reply.headers["RateLimit-Policy"] = ", ".join(policy)

    def missing(self, request: Request, allowed: Sequence[str]) -> Reply:
        """An unknown path or method."""
        request.violations.append(f"{request.method} {request.path}: no such call")
        if allowed:
            words = "The requested method is not allowed for this path."
            return problem(405, words, headers={"Allow": ", ".join(allowed)})
        return problem(404, "resource not found")

    def _key(self, request: Request) -> Reply | None:
        account, key = self.account, request.bearer
        if not key:
            return problem(401, "missing bearer token")
        revoked = account.world.faults.take("auth.revoked_midway")
        if revoked is not None and revoked.get("status") == 403:
            return problem(403, "access denied")
        if revoked is not None or key in account.refused:
            return problem(401, "invalid bearer token (wording invented)")
        if key in account.pod_keys:
            request.caller = account.pod_keys[key]
            path = request.path.removeprefix(f"/v2/pods/{request.caller}")
            own = (request.method, path) in OWN_POD
            if not own or account.world.faults.take("pod_key_refused") is not None:
                return problem(403, "access denied")
        elif account.accepted is not None and key not in account.accepted:
            return problem(401, "invalid bearer token (wording invented)")
        return None

    def _quotas(self) -> dict[str, int]:
        """`rate_limit` {"minute": 60} sets them."""
        wanted = self.account.world.faults.take("rate_limit") or {}
        return {name: int(wanted.get(name, quota)) for name, quota in QUOTAS.items()}

    def _rate(self) -> Reply | None:
        quotas = self._quotas()
        for name, quota in quotas.items():
            left, reset = self._left(name, quota)
            if left <= 0:
                return problem(
                    429, f"rate limit exceeded for the {name} window", headers={"Retry-After": str(max(1, reset))}
                )
        for name in WINDOWS:
            self._used[self._window(name)] += 1
        return None

    def _window(self, name: str) -> tuple[str, int]:
        return name, self.account.world.now // (WINDOWS[name] * SECOND)

    def _left(self, name: str, quota: int) -> tuple[int, int]:
        """Requests left in the window, and seconds until the next."""
        length = WINDOWS[name]
        passed = (self.account.world.now // SECOND) % length
        return max(0, quota - self._used[self._window(name)]), length - passed
