"""The environment report comes without torch, without a GPU, and without secrets."""

from __future__ import annotations

import json
import subprocess
import sys

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from trainer.__main__ import main; sys.exit(main({!r}))"


def report(environment, tmp_path, **variables):
    code = WITHOUT_TORCH.format(["environment", "--run", str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_it_comes_without_torch(environment, tmp_path):
    found = json.loads(report(environment, tmp_path, STOKER_LIBCUDA="/nonexistent", CUDA_VERSION="12.9.1"))
    assert found["torch"] is None and found["libraries"]["torch"] is None
    assert found["python"].count(".") == 2 and found["limits"]["disk"]["free_bytes"] > 0
    assert found["driver"]["cuda"] is None and "libcuda" in found["driver"]["problem"]
    assert found["container"]["cuda_version"] == "12.9.1"


def test_it_tells_no_secrets(environment, tmp_path):
    assert "hush-hush" not in report(environment, tmp_path, HF_TOKEN="hush-hush", CUDA_API_KEY="hush-hush")


def test_training_without_torch_says_what_is_missing(environment, tmp_path):
    code = WITHOUT_TORCH.format(["train", "--run", str(tmp_path / "run")])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "torch is not installed here" in done.stderr and "Traceback" not in done.stderr


def test_with_torch_it_tells_torchs_own_versions(torch, trainer, tmp_path):
    found = json.loads(trainer("environment", "--run", str(tmp_path)).stdout)
    assert found["torch"]["version"] == torch.__version__
    assert len(found["torch"]["gpus"]) == (torch.cuda.device_count() if torch.cuda.is_available() else 0)


def test_imports_names_a_library_that_does_not_load(environment, tmp_path):
    (tmp_path / "flash_attn.py").write_text("raise ImportError('undefined symbol: _ZN3c104')")
    code = WITHOUT_TORCH.format(["environment", "--imports", "--run", str(tmp_path)])
    variables = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["libraries"]["flash_attn"]
    assert found["version"] is None and "undefined symbol" in found["imports"]
