"""Working on Stoker itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.program import task

if TYPE_CHECKING:
    from invoke.context import Context


@task("Develop", help={"fast": "Only what takes under two minutes.", "k": "pytest's -k."})
def test(c: Context, fast: bool = False, k: str = "") -> None:
    """Format check, lint, types, then the tests."""
    from cli import develop

    develop.test(fast, k)


@task("Develop")
def lint(c: Context) -> None:
    """ruff and mypy."""
    from cli import develop

    develop.lint()


@task("Develop", name="bench", positional=["name"], help={"name": "A script of bench/, without .py."})
def bench_task(c: Context, name: str) -> None:
    """Run a benchmark of bench/; results go to bench/results/."""
    from cli import develop

    develop.bench(name)
