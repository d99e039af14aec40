"""What a profile may say, as pydantic models: they validate the YAML and become the JSON Schema for editors."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

Precision = Literal["fp32", "bf16", "fp16", "fp8-current", "fp8-delayed", "fp8-block", "mxfp8", "nvfp4"]
Platform = Literal["linux/amd64", "linux/arm64"]
Port = Annotated[str, Field(pattern=r"^[0-9]{1,5}/(tcp|udp)$")]

HOME = "/opt/stoker"  # what the image bakes lies here; the same as images.plan.HOME, which a test compares
SYSTEM = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/sys", "/dev", "/boot", "/opt/nvidia")
# A base finds its interpreter, its CUDA and its MPI by these; NGC's own values must stay.
BASE_ENV = frozenset({"PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "LD_PRELOAD"})


def env_name(name: str) -> str:
    """A POSIX environment name that is not one of the base's own."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"`{name}` is no environment name: letters, digits and _ only, not beginning with a digit")
    if name in BASE_ENV:
        raise ValueError(f"`{name}` belongs to the base image: replacing it breaks the base's own libraries")
    return name


def env_value(value: Any) -> Any:
    """Text; whole numbers are taken as written. YAML's true/false and fractions are refused: their text is not sure."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("an environment value is text: put it in quotes")
    if any((ord(letter) < 32 and letter != "\t") or ord(letter) == 127 for letter in value):
        raise ValueError("an environment value has no line breaks or control characters")
    return value


def port_number(text: str) -> str:
    """A port between 1 and 65535."""
    if not 1 <= int(text.split("/")[0]) <= 65535:
        raise ValueError(f"`{text}`: a port is between 1 and 65535")
    return text


def volume_path(path: str) -> str:
    """An absolute, normal path that hides neither the system nor what the image bakes."""
    import posixpath

    if not path.startswith("/"):
        raise ValueError(f"`{path}` is not absolute: write `/{path}`")
    if path != posixpath.normpath(path) or path.startswith("//"):
        raise ValueError(f"`{path}`: write it as `{posixpath.normpath('/' + path.lstrip('/'))}`")
    if (HOME + "/").startswith(path.rstrip("/") + "/") or path.startswith(HOME + "/"):
        raise ValueError(f"`{path}` would hide {HOME}, where the trainer is baked: use /workspace")
    if any((path + "/").startswith(system + "/") for system in SYSTEM):
        raise ValueError(f"`{path}` would hide a part of the system: use /workspace")
    return path


# The usual forms of PEP 508; whatever else it allows is left to `packaging`, whose import costs 15 ms.
PLAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?( ?(==|!=|>=|<=|<|>) ?[0-9]+(\.[0-9]+)*)?", re.ASCII)


def requirement(text: str) -> str:
    """A PEP 508 requirement, as pip takes it."""
    if PLAIN.fullmatch(text):
        return text
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"`{text}` is no requirement (PEP 508): {str(error).splitlines()[0]}") from None
    return text


def image_reference(text: str) -> str:
    """`registry/repository:tag`, `...@sha256:<64 hex>` or both."""
    host, name = r"[a-z0-9.-]+(:[0-9]+)?", r"[a-z0-9]+([._/-]+[a-z0-9]+)*"
    if not re.fullmatch(rf"{host}/{name}(:[\w][\w.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?", text):
        raise ValueError(f"`{text}` is no image reference: write it like nvcr.io/nvidia/pytorch:25.06-py3")
    if ":" not in text.partition("/")[2]:
        raise ValueError(f"`{text}` has neither tag nor digest: write it like nvcr.io/nvidia/pytorch:25.06-py3")
    return text


def gpu_type(key: str) -> str:
    """A key of the GPU table."""
    from profiles import gpus
    from profiles.errors import WrongInput

    try:
        return gpus.gpu(key).key
    except WrongInput as error:
        raise ValueError(f"{error.what}: {error.next_step}") from None


class Part(BaseModel):
    """Base of all parts: unknown keys are errors, values do not change, numbers are finite."""

    # Deferred: each part's own validator is built on first use only; a Profile's validator holds those of its parts.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class GpuWish(Part):
    """The GPUs of one machine."""

    type: Annotated[str, AfterValidator(gpu_type)] = Field(
        description="Key of the GPU table (profiles/tables/gpus.yaml), form factor included.", examples=["h100-sxm"]
    )
    count: int = Field(default=1, ge=1, le=64, description="GPUs in the machine.")


class Parallelism(Part):
    """How model states are spread over the GPUs."""

    zero: Literal[0, 1, 2, 3] = Field(
        default=0, description="ZeRO stage: 1 shards optimizer states, 2 also gradients, 3 also parameters."
    )
    offload: Literal["none", "optimizer", "parameters", "both"] = Field(
        default="none",
        description="What is kept in CPU memory; slow, only where nothing else fits. Parameters need stage 3.",
    )

    @model_validator(mode="after")
    def offload_needs_zero(self) -> Parallelism:
        if self.offload in ("parameters", "both") and self.zero != 3:
            raise ValueError(f"offload `{self.offload}` needs zero: 3")
        if self.offload == "optimizer" and self.zero == 0:
            raise ValueError("offload `optimizer` needs zero: 1, 2 or 3")
        return self


class Base(Part):
    """What the image is built on: a registry image, or a Debian bootstrapped by mmdebstrap."""

    image: Annotated[str, AfterValidator(image_reference)] | None = Field(
        default=None,
        description="Registry reference with tag or digest.",
        examples=["nvcr.io/nvidia/pytorch:25.06-py3"],
    )
    debian: Literal["bookworm", "trixie"] | None = Field(
        default=None,
        description="Debian suite, bootstrapped without root file systems from a registry.",
        examples=["bookworm"],
    )
    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")], ...] = Field(
        default=(), description="Debian packages of a bootstrapped base.", examples=[["python3", "ca-certificates"]]
    )

    @model_validator(mode="after")
    def one_kind(self) -> Base:
        if (self.image is None) == (self.debian is None):
            raise ValueError("a base is either `image:` or `debian:`, exactly one of them")
        if self.image is not None and self.packages:
            raise ValueError("`packages` here belong to a `debian:` base; for an `image:` base use `system: packages:`")
        return self

    @property
    def name(self) -> str:
        """`nvcr.io/nvidia/pytorch:25.06-py3` or `debian:bookworm`."""
        return self.image or f"debian:{self.debian}"

    @property
    def repository(self) -> str:
        """`nvcr.io/nvidia/pytorch`, no tag, no digest; `debian` for a bootstrapped one."""
        if self.image is None:
            return "debian"
        host, _, rest = self.image.partition("/")
        return f"{host}/{rest.partition('@')[0].partition(':')[0]}"

    @property
    def tag(self) -> str | None:
        """`25.06-py3`; None when the image is named by digest alone."""
        if self.image is None:
            return self.debian
        return self.image.partition("/")[2].partition("@")[0].partition(":")[2] or None


class Python(Part):
    """Python packages the image adds to the base's own."""

    requirements: tuple[Annotated[str, AfterValidator(requirement)], ...] = Field(
        default=(), description="PEP 508 requirements, locked to wheels.", examples=[["safetensors>=0.5", "tiktoken"]]
    )
    indexes: tuple[Annotated[str, Field(pattern=r"^https?://[^\s@]+$")], ...] = Field(
        default=(),
        description="Extra package indexes, searched beside PyPI; no logins in them.",
        examples=[["https://download.pytorch.org/whl/cpu"]],
    )


class System(Part):
    """System packages added to a registry base; they need BuildKit once, as a foundation image."""

    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")], ...] = Field(
        default=(), description="Debian/Ubuntu packages.", examples=[["openssh-server"]]
    )


class Ulimits(Part):
    """Limits of the container, as `docker run --ulimit`; -1: unlimited."""

    memlock: int | None = Field(default=None, ge=-1, description="Locked memory in bytes; NCCL and RDMA want -1.")
    stack: int | None = Field(default=None, ge=-1, description="Stack in bytes; NGC asks for 67108864.")
    nofile: int | None = Field(default=None, ge=-1, description="Open files.")
    nproc: int | None = Field(default=None, ge=-1, description="Processes.")
    core: int | None = Field(default=None, ge=-1, description="Core dump in bytes.")


class RunPod(Part):
    """Hints for RunPod."""

    cloud: Literal["SECURE", "COMMUNITY"] | None = Field(
        default=None, description="Network volumes exist on SECURE only."
    )
    spot: bool = Field(default=False, description="Interruptible.")
    disk_gb: int | None = Field(default=None, ge=1, description="Container disk, GB; wiped on stop.")
    network_volume_gb: int | None = Field(
        default=None, ge=10, le=4096, description="Network volume, GB; None: no volume."
    )
    data_centers: tuple[str, ...] = Field(
        default=(), description="Data centre ids, any when empty.", examples=[["US-KS-2"]]
    )
    http_ports: tuple[int, ...] = Field(default=(), description="Ports offered through RunPod's HTTP proxy.")


class Vast(Part):
    """Hints for Vast.ai."""

    spot: bool = Field(default=False, description="Interruptible, by bid.")
    disk_gb: int | None = Field(
        default=None, ge=1, description="Disk, GB. Vast's default of 8-10 GB holds no NGC image."
    )
    runtype: Literal["args", "ssh", "jupyter"] = Field(
        default="args", description="`args` keeps the image's entrypoint; `ssh` and `jupyter` replace it."
    )
    verified: bool = Field(default=True, description="Verified hosts only.")
    min_reliability: float | None = Field(default=None, ge=0, le=1, description="Least reliability score, 0..1.")
    countries: tuple[Annotated[str, Field(pattern="^[A-Z]{2}$")], ...] = Field(
        default=(), description="Two-letter codes."
    )


class Hyperbolic(Part):
    """Hints for Hyperbolic."""

    machine: Literal["virtual-machine", "bare-metal"] | None = Field(default=None, description="Kind of machine.")
    network: Literal["ethernet", "infiniband"] | None = Field(default=None, description="Kind of network.")
    regions: tuple[str, ...] = Field(default=(), description="Regions, any when empty.", examples=[["us-east-1"]])


class Providers(Part):
    """What a rental should look like, per provider. Prices are asked, never written here."""

    runpod: RunPod = Field(default_factory=RunPod)
    vast: Vast = Field(default_factory=Vast)
    hyperbolic: Hyperbolic = Field(default_factory=Hyperbolic)


class Profile(Part):
    """What hardware, precision and base a training image is for."""

    name: str = Field(description="Set by the loader: the file's name without ending.")
    description: str = Field(default="", description="One line for the table of profiles.")
    gpu: GpuWish | None = Field(default=None, description="The GPUs; null for a machine without.")
    precision: Precision = Field(
        default="bf16", description="Arithmetic of the matrix products; see profiles/precision.py."
    )
    parallelism: Parallelism = Field(default_factory=Parallelism)
    attention: Literal["auto", "te", "flash", "sdpa"] = Field(default="auto", description="Attention kernels.")
    base: Base = Field(description="What the image is built on.")
    platforms: tuple[Platform, ...] = Field(
        default=("linux/amd64",), min_length=1, description="Platforms to lock and build.", examples=[["linux/amd64"]]
    )
    python: Python = Field(default_factory=Python)
    system: System = Field(default_factory=System)
    env: dict[Annotated[str, AfterValidator(env_name)], Annotated[str, BeforeValidator(env_value)]] = Field(
        default_factory=dict, description="Environment of the image.", examples=[{"PYTHONUNBUFFERED": "1"}]
    )
    ports: tuple[Annotated[Port, AfterValidator(port_number)], ...] = Field(
        default=(), description="Ports with protocol.", examples=[["8888/tcp", "22/tcp"]]
    )
    ulimits: Ulimits = Field(default_factory=Ulimits)
    ipc: Literal["host", "private", "shareable"] = Field(
        default="private", description="IPC namespace; NCCL wants `host`."
    )
    shm_size: Annotated[str, Field(pattern=r"^[1-9][0-9]*[kmg]$")] | None = Field(
        default=None, description="/dev/shm where `ipc` is not `host`.", examples=["16g"]
    )
    volume: Annotated[str, AfterValidator(volume_path)] | None = Field(
        default=None, description="Where the machine's lasting disk is mounted.", examples=["/workspace"]
    )
    user: Annotated[str, Field(pattern=r"^([a-z_][a-z0-9_-]*|[0-9]+)?(:([a-z_][a-z0-9_-]*|[0-9]+))?$")] = Field(
        default="", description="user or user:group, by name or number; empty: the base's own."
    )
    trainer: dict[str, JsonValue] = Field(
        default_factory=dict, description="Defaults of the trainer's settings, baked beside it; flags overrule them."
    )
    providers: Providers = Field(default_factory=Providers)
    size_budget_mb: int = Field(
        default=200, ge=1, description="Most that our own layers may weigh, compressed, in MB (10^6 bytes)."
    )

    @model_validator(mode="after")
    def no_port_twice(self) -> Profile:
        twice = {text for text in self.ports if self.ports.count(text) > 1}
        if twice:
            raise ValueError(f"port {sorted(twice)[0]} is listed twice")
        return self
