"""Push as a user does it: what is sent, what is refused, and what independent tools read back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import Project, program
from tests.sim.fault_proxy import FaultProxy


@pytest.fixture
def target(registry: str, tmp_path: Path) -> str:
    """A repository of the test's own."""
    return f"{registry}/{tmp_path.name.lower()}"


class TestPush:
    def test_sends_our_layers_then_nothing(self, small: Project, target: str):
        [first] = small.json("push", "--profile", "small", "--registry", target)
        [second] = small.json("push", "--profile", "small", "--registry", target)
        assert 0 < first["bytes_sent"] < 1_000_000
        assert second["bytes_sent"] == 0
        assert first["by_digest"] == second["by_digest"]

    def test_another_tool_reads_the_same_digest(self, small: Project, target: str):
        [row] = small.json("push", "--profile", "small", "--registry", target)
        skopeo = [program("skopeo"), "inspect", "--tls-verify=false", f"docker://{row['pushed']}"]
        seen = json.loads(subprocess.run(skopeo, capture_output=True, check=True).stdout)
        assert seen["Digest"] == row["digest"]
        assert seen["Labels"]["stoker.profile"] == "small"

    def test_a_one_line_change_sends_one_layer(self, small: Project, target: str):
        small.json("push", "--profile", "small", "--registry", target)
        loop = small.root / "trainer/run/loop.py"
        loop.write_text(loop.read_text() + "# one more line\n")
        small.commit()
        [row] = small.json("push", "--profile", "small", "--registry", target)
        assert row["built"] == ["trainer"]
        assert row["bytes_sent"] < 400_000

    def test_an_sbom_is_attached_as_a_referrer(self, small: Project, target: str):
        [row] = small.json("push", "--profile", "small", "--registry", target)
        # docker-registry 2.8 has no referrers API: the fall-back tag of the distribution spec holds the list.
        host, _, name = target.partition("/")
        url = f"http://{host}/v2/{name}/manifests/{row['digest'].replace(':', '-')}"
        accept = {"Accept": "application/vnd.oci.image.index.v1+json"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=accept)) as answer:
            index = json.load(answer)
        assert [m["artifactType"] for m in index["manifests"]] == ["application/vnd.cyclonedx+json"]

    def test_dry_run_sends_nothing(self, small: Project, target: str):
        [row] = small.json("push", "--profile", "small", "--registry", target, "--dry-run")
        assert row["push_to"].startswith(target)
        skopeo = [program("skopeo"), "list-tags", "--tls-verify=false", f"docker://{target}"]
        assert subprocess.run(skopeo, capture_output=True).returncode != 0  # there is no such repository


class TestDamagedState:
    def test_a_layer_that_rotted_on_disk_is_found_and_made_again(self, small: Project, target: str):
        [row] = small.json("build", "--profile", "small")
        layout = Path(small.env["STOKER_HOME"]) / "layout" / "blobs" / "sha256"
        manifest = json.loads((layout / row["digest"].partition(":")[2]).read_text())
        blob = layout / manifest["layers"][-1]["digest"].partition(":")[2]
        content = bytearray(blob.read_bytes())
        content[len(content) // 2] ^= 1
        blob.write_bytes(content)
        done = small.inv("push", "--profile", "small", "--registry", target)
        assert done.returncode == 3
        assert "damaged on this machine's disk" in done.stderr and "run the same command again" in done.stderr
        [pushed] = small.json("push", "--profile", "small", "--registry", target)
        assert pushed["digest"] == row["digest"]


class TestSeveralPlatforms:
    def test_children_then_an_index_under_one_tag(self, small: Project, target: str):
        small.write("profiles/both.yaml", "extends: small\nplatforms: [linux/amd64, linux/arm64]\n")
        small.commit()
        rows = small.json("push", "--profile", "both", "--registry", target)
        assert [row.get("platform") for row in rows] == ["linux/amd64", "linux/arm64", None]
        raw = [program("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{rows[-1]['pushed']}"]
        index = json.loads(subprocess.run(raw, capture_output=True, check=True).stdout)
        assert {m["platform"]["architecture"]: m["digest"] for m in index["manifests"]} == {
            "amd64": rows[0]["digest"],
            "arm64": rows[1]["digest"],
        }
        assert index["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
        [*_, again] = small.json("push", "--profile", "both", "--registry", target)
        assert again["bytes_sent"] == 0 and again["digest"] == rows[-1]["digest"]


class TestRefusals:
    def test_a_dirty_tree(self, small: Project, target: str):
        small.write("trainer/extra.py", "x = 1\n")
        done = small.inv("push", "--profile", "small", "--registry", target)
        assert done.returncode == 4
        assert "--allow-dirty" in done.stderr
        [row] = small.json("push", "--profile", "small", "--registry", target, "--allow-dirty")
        assert "-dirty-" in row["pushed"]

    def test_a_tag_that_exists_with_another_digest(self, small: Project, target: str):
        [row] = small.json("push", "--profile", "small", "--registry", target)
        # Someone else's image under our tag.
        source = f"docker://{small.env['STOKER_MIRROR'].partition('=')[2]}/nvidia/pytorch:25.06-py3"
        copy = [program("skopeo"), "copy", "--src-tls-verify=false", "--dest-tls-verify=false", source]
        subprocess.run([*copy, f"docker://{row['pushed']}"], check=True, capture_output=True)
        done = small.inv("push", "--profile", "small", "--registry", target)
        assert done.returncode == 4
        assert "exists with another digest" in done.stderr and "--force" in done.stderr
        [forced] = small.json("push", "--profile", "small", "--registry", target, "--force")
        assert forced["digest"] == row["digest"]

    def test_a_checkout_without_git_is_told_so(self, small: Project, target: str):
        (small.root / ".git").rename(small.root.parent / "git")
        done = small.inv("push", "--profile", "small", "--registry", target)
        assert done.returncode == 4
        assert "no commit is known" in done.stderr and "--allow-dirty" in done.stderr

    def test_a_wrong_key_is_refused_before_anything_is_sent(self, small: Project, target: str, tmp_path: Path):
        (tmp_path / "key.pem").write_text("no key\n")
        key = ["--sign", str(tmp_path / "key.pem")]
        done = small.inv("push", "--profile", "small", "--registry", target, *key)
        assert done.returncode == 2 and "holds no private key" in done.stderr
        skopeo = [program("skopeo"), "list-tags", "--tls-verify=false", f"docker://{target}"]
        assert subprocess.run(skopeo, capture_output=True).returncode != 0  # there is no such repository
        assert "add --push" in small.inv("build", "--profile", "small", *key).stderr

    def test_a_registry_that_is_not_there(self, small: Project):
        done = small.inv("push", "--profile", "small", "--registry", "127.0.0.1:9/stoker")
        assert done.returncode == 3
        assert "127.0.0.1:9" in done.stderr
        assert "Traceback" not in done.stderr


class TestKilled:
    def test_the_same_command_finishes_and_resends_nothing_that_arrived(
        self, small: Project, registry: str, tmp_path: Path
    ):
        import random

        # Noise does not compress: a layer of 24 MB, pushed in chunks through a proxy that slows it down.
        (small.root / "trainer/noise.bin").write_bytes(random.Random(7).randbytes(24_000_000))
        small.commit()
        with FaultProxy(registry) as proxy:
            target = f"{proxy.host}/{tmp_path.name.lower()}"
            command = [sys.executable, str(small.root / "cli/program.py"), "push", "--profile", "small"]
            proxy.pace = 0.004  # seconds for each 64 kB: about 16 MB/s
            running = subprocess.Popen(
                [*command, "--registry", target],
                cwd=small.root,
                env=small.env,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            until = time.monotonic() + 30
            while proxy.body_bytes() < 8_000_000 and time.monotonic() < until:
                time.sleep(0.01)
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            before = proxy.body_bytes()
            proxy.pace = 0.0
            [row] = small.json("push", "--profile", "small", "--registry", target)
            assert 8_000_000 <= before < 24_000_000
            # All bytes once, and what lay in the buffers of the cut connection twice.
            assert proxy.body_bytes() < 24_000_000 + 6_000_000
            assert row["digest"]
