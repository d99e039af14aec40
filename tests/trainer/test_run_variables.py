"""The variables that `run` honours: shown, checked, and what they come to."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.trainer.baked import PROGRAMS, PYTHON, SCRIPTS, SOURCED, Image
from trainer.metrics import log

SECRETS = {
    "HF_TOKEN": "hf_hushhushhushhushhush",
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "AWS_ACCESS_KEY_ID": "AKIAHUSHHUSHHUSH",
    "AWS_SECRET_ACCESS_KEY": "hush/hush+hush",
    "AWS_SESSION_TOKEN": "hushhushhush",
}
# of the shell, of the machine, and those that only tests move
NOT_OURS = {
    "HOME",
    "PATH",
    "TMPDIR",
    "PYTHONSAFEPATH",
    "IFS",
    "EOF",
    "RUN",
    "URL",
    "FILE",
    "NAME",
    "STEP",
    "WANDB_NAME",
    "LC_ALL",
    "PR_SET_PDEATHSIG",
}
MOVED = {
    "STOKER_INIT_ENVIRON",
    "STOKER_HOME_DIR",
    "STOKER_STATE_DIR",
    "STOKER_PROFILE_D",
    "STOKER_SSHD",
    "STOKER_SSHD_DIR",
}


@pytest.fixture
def image(tmp_path, environment):
    return Image(tmp_path / "image", environment)


def config(image, *flags: str, **variables: str) -> dict:
    """What the trainer makes of the variables and flags."""
    image.attempts(f'shift 2; {image.real} -m trainer "$@" --show >seen.json')
    done = image.run("run", *flags, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((image.volume / "seen.json").read_text())


class TestHelp:
    def test_it_names_every_variable_of_the_scripts_and_no_other(self, image):
        used = set()
        for name in (*PROGRAMS, *SOURCED):
            code = re.sub(
                r"(?m)^\s*#.*$|<<'EOF'\n(.|\n)*?\nEOF$|cat <<EOF\n(.|\n)*?\nEOF$", "", (SCRIPTS / name).read_text()
            )
            used |= set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", code))
        used -= MOVED | NOT_OURS
        shown = set(re.findall(r"(?m)^  ([A-Z][A-Z0-9_]+) +now ", image.run("run", "--help").stdout))
        read = "".join((SCRIPTS / f"{name}.py").read_text() for name in PYTHON)
        beside = {name for name in shown if f'"{name}"' in read}
        passed_on = {"GOOGLE_APPLICATION_CREDENTIALS", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", *SECRETS}
        assert used <= shown
        assert shown - used - beside <= passed_on, "read by the trainer and its libraries alone"
        of_the_keeper = set(re.findall(r'"(STOKER_[A-Z_]+)"', (SCRIPTS / "keeper.py").read_text()))
        assert of_the_keeper - MOVED <= shown

    def test_it_shows_the_default_and_what_is_set_now(self, image):
        said = image.run("run", "--help", SAVE_EVERY="77", STOKER_GRACE="").stdout
        assert re.search(r"SAVE_EVERY +now 77, default <.*250>", said)
        assert re.search(r"STOKER_GRACE +now 25, default 25", said)

    def test_secrets_are_set_or_not_set(self, image):
        said = image.run("run", "--help", **SECRETS).stdout
        assert not any(value in said for value in SECRETS.values())
        assert all(re.search(rf"{name} +now set,", said) for name in SECRETS)
        assert re.search(r"HF_TOKEN +now not set,", image.run("run", "--help").stdout)

    @pytest.mark.slow
    def test_what_is_secret_in_a_url_is_not_shown(self, image):
        url = {"STOKER_REMOTE": "s3://user:hush@bucket/run", "STOKER_DATA": "https://host/file?X-Amz-Signature=hush"}
        for arguments in (["--help"], ["--dry-run"]):
            done = image.run("run", *arguments, **url)
            assert "hush" not in done.stdout + done.stderr and "***@bucket" in done.stdout

    @pytest.mark.parametrize("script", ["run", "resume"])
    def test_it_says_how_to_leave_it_running(self, image, script):
        assert "setsid" in image.run(script, "--help").stdout


class TestChecks:
    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"SAVE_EVERY": "often"}, "SAVE_EVERY is 'often'"),
            ({"SAVE_EVERY": "0"}, "from 1 up"),
            ({"NPROC_PER_NODE": "2.5"}, "a whole number"),
            ({"TRAINING_HOURS": "-3"}, "TRAINING_HOURS is '-3'"),
            ({"STOKER_GRACE": "1\n2"}, "STOKER_GRACE"),
            ({"STOKER_RESTARTS": "many"}, "STOKER_RESTARTS"),
            ({"STOKER_DOLLARS": "5"}, "STOKER_PRICE"),
            ({"RUN_SFT": "perhaps"}, "RUN_SFT is 'perhaps'"),
            ({"RUN_SFT": "1"}, "STOKER_SFT_DATA names no file"),
            ({"MODEL_TAG": "../up"}, "MODEL_TAG"),
            ({"MODEL_TAG": "a b"}, "MODEL_TAG"),
            ({"HF_REPO_ID": "nobody"}, "USER/NAME"),
            ({"HF_REPO_TYPE": "space"}, "model or dataset"),
            ({"HF_PRIVATE": "maybe"}, "HF_PRIVATE"),
            ({"STOKER_REMOTE": "/some/folder"}, "hf:// gs://"),
            ({"STOKER_LAUNCHER": "mpirun"}, "own or torchrun"),
            ({"STOKER_DATA": 'a"b'}, "plain path"),
            ({"STOKER_DATA": "a\nb"}, "plain path"),
            ({"HF_REPO_ID": "me/ckpt\nx"}, "USER/NAME"),
            ({"NPROC_PER_NODE": "99999999999999999999"}, "NPROC_PER_NODE"),
            ({"STOKER_PRICE": "1.2.3"}, "STOKER_PRICE"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    def test_a_wrong_value_is_one_line_and_nothing_begins(self, image, variables, words):
        image.attempts()
        done = image.run("run", **variables)
        assert done.returncode == 2 and words in done.stderr and done.stdout == ""
        lines = done.stderr.splitlines()
        assert lines[0].startswith("run: ") and lines[-1].startswith("  -> ")
        assert image.told() == [] and list(image.volume.iterdir()) == []

    def test_a_wrong_flag_of_the_trainer_is_found_before_anything_begins(self, image):
        image.attempts()
        done = image.run("run", "--set", "model.widht=3")
        assert done.returncode == 2 and "did you mean width" in done.stderr
        assert image.told() == [] and list(image.volume.iterdir()) == []


class TestMeaning:
    def test_a_dry_run_touches_nothing(self, image):
        done = image.run("run", "--dry-run", "--steps", "9", STOKER_REMOTE="file:///mnt/store")
        assert done.returncode == 0 and list(image.volume.iterdir()) == [] and not image.state.exists()
        assert "trainer pull file:///mnt/store" in done.stdout and "--steps 9" in done.stdout
        assert "trainer sync" in done.stdout and str(image.run_folder) in done.stdout

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("variables", "place"),
        [
            ({}, "{volume}/runs/cpu"),
            ({"MODEL_TAG": "d24-prod"}, "{volume}/runs/d24-prod"),
            ({"NANOCHAT_BASE_DIR": "/mnt/hv/nanochat"}, "/mnt/hv/nanochat/base_checkpoints/cpu"),
            ({"NANOCHAT_BASE_DIR": "/mnt/x", "MODEL_TAG": "d26"}, "/mnt/x/base_checkpoints/d26"),
            ({"NANOCHAT_BASE_DIR": "/mnt/x", "STOKER_RUN_DIR": "/mnt/y"}, "/mnt/y"),
        ],
    )
    def test_where_the_run_lies(self, image, variables, place):
        done = image.run("run", "--dry-run", **variables)
        assert f"run folder   {place.format(volume=image.volume)}\n" in done.stdout

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("variables", "url"),
        [
            ({}, "none"),
            ({"HF_REPO_ID": "me/ckpt"}, "hf://me/ckpt/cpu"),
            ({"HF_REPO_ID": "me/ckpt", "MODEL_TAG": "d26", "HF_REPO_TYPE": "dataset"}, "hf://datasets/me/ckpt/d26"),
            ({"HF_REPO_ID": "me/ckpt", "STOKER_REMOTE": "s3://bucket/it"}, "s3://bucket/it"),
        ],
    )
    def test_where_checkpoints_are_kept(self, image, variables, url):
        assert f"remote       {url}\n" in image.run("run", "--dry-run", **variables).stdout

    @pytest.mark.slow
    def test_the_hub_is_looked_at_every_twenty_minutes_unless_told_otherwise(self, image):
        said = image.run("run", "--dry-run", HF_REPO_ID="me/ckpt").stdout
        assert "--sync-every 1200" in said
        assert "--sync-every 60\n" in image.run("run", "--dry-run", HF_REPO_ID="me/ckpt", HF_SYNC_INTERVAL="60").stdout
        assert "--sync-every" not in image.run("run", "--dry-run", STOKER_REMOTE="file:///x").stdout

    @pytest.mark.slow
    def test_checkpoints_come_every_250_steps_where_nothing_else_says_so(self, image):
        from tests.trainer.baked import TRAINER

        assert config(image)["config"]["checkpoint"]["every"] == 2, "the profile's own"
        image.profile(trainer={name: TRAINER[name] for name in ("model", "train")})
        assert config(image)["config"]["checkpoint"]["every"] == 250
        assert config(image, SAVE_EVERY="40")["config"]["checkpoint"]["every"] == 40
        assert config(image, "--save-every", "7", SAVE_EVERY="40")["config"]["checkpoint"]["every"] == 7

    @pytest.mark.slow
    def test_limits_data_and_ranks_reach_the_trainer(self, image):
        path = str(image.volume / "it's data")
        variables = {"STOKER_DOLLARS": "20", "STOKER_PRICE": "2.49", "STOKER_DATA": path, "NPROC_PER_NODE": "2"}
        got = config(image, **variables)["config"]
        assert (got["limits"]["dollars"], got["limits"]["price"], got["data"]["path"]) == (20, 2.49, path)
        assert "--ranks 2" in image.told()[0]

    @pytest.mark.slow
    def test_a_preset_by_its_name(self, image):
        assert "--preset tiny" in image.run("run", "--dry-run", STOKER_PRESET="tiny").stdout
        assert image.run("run", "--dry-run", STOKER_PRESET="tinny").returncode == 2

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("variables", "mode"),
        [
            ({}, "off"),
            ({"WANDB_RUN": "dummy"}, "off"),
            ({"WANDB_RUN": "mine"}, "offline"),
            ({"WANDB_RUN": "mine", "WANDB_API_KEY": SECRETS["WANDB_API_KEY"]}, "online"),
        ],
    )
    def test_weights_and_biases(self, image, variables, mode):
        pytest.importorskip("wandb")
        assert config(image, **variables)["config"]["metrics"]["wandb"] == mode

    @pytest.mark.slow
    def test_a_missing_wandb_stops_no_run(self, image):
        image.attempts("exit 0")
        (image.root / "stand-in" / "wandb.py").write_text("")
        code = 'case "$*" in *find_spec*) exit 1 ;; esac\n'
        file = image.root / "stand-in" / "python3"
        file.write_text(file.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{code}"))
        done = image.run("run", WANDB_RUN="mine")
        assert done.returncode == 0 and "wandb is not installed here: off" in done.stderr


@pytest.mark.slow
class TestHours:
    def seconds(self, image) -> list[float]:
        return [float(line.split("--time-limit ")[1].split()[0]) for line in image.told()]

    def spend(self, image, seconds: float, attempt: int = 1) -> str:
        line = {"event": "step", "attempt": attempt, "time": time.time(), "up": seconds, "step": 1, "loss": 1.0}
        return f"mkdir -p runs/cpu; echo '{json.dumps(line)}' >>runs/cpu/{log.TRAINING}"

    def test_hours_are_of_the_whole_run_and_what_is_left_goes_to_the_next_attempt(self, image):
        image.attempts(f"{self.spend(image, 600)}; exit 3", f"{self.spend(image, 900, 2)}; exit 3", "exit 0")
        assert image.run("run", TRAINING_HOURS="1", STOKER_BACKOFF="0").returncode == 0
        assert self.seconds(image) == pytest.approx([3600, 3000, 2100])

    def test_a_run_whose_hours_are_used_up_trains_no_more(self, image):
        image.attempts(f"{self.spend(image, 3601)}; exit 3")
        done = image.run("run", TRAINING_HOURS="1", STOKER_BACKOFF="0")
        assert done.returncode == 75 and "the time is used up" in done.stdout and len(image.told()) == 1
        assert image.run("run", TRAINING_HOURS="1").returncode == 75, "the same on the next machine"
        assert image.run("run", TRAINING_HOURS="2").returncode == 0 and self.seconds(image)[-1] == pytest.approx(3599)

    def test_the_trainers_own_limit_counts_over_the_restarts_of_one_call(self, image):
        image.attempts("sleep 1.1; exit 3", "exit 0")
        assert image.run("run", "--time-limit", "100", STOKER_BACKOFF="0").returncode == 0
        first, second = (line.rsplit("--time-limit ", 1)[1] for line in image.told())
        assert float(first) <= 100 and float(second) <= float(first) - 1


@pytest.mark.slow
class TestWhereItIsStarted:
    def test_a_login_shell_gets_what_the_container_was_started_with(self, image, tmp_path):
        (tmp_path / "environ").write_bytes(b"SAVE_EVERY=33\0HF_TOKEN=hf_hush\0MODEL_TAG=of-the-container\0OTHER=no\0")
        image.attempts("echo HF_TOKEN is $HF_TOKEN, OTHER is ${OTHER:-none} >seen")
        variables = {"STOKER_INIT_ENVIRON": str(tmp_path / "environ"), "MODEL_TAG": "typed-here"}
        done = image.run("run", **variables)
        assert (image.volume / "seen").read_text() == "HF_TOKEN is hf_hush, OTHER is none\n"
        assert "runs/typed-here" in done.stdout, "what is typed rules"

    def test_a_folder_typed_here_rules_over_the_containers(self, image, tmp_path):
        (tmp_path / "environ").write_bytes(f"STOKER_RUN_DIR={tmp_path}/theirs\0".encode())
        image.attempts("exit 0")
        variables = {"STOKER_INIT_ENVIRON": str(tmp_path / "environ")}
        assert f"{tmp_path}/theirs" in image.run("run", **variables).stdout
        assert f"{tmp_path}/mine" in image.run("run", **variables, STOKER_RUN_DIR=f"{tmp_path}/mine").stdout

    def test_the_healthcheck_looks_where_the_run_is(self, image):
        folder = image.volume / "base" / "base_checkpoints" / "d26"
        folder.mkdir(parents=True)
        (folder / "trainer.lock").write_text("1\n")
        variables = {"NANOCHAT_BASE_DIR": str(image.volume / "base"), "MODEL_TAG": "d26"}
        dead = image.run("healthcheck", **variables)
        assert dead.returncode == 1 and "died" in dead.stdout
        assert image.run("healthcheck").returncode == 0

    def test_login_shells_are_told_where_it_is(self, image):
        image.run("setup", NANOCHAT_BASE_DIR="/mnt/x", MODEL_TAG="d26")
        assert "export STOKER_RUN_DIR=/mnt/x/base_checkpoints/d26" in (image.state / "env.sh").read_text()


@pytest.mark.slow
class TestSecrets:
    def test_they_reach_the_trainer_and_nothing_that_is_written(self, image):
        image.attempts('test "$HF_TOKEN" = hf_hushhushhushhushhush && echo got it')
        done = image.run("run", **SECRETS, STOKER_REMOTE="s3://u:hush@bucket/run")
        assert "got it" in done.stdout
        written = [
            path.read_text(errors="replace")
            for path in image.root.rglob("*")
            if path.is_file() and "stand-in" not in str(path)
        ]
        texts = [done.stdout, done.stderr, *written]
        assert not any(value in text for value in [*SECRETS.values(), "u:hush"] for text in texts)

    def test_the_report_has_names_and_no_values(self, image):
        done = image.run("env-report", **SECRETS, MY_OWN="hush-hush")
        assert done.returncode == 0 and not any(value in done.stdout for value in [*SECRETS.values(), "hush-hush"])
        report = json.loads(done.stdout)
        assert {"HF_TOKEN", "MY_OWN"} <= set(report["variables"])


@pytest.mark.slow
def test_the_report_says_where_this_is(image):
    report = json.loads(image.run("env-report", MODEL_TAG="d26").stdout)
    assert report["image"]["profile"] == "cpu" and report["image"]["version"] == "0.1.0"
    assert report["run"]["folder"] == str(image.volume / "runs" / "d26")
    assert {"driver", "limits", "libraries", "torch"} <= set(report)
    assert any(mount["path"] == "/" for mount in report["mounts"])
    assert not any("options" in mount for mount in report["mounts"])


def test_a_report_takes_no_arguments(image):
    done = image.run("env-report", "--jsn")
    assert done.returncode == 2 and "takes no arguments" in done.stderr and done.stdout == ""


def test_a_step_to_go_back_to_that_is_none_is_told_by_its_flag(image):
    done = image.run("resume", "--from-step", "x")
    assert done.returncode == 2 and "--resume-from-step is 'x'" in done.stderr
