#!/bin/sh
# Everything that needs a GPU, in one command, on a bare machine with Python and PyTorch (2.11 or later, or an NGC image):
#
#     tar -c trainer bench/gpu.sh | ssh MACHINE tar -x      # nothing else of the repository is needed
#     sh bench/gpu.sh results.json                          # about 50 minutes on an H100; MINUTES=5 for a short one
#
# 1. 1B parameters, T = 2048: MFU in bf16, then native FP8 on the same data with the same seed, 500 steps each.
# 2. MINUTES of real training on the Python sources of this machine (text that every such machine has), on every GPU,
#    stopped by its time limit, resumed by the same command for 20 steps more, evaluated, sampled.
# Results: one JSON document with hardware, versions and commands.
set -eu
out=${1:-gpu.json}
minutes=${MINUTES:-30}
steps=${STEPS:-500}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/stoker-gpu.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
python=${PYTHON:-python3}

say() { echo "gpu.sh: $*" >&2; }

say "collecting text"
# shellcheck disable=SC2016
"$python" - "$work/text.txt" <<'END'
import pathlib, sys, sysconfig
left = 400_000_000  # bytes
with open(sys.argv[1], "wb") as out:
    for name in ("stdlib", "purelib"):
        for path in sorted(pathlib.Path(sysconfig.get_paths()[name]).rglob("*.py")):
            try:
                content = path.read_text(encoding="utf-8").encode()
            except (OSError, UnicodeDecodeError):
                continue
            out.write(content + b"\n")
            left -= len(content)
            if left < 0:
                sys.exit()
END
"$python" -m trainer data prepare "$work/text.txt" --out "$work/data" --tokenizer bytes --val 0.01 >&2

say "bf16 and FP8, $steps steps each"
"$python" -m trainer bench --gpu --steps "$steps" --data "$work/data" >"$work/bench.json"

say "$minutes minutes of real training"
train() {
    "$python" -m trainer train --run "$work/run" --data "$work/data" --ranks auto --set model.family=llama \
        --set model.layers=16 --set model.width=1024 --set model.heads=16 --set model.context=1024 \
        --set model.vocab=256 --set train.batch=128 --set train.compile=true --set train.deterministic=false \
        --set optim.lr=6e-4 --set optim.min_lr=6e-5 --set optim.warmup=200 --set optim.decay_steps=4000 \
        --set evaluate.every=200 --set checkpoint.every=500 --set metrics.every=50 "$@" >&2
}
code=0
train --steps 1000000 --time-limit $((minutes * 60)) || code=$?
[ "$code" -eq 75 ] || { say "training ended with $code, not 75"; exit 1; }
last=$("$python" -m trainer progress --run "$work/run" --json | "$python" -c 'import json,sys; print(json.load(sys.stdin)["step"])')
train --steps $((last + 20))
"$python" -m trainer eval "$work/run" --json >"$work/eval.json"
"$python" -m trainer progress --run "$work/run" --json >"$work/progress.json"
"$python" -m trainer sample "$work/run" --prompt "def main(" --tokens 120 --temperature 0.7 --seed 1 >"$work/sample.txt"
"$python" -m trainer environment --run "$work" >"$work/environment.json"

"$python" - "$work" "$out" "$minutes" "$steps" <<'END'
import json, pathlib, sys
work, out, minutes, steps = pathlib.Path(sys.argv[1]), *sys.argv[2:]
read = lambda name: json.loads((work / name).read_text())
document = {
    "command": f"MINUTES={minutes} STEPS={steps} sh bench/gpu.sh",
    "environment": read("environment.json"),
    "bench": read("bench.json"),
    "training": {"minutes": float(minutes), "progress": read("progress.json"), "eval": read("eval.json"),
                 "sample": (work / "sample.txt").read_text()},
}
pathlib.Path(out).write_text(json.dumps(document, indent=1) + "\n")
END
say "done: $out"
