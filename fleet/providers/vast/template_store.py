"""Templates at Vast (providers.md 2.3): found by what is in them, else changed under their name, else made.

`hash_id` is the hash of the content, and what a create names; `id` stays when the content changes. Vast answers a POST
of content that is there already with the one that is there, so one content is never there twice.
"""

from __future__ import annotations

import json
import re
from typing import Any

from fleet.providers.values import Template
from fleet.providers.vast.answers import PROVIDER, agreed
from fleet.wire import fields
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled, key_step
from fleet.wire.line import Line

PATH = "/api/v0/template/"
NEVER = ("onstart", "args_str")  # what ours do not have
COMPARED = (
    *("env", "runtype", "use_ssh", "ssh_direct", "jup_direct", "use_jupyter_lab", "docker_login_repo"),
    *("extra_filters", "recommended_disk_space", *NEVER),
)
FLAG = re.compile(r"-\S+ +\S+|\S+")  # with its value
LOOKS = 3  # after a lost answer, or when somebody else changed it


def ensure(line: Line, body: dict[str, Any]) -> Template:
    """The template with this body. Raises ProviderFailed."""
    for _ in range(LOOKS):
        named = [row for row in listed(line, body["name"]) if fields.text(row, "hash_id")]
        same = next((row for row in named if holds(row, body)), None)
        if same is not None:
            return template(same, body)
        made = changed(line, named[0], body) if named else create(line, body)
        if made is not None:
            return made  # None: nobody knows, or somebody was faster; looked at again
    raise ProviderFailed(PROVIDER, f"template {body['name']} could not be kept", "ask again later")


def listed(line: Line, name: str) -> list[dict[str, Any]]:
    """The account's own templates of that name: private ones of others are in nobody's list."""
    filters = {"name": {"eq": name}, "private": {"eq": True}}
    query = {"select_cols": json.dumps(["*"]), "select_filters": json.dumps(filters)}
    answer = agreed(line.get(PATH, query), "the list of templates")
    if not isinstance(answer.get("templates"), list):
        raise ProviderFailed(PROVIDER, "an answer without the list of templates", "ask again later")
    return [
        row
        for row in fields.rows(answer["templates"])
        if row.get("name") == name and fields.flag(row, "private") is not False
    ]


def holds(row: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a listed template is this one: the hash in its description, and everything that a machine would get of
    it where the row tells that: an edit in the console leaves the description alone.

    How Vast divides an image with a digest into `image` and `tag` is not known; the digest is in one of them.
    """
    told = f"{fields.text(row, 'image')}:{fields.text(row, 'tag')}"
    image = told == ":" or body["image"].rpartition(":")[2] in told
    same = all(plain(name, row[name]) == plain(name, body.get(name)) for name in COMPARED if name in row)
    return row.get("desc") == body["desc"] and image and same


def plain(name: str, value: Any) -> Any:
    """A field as it is compared: null, "" and nothing are one; flags as their set, which may be put in order."""
    if name == "extra_filters" and isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if name == "env" and isinstance(value, str):
        return sorted(FLAG.findall(value))
    if name == "recommended_disk_space" and isinstance(value, str):
        return float(value) if value.isdigit() else value
    return float(value) if isinstance(value, (int, float)) and value else value or None


def changed(line: Line, row: dict[str, Any], body: dict[str, Any]) -> Template | None:
    """Sends what it shall hold. None when that hash is not there any more: somebody was faster."""
    try:
        kept = {name: "" for name in NEVER if row.get(name)}  # a PUT leaves alone what it does not name
        answer = agreed(
            line.change("PUT", PATH, {**body, **kept, "hash_id": fields.text(row, "hash_id")}), "the template"
        )
    except ProviderFailed as failed:
        if failed.status != 404 or isinstance(failed, KeyRefused):
            raise
        return None
    new = fields.inner(answer, "template")
    return template(new, body) if fields.text(new, "hash_id") else None


def create(line: Line, body: dict[str, Any]) -> Template | None:
    """Sent once; None when nobody knows, to be looked for."""
    answer = line.create("POST", PATH, body)
    if answer.status == 401 or answer.code == "auth_error":
        raise KeyRefused(PROVIDER, answer.words or "refused", key_step(PROVIDER), answer.status, answer.code)
    if answer.status == 429:
        raise Throttled(PROVIDER, f"429 {answer.words}".strip(), "ask again in a minute", 429, answer.code)
    if 400 <= answer.status < 500:
        what = f"the template was refused: {answer.status} {answer.words}".strip()
        raise ProviderFailed(PROVIDER, what, "look at it with --dry-run", answer.status, answer.code)
    if not 200 <= answer.status < 300 or not isinstance(answer.value, dict):
        return None
    row = fields.inner(agreed(answer.value, "the template"), "template")
    return template(row, body) if fields.text(row, "hash_id") else None


def template(row: dict[str, Any], body: dict[str, Any]) -> Template:
    """What a create needs of it."""
    return Template(PROVIDER, fields.text(row, "id"), body["name"], fields.text(row, "hash_id"), body["desc"])
