"""How the tasks are called: grouped listing, one-line errors, the exit codes of the command contract.

Invoke itself does the parsing; this file changes only how it lists and how it ends.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import getdoc
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from invoke import tasks as invoke_tasks
from invoke.collection import Collection
from invoke.exceptions import Exit, ParseError
from invoke.parser.context import ParserContext, to_flag
from invoke.program import Program as InvokeProgram

STOPPED = "\nstopped; the same command goes on where this one was"
GROUPS = ("See", "Plan", "Images", "Check", "Fleet", "Checkpoints", "Develop")
registry: dict[str, tuple[str, Callable[..., Any]]] = {}
headings: dict[str, Mapping[str, Iterable[str]]] = {}  # headings of the flags of a task that has many
unneeded: dict[str, Mapping[str, str]] = {}  # positional arguments that a flag stands for
texts: dict[str, Mapping[str, str]] = {}  # of the flags; Invoke takes a task's own away as it reads them
listed: dict[str, str] = {}  # flags that plain words behind a task stand for: `watch night day`


def task(
    group: str,
    sections: Mapping[str, Iterable[str]] | None = None,
    instead: Mapping[str, str] | None = None,
    words: str = "",
    **options: Any,
) -> Callable[[Callable[..., Any]], invoke_tasks.Task[Any]]:
    """invoke.task, with a heading to be listed under and errors that end as the contract says.

    sections: the task's flags by heading, for its help; instead: a positional argument -> the flag that makes it
    unneeded (Invoke knows none that may be left out); words: the repeatable flag that plain words behind it mean (of a
    task whose other flags take no value).
    """

    def wrap(body: Callable[..., Any]) -> invoke_tasks.Task[Any]:
        # auto_shortflags off: -p meaning --profile here and --port there helps nobody.
        made = cast("invoke_tasks.Task[Any]", invoke_tasks.task(guarded(body), auto_shortflags=False, **options))
        registry[made.name] = (group, body)
        headings[made.name] = sections or {}
        unneeded[made.name] = instead or {}
        listed[made.name] = words
        texts[made.name] = dict(options.get("help") or {})
        return made

    return wrap


def guarded(body: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a StokerError into one line, a next step and its exit code; a traceback only with --debug."""

    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return body(*args, **kwargs)
        except KeyboardInterrupt:
            raise Exit(STOPPED, 75) from None
        except Exit:
            raise
        except BrokenPipeError:  # `./inv images | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=0) from None
        except OSError as error:
            traceback_wanted()
            what = f"error: {error.strerror or error}: {error.filename or ''}".rstrip(": ")
            raise Exit(f"{what}\n  next: {cure(error)}", 3) from None
        except Exception as error:
            from profiles.errors import StokerError

            traceback_wanted()
            if isinstance(error, StokerError):
                hint = f"\n  next: {error.next_step}" if error.next_step else ""
                raise Exit(f"error: {error.what}{hint}", error.exit_code) from None
            raise Exit(
                f"error: {type(error).__name__}: {error}\n  next: this is a bug; run with --debug and report it",
                3,
            ) from None

    return run


def traceback_wanted() -> None:
    """With --debug the traceback comes first; the error's line and exit code are the same."""
    if "--debug" in sys.argv:
        import traceback

        traceback.print_exc()


def cure(error: OSError) -> str:
    """What to do about an error of the system that no task has words for."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space (./inv prune), then run the same command again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "check who may write there; STOKER_HOME=FOLDER keeps the state elsewhere"
    return "check that path, then run the same command again"


class Tasks(Collection):
    """Invoke's Collection, where a task may have a dot in its name beside a task named as what stands before it.

    Of Invoke's own sub-collections the default task is listed twice, and named as it is not called.
    """

    @classmethod
    def of(cls, files: Iterable[ModuleType]) -> Tasks:
        """The tasks of these modules, in their order."""
        made = cls()
        for one in (found for file in files for found in vars(file).values()):
            if isinstance(one, invoke_tasks.Task):
                one.help = dict(texts[one.name])
                made.add_task(one)
        return made

    def task_with_config(self, name: str | None) -> Any:
        if name is not None and name in self.tasks:
            return self.tasks[name], self.configuration()
        return super().task_with_config(name)


class Program(InvokeProgram):
    """Invoke's Program with our listing and exit codes."""

    def list_tasks(self) -> None:
        if self.list_format != "flat" or self.list_root:
            super().list_tasks()  # --list-format=json and =nested are Invoke's own
            return
        names = list(self.namespace.tasks) if self.namespace is not None else []
        width = max(map(len, names))
        for group in GROUPS:
            print(f"\n{group}")
            for name in names:
                where, body = registry[name]
                if where == group:
                    print(f"  {name:<{width}}  {(body.__doc__ or '').strip().splitlines()[0]}")
        print("\n./inv --help TASK shows a task's options; --json gives JSON wherever there is a table.")

    def print_task_help(self, name: str) -> None:
        """What stands behind the task without a flag, then its flags as they are declared, under their headings."""
        context = self.parser.contexts[name]
        # Invoke counts repeatable flags among the positional ones too: they have no default.
        plain = {one.name: one.help or "" for one in context.positional_args if one.kind is not list}
        words = [f"[{word.upper()}]" if word in unneeded[name] else word.upper() for word in plain]
        words += [f"[{listed[name].upper()} ...]"] if listed[name] else []
        flags = [one.name for one in context.args.values() if one.name not in plain]
        words += ["[--options]"] if flags else []
        print(f"Usage: {' '.join([self.binary, name, *words])}\n\n{getdoc(registry[name][1])}\n")
        if plain:
            self.print_columns([(word.upper(), text) for word, text in plain.items()])
        for heading, under in (headings[name] or ({"Options:": flags} if flags else {})).items():
            print(heading)
            self.print_columns([context.help_for(to_flag(flag)) for flag in under])

    def no_tasks_given(self) -> None:
        self.list_tasks()
        raise Exit

    def parse_core(self, argv: list[str] | None) -> None:
        with usage_errors():
            super().parse_core(argv)

    def parse_tasks(self) -> None:
        with usage_errors():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        with usage_errors():
            super().parse_cleanup()


@contextmanager
def usage_errors() -> Iterator[None]:
    """Wrong usage ends with 2, as the contract says; Invoke's own code for it is 1."""
    try:
        yield
    except ParseError as error:
        raise Exit(f"error: {error}\n  next: {nearest(str(error), error.context)}", 2) from None
    except ValueError as error:  # Invoke calls int() on what stands behind --days
        wrong = str(error).rpartition(": ")[2]
        raise Exit(f"error: {wrong} is no whole number\n  next: ./inv --help TASK shows a task's options", 2) from None
    except KeyboardInterrupt:
        raise Exit(STOPPED, 75) from None


def nearest(message: str, context: ParserContext | None = None) -> str:
    """A hint for a mistyped task or flag, or for what is missing."""
    import difflib

    wrong = message.split("'")[1] if message.count("'") >= 2 else ""
    if wrong in registry:  # named rightly, but without its arguments
        return f"./inv --help {wrong} shows what it takes"
    flag = context is not None and wrong.startswith("-")
    known = [name.lstrip("-") for name in context.flags] if context is not None and flag else list(registry)
    close = difflib.get_close_matches(wrong.lstrip("-"), known, n=1)  # dashes, which all have, make nothing alike
    return (
        f"did you mean {'--' * flag}{close[0]}?"
        if close
        else "./inv --list shows the tasks, ./inv --help TASK its options"
    )


def help_first(argv: list[str]) -> list[str]:
    """`TASK --help` as `--help TASK`: Invoke would ask for the task's arguments before it listens.

    `terminate --all` as `terminate --all --run=`, for the same reason; `watch night` as `watch --run=night`.
    """
    named = next((word for word in argv[1:] if word in registry), None)
    if named is None:
        return argv
    if {"--help", "-h"} & set(argv[1:]):
        return [argv[0], "--help", named]
    if flag := listed[named]:
        place = argv.index(named) + 1
        argv = [*argv[:place], *(word if word.startswith("-") else f"--{flag}={word}" for word in argv[place:])]
    return [*argv, *(f"--{name}=" for name, flag in unneeded[named].items() if f"--{flag}" in argv)]


def opened() -> Program:
    """The program with all tasks of tasks/."""
    import tasks

    return Program(
        namespace=Tasks.of(tasks.FILES), name="stoker", binary="./inv", binary_names=["inv"], version=tasks.VERSION
    )


def main() -> None:
    """Run what was typed. Ctrl-C and SIGTERM (a cancelled CI job) end with 75: the same command goes on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        opened().run(help_first(sys.argv))
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        sys.exit(75)


if __name__ == "__main__":
    # Run as a file: Python put cli/ on the path, the packages lie one above. tasks/ imports cli.program: this one.
    sys.path[0] = str(Path(sys.path[0]).parent)
    sys.modules["cli.program"] = sys.modules["__main__"]
    main()
