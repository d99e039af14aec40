"""The trainer on a CPU, side by side with what it is compared with, in one run.

    .venv/bin/python bench/trainer.py                 # about five minutes; writes bench/results/trainer.json
    .venv/bin/python bench/trainer.py --rounds 1 --steps 10 --text-mb 4 --out /tmp/trainer.json

The rows that need a GPU are `bench/gpu.sh`. The text is this Python's own standard library and packages, the one real
text that every machine with Python has; loopback is not even used.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # bench/trainer.py would hide the package trainer
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import measure
from bench.rows.row import Row

ROOT = Path(__file__).resolve().parent.parent
STEP, LOADER, SEEK_MS, TOKENIZING, HELP_S = 1.03, 20.0, 50.0, 0.8, 0.3


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="processes per figure (default 3)")
    parser.add_argument("--steps", type=int, default=60, help="timed steps per process (default 60)")
    parser.add_argument("--text-mb", type=int, default=60, help="text to tokenize (default 60)")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "trainer.json")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 when a reach was not met."""
    asked = options(argv)
    began = measure.machine()
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as scratch:
        rows = [*stepping(asked), *tokenizing(asked, Path(scratch)), starting(asked)]
    result = {
        "command": " ".join(["bench/trainer.py", *(sys.argv[1:] if argv is None else argv)]),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": began,
        "rows": [row.to_json() for row in rows],
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(f"{'met   ' if row.met else 'MISSED'} {row.what}: {row.shown} against {row.against_shown} ({row.reach})")
    return 0 if all(row.met is not False for row in rows) else 1


def trainer(*arguments: str) -> measure.Sample:
    """One `python -m trainer` of this checkout."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    return measure.measure([sys.executable, "-m", "trainer", *arguments], env=env)


def stepping(asked: argparse.Namespace) -> list[Row]:
    """The step beside a bare loop, and the loader beside that step: `python -m trainer bench`, several processes."""
    found: list[Any] = []
    for _ in range(asked.rounds):
        said = trainer("bench", "--steps", str(asked.steps)).out
        found.append(json.loads(said[said.rindex('{\n "rows"') :])["rows"])
    steps, loaders = [one[0] for one in found], [one[1] for one in found]
    ratio = statistics.median(step["ratio"] for step in steps)
    times = statistics.median(loader["times_the_step"] for loader in loaders)
    seek = statistics.median(loader["seek_ms"] for loader in loaders)
    ours, bare = (statistics.median(step[name] for step in steps) for name in ("trainer_ms", "bare_ms"))
    reading = statistics.median(loader["tokens_per_s"] for loader in loaders)
    return [
        Row(
            f"step of a model of {steps[0]['parameters'] / 1e6:.1f}M parameters",
            "at most 3% more than a bare PyTorch loop",
            ratio <= STEP,
            f"{ours:.1f} ms",
            f"{bare:.1f} ms",
            ratio,
            {"trainer_ms": [s["trainer_ms"] for s in steps], "bare_ms": [s["bare_ms"] for s in steps]},
            ("medians of pairs taken in turn within one process",),
        ),
        Row(
            "loader, reading and cutting windows of 2048 tokens",
            "at least 20 times faster than the fastest step it feeds",
            times >= LOADER,
            f"{reading / 1e6:.0f}M tokens/s",
            f"{reading / times / 1e6:.3f}M tokens/s",
            times,
            {"tokens_per_s": [one["tokens_per_s"] for one in loaders]},
            ("the step is this machine's; an H200 would eat about 1M tokens/s of a 0.1B model",),
        ),
        Row(
            "first batch after a seek to step 10^6",
            "under 50 ms",
            seek < SEEK_MS,
            f"{seek:.1f} ms",
            samples={"seek_ms": [loader["seek_ms"] for loader in loaders]},
        ),
    ]


def tokenizing(asked: argparse.Namespace, scratch: Path) -> list[Row]:
    """`data prepare` beside the tokenizer's own batch function, both on all cores."""
    from trainer.data import prepare_speed

    text = collect(scratch / "text", asked.text_mb * 1_000_000)
    rows = []
    for name, spec in (("tiktoken cl100k_base", "tiktoken:cl100k_base"), ("tokenizer.json", f"hf:{trained(scratch)}")):
        found = prepare_speed.measure([str(text)], spec, rounds=asked.rounds)
        rows.append(
            Row(
                f"tokenizing with {name}",
                "at least 80% of the raw tokenizer's speed on all cores",
                found["share"] >= TOKENIZING,
                f"{found['prepare_mb_per_s']:.1f} MB/s",
                f"{found['raw_mb_per_s']:.1f} MB/s",
                found["share"],
                {"prepare_s": [found["prepare_seconds"]], "raw_s": [found["raw_seconds"]]},
                (f"{found['bytes'] / 1e6:.0f} MB of Python sources, best of {asked.rounds} each, in turn",),
            )
        )
    return rows


def starting(asked: argparse.Namespace) -> Row:
    """`python -m trainer --help`, beside an interpreter that does nothing."""
    ours = [trainer("--help").wall for _ in range(7 * asked.rounds)]
    nothing = [measure.measure([sys.executable, "-c", "pass"]).wall for _ in range(7 * asked.rounds)]
    middle = statistics.median(ours)
    return Row(
        "python -m trainer --help",
        "under 0.3 s",
        middle < HELP_S,
        f"{middle:.3f} s",
        f"{statistics.median(nothing):.3f} s",
        middle / statistics.median(nothing),
        {"help_s": ours, "python_s": nothing},
    )


def collect(folder: Path, size: int) -> Path:
    """Files of Python source, `size` bytes of them, one document each."""
    folder.mkdir()
    left, number = size, 0
    for name in ("stdlib", "purelib"):
        for path in sorted(Path(sysconfig.get_paths()[name]).rglob("*.py")):
            try:
                content = path.read_text(encoding="utf-8").encode()
            except (OSError, UnicodeDecodeError):
                continue
            (folder / f"{number:06d}.txt").write_bytes(content)
            left, number = left - len(content), number + 1
            if left < 0:
                return folder
    return folder


def trained(scratch: Path) -> Path:
    """A byte-level BPE of 8,000 pieces, learned from the same text: a tokenizer.json without a network."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    one = Tokenizer(models.BPE())
    one.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    one.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    teacher = trainers.BpeTrainer(vocab_size=8000, initial_alphabet=alphabet, show_progress=False)
    one.train([str(path) for path in sorted((scratch / "text").iterdir())[:400]], teacher)
    file = scratch / "tokenizer.json"
    one.save(str(file))
    return file


if __name__ == "__main__":
    raise SystemExit(main())
