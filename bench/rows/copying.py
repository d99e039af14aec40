"""The first copy of the base into another registry, against skopeo; and a copy that is killed half way."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from bench import registry, synthetic_base
from bench.counting_proxy import CountingProxy
from bench.measure import MB, Sample, measure
from bench.rows.row import Row, megabytes, seconds
from bench.setting import Setting
from images.registry.upload import CHUNK

CONNECTIONS = 4  # images.registry.copy.copy_image's default
SOURCE = f"{synthetic_base.NAME}:{synthetic_base.TAG}"


def copy(setting: Setting) -> list[Row]:
    """Ours and skopeo's in turns, each into an empty registry of its own."""
    ours: list[Sample] = []
    theirs: list[Sample] = []
    for number in range(setting.runs):
        for mine in (True, False) if number % 2 == 0 else (False, True):
            if not mine and setting.skopeo is None:
                continue
            with registry.running(setting.folder / "second") as address:
                synthetic_base.settle()
                if mine:
                    ours.append(setting.keep("copy", by_us(setting, address)))
                else:
                    theirs.append(by_skopeo(setting, address))
    return [copy_row(ours, theirs)]


def copy_row(ours: list[Sample], theirs: list[Sample]) -> Row:
    wall, cpu = median(one.wall for one in ours), median(one.cpu for one in ours)
    shown = f"{seconds(wall)}, {seconds(cpu)} CPU, {megabytes(max(one.max_rss for one in ours))}"
    samples = {"wall": [one.wall for one in ours], "cpu": [one.cpu for one in ours]}
    reach = ">= 1.3x as fast as skopeo copy, at half its CPU time"
    if not theirs:
        return Row("first copy of the base", reach, None, shown, samples=samples)
    other, other_cpu = median(one.wall for one in theirs), median(one.cpu for one in theirs)
    return Row(
        what="first copy of the base between two registries",
        reach=reach,
        met=other / wall >= 1.3 and cpu <= other_cpu / 2,
        shown=shown,
        against_shown=f"{seconds(other)}, {seconds(other_cpu)} CPU, {megabytes(max(one.max_rss for one in theirs))}",
        ratio=other / wall,
        samples={
            **samples,
            "skopeo_wall": [one.wall for one in theirs],
            "skopeo_cpu": [one.cpu for one in theirs],
            "skopeo_max_rss": [float(one.max_rss) for one in theirs],
        },
        notes=[f"CPU time: {cpu / other_cpu:.2f} of skopeo's", "both copy the index and all it lists (skopeo: --all)"],
    )


def by_us(setting: Setting, address: str) -> Sample:
    return setting.checkout.inv("copy", f"{setting.registry}/{SOURCE}", f"{address}/{SOURCE}", "--yes", "--json")


def by_skopeo(setting: Setting, address: str) -> Sample:
    line = [str(setting.skopeo), "copy", "--all", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]
    return measure([*line, f"docker://{setting.registry}/{SOURCE}", f"docker://{address}/{SOURCE}"])


def killed(setting: Setting) -> list[Row]:
    """SIGKILL when half of the base has arrived, then the same command again: what was sent twice."""
    twice: list[float] = []
    with registry.running(setting.folder / "second") as address, CountingProxy(address) as proxy:
        command: list[str | Path] = [setting.checkout.root / "inv", "copy", f"{setting.registry}/{SOURCE}"]
        command += [f"{proxy.host}/{SOURCE}", "--yes", "--json"]
        env, cwd = setting.checkout.env, Path(setting.checkout.root)
        proxy.hold_at = setting.size // 2
        measure(command, env=env, cwd=cwd, kill_when=proxy.held.is_set)
        proxy.release()
        before = proxy.counts.blobs
        measure(command, env=env, cwd=cwd)
        twice.append(float(proxy.counts.blobs - setting.size))
    allowed = CHUNK * CONNECTIONS
    return [
        Row(
            what="copy killed half way and started again: bytes sent twice",
            reach=f"less than one chunk per connection ({allowed / MB:.0f} MB)",
            met=before < setting.size and twice[0] < allowed,
            shown=megabytes(twice[0]),
            samples={"sent_twice": twice, "arrived_before_the_kill": [float(before)]},
            notes=[f"counted by a proxy before the target; chunk {CHUNK} bytes, {CONNECTIONS} connections"],
        )
    ]
