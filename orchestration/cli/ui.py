"""`headwater ui`: the Dagster web UI and daemon on this workspace, on loopback, behind the guard."""

from __future__ import annotations

import click

from orchestration.cli.app import App, command, pass_app


@command("ui")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=3000, show_default=True, help="Port on 127.0.0.1; 0 takes a free one."
)
@click.option("--open/--no-open", "open_browser", default=None, help="Open a browser (the default at a terminal).")
@pass_app
def ui(app: App, port: int, open_browser: bool | None) -> int:
    """Serve the Dagster web UI on this workspace until interrupted.

    It listens on this machine only, and lets in whoever has the link it prints: the link carries a one-time token.
    """
    from orchestration.ui.serve import serve

    return serve(app.workspace(), port=port, open_browser=app.interactive if open_browser is None else open_browser, say=app.note)
