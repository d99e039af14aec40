"""Every call of the official `vastai` SDK that a rental needs, against VAST_URL. Runs under the SDK's own Python and
prints what it saw as JSON; it imports nothing of this project."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from typing import Any

from vastai import VastAI

URL = os.environ["VAST_URL"]
if not URL.startswith("http://127.0.0.1:"):
    sys.exit("not pointed at a simulator")


def admin(name: str, body: dict[str, Any]) -> Any:
    asked = urllib.request.Request(f"{URL}/_sim/{name}", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


def later(seconds: float = 30) -> None:
    admin("clock", {"sleep": seconds})


def main() -> dict[str, Any]:
    vast = VastAI(api_key="DUMMY", server_url=URL, retry=1)
    seen: dict[str, Any] = {"user": vast.show_user()}
    seen["made"] = vast.create_template(
        name="tour", image="a/b", image_tag="1", env="-e T=1 -p 8000:8000", ssh=True, direct=True
    )
    later()
    seen["templates"] = vast.search_templates("name=tour private=true")
    later()
    query = "gpu_name=RTX_4090 num_gpus>=1 cuda_vers>=12.4 geolocation in [US,CA,SE,DE,TW] gpu_ram>=20 duration>=0.1"
    seen["offers"] = vast.search_offers(query=query, order="dph_total", limit=5, storage=20)
    seen["newer"] = vast.search_offers_new(query=query, order="dph_total-", limit=2, storage=20)
    first, second, third = [row["id"] for row in seen["offers"]][:3]
    seen["created"] = vast.create_instance(
        first, image="a/b:1", disk=20, env={"RUN": "x", "-p 8000:8000": "1"}, label="tour-1", ssh=True, direct=True,
        onstart_cmd="bash /root/run.sh", cancel_unavail=True,
    )  # fmt: skip
    later()
    by_template = vast.create_instance(second, template_hash=seen["templates"][0]["hash_id"], disk=20, label="tour-2")
    later()
    least = next(row["min_bid"] for row in seen["offers"] if row["id"] == third)
    bid = vast.create_instance(third, image="a/b:1", disk=20, price=least, label="tour-3", args=["bash", "-c", "x"])
    later(200)
    seen["instances"] = vast.show_instances()
    id, other, bidder = seen["created"]["new_contract"], by_template["new_contract"], bid["new_contract"]
    seen["shown"] = vast.show_instance(id)
    seen["logs"] = vast.logs(id, tail="10")
    seen["said"] = vast.execute(id, "ls")
    admin("preempt", {"id": str(bidder), "min_bid": least * 2})
    later()
    seen["outbid"] = vast.show_instance(bidder)
    seen["raised"] = vast.change_bid(bidder, price=round(least * 2.5, 3))
    later(100)
    seen["resumed"] = vast.show_instance(bidder)
    seen["stopped"] = vast.stop_instance(id)
    later()
    seen["stopped_row"] = vast.show_instance(id)
    seen["started"] = vast.start_instance(id)
    later()
    seen["labelled"] = vast.label_instance(id, "tour-9")
    later()
    seen["key"] = vast.create_ssh_key(ssh_key="ssh-ed25519 AAAAtour tour@example.com")
    seen["attached"] = vast.attach_ssh(id, "ssh-ed25519 AAAAtour tour@example.com")
    seen["keys"] = vast.show_ssh_keys()
    seen["secret"] = vast.create_env_var("token", "abc123")
    later()
    seen["secrets"] = vast.show_env_vars()
    later()
    volumes = vast.search_volumes("disk_space>=10")
    later()
    seen["volume"] = vast.create_volume(volumes[0]["id"], size=15)
    later()
    seen["volumes"] = vast.show_volumes()
    later()
    seen["volume_gone"] = vast.delete_volume(seen["volumes"][0]["id"])
    template = seen["templates"][0]
    seen["updated"] = vast.update_template(template["hash_id"], name="tour-two", image="a/b")
    later()
    seen["template_gone"] = vast.delete_template(template_id=template["id"])
    seen["destroyed"] = [
        vast.destroy_instance(id),
        later(),
        vast.destroy_instance(other),
        later(),
        vast.destroy_instance(bidder),
    ]
    later()
    seen["missing"] = vast.show_instance(id)
    seen["left"] = vast.show_instances()
    later()
    seen["retried"] = danger()
    return seen


def danger() -> list[str]:
    """The client's own retries: one 502 after the machine was made, and it orders again; Vast is said to accept."""
    vast = VastAI(api_key="DUMMY", server_url=URL)
    offers = vast.search_offers(query="rentable=true", order="dph_total", limit=1)
    admin("limits", {"on": False})
    admin(
        "faults",
        {"create.5xx_after_commit": {"count": 1}, "double_buy_accepts_both": {"after": 1, "count": 1, "seconds": 600}},
    )
    try:
        vast.create_instance(offers[0]["id"], image="a/b:1", label="danger", disk=8)
    except Exception as error:  # whatever the client makes of it
        print(type(error).__name__, file=sys.stderr)
    admin("limits", {"on": True})
    admin("faults", {"create.5xx_after_commit": None, "double_buy_accepts_both": None})
    later()
    return [row["label"] for row in vast.show_instances()]


if __name__ == "__main__":
    print(json.dumps(main(), default=str))
