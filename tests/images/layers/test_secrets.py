"""The secret scan: finds what providers hand out, stays silent on ordinary code, and never repeats a secret.

Every fixture is put together at run time, so that this file holds no secret shape itself.
"""

from __future__ import annotations

import base64
import io
import json
import random
import string
import sysconfig
from pathlib import Path

import pytest

from images.layers import secrets
from images.layers.secrets import Finding, refuse, scan_env, scan_file, scan_layer, scan_name, scan_text
from images.layers.sources import Sources
from images.layers.tree import tree
from images.plan import Layer
from profiles.errors import Refused

ROOT = Path(__file__).resolve().parents[3]
DICE = random.Random(20)
MIXED = string.ascii_letters + string.digits


def noise(length: int, alphabet: str = MIXED) -> str:
    """Random text with at least one letter of each kind its alphabet has."""
    while True:
        text = "".join(DICE.choices(alphabet, k=length))
        kinds = [
            kind
            for kind in (string.ascii_lowercase, string.ascii_uppercase, string.digits)
            if set(kind) & set(alphabet)
        ]
        if all(set(kind) & set(text) for kind in kinds) and text[0].isalpha():
            return text


HEX = "0123456789abcdef"
JWT = ".".join(base64.urlsafe_b64encode(json.dumps({name: noise(20)}).encode()).decode().rstrip("=") for name in "ab")
LOGIN = base64.b64encode(b"user:" + noise(12).encode()).decode()
VALUES = {
    "AWS access key": "AK" + "IA" + noise(16, string.ascii_uppercase + "234567"),
    "AWS secret key": "aws_secret" + "_access_key = " + noise(40),
    "Hugging Face token": "h" + "f_" + noise(34),
    "GitHub token": "gh" + "p_" + noise(36),
    "GitLab token": "gl" + "pat-" + noise(20),
    "NVIDIA API key": "nv" + "api-" + noise(64),
    "RunPod API key": "rp" + "a_" + noise(40, string.ascii_uppercase + string.digits),
    "API key (sk-)": "s" + "k-proj-" + noise(48),
    "Slack token": "xox" + "b-" + noise(12, string.digits + "a") + "-" + noise(24),
    "Slack webhook": "https://hooks.slack" + ".com/services/T" + noise(9) + "/B" + noise(9) + "/" + noise(24),
    "Google API key": "AI" + "za" + noise(35),
    "npm token": "//registry.npmjs.org/:_auth" + "Token=" + noise(36),
    "PyPI token": "py" + "pi-AgEIcHlwaS5vcm" + noise(80),
    "W&B API key": "wandb" + "_v1_" + noise(60),
    "API key (hexadecimal)": "WANDB_API_" + "KEY=" + noise(40, HEX),
    "private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----\n" + noise(70) + "\n",
    "JSON web token": JWT + "." + noise(43),
    "password in a URL": "https://bot:" + noise(12) + "@registry.internal/v2/",
    "bearer token": "Authorization: Bea" + "rer " + noise(40),
    "registry login": '{"auths": {"nvcr.io": {"au' + 'th": "' + LOGIN + '"}}}',
    "assigned secret": "DB_PASS" + "WORD: " + noise(24),
}


@pytest.mark.parametrize("rule", VALUES)
def test_a_value_of_each_kind_is_found_and_never_repeated(rule: str) -> None:
    value = VALUES[rule]
    found = scan_text("conf/settings.yaml", f"first: line\nsecond: {value}\nthird: line\n")
    if rule in ("npm token", "API key (hexadecimal)", "assigned secret"):
        found += scan_text("conf/settings.yaml", f"first: line\n{value}\nthird: line\n")
    assert rule in {hit.rule for hit in found}
    secret = value.split()[-1][-16:]
    for hit in found:
        assert hit.path == "conf/settings.yaml"
        assert hit.line in (2, 3)
        assert secret not in str(hit)
    with pytest.raises(Refused) as caught:
        refuse(found)
    assert caught.value.exit_code == 4
    assert secret not in caught.value.what + caught.value.next_step
    assert "conf/settings.yaml:" in caught.value.what


def test_keys_inside_source_code_are_found() -> None:
    lines = [
        'api_key = "' + noise(32) + '"',
        "client = Client(token='" + noise(30) + "')",
        'config = {"secret_key": "' + noise(40) + '"}',
        'KEY = """-----BEGIN RSA ' + "PRIVATE KEY-----\\n" + noise(64) + '"""',
    ]
    found = scan_text("trainer/remote.py", "\n".join(lines))
    assert [hit.line for hit in found] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "line",
    [
        "token = self.tokenizer.encode(text)[position]",
        "max_tokens_per_step = global_batch * sequence_length",
        'api_key = os.environ["HYPERBOLIC_API_KEY"]',
        'password = "${REGISTRY_PASSWORD_FROM_ENVIRONMENT}"',
        'token = "<your-hugging-face-token-here>"',
        'token="hf_' + "x" * 34 + '"',
        "AKIA" + "IOSFODNN7" + "EXAMPLE",
        "https://user:password@example.com/path",
        "git clone https://x-access-token:${TOKEN}@github.com/a/b",
        "postgres://user:%s@host/db",
        'secret_name = "registry-pull-secret-for-stoker"',
        'token_url = "https://auth.docker.io/token/service/v2"',
        'token_file = "/run/secrets/hf_token_2024"',
        "sk-estimator-doc-link-fitted-and-more",
        "digest: sha256:" + noise(64, HEX),
        "commit " + noise(40, HEX),
        'pad_token = "<|endoftext|><|endoftext|>"',
        "-----BEGIN PRIVATE KEY----- is how such a file begins",
        'PRIVATE = re.compile("-----BEGIN (RSA )?PRIVATE KEY-----")',
        "bearer authentication of the distribution specification",
        '"passwd": "1:4.13+dfsg1-1+deb12u2",',
        'eos_token: "tok_end_of_text_marker"',
    ],
)
@pytest.mark.parametrize("name", ["trainer/a.py", "profiles/a.yaml", "notes.txt"])
def test_ordinary_lines_are_silent(name: str, line: str) -> None:
    assert scan_text(name, f"before\n{line}\nafter\n") == []


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "app/.env.production",
        "home/.ssh/id_ed25519",
        "id_rsa",
        "keys/server.pem",
        "certs/privkey.pem",
        ".netrc",
        ".pypirc",
        "gcloud/application_default_credentials.json",
        "credentials.json",
        ".docker/config.json",
        ".kube/config",
        "prod-kubeconfig.yaml",
        ".cache/huggingface/token",
        ".vast_api_key",
        ".runpod/config.toml",
        "cosign.key",
        "store.P12",
        "infra/terraform.tfstate",
    ],
)
def test_files_that_are_secret_by_name(path: str) -> None:
    (found,) = scan_name(path)
    assert (found.path, found.line) == (path, 0)
    assert scan_file(path, io.BytesIO(b"")) == [found]


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        "app/environment.py",
        "certifi/cacert.pem",
        "requests/certs.pem",
        "id_rsa.pub",
        ".ssh/authorized_keys.pub",
        "config.json",
        "tokenizer.json",
        "transformers/token.py",
        "credentials.py",
        "secrets.py",
        "keys.py",
        "README.md",
        "cosign.pub",
        "model.key.txt",
    ],
)
def test_names_that_only_sound_like_it_are_silent(path: str) -> None:
    assert scan_name(path) == []


def test_a_marked_line_is_allowed_and_only_that_line() -> None:
    line = f'token = "{noise(32)}"'
    found = scan_text("a.py", f"{line}  # stoker: allow-secret\n{line}\n")
    assert [hit.line for hit in found] == [2]


@pytest.mark.parametrize("offset", [-40, -20, -1, 0, 1, secrets.OVERLAP, -secrets.OVERLAP, secrets.PIECE])
def test_a_secret_across_a_seam_is_found_once_with_its_line(offset: int) -> None:
    value = VALUES["GitHub token"].encode()
    before = b"line of text\n" * ((secrets.PIECE + offset) // 13)
    padding = b"." * ((secrets.PIECE + offset) - len(before) - 1) + b" "
    data = before + padding + value + b"\n" + b"more\n" * 700_000
    found = scan_file("big.txt", io.BytesIO(data))
    assert found == [Finding("big.txt", before.count(b"\n") + 1, "GitHub token")]


def test_pieces_of_any_size_from_the_reader_give_the_same_findings() -> None:
    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(70_001)

    data = (b"words and words\n" * 20_000 + VALUES["Hugging Face token"].encode() + b"\n") * 3
    assert scan_file("a.txt", Dribble(data)) == scan_file("a.txt", io.BytesIO(data))
    assert len(scan_file("a.txt", Dribble(data))) == 3


def test_binary_noise_is_silent() -> None:
    assert scan_file("weights.bin", io.BytesIO(random.Random(1).randbytes(3 << 20))) == []


def test_environment_and_labels() -> None:
    pairs = [
        ("HF_TOKEN", noise(10)),
        ("REGISTRY_PASSWORD", "correct horse"),
        ("org.example.api-key", noise(20)),
        ("EXTRA", VALUES["GitHub token"]),
        ("PATH", "/usr/bin:/bin"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("HF_TOKEN_PATH", "/run/secrets/hf"),
        ("MAX_TOKENS", "1000000000"),
        ("WANDB_API_KEY", ""),
        ("NGC_API_KEY", "${NGC_API_KEY}"),
        ("org.opencontainers.image.revision", noise(40, HEX)),
    ]
    found = scan_env(pairs, "label")
    assert [hit.path for hit in found] == [
        "label HF_TOKEN",
        "label REGISTRY_PASSWORD",
        "label org.example.api-key",
        "label EXTRA",
    ]


def test_a_layer_is_scanned_by_source_and_by_target(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "deep.py").write_text("\n\ntoken = '" + noise(32) + "'\n")
    (tmp_path / "app" / "fine.py").write_text("x = 1\n")
    (tmp_path / "app" / "link").symlink_to("fine.py")
    sources = Sources(tmp_path)
    renamed = sources.render("innocent", "opt/stoker/.netrc", "machine x\n")
    found = scan_layer(Layer("trainer", (*tree(tmp_path, "app", "opt/stoker/app"), renamed)), sources)
    assert [str(hit) for hit in found] == ["app/deep.py:3 (assigned secret)", "opt/stoker/.netrc (login file)"]


def test_many_findings_are_counted_not_listed_without_end() -> None:
    refuse([])
    with pytest.raises(Refused, match="and 90 more"):
        refuse(Finding("a", line, "x") for line in range(1, 101))


def scanned(folder: Path, suffixes: tuple[str, ...]) -> list[Finding]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in suffixes and path.is_file() and not {"site-packages", "test"} & set(path.parts):
            with path.open("rb") as reader:
                found += scan_file(str(path.relative_to(folder)), reader)
    return found


def test_the_standard_library_is_silent() -> None:
    packages = ("asyncio", "email", "http", "json", "logging", "multiprocessing", "urllib", "importlib", "unittest")
    library = Path(sysconfig.get_path("stdlib"))
    assert [hit for package in packages for hit in scanned(library / package, (".py",))] == []
    for name in ("secrets.py", "netrc.py", "smtplib.py", "ssl.py", "imaplib.py", "getpass.py", "tokenize.py"):
        with (library / name).open("rb") as reader:
            assert scan_file("lib/" + name, reader) == []


@pytest.mark.parametrize("folder", ["images", "profiles", "trainer", "templates", "fleet"])
def test_our_own_tree_is_silent(folder: str) -> None:
    assert scanned(ROOT / folder, (".py", ".yaml", ".j2", ".sh", ".json", ".txt", ".md", "")) == []
