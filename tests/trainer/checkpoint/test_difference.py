"""Two checkpoints side by side: by what they say, by files, by every number, whoever wrote them."""

from __future__ import annotations

import math

import pytest

from trainer.checkpoint import difference, manifest, thin, verify
from trainer.errors import TrainerError

pytestmark = pytest.mark.usefixtures("torch")


@pytest.fixture
def made(torch):
    from tests.trainer.checkpoint import made

    return made


def values(torch, **changed):
    usual = {"a": torch.tensor([1.0, 2.0, 4.0]), "b": torch.zeros(2, 2)}
    return {**usual, **changed}


def states(found):
    return {tensor.name: tensor.state for tensor in found.tensors}


def test_four_ranks_ranges_compare_equal_to_one_ranks_whole_tensors(made, tmp_path):
    one, four = made.save(tmp_path / "one", 5), made.save(tmp_path / "four", 5, ranks=4)
    found = difference.compare(one, four, tensors=True)
    assert {tensor.state for tensor in found.tensors} == {difference.EQUAL}
    assert {tensor.kind for tensor in found.tensors} == {"weight", "exp_avg", "step", "buffer"}
    assert found.agrees() and found.files != []


def test_the_same_twice_differs_in_nothing(made, tmp_path):
    one, two = made.save(tmp_path / "one", 5), made.save(tmp_path / "two", 5)
    found = difference.compare(one, two)
    assert (found.facts, found.files, found.tensors) == ([], [], None)


def test_settings_that_differ_have_dotted_names(made, torch, tmp_path):
    one = made.publish_tensors(tmp_path / "1", 5, values(torch), {"config": {"optim": {"lr": 0.1}}, "samples": 7})
    two = made.publish_tensors(tmp_path / "2", 6, values(torch), {"config": {"optim": {"lr": 0.2}}})
    found = difference.compare(one, two / manifest.MANIFEST)
    assert [(fact.name, fact.a, fact.b) for fact in found.facts] == [
        ("config.optim.lr", 0.1, 0.2),
        ("samples", 7, None),
        ("step", 5, 6),
    ]


def test_one_bit_in_one_element_is_found_and_measured(made, torch, tmp_path):
    near = torch.tensor([1.0, 2.0, 4.0])
    near.view(torch.int32)[1] += 1
    one = made.publish_tensors(tmp_path / "1", 5, values(torch), {})
    two = made.publish_tensors(tmp_path / "2", 5, values(torch, a=near), {})
    found = difference.compare(one, two, tensors=True)
    assert states(found) == {"a": difference.DIFFERENT, "b": difference.EQUAL}
    worst = found.tensors[0]
    assert (worst.differing, worst.elements) == (1, 3)
    assert worst.absolute == 2**-22 and worst.relative == 2**-24
    assert not found.agrees() and found.agrees(1e-6) and not found.agrees(1e-8)


def test_minus_zero_is_not_zero_and_a_nan_equals_itself_alone(made, torch, tmp_path):
    nan, zero = torch.tensor([math.nan, 1.0]), torch.tensor([0.0, 1.0])
    one = made.publish_tensors(tmp_path / "1", 5, {"n": nan, "z": zero, "m": nan}, {})
    two = made.publish_tensors(tmp_path / "2", 5, {"n": nan, "z": -1 * zero * torch.tensor([1.0, -1.0]), "m": zero}, {})
    found = {tensor.name: tensor for tensor in difference.compare(one, two, tensors=True).tensors}
    assert found["n"].state == difference.EQUAL
    assert (found["z"].state, found["z"].differing, found["z"].absolute) == (difference.DIFFERENT, 1, 0.0)
    assert found["m"].absolute == math.inf and found["m"].relative == math.inf


def test_tensors_of_one_alone_of_another_shape_or_another_type_are_named(made, torch, tmp_path):
    one = made.publish_tensors(tmp_path / "1", 5, values(torch, c=torch.ones(1)), {})
    other = {"b": torch.zeros(4), "a": torch.tensor([1, 2, 4], dtype=torch.int32), "d": torch.ones(1)}
    two = made.publish_tensors(tmp_path / "2", 5, other, {})
    found = difference.compare(one, two, tensors=True)
    assert states(found) == {
        "a": difference.OTHER_TYPE,
        "b": difference.OTHER_SHAPE,
        "c": difference.ONLY_A,
        "d": difference.ONLY_B,
    }
    assert not found.agrees(1.0)


def test_tensors_longer_than_one_look_are_compared_to_their_end(made, torch, tmp_path, monkeypatch):
    from trainer.checkpoint import tensor_difference

    monkeypatch.setattr(tensor_difference, "ELEMENTS", 4)
    long = torch.arange(11.0)
    changed = long.clone()
    changed[10] = 0.0
    one = made.publish_tensors(tmp_path / "1", 5, {"long": long}, {})
    two = made.publish_tensors(tmp_path / "2", 5, {"long": changed}, {})
    (found,) = difference.compare(one, two, tensors=True).tensors
    assert (found.differing, found.absolute, found.relative) == (1, 10.0, 1.0)


def test_a_damaged_one_is_not_compared(made, tmp_path):
    one, two = made.save(tmp_path / "one", 5), made.save(tmp_path / "two", 5)
    weights = two / "weights-00000-00.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(TrainerError, match=r"weights-00000-00.safetensors has another sha256"):
        difference.compare(one, two, tensors=True)
    (two / manifest.MANIFEST).unlink()
    with pytest.raises(TrainerError, match="no whole checkpoint"):
        difference.compare(one, two)


def test_weights_kept_alone_verify_say_so_and_still_equal_the_whole_ones(made, tmp_path):
    one, two = made.save(tmp_path / "one", 5), made.save(tmp_path / "two", 5)
    before = manifest.read(two)
    dropped = (two / "optimizer-00000-00.safetensors").stat().st_size
    assert thin.thin(two) == dropped
    after = manifest.read(two)
    assert verify.fault(two) is None
    assert not manifest.resumable(after) and after["whole"] == before["sha256"]
    assert not list(two.glob("optimizer-*"))
    found = difference.compare(one, two, tensors=True)
    assert {tensor.state for tensor in found.tensors if tensor.kind in ("weight", "buffer")} == {difference.EQUAL}
    assert {tensor.state for tensor in found.tensors if tensor.kind in ("step", "exp_avg")} == {difference.ONLY_A}
    assert thin.thin(two) == 0 and manifest.read(two) == after


def test_a_kill_between_the_new_manifest_and_the_dropping_is_mended_by_the_next_call(made, tmp_path):
    target = made.save(tmp_path, 5)
    (target / manifest.MANIFEST).write_bytes(manifest.sealed(thin.content(manifest.read(target))))
    assert verify.fault(target) is None
    assert thin.thin(target) > 0
    assert verify.fault(target) is None and not list(target.glob("optimizer-*"))
    assert thin.content(manifest.read(target))["whole"] == manifest.read(target)["whole"]
