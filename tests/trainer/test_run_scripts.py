"""The baked run scripts, run for real by sh in a made-up image."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.trainer.baked import PROGRAMS, PYTHON, SCRIPTS, SOURCED, Image, rendered_entrypoint, stop, until
from trainer.run.folder import losses

GPU = {"type": "H100", "count": 8, "compute_capability": "9.0", "memory_gb": 80}


@pytest.fixture
def image(tmp_path, environment):
    return Image(tmp_path / "image", environment)


@pytest.mark.skipif(not shutil.which("shellcheck") and os.environ.get("CI") != "true", reason="no shellcheck")
def test_shellcheck_finds_nothing(tmp_path):
    paths = [SCRIPTS / name for name in PROGRAMS]
    for number, base in enumerate([[], ["/opt/nvidia/nvidia_entrypoint.sh"]]):
        paths.append(tmp_path / f"entrypoint{number}")
        paths[-1].write_text(rendered_entrypoint(base))
    follow = ["--external-sources", "--source-path", str(SCRIPTS)]
    for more in ([*follow, *paths], [*follow, "--check-sourced", SCRIPTS / "run"]):
        done = subprocess.run(["shellcheck", "--shell=sh", *more], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"], ["bash", "--posix"]], ids=" ".join)
def test_other_shells_can_read_them(shell):
    if not shutil.which(shell[0]):
        pytest.skip(f"no {shell[0]}")
    for name in (*PROGRAMS, *SOURCED):
        done = subprocess.run([*shell, "-n", SCRIPTS / name], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name


def test_the_scripts_can_be_executed_and_are_short():
    assert all((SCRIPTS / name).stat().st_mode & 0o111 == 0o111 for name in PROGRAMS)
    files = {path.name for path in SCRIPTS.iterdir() if path.is_file()}
    assert files == {*PROGRAMS, *SOURCED, *(f"{name}.py" for name in PYTHON), "entrypoint.sh.j2"}
    assert all(len((SCRIPTS / name).read_text().splitlines()) <= 200 for name in files)


class TestEntrypoint:
    def test_it_runs_the_command_with_the_threads_capped(self, image):
        done = image.run("entrypoint", "sh", "-c", 'echo "$MKL_NUM_THREADS $1"; exit 7', "sh", "two words")
        assert done.returncode == 7
        cap, words = done.stdout.split(maxsplit=1)
        assert words == "two words\n" and 1 <= int(cap) <= len(os.sched_getaffinity(0))

    def test_it_keeps_the_bases_own_entrypoint_in_the_chain(self, image, tmp_path):
        base = tmp_path / "base entrypoint"
        base.write_text('#!/bin/sh\necho "base saw: $*"\nexec "$@"\n')
        base.chmod(0o755)
        image.entrypoint([str(base)])
        done = image.run("entrypoint", str(base), "echo", "hello")
        assert done.stdout == "base saw: echo hello\nhello\n"

    @pytest.mark.parametrize("base", [[], ["env"]], ids=["no base entrypoint", "a base entrypoint"])
    def test_an_empty_command_trains(self, image, base):
        image.entrypoint(base)
        (image.bin / "run").write_text('#!/bin/sh\necho "training"\n')
        assert image.run("entrypoint", *base).stdout == "training\n"

    def test_a_host_below_the_floor_never_reaches_the_command(self, image, tmp_path):
        (tmp_path / "version").write_text("535.129.03")
        shutil.copy(_libcuda(tmp_path), tmp_path / "libcuda.so.1")
        image.profile(profile="h100-fp8", gpu=GPU, driver_floor=580)
        variables = {
            "STOKER_LIBCUDA": str(tmp_path / "libcuda.so.1"),
            "STOKER_DRIVER_VERSION_FILE": str(tmp_path / "version"),
        }
        done = image.run("entrypoint", "echo", "reached", **variables)
        assert done.returncode == 3 and done.stdout == ""
        assert "535.129.03" in done.stderr and "R580" in done.stderr
        assert image.run("entrypoint", "echo", "reached", **variables, STOKER_SKIP_DRIVER_CHECK="1").returncode == 0

    def test_a_gpu_image_opens_for_a_look_without_a_gpu_but_does_not_train(self, image):
        image.profile(profile="h100-fp8", gpu=GPU, driver_floor=580)
        looked = image.run("entrypoint", "echo", "reached")
        assert looked.stdout == "reached\n" and "no NVIDIA driver answers" in looked.stderr
        trained = image.run("train")
        assert trained.returncode == 3 and "--gpus all" in trained.stderr


class TestSetup:
    def test_twice_gives_the_same_file_and_nothing_else(self, image):
        variables = {"NCCL_DEBUG": "WARN", "HF_TOKEN": "hush-hush", "STOKER_NOTE": "it's here"}
        assert image.run("setup", **variables).returncode == 0
        first = (image.state / "env.sh").read_text()
        assert image.run("setup", **variables).returncode == 0
        assert (image.state / "env.sh").read_text() == first
        assert [path.name for path in image.state.iterdir()] == ["env.sh"]
        assert "export NCCL_DEBUG=WARN" in first and "hush" not in first and "PYTHONSAFEPATH" not in first

    def test_a_login_shell_gets_the_environment(self, image, tmp_path):
        image.run("setup", NCCL_DEBUG="WARN", STOKER_NOTE="it's here")
        script = f'. "{tmp_path}/image/profile.d/stoker.sh"; echo "$NCCL_DEBUG $STOKER_NOTE"'
        done = subprocess.run(["sh", "-euc", script], env={}, capture_output=True, text=True, check=True)
        assert done.stdout == "WARN it's here\n"

    def test_where_tells_and_does_nothing(self, image):
        assert image.run("setup", "--where").stdout == f"{image.state}/env.sh\n"
        assert not (image.state / "env.sh").exists()

    def test_a_broken_image_is_said_not_ignored(self, image):
        (image.home / "profile.json").write_text("{")
        done = image.run("setup")
        assert done.returncode == 2 and "build it again" in done.stderr

    def test_a_folder_called_trainer_in_the_working_directory_is_not_ours(self, image):
        (image.volume / "trainer").mkdir()
        (image.volume / "trainer" / "__main__.py").write_text("raise SystemExit('an impostor')")
        done = image.run("setup")
        assert done.returncode == 0, done.stderr


class TestSshd:
    KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPublic someone@somewhere"

    @pytest.fixture
    def sshd(self, tmp_path, image):
        daemon = tmp_path / "stoker-fake-sshd"
        daemon.write_text(f'#!/bin/sh\necho "$*" >>"{tmp_path}/started"\n')
        daemon.chmod(0o755)
        (tmp_path / "image/ssh/ssh_host_ed25519_key").write_text("made before")
        image.environment |= {"STOKER_SSHD": str(daemon)}
        return tmp_path / "started"

    def test_without_a_public_key_it_stays_off(self, image, sshd, tmp_path):
        assert image.run("setup").returncode == 0
        assert not sshd.exists() and not (tmp_path / "home").exists()

    def test_with_a_public_key_it_takes_keys_only_and_each_key_once(self, image, sshd, tmp_path):
        keys = f"{self.KEY}\nnonsense; rm -rf\n{self.KEY.replace('ed25519', 'rsa', 1)}"
        for _ in range(2):
            done = image.run("setup", PUBLIC_KEY=keys)
            assert done.returncode == 0 and "no public key" in done.stderr
        file = tmp_path / "home/.ssh/authorized_keys"
        assert file.read_text().splitlines() == [self.KEY, self.KEY.replace("ed25519", "rsa", 1)]
        assert file.stat().st_mode & 0o777 == 0o600
        assert "PasswordAuthentication=no" in sshd.read_text()

    @pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="no ssh-keygen")
    def test_host_keys_are_made_at_boot(self, image, sshd, tmp_path):
        key = tmp_path / "image/ssh/ssh_host_ed25519_key"
        key.unlink()
        assert image.run("setup", PUBLIC_KEY=self.KEY).returncode == 0
        assert "PRIVATE KEY" in key.read_text()

    def test_an_image_without_sshd_says_so_and_goes_on(self, image):
        done = image.run("setup", PUBLIC_KEY=self.KEY, STOKER_SSHD="/nonexistent/sshd")
        assert done.returncode == 0 and "no sshd" in done.stderr


@pytest.mark.usefixtures("torch")
class TestTrain:
    def test_the_whole_chain_survives_sigkill_and_hands_back_75_on_sigterm(self, image):
        command = ["entrypoint", str(image.bin / "train"), "--steps", "1000000"]
        first = image.start(*command)
        until(lambda: image.last_step() >= 5, first)
        assert image.run("healthcheck").returncode == 0
        first.kill()
        _, errors = first.communicate()
        assert "on no volume" in errors, "a folder of the container's own is lost with it, and it says so"
        dead = image.run("healthcheck")
        assert dead.returncode == 1 and "died after step" in dead.stdout
        last = max(losses(image.run_folder))
        second = image.start(*command)
        until(lambda: image.last_step() > last, second)
        code, errors = stop(second)
        assert code == 75 and "stopped by SIGTERM" in errors and "resuming from step-" in errors
        assert "SIGTERM" in image.run("healthcheck").stdout
        steps = losses(image.run_folder)
        assert sorted(steps) == list(range(1, len(steps) + 1)), "no step is missing"

    def test_wrong_flags_keep_their_exit_code(self, image):
        assert image.run("train", "--set", "model.widht=3").returncode == 2


def _libcuda(folder: Path) -> Path:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler to make a libcuda with")
    code = "int cuDriverGetVersion(int *v) { *v = 12020; return 0; }"
    library = folder / "made.so"
    flags = ["-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run([compiler, *flags], input=code, text=True, check=True)
    return library
