"""One specification over all stores, each on a real server of its own."""

from __future__ import annotations

import pytest

from tests.trainer.stores.specification import EVERY

SLOW = pytest.mark.slow
KINDS = ["file", *(pytest.param(kind, marks=SLOW) for kind in ("ssh", "busybox", "s3", "gs"))]


@pytest.mark.parametrize("says", EVERY, ids=lambda says: says.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_in_every_store(kind, says, request):
    says(request.getfixturevalue(f"{kind}_place"))
