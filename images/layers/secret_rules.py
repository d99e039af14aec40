"""What a secret looks like: names of files, and shapes of values. Data for secrets.py, in the providers' own prefixes.

A rule must almost never fire on ordinary code: a scanner that cries wolf gets switched off. So a shape without a
prefix of its own (passwords, hexadecimal keys) needs a telling name beside it and a value that looks random.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

# Matched against the lower-case path, whole or its end after a slash.
NAMES = (
    ("private key", r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?|.*\.(ppk|p12|pfx|jks|keystore|kdbx)|(cosign|tls|server)\.key"),
    ("private key", r"(?!.*(cert|chain|bundle|\bca\b|root|pub)[^/]*\.pem$)[^/]*\.pem"),
    ("environment file", r"\.env(?!\.(example|sample|template|dist)$)(\.[^/]*)?|\.envrc"),
    ("login file", r"[._]netrc|\.pypirc|\.git-credentials|\.pgpass|\.my\.cnf|\.htpasswd|\.dockercfg|\.s3cfg|\.boto"),
    (
        "login file",
        r"\.docker/config\.json|\.aws/credentials|\.kube/config|.*kubeconfig(\.ya?ml)?|\.ssh/(?!.*\.pub$).*",
    ),
    (
        "login file",
        r"(\.config/)?gcloud/(credentials|access_tokens)\.db|\.config/gh/hosts\.yml|\.config/rclone/.*\.conf",
    ),
    ("credentials file", r"credentials\.json|application_default_credentials\.json|client_secrets?[^/]*\.json"),
    ("credentials file", r"service[-_]?account[^/]*\.json|terraform\.tfstate(\.backup)?|.*\.tfvars"),
    ("token file", r"huggingface/(token|stored_tokens)|\.huggingface/token|\.?vast_api_key|\.runpod/config\.toml"),
)
NAME_RULES = tuple((rule, re.compile(rf"(?:.*/)?(?:{pattern})")) for rule, pattern in NAMES)

PLACEHOLDER = re.compile(
    rb"(?i)[*.x_-]+|<.*>|.*(example|placeholder|changeme|change-me|your[-_]|dummy|redacted|\.\.\.|1234567).*"
    rb"|(my|the|some)?[-_]?(pass|passw(or)?d|pwd|pw|secret|token|user|foo|bar|baz|test|hunter2|qwerty)\d?"
)
# A path, a URL, a template, a variable, or a version ("passwd": "1:4.13+dfsg1-1+deb12u2" of a package list).
REFERENCE = re.compile(
    rb"[$%{<(].*|.*[{(\[$].*|.*%[sd(].*|(https?|file|s3)://.*|[./~].*|[A-Za-z]:\\.*|(\d+:)?\d+\.\d[\w.+:~-]*"
)


def entropy(value: bytes) -> float:
    """Shannon entropy in bits per byte."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values()) if value else 0.0


def varied(value: bytes) -> bool:
    """Not a dummy: enough different characters, and not a placeholder's words."""
    return len(set(value)) >= 10 and not PLACEHOLDER.fullmatch(value)


def random_looking(value: bytes) -> bool:
    """Digits and letters mixed without order, no path, no template, no word."""
    if PLACEHOLDER.fullmatch(value) or REFERENCE.fullmatch(value):
        return False
    mixed = re.search(rb"\d", value) and re.search(rb"[A-Za-z]", value)
    words = re.fullmatch(rb"(?:[A-Za-z]+\d{0,2}[-_./: ])*[A-Za-z]+\d{0,3}", value)
    return bool(mixed) and not words and entropy(value) >= 3.3


def three_kinds(value: bytes) -> bool:
    """Upper, lower and digits: what tells `sk-...` from a CSS class."""
    return varied(value) and all(re.search(kind, value) for kind in (rb"[A-Z]", rb"[a-z]", rb"\d"))


def not_placeholder(value: bytes) -> bool:
    return not PLACEHOLDER.fullmatch(value) and not REFERENCE.fullmatch(value)


@dataclass(frozen=True, slots=True)
class Rule:
    """A shape of secret values.

    name: for the message; needle: lower-case text without which the pattern cannot match; pattern: group 1 is the
    value; plausible: tells real values from dummies; folded: the pattern is lower-case and so is what it searches;
    code: whether it applies to source code. Patterns begin with plain text, which `re` finds at memory speed; what
    must not stand before it is looked back at afterwards.
    """

    name: str
    needle: bytes
    pattern: re.Pattern[bytes]
    plausible: Callable[[bytes], bool] = varied
    folded: bool = False
    code: bool = True


def prefixed(name: str, prefix: str, rest: bytes, plausible: Callable[[bytes], bool] = varied) -> Rule:
    """A value that begins with its provider's prefix; the prefix counts as part of no word before it."""
    lead = re.escape(prefix.encode())
    return Rule(name, prefix.lower().encode(), re.compile(lead + rb"(?<![\w-]" + lead + rb")" + rest), plausible)


def beside(
    name: str, word: str, rest: bytes, plausible: Callable[[bytes], bool] = random_looking, code: bool = True
) -> Rule:
    """A value told by the word before it, in whatever case."""
    lead = word.encode()
    pattern = re.compile(lead + rb"(?<![a-z]" + lead + rb")" + rest)
    return Rule(name, lead, pattern, plausible, folded=True, code=code)


# Words that tell a secret when something is assigned to them, each with what may follow it.
WORDS = (
    ("passw", rb"(?:or)?d"),
    ("passphrase", rb""),
    ("secret", rb"(?:[_-]?key)?"),
    ("api", rb"[_-]?key"),
    ("access", rb"[_-]?key"),
    ("private", rb"[_-]?key"),
    ("token", rb""),
)
ASSIGN = rb"['\"]?\]?[ \t]{0,4}(?::[ \t]*str[ \t]*)?[:=]{1,2}[ \t]{0,4}"
QUOTED = ASSIGN + rb"[rbuf]{0,2}['\"]([^'\"\s]{16,200})['\"]"
BARE = ASSIGN + rb"([\w+/=.~!@#^&*-]{16,200})[ \t]*\r?(?:\n|\Z)"
HEX_KEY = rb"(?:ai)?\w{0,20}key\w{0,10}\W{1,8}([0-9a-f]{40}|[0-9a-f]{64})\b"

VALUES = (
    *(prefixed("AWS access key", start, rb"((?![A-Z2-7]{9}EXAMPLE)[A-Z2-7]{16})\b") for start in ("AKIA", "ASIA")),
    beside(
        "AWS secret key", "aws", rb"\w{0,20}secret\w{0,20}['\"]?[ \t]*[:=][ \t]*['\"]?([a-z0-9/+]{40})\b", three_kinds
    ),
    prefixed("Hugging Face token", "hf_", rb"([A-Za-z0-9]{30,60})\b"),
    *(prefixed("GitHub token", f"gh{kind}_", rb"([A-Za-z0-9]{36,255})\b") for kind in "pousr"),
    prefixed("GitHub token", "github_pat_", rb"(\w{60,255})\b"),
    prefixed("GitLab token", "glpat-", rb"([\w-]{20,64})"),
    prefixed("NVIDIA API key", "nvapi-", rb"([\w-]{40,128})"),
    prefixed("RunPod API key", "rpa_", rb"([A-Za-z0-9]{30,64})\b"),
    prefixed("API key (sk-)", "sk-", rb"((?:[a-z]{2,8}\d{0,2}-){0,2}[\w-]{20,200})", three_kinds),
    *(prefixed("Slack token", f"xox{kind}-", rb"([A-Za-z0-9-]{16,128})") for kind in "abeoprs"),
    prefixed("Google API key", "AIza", rb"([\w-]{35})(?![\w-])"),
    prefixed("npm token", "npm_", rb"([A-Za-z0-9]{36})\b"),
    prefixed("PyPI token", "pypi-", rb"(AgEIcHlwaS5vcm[\w-]{50,})"),
    prefixed("W&B API key", "wandb_v1_", rb"(\w{40,})"),
    prefixed("JSON web token", "eyJ", rb"([\w-]{10,4000}\.eyJ[\w-]{10,4000}\.[\w-]{20,4000})"),
    beside("Slack webhook", "hooks.slack.com", rb"/services/t\w{6,}/b\w{6,}/(\w{20,})", varied),
    beside("npm token", "authtoken", rb"[ \t]*=[ \t]*([^\s${}]{10,})", not_placeholder, code=False),
    *(beside("API key (hexadecimal)", word, HEX_KEY, varied) for word in ("wandb", "vast", "hyperbolic")),
    beside("bearer token", "bearer", rb"[ \t]+([\w.~+/-]{24,4000}=*)"),
    beside("registry login", "auth", rb"\"[ \t]*:[ \t]*\"([a-z0-9+/]{12,4000}={0,2})\""),
    *(beside("assigned secret", word, rest + QUOTED) for word, rest in WORDS),
    *(beside("assigned secret", word, rest + BARE, code=False) for word, rest in WORDS),
    Rule(
        "private key",
        b"private key",
        re.compile(
            rb"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[\s\"'+,]*(?:\\[nr][\s\"'+,]*)*"
            rb"((?:Proc-Type|Version|[A-Za-z0-9+/=]{16})[^\n]{0,60})"
        ),
    ),
    Rule(
        "password in a URL",
        b"://",
        re.compile(
            rb"://(?<=[A-Za-z]://)[^\s/:@'\"<>{}$%`|]{0,100}:([^\s/:@'\"<>{}$`|]{3,200})@"
            rb"(?!(?:[\w-]+\.)*example\b)[\w\[]"
        ),
        not_placeholder,
    ),
)
# Environment names whose value is a secret by definition; HF_TOKEN_PATH or TOKENIZERS_PARALLELISM are none.
ENV_NAME = re.compile(
    r"(?i)(?:.*_)?(?:token|secret|password|passwd|passphrase|api_?key|access_?key|secret_?key|private_?key|credentials?)"
)
