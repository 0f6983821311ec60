"""What the commands of the tables kind share: the store they mean, its database, its journal, and how changes are shown."""

from __future__ import annotations

import getpass
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assets.engine.model import Outcome, Ref, Result, Store
from orchestration.cli import completing
from orchestration.cli.app import App
from schemas.errors import HeadwaterError, Refused, UsageError

if TYPE_CHECKING:
    from assets.tables.compare import Comparison
    from assets.tables.journal import Journal
    from assets.tables.versions import Version

DATABASE = "playground.db"
GOOD = (Result.FRESH, Result.BUILT, Result.RESTORED, Result.ADOPTED)

store_argument = click.argument("store", required=False, shell_complete=completing.stores("tables"))
store_option = click.option(
    "--store",
    "-s",
    metavar="NAME|FOLDER",
    shell_complete=completing.stores("tables"),
    help="The tables store, when it is not the one around here.",
)


@dataclass(slots=True)
class Opened:
    """One tables store as a command works on it."""

    app: App
    store: Store

    @classmethod
    def choose(cls, app: App, selector: str | None) -> Opened:
        """The store that is meant. Raises UsageError naming the choices."""
        return cls(app, app.store("tables", selector))

    def ref(self, artifact: str = "playground_db") -> Ref:
        return Ref("tables", self.store.name, artifact)

    @property
    def prefix(self) -> str:
        return f"{self.store.root}/" if self.store.root else ""

    @property
    def database(self) -> Path:
        """The local path of playground.db. Raises UsageError for a workspace at a URL."""
        workspace = self.app.workspace()
        root = workspace.outputs.local_root
        if root is None:
            raise UsageError(
                f"this command works on a live database, and a workspace at a URL ({workspace.root.url}) has none",
                fix=f"work on a copy (`headwater -C {shlex.quote(workspace.root.url)} tables zip {shlex.quote(self.store.name)} "
                "-o copy.zip`, then `headwater tables unzip copy.zip`); `headwater query` reads the rows where they are",
                rule="needs-local",
            )
        return root / self.store.root / DATABASE if self.store.root else root / DATABASE

    @property
    def journal(self) -> Journal:
        from assets.tables.journal import Journal

        return Journal(self.app.workspace(), self.store, actor(self.app))

    def ensure(self) -> Path:
        """The database, built silently when there is none. Raises the error that kept it from being built."""
        path = self.database
        outcome = self.app.engine().ensure(self.ref())
        if outcome is not None and outcome.result not in GOOD:
            raise outcome.error or HeadwaterError("; ".join(outcome.reasons) or "the database could not be built")
        return path

    def last_text(self) -> tuple[Version, str] | None:
        """The text the database was last built from, and the oid of the file that made, when both are still known."""
        from assets.tables.plan import kept_text

        return kept_text(self.app.engine().last_built(self.ref()), self.prefix)

    def settle(self) -> Outcome:
        """After text and database were brought to say the same: prove it, and let the engine know the file as its own.

        Where only the spelling of the schema differs (a table that SQL made), the database is built again: not a row is lost.
        """
        from assets.engine.model import Policy

        engine = self.app.engine()
        engine.refresh()
        outcome = engine.build_one(self.ref(), Policy())
        if outcome.result is Result.REFUSED:
            questions = engine.questions([str(self.ref())])
            if questions and not any(questions[0].difference.data.get(word, 1) for word in ("added", "changed", "removed")):
                outcome = engine.build_one(self.ref(), Policy(confirm=frozenset({questions[0].plan})))
        return outcome

    def require_settled(self) -> Path:
        """The database, when it says what the text says; built when there is none. Raises Refused while they differ."""
        path = self.ensure()
        self.app.engine().refresh()
        state = self.app.engine().status([str(self.ref())])[0]
        if str(state.freshness) == "fresh":
            return path
        outcome = self._adopted()
        if outcome is not None and outcome.result in GOOD:
            return path
        raise Refused(
            f"the database and the text differ: {'; '.join(state.reasons) or state.freshness}",
            rule="tables-out-of-step",
            path=self.prefix + DATABASE,
            fix="take over what it says with `headwater tables export`, or build it again with `headwater tables build`"
            if any("edited" in reason for reason in state.reasons)
            else "correct the text; `headwater check` lists what is wrong with it"
            if str(state.freshness) == "blocked"
            else "build it from the text with `headwater tables build`",
        )

    def _adopted(self) -> Outcome | None:
        """A build that may adopt an equal file but replace none: asked, it always says no."""
        from assets.engine.model import Policy

        return self.app.engine().build_one(self.ref(), Policy(ask=lambda question: False))


def actor(app: App) -> str:
    """Who a record of the history names: HEADWATER_ACTOR, git's user.name, else the login name."""
    named = os.environ.get("HEADWATER_ACTOR")
    if named:
        return named[:200]
    git = app.workspace().git
    configured = git.config_get("user.name") if git is not None else None
    if configured:
        return configured[:200]
    try:
        return getpass.getuser()[:200]
    except (OSError, KeyError):
        return "unknown"


def show_comparison(app: App, compared: Comparison, limit: int) -> None:
    """A comparison: one JSON object, or coloured lines."""
    if app.json:
        app.emit(compared.to_json())
        return
    if not compared.equal:
        app.say(app.style(f"from {compared.old} to {compared.new}:", "dim"))
    for line in compared.lines(limit):
        colour = {"+": "green", "-": "red", "~": "yellow"}.get(line.lstrip()[:1])
        app.say(app.style(line, colour) if colour else line)
