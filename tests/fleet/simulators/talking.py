"""Plain requests to a simulator: no client of ours, so that its misreadings are not repeated here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import requests

KEY = "a-key-of-nobody"


@dataclass
class Talk:
    """One simulator's url, and short ways to ask it."""

    url: str
    key: str = KEY
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        return self.session.request(method, self.url + path, json=body, headers=headers, timeout=60, **more)

    def get(self, path: str, **more: Any) -> Any:
        """The JSON of a 200."""
        answer = self.ask("GET", path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def made(self, path: str, body: Any) -> Any:
        """The JSON of a 201."""
        answer = self.ask("POST", path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def refused(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """Status and `detail` of a problem."""
        answer = self.ask(method, path, body, **more)
        assert answer.headers["Content-Type"] == "application/problem+json", answer.text
        problem = answer.json()
        assert problem["status"] == answer.status_code
        return answer.status_code, problem["detail"]

    def wrong(self, method: str, path: str, body: Any = None) -> list[str]:
        """The `errors` of a 422."""
        answer = self.ask(method, path, body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"] == "Request validation failed."
        return list(answer.json()["errors"])

    def lost(self, method: str, path: str, body: Any = None) -> bool:
        """Whether the connection ended without an answer."""
        try:
            self.ask(method, path, body)
        except requests.ConnectionError:
            return True
        return False

    def admin(self, name: str, body: Any = None, method: str = "") -> Any:
        answer = self.session.request(
            method or ("GET" if body is None else "POST"), f"{self.url}/_sim/{name}", json=body, timeout=60
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def faults(self, **knobs: Any) -> None:
        """Knobs with `__` for their point."""
        self.admin("faults", {name.replace("__", "."): table for name, table in knobs.items()})

    def sleep(self, seconds: float) -> None:
        self.admin("clock", {"sleep": seconds})

    def rentals(self) -> Any:
        return self.admin("rentals")


def pod(name: str = "stk-test-1", **more: Any) -> dict[str, Any]:
    """The body of a create that is fine."""
    return {"name": name, "image": "registry.example/team/train:7", "gpu": {"id": H100, "count": 1}, **more}


H100 = "NVIDIA H100 80GB HBM3"
RTX = "NVIDIA GeForce RTX 4090"
