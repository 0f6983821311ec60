"""`headwater mcp`: the notes and artifacts of a workspace for language models, over standard input and output."""

from __future__ import annotations

from orchestration.cli.app import App, command, pass_app


@command("mcp")
@pass_app
def mcp(app: App) -> None:
    """Serve the workspace to a language model: the Model Context Protocol on standard input and output, read-only.

    Tools: stores, search, show, backlinks, context, explain; every passage with its path and lines. Programs start it, people
    seldom do; it ends with its input.

    \b
    In a client's configuration:
      {"command": "headwater", "args": ["-C", "/path/to/workspace", "mcp"]}
    """
    from orchestration.mcp import server

    server(app.engine()).run("stdio")
