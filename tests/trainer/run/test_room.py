"""Without a GPU a model larger than the machine is refused before it is made: the kernel would kill it unsaid."""

from __future__ import annotations

import pytest

from trainer.config import Config
from trainer.config.presets import preset
from trainer.config.read import apply
from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.run.room import fits_host, host_memory


@pytest.fixture
def host(tmp_path):
    """Makes a host with so many GB of memory, 1 GB of swap, and, where it is told, a container's limit."""

    def make(memory, limit=None):
        told = f"MemTotal: {memory * 10**6} kB\nHugePages_Total: 0\nSwapTotal: 1000000 kB\n"
        (tmp_path / "meminfo").write_text(told)
        if limit:
            (tmp_path / "memory.max").write_text(f"{limit * 10**9}\n")
        return tmp_path / "meminfo", tmp_path

    return make


def config(name, **parallel):
    made = Config()
    apply(made, preset(name).values, name)
    apply(made, {"parallel": parallel}, "test")
    return made


def test_memory_is_that_of_the_host_or_of_its_container(host, tmp_path):
    assert host_memory(*host(24)) == 25 * 1024 * 10**6
    assert host_memory(*host(24, limit=8)) == 8 * 10**9 + 1024 * 10**6
    assert host_memory(tmp_path / "nowhere", tmp_path) is None


def test_what_cannot_fit_is_refused_with_both_numbers(host):
    with pytest.raises(TrainerError, match=r"759,905,280 parameters on 1 rank need about 12 GB") as caught:
        fits_host(config("gpt2-1b-guide"), 1, *host(10))
    assert "memory, 11 GB" in caught.value.what and caught.value.exit_code == OUTSIDE_FAILED
    fits_host(config("gpt2-1b-guide"), 1, *host(14))


def test_ranks_of_one_machine_share_its_memory_and_zero_shards_it(host):
    with pytest.raises(TrainerError, match="on 2 ranks need about 24 GB"):
        fits_host(config("gpt2-1b-guide"), 2, *host(14))
    fits_host(config("gpt2-1b-guide", zero=3), 2, *host(14))
    with pytest.raises(TrainerError, match="need about 14 GB"):  # offloading goes into the same memory
        fits_host(config("gpt2-1b-guide", zero=3, offload="both"), 2, *host(10))
