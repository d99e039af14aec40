from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from images.registry.registries import Registries
from tests.images.registry.conftest import noise
from tests.sim.fault_proxy import FaultProxy

CHUNK = 1 << 20
SIZE = 12 << 20
PUSH = """
import sys
from pathlib import Path
from images.registry.registries import Registries
from images.registry.survive import surviving
from images.registry.upload import Chunking
from images.registry.copy import copy_image
host, origin, journal = sys.argv[1:]
def work():
    with Registries() as r:
        return copy_image(r.repository(origin), None, r.repository(host), ['v1'], journal_dir=Path(journal),
                          chunking=Chunking(1 << 20, 1 << 20))
print(surviving(work).bytes_sent)
"""


def test_a_killed_copy_goes_on_in_the_middle_of_each_blob(
    registries: Registries, registry: str, proxy: FaultProxy, name: str, tmp_path: Path, image: type
) -> None:
    """Debian's docker-registry behind a counting proxy; SIGKILL while chunks are on their way; then once more."""
    from images.registry.push import push_image

    wanted = image([noise(SIZE, 1), noise(SIZE, 2)])
    push_image(wanted, registries.repository(f"{registry}/{name}-from"), ["v1"])
    command = [
        sys.executable, "-c", PUSH, f"{proxy.host}/{name}", f"{registry}/{name}-from:v1", str(tmp_path / "journal"),
    ]  # fmt: skip
    proxy.pace = 0.02  # seconds per 64 KiB: a link slow enough to be cut
    first = subprocess.Popen(command, cwd=Path.cwd())
    while proxy.body_bytes() < SIZE:
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.wait()
    proxy.pace = 0.0
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path.cwd(), check=True)
    assert int(done.stdout) < SIZE * 2
    extra = proxy.body_bytes() - 2 * SIZE - len(wanted.config)
    assert 0 <= extra <= 2 * CHUNK, "each byte once, give or take one chunk per connection"
    assert registries.repository(f"{registry}/{name}").manifest("v1").digest == wanted.manifest.digest
