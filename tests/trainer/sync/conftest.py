"""The servers of the stores' own tests, for a run that goes to each of them and comes back."""

from __future__ import annotations

from tests.trainer.stores.conftest import bucket as bucket
from tests.trainer.stores.conftest import gcs_bucket as gcs_bucket
from tests.trainer.stores.conftest import gcs_server as gcs_server
from tests.trainer.stores.conftest import gs_line as gs_line
from tests.trainer.stores.conftest import moto_server as moto_server
from tests.trainer.stores.conftest import sshd as sshd
