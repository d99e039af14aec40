"""Runs: what was asked for, and what became of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from fleet.ledger.book import stamp
from fleet.ledger.money import micro
from fleet.ledger.rows import run_of
from fleet.ledger.story import Story
from fleet.ledger.values import RUN_STATES, Limits, Run
from profiles.errors import Refused, WrongInput
from profiles.nearest import nearest


class Runs(Story):
    """Runs by their name."""

    def add_run(self, run: Run) -> Run:
        """Keeps a new run; as it was kept. Raises Refused when the name is taken, WrongInput for what is no limit."""
        now = stamp(self.now())
        try:
            with self._writing() as db:
                db.execute(
                    "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(run.name, run.profile, run.image, json.dumps(dict(run.plan), sort_keys=True)),
                        *columns(run.limits),
                        *(run.policy, run.remote, run.parent, run.state, now, run.words),
                    ),
                )
                self._note(db, run.name, "run", f"begun with {run.profile or 'no profile'}, {run.image or 'no image'}")
        except sqlite3.IntegrityError:
            raise Refused(
                f"there is a run `{run.name}` already", f"`./inv resume {run.name}`, or another name with --name"
            ) from None
        return self.run(run.name)

    def run(self, name: str) -> Run:
        """The run of that name. Raises WrongInput with the nearest one."""
        row = self._first("SELECT * FROM runs WHERE name = ?", name)
        if row is None:
            near = nearest(name, [known.name for known in self.runs()])
            raise WrongInput(f"no run `{name}`", f"did you mean `{near}`?" if near else "`./inv status` lists them")
        return run_of(row)

    def runs(self) -> list[Run]:
        """All of them, oldest first."""
        return [run_of(row) for row in self._all("SELECT * FROM runs ORDER BY made, name")]

    def set_state(self, name: str, state: str, words: str = "") -> None:
        """Opens, closes or fails a run. state: one of values.RUN_STATES. Raises WrongInput for an unknown run."""
        if state not in RUN_STATES:
            raise ValueError(state)
        self.run(name)
        with self._writing() as db:
            db.execute("UPDATE runs SET state = ?, words = ? WHERE name = ?", (state, words, name))
            self._note(db, name, state, words)

    def change_run(
        self,
        name: str,
        *,
        limits: Limits | None = None,
        plan: Mapping[str, Any] | None = None,
        policy: str | None = None,
        remote: str | None = None,
        image: str | None = None,
    ) -> Run:
        """Replaces what is given of a run (a resume with another ceiling); the story keeps what changed."""
        self.run(name)
        new: dict[str, object] = {}
        if limits is not None:
            new |= dict(zip(("usd", "usd_hour", "hours", "idle_minutes"), columns(limits), strict=True))
        texts = {"policy": policy, "remote": remote, "image": image}
        new |= {key: value for key, value in texts.items() if value is not None}
        if plan is not None:
            new["plan"] = json.dumps(dict(plan), sort_keys=True)
        if new:
            with self._writing() as db:
                sets = ", ".join(f"{key} = ?" for key in new)
                db.execute(f"UPDATE runs SET {sets} WHERE name = ?", (*new.values(), name))
                self._note(db, name, "changed", ", ".join(new))
        return self.run(name)


def columns(limits: Limits) -> tuple[int | None, int | None, float | None, float | None]:
    """Limits as the ledger keeps them. Raises WrongInput for a negative one or none at all like nan."""
    try:
        dollars = None if limits.usd is None else micro(limits.usd)
        hourly = None if limits.usd_hour is None else micro(limits.usd_hour)
    except ValueError as failure:
        raise WrongInput(f"a limit is wrong: {failure}", "give dollars as a number, 0 or more") from None
    for name, value in (("hours", limits.hours), ("idle minutes", limits.idle_minutes)):
        if value is not None and not 0 <= value < 1e9:
            raise WrongInput(f"a limit is wrong: {value} {name}", "give a number, 0 or more")
    return dollars, hourly, limits.hours, limits.idle_minutes
