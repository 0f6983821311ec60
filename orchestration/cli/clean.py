"""`headwater clean`: delete artifacts that Headwater made and that nobody has touched since."""

from __future__ import annotations

from orchestration.cli.app import App, command, counted, dry_run_option, pass_app, select_argument


@command("clean")
@select_argument
@dry_run_option
@pass_app
def clean(app: App, select: tuple[str, ...], dry_run: bool) -> int:
    """Delete artifacts that are ours; `headwater build` brings them back, from the build cache where it can.

    Never deletes a source, a file that git tracks, or a file that was edited since it was built: those are listed and kept, and
    the command exits with 1.
    """
    deleted = kept = 0
    for cleaned in app.engine().clean(select, dry_run):
        gone = cleaned.reason is None
        deleted += gone
        kept += not gone
        word = ("would go" if dry_run else "deleted") if gone else "kept"
        app.emit(
            {"artifact": str(cleaned.ref), "path": cleaned.path, "deleted": gone and not dry_run, "reason": cleaned.reason},
            f"{app.style(f'{word:<8}', 'yellow' if gone else 'red')} {cleaned.path}"
            + (f"  {cleaned.reason}" if cleaned.reason else ""),
        )
    verb = "would be deleted" if dry_run else "deleted"
    app.say(f"{counted(deleted, 'path')} {verb}" + (f", {kept} kept" if kept else ""))
    return 1 if kept else 0
