#!/usr/bin/env python3
"""The dead-man switch: keeper COMMAND... runs it as a child, outlives it, and ends this machine when its time has come.

STOKER_DEADLINE (epoch seconds), STOKER_IDLE_MINUTES of idle GPUs and silent metrics: SIGTERM to the command, which has
STOKER_GRACE seconds to save; then the machine is ended. STOKER_END_INSTANCE=1: also when the command has ended, after a
failure STOKER_KEEP_MINUTES later. Neither while the run's last checkpoint is not at its remote: then the machine stays
until the deadline, without one for a day. Asked to stop from outside, it passes that on and goes: then somebody else
decides.
How a machine is ended is end-instance's. Needs the standard library and no file; reads no key.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from types import ModuleType

sys.dont_write_bytecode = True  # nothing is written beside us
HOME = os.environ.get("STOKER_HOME_DIR", "/opt/stoker")


def beside(name: str) -> ModuleType:
    """A file of ours without an ending."""
    loader = SourceFileLoader(name, f"{HOME}/bin/{name}")
    module = module_from_spec(ModuleSpec(name, loader))
    loader.exec_module(module)
    return module


watching, traces = beside("watching"), beside("traces")
ENDED_WELL = (0, 75)
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
WAITED_FOR = (*FORWARDED, signal.SIGHUP, signal.SIGCHLD)  # a lost terminal ends nothing
LATEST = 300.0  # seconds between two attempts to end the machine, at most


def say(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it any more, or the disk is full
        print(f"keeper: {text}", file=sys.stderr, flush=True)


class Keeper:
    """One command, those that joined it, and the reasons to end."""

    def __init__(self, command: list[str], listener: socket.socket | None) -> None:
        self.command, self.listener, self.child, self.code = command, listener, 0, 2
        self.joined: dict[int, int] = {}  # process -> pidfd
        self.asked, self.why, self.late, self.ended = False, "", 0.0, 0.0
        self.grace, self.deadline, self.idle, self.keep = 25.0, 0.0, 0.0, 0.0
        self.wanted, self.way, self.time, self.place = False, False, watching.Time(), "/dev/null"
        with suppress(OSError):  # a file in memory, where `run` writes its folder's name: no disk, nothing left behind
            self.place = f"/proc/{os.getpid()}/fd/{os.memfd_create('stoker-keeper')}"
        traces.foretell(self.place, HOME, command)
        self.quiet, self.unsent = traces.Quiet(self.place), traces.Unsent(self.place, say)

    def read(self) -> None:
        """The variables; raises ValueError for a wrong one, when all that could be read is known."""
        self.wanted = watching.switch("STOKER_END_INSTANCE")
        word, words = watching.end_instance(HOME, "--how")
        self.way = word != "none"
        say(words if self.way else f"{words}: at the end only this container stops, the machine needs somebody outside")
        self.grace, self.keep = watching.number("STOKER_GRACE", 25.0), 60 * watching.number("STOKER_KEEP_MINUTES")
        self.deadline, self.idle = watching.number("STOKER_DEADLINE"), 60 * watching.number("STOKER_IDLE_MINUTES")
        self.time = watching.Time(os.environ.get("STOKER_CLOCK", ""))

    def begin(self, mask: set[int]) -> None:
        self.quiet.watch()
        environ = {**os.environ, "stoker_kept": self.place}
        default = [signal.SIGPIPE, signal.SIGXFSZ]  # Python ignores them
        try:
            self.child = os.posix_spawnp(self.command[0], self.command, environ, setsigmask=mask, setsigdef=default)
        except OSError as error:
            self.code = 127 if isinstance(error, FileNotFoundError) else 126
            say(f"cannot start {self.command[0]}: {error.strerror}")

    def pass_on(self, number: int) -> None:
        if self.child:
            with suppress(OSError):
                os.kill(self.child, number)
        for descriptor in self.joined.values():
            with suppress(OSError):
                signal.pidfd_send_signal(descriptor, number)

    def alive(self) -> bool:
        """Takes in what has ended (our child, orphans where we are process 1) and who came; whether anybody is left."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self.child:
                    code = os.waitstatus_to_exitcode(found[1])
                    self.child, self.code = 0, code if code >= 0 else 128 - code
        with suppress(OSError):
            while self.listener:
                self.welcome(self.listener.accept()[0])
        for process, descriptor in list(self.joined.items()):
            if select.select([descriptor], [], [], 0)[0]:
                os.close(self.joined.pop(process))
        return bool(self.child or self.joined)

    def welcome(self, guest: socket.socket) -> None:
        """Another `run` on this machine (by ssh): it is waited for, and told to stop as our own command is."""
        with guest:
            process, user, _ = struct.unpack("3i", guest.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if process > 0 and user in (0, os.getuid()) and process not in self.joined:
                self.joined[process] = os.pidfd_open(process)

    def reason(self, alive: bool) -> str:
        """Why the machine has to end now; nothing: it has not."""
        now = self.time.now()
        if self.deadline and now >= self.deadline - (self.grace if alive else 0):
            return "the deadline is here"
        if self.idle and self.quiet.seconds(now) >= self.idle:
            if not self.unsent.keeps(now, self.deadline):
                return f"idle for {self.idle / 60:g} minutes"
            self.quiet.again(now)  # sending is none, nor is waiting for a store that is out
        if alive or not self.wanted:
            return ""
        if not self.ended:
            self.ended = now
            kept = self.keep / 60 if self.code not in ENDED_WELL else 0
            say(f"the run ended with {self.code}" + (f"; the machine is kept {kept:g} minutes" if kept else ""))
        if self.unsent.keeps(now, self.deadline):
            return ""
        return "it has ended" if self.code in ENDED_WELL or now >= self.ended + self.keep else ""

    def stays(self) -> bool:
        """Whether there is something left to do here when nothing runs any more. Where the machine has no way to end
        itself, the end of this container is what others end it for."""
        if self.way:
            return bool(self.wanted or self.deadline or self.idle)
        return self.wanted and self.unsent.keeps(self.time.now(), self.deadline)

    def watch(self) -> int:
        """Until everything has ended; the exit code."""
        while True:
            alive = self.alive()
            if alive:
                self.ended = 0.0
            elif self.asked or not (self.why or self.stays()):
                self.unsent.stopped()
                return self.code
            self.why = self.why or self.reason(alive)
            if self.why and not alive:
                return self.end()
            if self.why and not self.late:
                self.late = time.monotonic() + self.grace + 5
                say(f"{self.why}: the run has {self.grace:g} s to save")
                self.pass_on(signal.SIGTERM)
            elif self.why and time.monotonic() > self.late:
                self.pass_on(signal.SIGKILL)
            self.rest(self.time.pause)

    def rest(self, seconds: float) -> None:
        """A while, or until something happens; what asks us to stop is passed on."""
        told = signal.sigtimedwait(WAITED_FOR, seconds)
        if told and told.si_signo in FORWARDED:
            self.asked = True
            self.unsent.stopping()
            self.pass_on(told.si_signo)

    def end(self) -> int:
        """Ends the machine, again and again until it is gone: no network, no answer, or a refusal may pass."""
        say(f"{self.why}: ending this machine")
        pause = 5.0
        while self.way and not self.asked:
            there = self.time.now() + LATEST
            word, words = watching.end_instance(HOME)
            say(words)
            if word == "none":
                break
            until = time.monotonic() + (LATEST / 10 if word == "taken" else pause)
            while time.monotonic() < until and self.time.now() < there and not self.asked:
                self.rest(self.time.pause)
            pause = min(2 * pause, LATEST)
        return self.code


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) > 1 else 2
    keeper = Keeper(sys.argv[1:], watching.claim(HOME, sys.argv[1:]))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    try:
        keeper.read()
        keeper.begin(mask)
    except ValueError as error:
        say(f"{error}; nothing is started\n  -> set it right, or unset it")
    return keeper.watch()


if __name__ == "__main__":
    sys.exit(main())
