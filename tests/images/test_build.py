"""From a profile to an image on a remote base, as a user does it: through the tasks, against a real registry."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project


def manifest_of(project: Project, tag: str) -> dict:
    layout = Path(project.env["STOKER_HOME"]) / "layout"
    index = json.loads((layout / "index.json").read_text())
    row = next(m for m in index["manifests"] if m["annotations"]["org.opencontainers.image.ref.name"] == tag)
    return json.loads((layout / "blobs/sha256" / row["digest"][7:]).read_text())


def config_of(project: Project, tag: str) -> dict:
    layout = Path(project.env["STOKER_HOME"]) / "layout"
    digest = manifest_of(project, tag)["config"]["digest"]
    return json.loads((layout / "blobs/sha256" / digest[7:]).read_text())


class TestAppendedImage:
    def test_base_layers_travel_as_descriptors_only(self, small: Project):
        [row] = small.json("build", "--profile", "small")
        layers = manifest_of(small, row["tag"])["layers"]
        blobs = Path(small.env["STOKER_HOME"]) / "layout/blobs/sha256"
        assert len(layers) == 3  # the base's, scripts, trainer
        assert not (blobs / layers[0]["digest"][7:]).exists()
        assert all((blobs / layer["digest"][7:]).exists() for layer in layers[1:])

    def test_docker_base_stays_docker_throughout(self, small: Project):
        [row] = small.json("build", "--profile", "small")
        manifest = manifest_of(small, row["tag"])
        types = [manifest["mediaType"], manifest["config"]["mediaType"], *(m["mediaType"] for m in manifest["layers"])]
        assert all(one.startswith("application/vnd.docker.") for one in types)
        assert "annotations" not in manifest

    def test_zstd_turns_the_whole_manifest_into_oci(self, small: Project):
        [row] = small.json("build", "--profile", "small", "--compression", "zstd")
        manifest = manifest_of(small, row["tag"])
        types = [manifest["mediaType"], manifest["config"]["mediaType"], *(m["mediaType"] for m in manifest["layers"])]
        assert all(one.startswith("application/vnd.oci.") for one in types)
        assert [m["mediaType"].rsplit("+")[-1] for m in manifest["layers"]] == ["gzip", "zstd", "zstd"]
        assert manifest["annotations"]["org.opencontainers.image.base.name"] == "nvcr.io/nvidia/pytorch:25.06-py3"

    def test_config_keeps_the_base_and_adds_ours(self, small: Project):
        [row] = small.json("build", "--profile", "small")
        value = config_of(small, row["tag"])
        config = value["config"]
        assert config["Entrypoint"] == ["/opt/stoker/bin/entrypoint", "/opt/nvidia/nvidia_entrypoint.sh"]
        assert config["Cmd"] == ["/opt/stoker/bin/run"]
        assert config["WorkingDir"] == "/opt/stoker"  # RunPod's volume hides /workspace, the base's own
        assert "PIP_CONSTRAINT=/etc/pip/constraint.txt" in config["Env"]
        assert "STOKER_PROFILE=small" in config["Env"]
        assert config["Labels"]["com.nvidia.pytorch.version"] == "2.8.0a0+5228986"
        assert config["Labels"]["org.opencontainers.image.revision"] == small.git("rev-parse", "HEAD")
        assert value["docker_version"] == "24.0.5"  # unknown keys stay

    def test_history_and_layers_agree(self, small: Project):
        [row] = small.json("build", "--profile", "small")
        value = config_of(small, row["tag"])
        filled = [item for item in value["history"] if not item.get("empty_layer")]
        assert len(filled) == len(value["rootfs"]["diff_ids"]) == len(manifest_of(small, row["tag"])["layers"])
        assert [item["created_by"] for item in filled[-2:]] == ["stoker: scripts", "stoker: trainer"]

    def test_created_is_the_commits_time(self, small: Project):
        [row] = small.json("build", "--profile", "small")
        assert config_of(small, row["tag"])["created"] == "2026-01-02T03:04:05Z"

    def test_the_same_commit_gives_the_same_digest(self, small: Project, tmp_path: Path):
        [first] = small.json("build", "--profile", "small")
        other = {"STOKER_HOME": str(tmp_path / "elsewhere"), "TZ": "Asia/Kathmandu", "LC_ALL": "C"}
        [second] = small.json("build", "--profile", "small", **other)
        assert first["digest"] == second["digest"]
        assert second["reused"] == []

    def test_a_change_of_the_trainer_makes_only_its_layer_anew(self, small: Project):
        [first] = small.json("build", "--profile", "small")
        loop = small.root / "trainer/run/loop.py"
        loop.write_text(loop.read_text() + "# one more line\n")
        small.commit()
        [second] = small.json("build", "--profile", "small")
        assert second["built"] == ["trainer"]
        before, after = (manifest_of(small, row["tag"])["layers"] for row in (first, second))
        assert before[:2] == after[:2]
        assert before[2] != after[2]

    def test_readme_changes_do_not_make_the_tree_dirty(self, small: Project):
        (small.root / "README.md").write_text("other\n")
        [row] = small.json("build", "--profile", "small")
        assert "dirty" not in row["tag"]

    def test_a_changed_trainer_makes_it_dirty_and_the_tag_says_so(self, small: Project):
        (small.root / "trainer/extra.py").write_text("x = 1\n")
        [row] = small.json("build", "--profile", "small")
        commit = small.git("rev-parse", "HEAD")
        assert row["tag"].startswith(f"small-0.1.0-g{commit[:12]}-dirty-")


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["build", "--profile", "smal"], 2, "did you mean `small`"),
            (["build", "--profile", "small", "--builder", "kaniko"], 2, "choose append or buildkit"),
            (["build", "--profile", "small", "--compression", "xz"], 2, "choose gzip or zstd"),
            (["build", "--profile", "small", "--base-tag", "24.10-py3"], 2, "fp8-delayed"),
            (["build"], 2, "--profile NAME"),
            (["push", "--profile", "small"], 2, "--registry"),
            (["bild"], 2, "did you mean build"),
            (["build", "--profil", "small"], 2, "--profil"),
        ],
    )
    def test_one_line_a_next_step_and_the_contracts_code(self, small: Project, arguments, code, words):
        done = small.inv(*arguments)
        assert done.returncode == code
        assert words in done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr

    def test_a_secret_in_the_trainer_is_refused_by_file_and_line(self, small: Project):
        token = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA2cE4gI6kL"
        small.write("trainer/settings.py", f'x = 1\nTOKEN = "{token}"\n')
        done = small.inv("build", "--profile", "small")
        assert done.returncode == 4
        assert "trainer/settings.py:2" in done.stderr
        assert token not in done.stderr

    def test_a_secret_in_the_profiles_environment_is_refused(self, small: Project):
        small.write(
            "profiles/leaky.yaml", "extends: small\nenv: {WANDB_API_KEY: 7c1f0a93be52d846f01b7e3a95c2d8460fe1b37a}\n"
        )
        done = small.inv("build", "--profile", "leaky")
        assert done.returncode == 4
        assert "WANDB_API_KEY" in done.stderr and "7c1f0a93" not in done.stderr

    def test_a_link_out_of_the_context_is_refused(self, small: Project):
        (small.root / "trainer/outside").symlink_to("/etc/passwd")
        done = small.inv("build", "--profile", "small")
        assert done.returncode == 2
        assert "trainer/outside" in done.stderr

    def test_a_base_that_does_not_exist(self, small: Project):
        small.write("profiles/gone.yaml", "extends: small\nbase: {image: 'nvcr.io/nvidia/pytorch:25.08-py3'}\n")
        done = small.inv("build", "--profile", "gone")
        assert done.returncode in (2, 3)
        assert "25.08-py3" in done.stderr and "next:" in done.stderr

    def test_locked_refuses_a_stale_lock(self, small: Project):
        small.write("profiles/small.yaml", "extends: h100-fp8\npython: {requirements: [tiktoken]}\n")
        done = small.inv("build", "--profile", "small", "--locked")
        assert done.returncode == 1
        assert "./inv lock --profile small" in done.stderr

    def test_over_the_size_budget(self, small: Project):
        import random

        noise = random.Random(1).randbytes(3_000_000)
        (small.root / "trainer/blob.bin").write_bytes(noise)
        small.write("profiles/tight.yaml", "extends: small\nsize_budget_mb: 1\n")
        done = small.inv("build", "--profile", "tight")
        assert done.returncode == 1
        assert "budget is 1 MB" in done.stderr


class TestNames:
    def test_files_with_spaces_and_other_scripts(self, small: Project):
        small.write("trainer/data/a b.txt", "spaces\n")
        small.write("trainer/data/данные-数据.txt", "non-ASCII\n")
        [row] = small.json("build", "--profile", "small")
        blob = manifest_of(small, row["tag"])["layers"][-1]["digest"][7:]
        path = Path(small.env["STOKER_HOME"]) / "layout/blobs/sha256" / blob
        listed = subprocess.run(
            ["tar", "tzf", str(path), "--quoting-style=literal"],
            capture_output=True,
            text=True,
            check=True,
            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        ).stdout
        assert "opt/stoker/app/trainer/data/a b.txt" in listed
        assert "opt/stoker/app/trainer/data/данные-数据.txt" in listed


class TestPlan:
    def test_render_json_is_the_plan_and_names_its_hash(self, small: Project):
        plan = small.json("render", "--profile", "small")
        assert plan["tag"].endswith(plan["hash"][:12])
        assert plan["base"]["digest"].startswith("sha256:")
        assert [layer["name"] for layer in plan["layers"]] == ["scripts", "trainer"]

    def test_dry_run_builds_nothing(self, small: Project):
        [row] = small.json("build", "--profile", "small", "--dry-run")
        assert row["dry_run"] is True
        assert small.json("images") == []

    def test_several_profiles_at_once(self, small: Project):
        small.write("profiles/second.yaml", "extends: small\nenv: {A: '1'}\n")
        rows = small.json("build", "--profile", "small", "--profile", "second")
        assert [row["tag"].split("-")[0] for row in rows] == ["small", "second"]

    def test_two_builds_at_once_in_one_folder(self, small: Project):
        command = ["build", "--profile", "small", "--json"]
        import sys

        program = str(small.root / "cli/program.py")
        running = [
            subprocess.Popen([sys.executable, program, *command], env=small.env, cwd=small.root, stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        outcomes = [(one.communicate()[0], one.returncode) for one in running]
        assert [code for _, code in outcomes] == [0, 0]
        assert len({json.loads(out)[0]["digest"] for out, _ in outcomes}) == 1


class TestCheckout:
    def test_one_of_another_owner_is_read_all_the_same(self, small: Project):
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        for path in (small.root, *small.root.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        [row] = small.json("build", "--profile", "small", "--dry-run")
        assert f"g{small.git('-c', 'safe.directory=*', 'rev-parse', 'HEAD')[:12]}-" in row["tag"]

    def test_inside_a_git_hook_the_hooks_repository_is_not_taken_for_ours(self, small: Project, tmp_path: Path):
        other = tmp_path / "other"
        subprocess.run(["git", "init", "-q", str(other)], check=True)
        [row] = small.json("build", "--profile", "small", "--dry-run", GIT_DIR=str(other / ".git"))
        assert f"g{small.git('rev-parse', 'HEAD')[:12]}-" in row["tag"]

    def test_without_git_it_says_so_in_the_tag(self, small: Project, tmp_path: Path):
        (tmp_path / "bin").mkdir()
        [row] = small.json("build", "--profile", "small", "--dry-run", PATH=str(tmp_path / "bin"))
        assert row["tag"].startswith("small-0.1.0-g000000000000-dirty-")
