"""How states, sizes and empty workspaces are put into words, the same in every command.

Light: standard library only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets.engine.model import State
    from orchestration.cli.app import App

STATE_COLOURS = {"fresh": "green", "stale": "yellow", "missing": "yellow", "blocked": "red"}
OUTCOME_COLOURS = {
    "fresh": "green",
    "restored": "green",
    "adopted": "green",
    "built": "green",
    "failed": "red",
    "blocked": "red",
    "refused": "red",
}


_SHOWN_OUTPUTS = 3
"""Files of one folder that are named one by one."""


def state_word(app: App, state: State) -> str:
    """The state of an artifact, coloured."""
    return app.style(str(state.freshness), STATE_COLOURS[str(state.freshness)])


def state_record(state: State) -> dict[str, Any]:
    """The state of an artifact for `--json`."""
    return {
        "artifact": str(state.ref),
        "state": str(state.freshness),
        "reasons": list(state.reasons),
        "changed": list(state.changed),
        "outputs": list(state.outputs),
        "output_digest": state.output_digest,
        "cached": state.cached,
    }


def places(outputs: Sequence[str]) -> str:
    """Where an artifact's outputs lie; of many files in one folder, the folder."""
    folders = {path.rpartition("/")[0] for path in outputs}
    if len(outputs) > _SHOWN_OUTPUTS and len(folders) == 1:
        return f"{folders.pop()}/ ({len(outputs)} files)"
    return ", ".join(outputs)


def size(number: float) -> str:
    """Bytes for people: `512 B`, `1.5 KiB`, `20 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds for people: `12 ms`, `3.4 s`, `2 min 5 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def not_recognised(kind: str | None = None) -> list[str]:
    """A line for each file of the current folder that has the name of a kind's marker and is none."""
    from assets.registry import KINDS

    return [
        f"The {marker} here is not read as a {each.name} project: it must have the keys that `headwater init {each.name}` writes."
        for each in KINDS.values()
        if kind in (None, each.name)
        for marker in each.markers
        if Path(marker).is_file()
    ]


def nothing_here(app: App, select: Sequence[str] = ()) -> bool:
    """Whether the workspace has no store; then it is said, with how one starts. A selection is left to say what it lacks."""
    from assets.engine.places import WORKSPACE_KIND

    if select or any(store.kind != WORKSPACE_KIND for store in app.engine().stores()):
        return False
    root = app.workspace().root
    app.say(f"No store in {root.local_root or root.url}.")
    for hint in not_recognised():
        app.say(hint)
    inner = sorted(place.parent.name for place in root.local_root.glob("*/headwater.toml")) if root.local_root is not None else []
    if inner:
        app.say(f"Workspaces of their own lie in {', '.join(inner[:10])}: a folder's headwater.toml sets it apart from this one.")
    app.say("Start one with `headwater init tables FOLDER` or `headwater init notes`, or work elsewhere with -C PATH.")
    return True
