"""What Hyperbolic has no request for (providers.md 3.4-3.8), and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping

LACKS: Mapping[str, str] = {
    "ensure_template": "nothing: the image and its settings go to the machine over SSH at every launch",
    "stop": "terminate it: checkpoints are at the remote, and `./inv resume` goes on from there",
    "start": "launch another one: `./inv resume`",
    "volumes": "nothing to see: the disk belongs to the rental and ends with it; keep checkpoints at a remote",
    "registries": "nothing to see: a registry's login goes to the machine over SSH, and is forgotten after the pull",
    "ensure_registry": "nothing: give the login with the container; it goes to the machine over SSH",
    "keys": "put your public key into the web settings by hand, before renting; no request tells which are there",
    "spot": "there are on-demand machines only",
    "volume": "use a remote (hf://, s3://, gs://): no disk outlives a rental",
    "keeper": "STOKER_LEND_KEY=1 leaves the API key in the machine's memory: it ends itself; else `./inv watch` must",
}
