"""`plan`: will it fit, how fast, how long, how much. Reads the flags, asks fleet.capacity, shows the answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from cli.amounts import number
from cli.plan_flags import Flags
from profiles.errors import OutsideFailed, WrongInput

if TYPE_CHECKING:
    from cli.plan_machines import Machines
    from fleet.capacity.figure import Figure
    from fleet.capacity.finish.goal import Goal
    from fleet.capacity.plan import Plan
    from fleet.capacity.speed.measured import Measured
    from fleet.capacity.workload import Workload
    from profiles.gpus import Gpu
    from profiles.schema import Profile

MODELS = ("preset", "model", "model_size", "depth", "layers", "width", "heads")
LIMITS = ("budget", "max_price", "hours")
PIPE = 100  # columns where nobody says how many there are


def answer(flags: Flags, home: Path, default_profile: str = "") -> None:
    """Prints the plan. home: the state folder; default_profile: where no flag names a model.

    Raises Exit(1) after printing a plan that says no, and WrongInput, CheckFailed, OutsideFailed.
    """
    if flags.plot:
        writable(Path(flags.plot))
    if flags.learn:
        from cli.plan_run import learn

        if learn(flags, home):
            return None
    if flags.run:
        from cli.plan_run import remains

        return remains(flags)
    if not flags.profile and default_profile and not any(getattr(flags, name) for name in MODELS):
        flags = replace(flags, profile=default_profile)
    made, question, notes = planned(flags, home)
    told(made, flags, question, notes)
    if made.chosen.verdict != "fits":
        raise Exit("", 1)
    return None


def planned(flags: Flags, home: Path) -> tuple[Plan, dict[str, Any], list[str]]:
    """The plan, what was asked, and what was assumed."""
    from cli.measured_file import remembered
    from cli.plan_asked import Asked
    from cli.plan_goal import bought_of, goal_of, habits_of, most_hourly, on_machine
    from cli.plan_machines import machines_of, prices_of
    from cli.plan_model import choose_model
    from cli.plan_workload import workload_of
    from fleet.capacity.finish.room import least
    from fleet.capacity.plan import plan
    from trainer.config import Config

    profile = profile_of(flags)
    machines = machines_of(flags, profile)
    found = Asked(Config())
    choose_model(found, flags, profile)
    work = open_precision(workload_of(found, flags, machines.shared), found.said.get("precision.name", ""), profile)
    goal = goal_of(found, flags, work)
    habits = habits_of(found, flags, profile is not None or bool(flags.preset))
    most = most_hourly(flags)
    asked_of = len(found.notes)
    disk = least(work.shape, work.optimizer, habits, goal, work.step_tokens)
    market = prices_of(flags, machines, home, found.notes, disk)
    measured = remembered(home)
    made = plan(
        work,
        goal,
        priced(machines, goal, market.price, found.notes[asked_of:]),
        market.price,
        habits,
        wanted=machines.wanted,
        measured=measured,
        most_hourly=most,
        habits_for=lambda gpu, count: on_machine(habits, market.offer(gpu, count)),
    )
    refuse_impossible(made)
    found.notes += own_runs(made, measured)
    if made.chosen.price is not None and market.offer(made.chosen.gpu.key, made.chosen.gpus) is None:
        found.notes.append("--price is that of the GPUs: storage and traffic count as 0, their prices are not known")
    if most is not None and made.chosen.price is None:
        found.notes.append("--max-price excludes nothing: no price is known")
    if flags.table:
        made = replace(made, table=tuple(table(work, [gpu.key for gpu, _ in machines.others])))
    if flags.claim:
        made = replace(made, advice=(promised(made, flags.claim), *made.advice))
    if made.chosen.bill is not None:
        more = bought_of(found, goal, made.chosen.bill.tokens.value, work.step_tokens)
        made = replace(made, advice=(*more, *made.advice))
    return made, asked(flags), found.notes


def priced(
    machines: Machines, goal: Goal, prices: Callable[[str, int], Figure | None], notes: Sequence[str]
) -> list[tuple[Gpu, int]]:
    """The machines to compare: with a budget, those that have a price. Raises WrongInput when none has.

    notes: what the providers that were asked failed with.
    """
    if goal.kind != "dollars":
        return machines.others
    from fleet.offers.ask import PROVIDERS

    found = [(gpu, count) for gpu, count in machines.others if prices(gpu.key, count) is not None]
    wanted = machines.wanted
    if not found or (wanted and prices(wanted[0].key, wanted[1]) is None):
        asked = tuple(f"{name}:" for name in PROVIDERS)
        why = next((f" ({note})" for note in notes if note.startswith(asked)), "")
        raise WrongInput(f"--budget needs a price, and none is known{why}", "add --price, in USD per GPU-hour")
    return found


def profile_of(flags: Flags) -> Profile | None:
    """Raises WrongInput for an unknown profile, naming the nearest, and for one without a GPU where none is named."""
    if not flags.profile:
        return None
    from profiles.load import load

    profile = load(flags.profile)
    if profile.gpu is None and not flags.gpu:
        raise WrongInput(f"profile {profile.name} has no GPU to plan for", "add --gpu TYPE, or --gpu all")
    return profile


def open_precision(work: Workload, origin: str, profile: Profile | None) -> Workload:
    """A profile's precision is that of its own GPU: where it is what `auto` gives there, other GPUs get their own."""
    if profile is None or profile.gpu is None or not origin.startswith("profile"):
        return work
    from fleet.capacity.precision import resolve
    from profiles.gpus import gpu

    own, _ = resolve("auto", gpu(profile.gpu.type), work.shape)
    return work.with_(precision="auto") if own == work.precision else work


def refuse_impossible(made: Plan) -> None:
    """Raises WrongInput when no machine can even be weighed: the first one's reason, which names what would do."""
    if made.chosen.verdict != "impossible":
        return
    what, _, step = made.chosen.why.rpartition(": ")
    raise WrongInput(what or made.chosen.why, step)


def own_runs(made: Plan, measured: Sequence[Measured]) -> list[str]:
    """Which of the user's own runs correct the speed, and by how much."""
    if made.chosen.settled is None or not measured:
        return []
    from fleet.capacity.speed.measured import calibration

    factor, runs = calibration(made.chosen.settled.setup, measured)
    return [f"tokens/s times {factor:.2f}, as measured by {runs}"] if runs else []


def promised(made: Plan, text: str) -> str:
    """What to think of a rate of the whole machine that somebody states. Raises WrongInput for no number."""
    from cli.amounts import number
    from fleet.capacity.speed.claims import judge

    rate, chosen = number(text, "--claim", 0, 1e12), made.chosen
    if chosen.settled is None:
        return ""
    setup = chosen.settled.setup
    verdict = judge(setup.shape, setup.gpu, setup.precision, rate / chosen.gpus, setup.length)
    return f"{rate:,.0f} tokens/s promised: {verdict.word}; {verdict.why}"


def table(work: Workload, keys: Sequence[str]) -> Sequence[Any]:
    """The largest micro-batches of every GPU type, at every length its positions allow."""
    from fleet.capacity.advice.batches import batches
    from profiles.gpus import gpu

    return batches(work, [gpu(key) for key in dict.fromkeys(keys)])


def told(made: Plan, flags: Flags, question: dict[str, Any], notes: Sequence[str]) -> None:
    """Prints the report or the document, and writes the page."""
    from fleet.capacity.report.document import document

    if flags.plot:
        from fleet.capacity.report.html import html

        write(Path(flags.plot), html(document(made, question, notes)))
        notes = [*notes, f"wrote {flags.plot}"]
    if flags.json:
        from cli import show

        return show.document(document(made, question, notes))
    from rich.console import Console

    from fleet.capacity.report.terminal import show as report

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=PIPE)
    return report(made, console, notes, flags.sources)


def asked(flags: Flags) -> dict[str, Any]:
    """What was typed, by flag; limits as numbers, which the page draws."""
    typed = {name: value for name, value in vars(flags).items() if value and name not in ("json", "plot", "sources")}
    return typed | {name: number(typed[name], f"--{name}") for name in LIMITS if name in typed}


def writable(path: Path) -> None:
    """Raises WrongInput for a page that could not be written: before any work."""
    folder = path.parent
    if not folder.is_dir():
        raise WrongInput(f"--plot {path}: there is no folder {folder}", f"mkdir -p {folder}")
    if path.is_dir():
        raise WrongInput(f"--plot {path} is a folder", f"name a file: --plot {path / 'plan.html'}")
    if path.is_symlink() or (path.exists() and not path.is_file()):  # the page would take the place of /dev/null
        raise WrongInput(f"--plot {path} is a link or a device, no plain file", "name a file: --plot plan.html")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise WrongInput(f"--plot {path} cannot be written", "name a file in a folder of yours")


def write(path: Path, text: str) -> None:
    """The whole page or none. Raises OutsideFailed."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutsideFailed(f"cannot write {path}: {error.strerror}", "make room, or name another file") from None
