"""Where there is no engine, a run is a plain process: known before it begins, found again, ended whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.clock import WallClock
from fleet.providers.local.client import Local
from fleet.providers.outcomes import Because, NotCreated, Unable, Unclear
from fleet.providers.values import State
from profiles.errors import WrongInput
from tests.conftest import ROOT
from tests.fleet.providers.local.small_image import RUN, TAG, built, order, scripts

SECRET = "hf_HUSHHUSHHUSH"
SECONDS = 180.0  # a bound for what waits, not a measure
LAUNCHES = """\
import os, sys; from pathlib import Path
from fleet.clock import WallClock
from fleet.providers.local.client import Local
from tests.fleet.providers.local.small_image import order
print("now", flush=True)
Local("", Path(sys.argv[1]), WallClock(), dict(os.environ)).launch(order(sys.argv[2], sys.argv[3]))"""


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def state(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def image(state) -> str:
    return built(state)


@pytest.fixture
def local(state) -> Iterator[Callable[..., Local]]:
    """A client as another command would open it."""

    def opened(**environ: str) -> Local:
        passed = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return Local("", state, WallClock(), {**passed, "STOKER_LOCAL": "processes", **environ})

    yield opened
    for one in opened().instances():
        opened().terminate(one.id)


def place(state: Path) -> Path:
    return state / "local" / "volumes" / "stoker-night" / "runs" / "night"


def began(state: Path) -> bool:
    return (place(state) / "story").exists()


def test_a_run_begins_with_what_the_container_would_have(local, image, state):
    one = local().launch(order(image, env={"SAVE_EVERY": "7"}, command=("/opt/stoker/bin/run", "--steps", "9")))
    assert (one.id, one.tag, one.state, one.gpu, one.usd_hour) == (TAG, TAG, State.RUNNING, "cpu", 0)
    assert one.env == {"STOKER_RUN": "night", "STOKER_TAG": TAG, "STOKER_REMOTE": ""}
    until(lambda: began(state))
    assert list(local().logs(TAG)) == [f"run of night as {TAG} --steps 9"]


def test_it_is_found_again_by_whoever_asks_next(local, image, state):
    local().launch(order(image))
    assert [(one.id, one.state) for one in local().instances()] == [(TAG, State.RUNNING)]
    assert local().instance(TAG).state is State.RUNNING and local().instance("stk-test-other") is None


def test_it_outlives_the_one_who_launched_it(local, image, state):
    code = f"{LAUNCHES}; os.kill(os.getpid(), 9)"
    environ = {**os.environ, "STOKER_LOCAL": "processes", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, str(state), image, TAG], env=environ, check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    until(lambda: began(state))
    assert local().instance(TAG).state is State.RUNNING


def test_its_end_is_known_with_its_code(local, image, state):
    local().launch(order(image))
    until(lambda: began(state))
    for code, expected in (("75", State.STOPPED), ("3", State.FAILED)):
        (place(state) / "end").write_text(code)
        until(lambda: local().instance(TAG).state is not State.RUNNING)
        until(lambda: "exit code" in local().instance(TAG).words)
        found = local().instance(TAG)
        assert (found.state, found.words, found.usd_hour) == (expected, f"exit code {code}", 0)
        (place(state) / "end").unlink()
        local().start(TAG)
        until(lambda: local().instance(TAG).state is State.RUNNING)


def test_stopped_it_saves_and_goes_on_with_the_same_folder(local, image, state):
    local().launch(order(image))
    until(lambda: began(state))
    local().stop(TAG)
    assert (place(state) / "story").read_text() == "began\nsaved\n"
    assert local().instance(TAG).words == "exit code 75"
    local().start(TAG)
    until(lambda: (place(state) / "story").read_text() == "began\nsaved\nbegan\n")
    assert local().instance(TAG).state is State.RUNNING


def test_terminated_it_is_gone_and_its_checkpoints_stay(local, image, state):
    local().launch(order(image))
    until(lambda: began(state))
    local().terminate(TAG)
    assert local().instances() == [] and local().instance(TAG) is None
    assert (place(state) / "story").read_text() == "began\nsaved\n"
    local().terminate(TAG)
    assert [volume.name for volume in local().volumes()] == ["stoker-night"]
    local().launch(order(image, tag=f"{TAG}-b2"))
    until(lambda: (place(state) / "story").read_text() == "began\nsaved\nbegan\n")


def test_what_a_killed_run_left_behind_is_ended_too(local, state):
    leaves = RUN.replace("trap ", "setsid sleep 600 &\nsetsid sleep 601 &\ntrap ").replace("echo saved", ": saved")
    local().launch(order(built(state, scripts(leaves))))
    until(lambda: began(state))
    process = json.loads((state / "local" / "processes" / TAG / "process.json").read_text())["pid"]
    os.kill(process, signal.SIGKILL)
    until(lambda: local().instance(TAG).state is not State.RUNNING)
    local().terminate(TAG)
    mark = f"STOKER_TAG={TAG}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            assert mark not in path.read_bytes().split(b"\0") or str(state).encode() not in path.read_bytes()
        except OSError:
            continue


def test_one_tag_is_one_process(local, image):
    local().launch(order(image))
    with pytest.raises(Unclear, match="sent before"):
        local().launch(order(image))
    assert len(local().instances()) == 1


def test_a_process_of_the_same_number_is_another_one(local, image, state):
    local().launch(order(image))
    file = state / "local" / "processes" / TAG / "process.json"
    known = json.loads(file.read_text())
    for changed in ({"start": "1"}, {"boot": "another"}):
        file.write_text(json.dumps({**known, **changed}))
        found = local().instance(TAG)
        assert found.state is State.FAILED and "without a word" in found.words
    file.write_text(json.dumps(known))


def test_half_an_order_starts_nothing(local, image, state):
    """The launcher died while it wrote: begin.py gets an end instead of an order."""
    from fleet.providers.local import begin

    folder = state / "half"
    folder.mkdir(parents=True)
    for words in (b"", b'{"command": ["touch", "ran"], "env": {}, "cw'):
        done = subprocess.run(
            [sys.executable, begin.__file__, str(folder)], input=words, capture_output=True, check=False, cwd=folder
        )
        assert done.returncode != 0
    assert list(folder.iterdir()) == []


def test_what_was_terminated_does_not_begin_after_all(local, image, state):
    """The launcher died between the start of begin.py and its word, and somebody has ended the tag since."""
    from fleet.providers.local import begin

    folder = state / "ended"
    folder.mkdir(parents=True)
    (folder / "ended").touch()
    words = json.dumps({"command": ["touch", str(folder / "ran")], "env": {}, "cwd": "/"}).encode()
    done = subprocess.run([sys.executable, begin.__file__, str(folder)], input=words, check=False)
    assert done.returncode == 0 and not (folder / "ran").exists() and not (folder / "process.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.15, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6])
def test_a_launcher_killed_at_any_moment_leaves_no_unknown_process(local, image, state, after):
    code = LAUNCHES
    environ = {**os.environ, "STOKER_LOCAL": "processes", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(state), image, TAG]
    launcher = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    launcher.stdout.readline()
    time.sleep(after)
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    time.sleep(0.5)  # what is on its way arrives
    known = {one.id for one in local().instances()}
    running = [path for path in Path("/proc").glob("[0-9]*/environ") if ours(path, state)]
    assert not running or known == {TAG}
    for one in known:
        local().terminate(one)
    assert [path for path in Path("/proc").glob("[0-9]*/environ") if ours(path, state)] == []


def ours(path: Path, state: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return f"STOKER_TAG={TAG}".encode() in content and str(state).encode() in content


def test_secrets_are_in_the_process_and_nowhere_else(local, image, state):
    local().launch(order(image, secrets={"HF_TOKEN": SECRET}))
    until(lambda: began(state))
    pid = json.loads((state / "local" / "processes" / TAG / "process.json").read_text())["pid"]
    assert f"HF_TOKEN={SECRET}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    for path in state.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert SECRET.encode() not in path.read_bytes()
        except OSError:
            continue
    shown = local().shown(
        order(image, secrets={"HF_TOKEN": SECRET}).container, order(image, secrets={"HF_TOKEN": SECRET})
    )
    assert SECRET not in str(shown) and shown[0].body["env"]["HF_TOKEN"] == "***"


def test_started_again_it_needs_its_secrets_from_the_environment(local, image, state):
    local().launch(order(image, secrets={"HF_TOKEN": SECRET}))
    until(lambda: began(state))
    local().stop(TAG)
    with pytest.raises(WrongInput, match="HF_TOKEN"):
        local().start(TAG)
    local(HF_TOKEN=SECRET).start(TAG)
    until(lambda: local().instance(TAG).state is State.RUNNING)


def test_it_does_not_take_this_machine_for_its_own(local, image, state):
    """In a rented machine our own variables would let the keeper end it; and no ssh key is let in here."""
    rented = {"RUNPOD_POD_ID": "mine", "RUNPOD_API_KEY": "rpa_mine", "STOKER_CLOCK": "x"}
    local(**rented).launch(order(image, env={"PUBLIC_KEY": "ssh-ed25519 AAAA"}))
    until(lambda: began(state))
    pid = json.loads((state / "local" / "processes" / TAG / "process.json").read_text())["pid"]
    environ = Path(f"/proc/{pid}/environ").read_bytes().decode()
    assert "STOKER_PROVIDER=local" in environ and "STOKER_INIT_ENVIRON=/nonexistent" in environ
    assert not any(name in environ for name in ("RUNPOD", "rpa_", "PUBLIC_KEY", "STOKER_CLOCK"))


def test_an_image_that_was_not_built_here_is_refused_before_anything(local, state):
    missing = f"registry.invalid/me/small@sha256:{'0' * 64}"
    with pytest.raises(NotCreated, match=r"not in \.stoker") as caught:
        local().launch(order(missing))
    assert caught.value.because is Because.INVALID and local().instances() == []


def test_a_damaged_layer_is_refused_and_leaves_nothing(local, image, state):
    from images.store import Store

    manifest = Store(state).layout.manifest(image.partition("@")[2])
    blob = Store(state).layout.blob_path(manifest.layers[1].digest)
    blob.write_bytes(blob.read_bytes()[:-20] + bytes(20))
    with pytest.raises(NotCreated, match="cannot unpack"):
        local().launch(order(image))
    assert local().instances() == [] and list((state / "local" / "images").iterdir()) == []


def test_a_file_that_would_leave_the_folder_is_passed_over(local, state, tmp_path):
    evil = {**scripts(), "opt/stoker/bin/../../../../../evil": ("x", 0o644), "etc/cron.d/evil": ("x", 0o644)}
    local().launch(order(built(state, evil)))
    until(lambda: began(state))
    found = [str(path) for path in (state / "local" / "images").rglob("*") if "evil" in path.name]
    assert found == [] and not (tmp_path / "evil").exists()


def test_logs_follow_to_the_end(local, image, state):
    local().launch(order(image))
    lines = local().logs(TAG, follow=True)
    assert next(lines).startswith("run of night")
    until(lambda: began(state))
    (place(state) / "end").write_text("0")
    assert list(lines) == []


def test_what_it_cannot_do_says_what_to_do_instead(local):
    for call in (local().balance, lambda: local().ensure_template(None), lambda: local().ensure_registry(None)):
        with pytest.raises(Unable) as caught:
            call()
        assert caught.value.next_step
    assert local().ssh(TAG) is None and local().registries() == [] and list(local().keys()) == []


@pytest.mark.parametrize("id", ["../../etc", "", "a/b", "x" * 80])
def test_what_can_be_no_id_is_no_machine(local, id):
    assert local().instance(id) is None


def test_a_setting_that_is_none_is_refused(local):
    with pytest.raises(WrongInput, match="STOKER_LOCAL"):
        local(STOKER_LOCAL="podman")


@pytest.mark.slow
def test_the_real_scripts_and_trainer_train_and_resume(local, state, torch_here):
    """Everything as baked: entrypoint, set-up, keeper, run, trainer; lost to SIGKILL and gone on with elsewhere."""
    from tests.trainer.baked import PROGRAMS, PYTHON, SCRIPTS, SOURCED, TRAINER, rendered_entrypoint

    home = "opt/stoker"
    files: dict[str, tuple[str | bytes, int]] = {f"{home}/bin/entrypoint": (rendered_entrypoint([]), 0o755)}
    files |= {f"{home}/bin/{name}": ((SCRIPTS / name).read_text(), 0o755) for name in (*PROGRAMS, *SOURCED)}
    files |= {f"{home}/bin/{name}": ((SCRIPTS / f"{name}.py").read_text(), 0o755) for name in PYTHON}
    profile = {"profile": "cpu", "version": "0.1.0", "gpu": None, "precision": "fp32", "driver_floor": None}
    files[f"{home}/profile.json"] = (json.dumps({**profile, "volume": "/workspace", "trainer": TRAINER}), 0o644)
    trainer = {
        f"{home}/app/{path.relative_to(ROOT)}": (path.read_bytes(), 0o644)
        for path in (ROOT / "trainer").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    (state.parent / "store").mkdir()
    env = {"STOKER_REMOTE": f"file://{state.parent}/store/night", "STOKER_END_INSTANCE": "1", "STOKER_BACKOFF": "0"}
    image = built(state, files, trainer=trainer)
    endless = ("/opt/stoker/bin/run", "--steps", "1000000", "--set", "checkpoint.every=20")
    local().launch(order(image, command=endless, env=env))
    checkpoints = place(state) / "checkpoints"
    until(lambda: list(checkpoints.glob("step-*/manifest.json")) or local().instance(TAG).state is not State.RUNNING)
    assert list(checkpoints.glob("step-*/manifest.json")), "\n".join(local().logs(TAG))
    local().terminate(TAG)
    newest = max(int(path.name[5:]) for path in checkpoints.glob("step-*"))
    done = ("/opt/stoker/bin/run", "--steps", str(newest + 10))
    local().launch(order(image, tag=f"{TAG}-b2", command=done, env=env))
    until(lambda: local().instance(f"{TAG}-b2").state is not State.RUNNING)
    until(lambda: "exit code" in local().instance(f"{TAG}-b2").words)
    said = "\n".join(local().logs(f"{TAG}-b2", 1000))
    assert local().instance(f"{TAG}-b2").words == "exit code 0", said
    assert f"resuming from step-{newest:08d}" in said


@pytest.fixture
def torch_here() -> None:
    if os.environ.get("CI") != "true":
        pytest.importorskip("torch")


def test_a_folder_is_a_volume_that_holds_the_run_and_stays(local, image, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    volume = local().named_volume(str(folder))
    assert volume.id == str(folder) and volume.gb >= 0 and volume.usd_month == 0
    assert local().named_volume(str(tmp_path / "none")) is None and local().named_volume("kept") is None
    local().launch(order(image, volume=volume.id))
    until(lambda: (folder / "runs" / "night" / "story").exists())
    local().terminate(TAG)
    assert (folder / "runs" / "night" / "story").read_text() == "began\nsaved\n"
