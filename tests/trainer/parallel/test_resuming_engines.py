"""A checkpoint's pieces: what each rank gives, and that every engine goes on from them. Real ranks over gloo."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("deepspeed")
pytestmark = pytest.mark.slow

ADAMW = {"weight", "exp_avg", "exp_avg_sq", "step"}
STEPS = 11  # of the chain below


def job(engine: str, precision: str = "fp32", act: str = "resume", **more) -> dict:
    """engine: "ddp", or the stage and where it keeps what: "3 both"."""
    stage, _, offload = engine.partition(" ")
    told = {"engine": "ddp"} if engine == "ddp" else {"engine": "deepspeed", "stage": int(stage)}
    told |= {"offload": offload or "none", "precision": precision, "act": act, **more}
    words = [act, engine, precision, more.get("optim", "")]
    return {"name": "-".join(word.replace(" ", "-") for word in words if word), **told}


EVERY = ["ddp", "0", "1", "2", "3", "2 optimizer", "3 both"]
RESUMED = [
    *(job(engine) for engine in EVERY),
    *(job(engine, "bf16") for engine in ["ddp", "1", "2", "3", "1 optimizer", "3 parameters", "3 both"]),
    *(job(engine, "fp16") for engine in ["ddp", "2", "1 optimizer", "3"]),
    job("ddp", real=True, family="llama", optim="muon"),
]


def ids(wanted: dict) -> str:
    return wanted["name"]


@pytest.fixture(scope="module")
def two(jobs):
    return jobs(2, RESUMED)


@pytest.fixture(scope="module")
def alone(jobs):
    return jobs(1, [job("ddp"), job("2", "bf16"), job("3", "bf16")])


@pytest.fixture(scope="module")
def three(jobs):
    return jobs(3, [job("ddp")])


def goes_on(seen: dict, kinds: set[str]) -> None:
    assert seen["resumed"] == [seen["straight"]] * 3
    assert seen["ends"] == [True] * 3
    assert seen["same"]
    assert seen["steps"] == [4, 4]
    assert seen["kinds"] == kinds


@pytest.mark.parametrize("wanted", RESUMED, ids=ids)
def test_a_resumed_run_goes_on_bit_for_bit_and_so_does_one_that_goes_back(wanted, two):
    goes_on(two[wanted["name"]], ADAMW | {"momentum"} if "optim" in wanted else ADAMW)


def test_so_does_a_single_process(alone):
    for seen in alone.values():
        goes_on(seen, ADAMW)


def test_three_ranks_and_more_add_in_the_same_order_after_a_resume(three):
    for seen in three.values():
        goes_on(seen, ADAMW)


@pytest.mark.parametrize("wanted", RESUMED, ids=ids)
def test_without_optimizer_state_in_the_checkpoint_the_optimizer_is_as_fresh_as_a_new_one(wanted, two):
    seen = two[wanted["name"]]["fresh"]
    assert seen["kinds"] == [{"weight"}, {"weight"}]
    assert seen["again"] == seen["straight"]
    assert seen["same"]


@pytest.mark.parametrize("wanted", RESUMED, ids=ids)
def test_pieces_are_views_that_change_in_a_step_and_at_no_other_time(wanted, two):
    seen = two[wanted["name"]]["live"]
    assert seen["odd"] == []
    assert all(seen["before"])
    assert not any(seen["after"])
    assert all(seen["dropped"])
    assert seen["places"][0] == seen["places"][1]


@pytest.mark.parametrize("wanted", RESUMED, ids=ids)
def test_every_rank_gives_about_its_share(wanted, two):
    first, second = two[wanted["name"]]["live"]["elements"]
    whole = first + second
    assert abs(first - second) <= 0.05 * whole  # ZeRO pads groups or parameters to equal lengths


@pytest.mark.parametrize("wanted", RESUMED, ids=ids)
def test_another_model_s_checkpoint_is_refused_before_anything_changes(wanted, two):
    seen = two[wanted["name"]]["foreign"]
    whats = [what for what, _, _ in seen["words"]]
    assert whats[0] == "the checkpoint belongs to another model: 1 names differ, norm.weight first"
    assert whats[1].startswith("the checkpoint belongs to another model: norm.weight has the shape (7,) there and (")
    assert whats[2] == "the checkpoint has other optimizer state for norm.weight: momentum"
    assert {code for _, _, code in seen["words"]} == {4}
    assert seen["same"]


CHAIN = [(4, "ddp"), (2, "3"), (2, "1"), (2, "0"), (2, "ddp"), (2, "2"), (1, "ddp"), (1, "3"), (4, "2"), (4, "ddp")]
SIXTEEN = [(2, "1"), (2, "2 optimizer"), (2, "3 both"), (2, "ddp"), (2, "3"), (2, "1")]
SCALED = [(2, "ddp"), (2, "2"), (2, "3"), (2, "ddp")]


def hops(chain: list[tuple[int, str]], folder, precision: str) -> list[tuple[int, dict]]:
    """The first takes two steps from scratch, the others one each."""
    found = []
    for number, (ranks, engine) in enumerate(chain):
        told = {"steps": [number + 1 if number else 0, number + 2], "target": str(folder / f"{precision}-{number}")}
        if number:
            told["source"] = str(folder / f"{precision}-{number - 1}")
        found.append((ranks, {**job(engine, precision, "hop", **told), "name": f"{precision}-{number}"}))
    return found


@pytest.fixture(scope="module")
def chain(jobs, tmp_path_factory):
    """What every engine of the chains saw, by name; one launch for each stretch with the same number of ranks."""
    folder = tmp_path_factory.mktemp("chain")
    wanted = hops(CHAIN, folder, "fp32")
    others = [told for precision, links in (("bf16", SIXTEEN), ("fp16", SCALED))
              for _, told in hops(links, folder, precision)]  # fmt: skip
    found, launch = {}, []
    for (ranks, told), following in zip(wanted, [*(ranks for ranks, _ in wanted[1:]), None], strict=True):
        launch.append(told)
        if following != ranks:
            more = others if ranks == 2 else []
            whole = [{**job("ddp", "fp32", "hop", steps=[0, STEPS]), "name": "whole"}] if ranks == 1 else []
            found |= jobs(ranks, [*launch, *more, *whole])
            launch = []
    return found


@pytest.mark.parametrize(("precision", "links"), [("fp32", CHAIN), ("bf16", SIXTEEN), ("fp16", SCALED)])
def test_every_engine_takes_up_what_any_other_wrote_to_the_last_bit(precision, links, chain):
    for number in range(1, len(links)):
        seen = chain[f"{precision}-{number}"]
        assert seen["same"], links[number]
        before, after = seen["small"]
        assert before == after
        assert before["step"] == number + 1
        assert (before["scaler"] is None) == (precision != "fp16")


def test_a_run_that_moves_from_engine_to_engine_stays_on_its_course(chain):
    expected = chain["whole"]
    for kind in ("losses", "norms"):
        seen = [value for number in range(len(CHAIN)) for value in chain[f"fp32-{number}"][kind]]
        assert seen == pytest.approx(expected[kind], rel=1e-5)
