"""`headwater dvs merge-driver`: what git calls to merge two versions of a manifest."""

from __future__ import annotations

from pathlib import Path

import click

from orchestration.cli.app import App, command, pass_app


@command("merge-driver")
@click.argument("base", type=click.Path(exists=True, dir_okay=False))
@click.argument("ours", type=click.Path(exists=True, dir_okay=False))
@click.argument("theirs", type=click.Path(exists=True, dir_okay=False))
@click.argument("path")
@pass_app
def merge_driver(app: App, base: str, ours: str, theirs: str, path: str) -> int:
    """Merge two versions of dvs.lock into OURS, file by file; git calls this with %O %A %B %P.

    Where both sides changed a file differently, ours stays and the exit code is 1: git then asks you to settle its sidecar, and
    `headwater dvs add` brings the manifest in step.

    \b
    Once per clone:
      git config merge.dvs-lock.driver 'headwater dvs merge-driver %O %A %B %P'
      echo 'dvs.lock merge=dvs-lock' >> .gitattributes
    """
    from schemas.dvs.manifest import Manifest, merge_manifests, read_manifest, write_manifest

    texts = [Path(name).read_bytes() for name in (base, ours, theirs)]
    before, mine, yours = (read_manifest(text, path) if text.strip() else Manifest() for text in texts)
    merged = merge_manifests(before, mine, yours)
    written = write_manifest(merged.manifest)
    if written != texts[1]:
        Path(ours).write_bytes(written)
    for conflict in merged.conflicts:
        app.note(f"{path}: {conflict} was changed differently on both sides; ours stays")
    app.emit({"path": path, "conflicts": list(merged.conflicts)})
    return int(bool(merged.conflicts))
