"""Questions: what is asked before a file is replaced, what a refusal says, and whether foreign files say the same anyway.

The table that decides is `assets.engine.ownership`; here it is put into words and differences. Light until a difference is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assets.engine.make import Made, Maker
from assets.engine.model import Difference, Ownership, Policy, Question, Ref
from assets.engine.ownership import all_equal, classify, plan_digest, worst
from assets.engine.places import SIDECARS, Key
from assets.engine.recipe import Confirm, Place, Recipe
from assets.engine.standing import Standing
from schemas.errors import HeadwaterError, InvalidText, Refused


class Questions:
    """The questions about the artifacts of one workspace."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        self.workspace = maker.workspace
        self.observer = maker.observer
        self.places = maker.places
        self.checks = maker.checks

    def confirm(self, standing: Standing) -> Confirm:
        """Whether replacing our own output is asked about: `[stores.<name>] confirm`, else what the recipe says."""
        node = standing.node
        configured = self.workspace.config.stores.get(node.store.name)
        if configured is None or configured.confirm is None or configured.kind != node.ref.kind:
            return node.recipe.confirm
        if configured.confirm == Confirm.ALWAYS and any(output.place is Place.STORE for output in node.recipe.outputs):
            return Confirm.ALWAYS
        return node.recipe.confirm if configured.confirm == Confirm.ALWAYS else Confirm.NEVER

    def question(self, standing: Standing, ownership: Ownership, plan: str) -> Question:
        """What is asked before the present files are replaced, with what would change."""
        paths = tuple(self.places.spot(standing.node.store, key).shown for key in sorted(standing.present))
        return Question(standing.node.ref, ownership, plan, self._difference(standing), paths)

    def foresee(self, ref: Ref) -> Question | None:
        """What a build would ask about this artifact now; None when nothing, or when its inputs have to be built first."""
        standing = self.observer.standing(ref)
        if standing.fresh or standing.fingerprint is None or standing.stale_upstream or not standing.present:
            return None
        plan = plan_digest(standing.fingerprint, standing.present)
        ownership = worst(standing.whose)
        if ownership is not Ownership.OURS and standing.node.recipe.derived_by_format:
            return None
        try:
            if ownership is Ownership.OURS:
                question = self.question(standing, ownership, plan) if self.confirm(standing) is Confirm.ALWAYS else None
                return None if question is None or question.difference.equal else question
            self.checks.refuse_blocking(standing)
            with self.maker.scratch(ref) as folder:
                made = self._made(standing, standing.fingerprint, folder)
                if made is None:
                    return None
                whose = classify(standing.present, standing.record, made.oids())
                same = all_equal(whose) or self.same_content(standing.node.recipe, standing, made, whose)
            ownership = worst(whose)
            foreign = ownership in (Ownership.EDITED, Ownership.UNKNOWN)
            return self.question(standing, ownership, plan) if foreign and not same else None
        except (HeadwaterError, OSError):
            # What is wrong with text, inputs or disk is told by the build itself; here there is only nothing to ask.
            return None

    def _made(self, standing: Standing, fingerprint: str, folder: Path) -> Made | None:
        """What a build would make; None where the recipe fails, whatever its libraries raise: the build makes the same, and its
        outcome carries the error."""
        try:
            return self.maker.make(standing, fingerprint, Policy(), _silent, folder)
        except Exception:
            return None

    def _difference(self, standing: Standing) -> Difference:
        node = standing.node
        if node.recipe.preview is not None and self.workspace.root.local_root is not None:
            paths = [
                local
                for output in node.recipe.outputs
                if (local := self.places.spot(node.store, (output.place, output.path)).local) is not None
            ]
            with self.maker.scratch(node.ref) as folder:
                view = self.maker.view(standing, folder)
                view.built = self.maker.last_built(standing)
                try:
                    difference: Difference = node.recipe.preview.load()(view, paths)
                    return difference
                except InvalidText:
                    raise
                except HeadwaterError as error:
                    return Difference(error.message, [])
        lines = [
            f"{self.places.spot(node.store, key).shown}: {here.size} bytes, {standing.whose[key]}"
            for key, here in sorted(standing.present.items())
        ]
        return Difference(f"{len(lines)} file{'s' if len(lines) != 1 else ''} will be replaced", lines)

    def ask(self, standing: Standing, ownership: Ownership, plan: str, policy: Policy) -> None:
        assert policy.ask is not None
        question = self.question(standing, ownership, plan)
        if ownership is Ownership.OURS and question.difference.equal:
            return
        if not policy.ask(question):
            raise Refused(
                f"{', '.join(self._paths(standing))} was left as it is",
                rule="replacement-declined",
                fix=f"to replace it later, run `headwater build {standing.node.ref.word}` again",
            )

    def _paths(self, standing: Standing) -> list[str]:
        return [self.places.spot(standing.node.store, key).shown for key in sorted(standing.present)]

    def refusal(self, standing: Standing, ownership: Ownership, plan: str) -> Refused:
        """The refusal of a build without a terminal: the difference, and the exact words that allow the replacement."""
        ref = standing.node.ref
        difference = self._difference(standing)
        paths = self._paths(standing)
        what = "was edited since it was built" if ownership is Ownership.EDITED else "was not written by Headwater"
        detail = "".join(f"\n    {line}" for line in difference.lines[:20])
        refused = Refused(
            f"{what}{f', like {len(paths) - 1} more' if len(paths) > 1 else ''}: {difference.headline}{detail}",
            rule="output-not-ours",
            path=paths[0],
            fix=(
                f"run `headwater build {ref.word} --confirm {plan}` to replace it, after a copy to headwater-rescue/, or "
                f"`headwater adopt {ref.word}` if it is right as it is"
            ),
        )
        refused.run_config = run_config_yaml(ref, plan)
        refused.difference = difference  # type: ignore[attr-defined]  # shown as metadata of the failed run
        refused.plan = plan  # type: ignore[attr-defined]
        return refused

    def same_content(self, recipe: Recipe, standing: Standing, made: Made, whose: Mapping[Key, Ownership]) -> bool:
        """Whether foreign files say the same as what was made, for formats that other tools rewrite."""
        if recipe.content is None or worst(whose) not in (Ownership.EDITED, Ownership.UNKNOWN):
            return False
        if whose.keys() != made.oids().keys() or any(here.obstacle for here in standing.present.values()):
            return False
        if any(key[1].endswith(SIDECARS) for key in standing.present) or standing.present.keys() != whose.keys():
            return False
        content = recipe.content.load()
        for key in whose:
            local = self.places.spot(standing.node.store, key).local
            if local is None:
                return False
            try:
                if content(local) != content(made.folder / "outputs" / key[1]):
                    return False
            except Exception:
                # Whatever lies there is not even of the format; that is a difference.
                return False
        return True


def run_config_yaml(ref: Ref, plan: str) -> str:
    """The run config that agrees to one replacement, as the launchpad takes it."""
    from schemas.ids import escape_name

    operation = "__".join((ref.kind, escape_name(ref.store), ref.name))
    return f'ops:\n  {operation}:\n    config:\n      confirm: ["{plan}"]'


def _silent(_ref: Ref, _phase: str, _fraction: float | None) -> None:
    """No progress display."""
