"""The shipped cpu profile, really built: by both builders the same, and readable by other tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from images.build import Resolved
from images.builders.by_buildkit import build_by_buildkit
from images.builders.engine import Engine
from images.builders.image import Image
from images.builders.load import load_into_engine
from images.registry.push import push_image
from images.workbench import Workbench
from tests.conftest import program
from tests.images.builders.compare import from_archive, same_image

pytestmark = pytest.mark.slow
Built = tuple[Workbench, Resolved, Image]


def test_both_builders_give_the_same_files_and_config(
    cpu_image: Built, engine: Engine, docker_host: str, tmp_path: Path
):
    bench, resolved, image = cpu_image
    appended = load_into_engine(image, bench, engine)
    built = build_by_buildkit(resolved)
    for name in ("append", "buildkit"):
        (tmp_path / name).mkdir()
    same_image(
        from_archive(engine.save(appended), tmp_path / "append"),
        from_archive(engine.save(built.image_id), tmp_path / "buildkit"),
    )


def test_loaded_into_the_engine_it_is_the_very_image(cpu_image: Built, engine: Engine, docker_host: str):
    bench, _, image = cpu_image
    name = load_into_engine(image, bench, engine)
    found = engine.inspect(name)
    assert found["Id"] == image.manifest.config.digest
    assert found["RootFS"]["Layers"] == json.loads(image.config)["rootfs"]["diff_ids"]


def test_it_trains_after_a_pull(cpu_image: Built, engine: Engine, docker_host: str, registry: str):
    bench, _, image = cpu_image
    target = bench.registries.repository(f"{registry}/pulled/stoker")
    push_image(image, target, ["cpu"])
    reference = f"{registry}/pulled/stoker:cpu"
    engine.api.pull(reference)
    command = ["/opt/stoker/bin/train", "--steps", "5"]
    with engine.running(reference, command, network="none") as container:
        status = container.wait(120)
        text = container.output()
    assert status == 0, text
    losses = [json.loads(line)["loss"] for line in text.splitlines() if line.startswith('{"event": "step"')]
    assert len(losses) == 5 and losses[-1] < losses[0]


def test_other_tools_read_the_layout(cpu_image: Built, tmp_path: Path):
    bench, _, image = cpu_image
    reference = f"oci:{bench.store.layout.folder}:{image.plan.tag}"
    seen = json.loads(subprocess.run([program("skopeo"), "inspect", reference], capture_output=True, check=True).stdout)
    assert seen["Digest"] == image.digest
    copied = subprocess.run(
        [program("skopeo"), "copy", reference, f"oci:{tmp_path / 'copy'}:it"], capture_output=True, text=True
    )
    assert copied.returncode == 0, copied.stderr
    stat = [program("umoci"), "stat", "--image", f"{tmp_path / 'copy'}:it", "--json"]
    history = json.loads(subprocess.run(stat, capture_output=True, check=True).stdout)["history"]
    assert [row["created_by"] for row in history if not row.get("empty_layer")][-1] == "stoker: trainer"


def test_buildah_reads_it(cpu_image: Built, tmp_path: Path):
    bench, _, image = cpu_image
    store = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs"]
    pulled = subprocess.run(
        [program("buildah"), *store, "pull", f"oci:{bench.store.layout.folder}:{image.plan.tag}"],
        capture_output=True,
        text=True,
    )
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.strip() == image.manifest.config.digest.removeprefix("sha256:")
