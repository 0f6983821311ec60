"""What the shell completes arguments with: stores and artifacts of the workspace that the command line is about.

A key press must be quick and silent: nothing is recovered or built, nothing is written but what a workspace remembers of itself,
a folder that no command has worked in yet and a URL offer nothing, and every failure is an empty list. Light.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from assets.engine.model import Store

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def artifacts(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Selections that continue `incomplete`: `kind/store/artifact`, after the `+` of upstream where one was typed."""
    sign = "+" if incomplete.startswith("+") else ""
    return _safely(lambda: [sign + word for word in _artifacts(context) if word.startswith(incomplete[len(sign) :])])


def stores(kind: str) -> Complete:
    """What completes an argument that means a store of `kind`, by name."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        return _safely(
            lambda: [store.name for store in _stores(context) if store.kind == kind and store.name.startswith(incomplete)]
        )

    return complete


def _safely(look: Callable[[], list[str]]) -> list[str]:
    try:
        return look()
    except Exception:  # whatever is wrong with the workspace, a command says it; a prompt is no place for it
        return []


def _artifacts(context: click.Context) -> Iterator[str]:
    from assets.engine.graph import WHOLE_WORKSPACE
    from assets.engine.model import Ref
    from assets.registry import KINDS

    for store in [*_stores(context), WHOLE_WORKSPACE]:
        for recipe in KINDS[store.kind].recipes:
            yield str(Ref(store.kind, store.name, recipe.name))


def _stores(context: click.Context) -> list[Store]:
    """The stores of the workspace that `-C`, HEADWATER_ROOT or the current folder means, as one walk finds them."""
    from assets.engine.discovery import walk
    from assets.registry import KINDS
    from orchestration.cli.app import App
    from resources.storage import is_url
    from resources.workspace import STATE, find_root, open_workspace

    app = context.find_object(App)
    start = (app.root if app is not None else None) or os.environ.get("HEADWATER_ROOT") or "."
    if is_url(start) or not (find_root(Path(start).expanduser().resolve()) / STATE).is_dir():
        return []
    return [store for store in walk(open_workspace(start), KINDS).stores if store.present]
