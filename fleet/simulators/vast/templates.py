"""Vast's templates: their name is a hash of what is in them (providers.md 2.3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fleet.simulators.vast.queries import accepts, checked, in_order
from fleet.simulators.vast.refusals import invalid

DEFAULTS: dict[str, Any] = {
    **{"name": "Example Template", "image": "vastai/base-image", "tag": "latest", "env": None, "onstart": None},
    **{"runtype": "args", "args_str": None, "use_ssh": False, "ssh_direct": False, "jup_direct": False},
    **{"use_jupyter_lab": False, "jupyter_dir": None, "docker_login_repo": None, "docker_login_user": None},
    **{"docker_login_pass": None, "extra_filters": {}, "recommended_disk_space": 8, "desc": None, "readme": None},
    **{"readme_visible": True, "href": None, "repo": None, "private": True, "volume_info": None},
}
SWITCHES = {"use_ssh", "ssh_direct", "jup_direct", "use_jupyter_lab", "readme_visible", "private"}
TEXTS = set(DEFAULTS) - SWITCHES - {"extra_filters", "recommended_disk_space", "volume_info"}
RUNTYPES = ("ssh", "jupyter", "args")
FILTERS = (
    *("creator_id", "created_at", "count_created", "default_tag", "docker_login_repo", "id", "image", "jup_direct"),
    *("hash_id", "name", "private", "recent_create_date", "recommended_disk_space", "recommended", "ssh_direct"),
    *("tag", "use_ssh"),
)
SECRET = ("docker_login_user", "docker_login_pass")
NOT_CONTENT = ("id", "hash_id", "creator_id", "created_at", "recent_create_date", "count_created", "recommended")

Template = dict[str, Any]


def hash_of(template: Mapping[str, Any]) -> str:
    """32 hex digits of the content; which fields the real one takes is unknown: all that a user gives (invented)."""
    content = {name: value for name, value in sorted(template.items()) if name not in NOT_CONTENT}
    return hashlib.md5(json.dumps(content, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def check(given: Mapping[str, Any]) -> list[str]:
    """Types of what was given; the names that no documentation has. Raises Refused (400)."""
    for name, value in given.items():
        if value is None:
            continue
        if name in SWITCHES and not isinstance(value, bool):
            raise invalid(f"{name} is a boolean")
        if name in TEXTS and not isinstance(value, str):
            raise invalid(f"{name} is a string")
    if (given.get("runtype") or "args") not in RUNTYPES:
        raise invalid("runtype is ssh, jupyter or args")
    if not isinstance(given.get("extra_filters") or {}, dict):
        raise invalid("extra_filters is an object")
    return sorted(set(given) - set(DEFAULTS) - {"id", "hash_id"})


class Templates:
    """All templates of all owners."""

    def __init__(self, first: int = 334_547) -> None:
        self.rows: dict[int, Template] = {}
        self.last = first

    def make(self, owner: int, given: Mapping[str, Any], now: float) -> tuple[Template, bool]:
        """The template of this content, and whether it is new: "created or existing found". Raises Refused."""
        check(given)
        if not given.get("name"):
            raise invalid("Template name is required")
        if not given.get("image"):
            raise invalid("Template image is required")
        content = {name: given.get(name, default) for name, default in DEFAULTS.items()}
        name = hash_of(content)
        for row in self.rows.values():
            if row["hash_id"] == name and row["creator_id"] == owner:
                return row, False
        self.last += 1
        made = {**content, "id": self.last, "hash_id": name, "creator_id": owner, "created_at": now}
        self.rows[self.last] = {**made, "recent_create_date": now, "count_created": 0, "recommended": False}
        return self.rows[self.last], True

    def own(self, owner: int, id: Any = None, hash_id: Any = None) -> Template | None:
        """The owner's template of this number or hash."""
        for row in self.rows.values():
            if row["creator_id"] == owner and (row["id"] == id or (id is None and row["hash_id"] == hash_id)):
                return row
        return None

    def by_hash(self, owner: int, hash_id: str) -> Template | None:
        """What a create means by a hash: the owner's own, else a public one (two owners can share one hash)."""
        rows = [row for row in self.rows.values() if row["hash_id"] == hash_id]
        rows = [row for row in rows if row["creator_id"] == owner or not row["private"]]
        return next(iter(sorted(rows, key=lambda row: row["creator_id"] != owner)), None)

    def edit(self, row: Template, given: Mapping[str, Any], whole: bool) -> Template:
        """PUT v0: the fields given; v1 (whole): fields not given become null. The id stays, the hash changes."""
        check(given)
        if whole:
            row.update(dict.fromkeys(DEFAULTS))
        row.update({name: value for name, value in given.items() if name in DEFAULTS})
        row["hash_id"] = hash_of(row)
        return row

    def remove(self, row: Template) -> None:
        del self.rows[row["id"]]

    def found(self, owner: int, filters: Any, order: Any) -> list[Template]:
        """Own and public ones that pass, without logins; no pages. Raises BadQuery."""
        tests = checked(filters or {}, FILTERS)
        seen = [row for row in self.rows.values() if row["creator_id"] == owner or not row["private"]]
        rows = [{name: row[name] for name in row if name not in SECRET} for row in seen if accepts(row, tests)]
        pairs = order if isinstance(order, list) else []
        keys = [(str(pair["col"]), str(pair.get("dir"))) for pair in pairs if isinstance(pair, dict) and "col" in pair]
        return in_order(rows, [*keys, ("id", "asc")])
