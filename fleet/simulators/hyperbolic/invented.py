"""What the simulated Hyperbolic does because nobody knows what the real one does there (providers.md 3, 7)."""

from __future__ import annotations

from fleet.simulators.invented import Invented

INVENTED = (
    Invented("node figures, most prices, and four of each row", "13 rows were recorded, not what is in them"),
    Invented("every error's status but the edge's 403 and the 500, and every wording", "7.Hyperbolic.2", "error_style"),
    Invented("a create is answered with 201 and the rental's own row", "clients read its fields directly: 3.4"),
    Invented("all of gpuType, region, gpuCount, networkType, termType are required", "only full bodies were seen: 3.4"),
    Invented("two rows under one key: one of them at random", "a create cannot name a form factor: 7.Hyperbolic.7"),
    Invented("Running 134 to 208 s after the order", "three rentals were timed", "/_sim/boot"),
    Invented("a label is echoed as `label`, an invented one as `name`", "7.Hyperbolic.3", "label_echo"),
    Invented("a second terminate is 404", "7.Hyperbolic.4", "second_terminate_200"),
    Invented('{"id": ...} does not terminate', "one client sends it, unproven: 3.6", "terminate_takes_id"),
    Invented("terminated rows are not listed", "the list came back empty once: 3.5", "terminated_rows_listed"),
    Invented("a Failed rental costs nothing and stays in lists", "nobody has seen one: 3.7", "failed"),
    Invented("at balance 0 everything ends at once", "7.Hyperbolic.9"),
    Invented("the price is fixed for the rental's life", "7.Hyperbolic.9", "price.jump"),
    Invented("no rate limit", "7.Hyperbolic.8"),
    Invented("a missing User-Agent meets the edge as urllib's does", "only urllib's was tried"),
    Invented(
        "drivers: 535.183.06 for the H100 PCIe of ca-east-1, 580.95.05 elsewhere", "one was recorded", "old_driver"
    ),
    Invented("Docker and NVIDIA's toolkit are there", "7.Hyperbolic.6", "docker_missing, nvidia_runtime_missing"),
    Invented(
        "a machine is a private SSH server of this one, its user whoever runs the simulator", "no hypervisor here"
    ),
    Invented("a machine without a body has its shell at port 22 of a documentation address", "nothing listens there"),
    Invented(
        "apt-get, apt-cache, systemctl, df and the nvidia programs there are stand-ins", "this machine stays as it is"
    ),
    Invented("a container there shares this machine's network and gets no GPUs", "a rehearsal's network and hardware"),
    Invented("preempt loses the host", "there is no interruptible rental: 3.7"),
)
