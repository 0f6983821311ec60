"""`headwater notes new|capture|edit|update`: commands that write one note.

Cleaning what people typed is `orchestration.cli.notes_text`, carrying out a plan `orchestration.cli.notes_plans`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from orchestration.cli.app import App, command, pass_app
from orchestration.cli.notes_plans import (
    INVALID,
    carry_out,
    dry_run_option,
    file_findings,
    found_note,
    inside,
    linker,
    yes_option,
)
from orchestration.cli.notes_stores import note_argument, opened, store_option
from orchestration.cli.notes_text import (
    checked_key,
    checked_tags,
    checked_text,
    clean_title,
    cut_frontmatter,
    open_editor,
    parse_setting,
    read_stdin,
    title_of,
)
from schemas.errors import UsageError

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from resources.notes.changes import Plan

VALUE: Final = click.IntRange(0, 100)
OWN_OPTIONS: Final = {
    "id": "`headwater notes doctor --fix`, which rewrites the links to it",
    "title": "--title",
    "type": "--type",
    "tags": "--tag and --remove-tag",
    "links": "`headwater notes link add`",
    "custom": "`headwater notes custom set`",
}
"""Keys that --set leaves to another way, and which."""
_NAMED: Final = frozenset({"id", "title", "type"})
"""Keys that a new note gets by itself."""

type_option = click.option("--type", "-t", "kind", metavar="TYPE", help="The note's type: fleeting, literature, permanent, moc.")
folder_option = click.option("--folder", metavar="FOLDER", help="The folder in the store, instead of the one its layout gives.")
edit_option = click.option("--edit", is_flag=True, help="Open the note in the editor afterwards.")


def _provenance(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where a note comes from."""
    for option in (
        click.option("--verified/--unverified", default=None, help="Whether a person has checked it."),
        click.option("--prompt-hash", metavar="HASH", help="A hash of the prompt it was generated with."),
        click.option("--generated-by", metavar="NAME", help="The program or model that wrote it; makes it unverified."),
        click.option("--author", metavar="NAME", help="Who wrote it."),
        click.option("--source", metavar="URL", help="Where its content comes from: a URL or a reference."),
    ):
        function = option(function)
    return function


def _said(
    source: str | None, author: str | None, generated_by: str | None, prompt_hash: str | None, verified: bool | None
) -> dict[str, Any]:
    """The frontmatter keys of the options of `_provenance`: what a program generated counts as unverified unless it is said."""
    keys: dict[str, Any] = {"source": source, "author": author, "generated_by": generated_by, "prompt_hash": prompt_hash}
    said = {key: value for key, value in keys.items() if checked_text("--" + key.replace("_", "-"), value)}
    if verified is not None or generated_by:
        said["verified"] = bool(verified)
    return said


@command("new")
@click.argument("title")
@store_option
@type_option
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; repeatable.")
@click.option("--id", "note_id", metavar="ID", help="Its id (letters, digits, - and _), instead of a new one.")
@click.option("--body", metavar="TEXT", help="Its text, instead of the template's.")
@click.option("--stdin", "piped", is_flag=True, help="Read its text from standard input.")
@click.option("--template", metavar="NAME", help="Begin with templates/NAME.md, instead of the template of its type.")
@folder_option
@edit_option
@_provenance
@dry_run_option
@pass_app
def new(
    app: App,
    /,
    title: str,
    store: str | None,
    kind: str | None,
    tags: tuple[str, ...],
    note_id: str | None,
    body: str | None,
    piped: bool,
    template: str | None,
    folder: str | None,
    edit: bool,
    dry_run: bool,
    **provenance: Any,
) -> int:
    """Start a note, and print its id and where it lies.

    Its text comes from --body, from standard input, or from the template of its type. Frontmatter that standard input begins
    with becomes the note's; options come first. Where there is no store yet, one is started: .qipu/ at the root of the checkout.

    \b
    Examples:
      headwater notes new "Content-addressed storage"
      headwater notes new "Raft" --type literature --tag consensus --source https://raft.github.io
      pandoc page.html -t gfm | headwater notes new "A page" --stdin
      headwater notes new "Monday" --template meeting --edit
    """
    if sum((body is not None, piped, template is not None)) > 1:
        raise UsageError("--body, --stdin and --template exclude each other", rule="usage", fix="give one of them")
    clean = clean_title(title)
    written, text = cut_frontmatter(read_stdin(app)) if piped else ({}, checked_text("--body", body))
    given = {"note_type": kind, "tags": checked_tags(tags), "note_id": note_id, "template": template, "folder": folder}
    given = _under(written, {**given, "body": text, "keys": _said(**provenance)})
    return _create(app, store, clean, given, edit=edit, dry_run=dry_run)


@command("capture")
@store_option
@click.option("--title", metavar="TEXT", help="Its title, instead of its first heading or line.")
@type_option
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; repeatable.")
@click.option("--id", "note_id", metavar="ID", help="Its id (letters, digits, - and _), instead of a new one.")
@folder_option
@click.option("--allow-empty", is_flag=True, help="Make a note even of nothing.")
@edit_option
@_provenance
@dry_run_option
@pass_app
def capture(
    app: App,
    /,
    store: str | None,
    title: str | None,
    kind: str | None,
    tags: tuple[str, ...],
    note_id: str | None,
    folder: str | None,
    allow_empty: bool,
    edit: bool,
    dry_run: bool,
    **provenance: Any,
) -> int:
    """Make a note of standard input, titled by its first heading or line.

    Frontmatter that it begins with, as web clippers write it, becomes the note's: its title, tags and other keys. Options come
    first.

    \b
    Examples:
      pbpaste | headwater notes capture
      headwater notes capture --tag inbox < clipping.md
      git log -1 --format=%B | headwater notes capture --title "Why we moved" --type permanent
    """
    clean = None if title is None else clean_title(title)
    written, text = cut_frontmatter(read_stdin(app))
    if not text.strip() and not written and not allow_empty:
        raise UsageError(
            "there was nothing on standard input",
            rule="note-empty",
            fix="pipe a text in, or pass --allow-empty for an empty note",
        )
    own = written.get("title")
    named = clean or (clean_title(own) if isinstance(own, str) and own.strip() else title_of(text) or "Untitled")
    given = {"note_type": kind, "tags": checked_tags(tags), "note_id": note_id, "folder": folder, "body": text}
    return _create(app, store, named, _under(written, {**given, "keys": _said(**provenance)}), edit=edit, dry_run=dry_run)


def _under(written: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The options of a new note, `given`, with the frontmatter that its text came with filled in below them."""
    made = {**given, "keys": {**{key: value for key, value in written.items() if key not in _NAMED}, **given["keys"]}}
    if given["tags"] and "tags" in written:
        present = written["tags"] if isinstance(written["tags"], list) else str(written["tags"]).replace(",", " ").split()
        made["keys"]["tags"] = [*present, *(tag for tag in given["tags"] if tag not in present)]
    for option, key in (("note_id", "id"), ("note_type", "type")):
        if given[option] is None and isinstance(written.get(key), str | int):
            made[option] = str(written[key])
    return made


def _create(app: App, selector: str | None, title: str, given: dict[str, Any], *, edit: bool, dry_run: bool) -> int:
    """Write a new note and say its id and path; `given` goes to `resources.notes.writing.create`. The exit code."""
    if not dry_run:
        from orchestration.cli.notes_init import start_if_none

        start_if_none(app, selector)

    def make(notes: OpenedNotes) -> Plan:
        from resources.notes.writing import create

        folder = _current_folder(app, notes) if given["folder"] is None else inside(notes, given["folder"])
        return create(notes.store, title=title, now=notes.now, known=_knows(notes), **{**given, "folder": folder})

    def report(notes: OpenedNotes, plan: Plan) -> tuple[dict[str, Any], str]:
        (change,) = plan.changes
        note = notes.store.parse_bytes(change.data or b"", plan.path or "")
        record = {"id": note.id, "title": note.title, "type": note.type, "path": change.path, "change": "created"}
        return record, f"{app.style(note.id, 'cyan')}  {change.path}"

    plan = carry_out(app, selector, make, label="notes new", dry_run=dry_run, report=report)
    if not edit or dry_run or plan is None or plan.path is None:
        return 0
    with opened(app, selector) as notes:
        return write_in(app, notes, plan.path)


def _current_folder(app: App, notes: OpenedNotes) -> str | None:
    """The folder of a vault one stands in, where its settings put new notes into the folder of the present one; else None."""
    from schemas.notes.layout import Layout

    root = notes.store.storage.local_root
    if root is None or app.root is not None or notes.store.layout is not Layout.VAULT:
        return None
    if notes.store.obsidian.new_file_location != "current":
        return None
    here = Path.cwd().resolve()
    top = (root / notes.store.root).resolve()
    inner = here.relative_to(top).as_posix() if here.is_relative_to(top) else None
    return "" if inner == "." else inner


def _knows(notes: OpenedNotes) -> Callable[[str], bool]:
    """Whether the store has a note of that id, in any case of its letters: some file systems tell none apart."""

    def known(note_id: str) -> bool:
        query = "SELECT 1 FROM notes WHERE id = ? COLLATE NOCASE LIMIT 1"
        return notes.connection.execute(query, (note_id,)).fetchone() is not None

    return known


@command("edit")
@note_argument
@store_option
@pass_app
def edit(app: App, note: str, store: str | None) -> int:
    """Open a note in the editor, and say afterwards what is wrong with it.

    The editor is the store's (`editor` in config.toml), else VISUAL, else EDITOR. What it saves is kept whatever is wrong with
    it; the exit code is 3 when something is.

    \b
    Examples:
      headwater notes edit qp-a1b2
      EDITOR=nano headwater notes edit "Content-addressed storage"
    """
    with opened(app, store) as notes:
        return write_in(app, notes, found_note(notes, note))


def write_in(app: App, notes: OpenedNotes, path: str) -> int:
    """Let a person write in the note at the store's `path`; the exit code."""
    shown = notes.store.workspace_path(path)
    root = notes.store.storage.local_root
    if root is None:
        raise UsageError(
            "a note in a workspace at a URL cannot be opened in an editor",
            rule="needs-local",
            path=shown,
            fix="change it with `headwater notes update`, or in a checkout of the text",
        )
    before = notes.store.read(path)
    try:
        open_editor(app, root / shown, notes.config.editor)
    finally:
        notes.refresh()
    try:
        after = notes.store.read(path)
    except FileNotFoundError:
        app.emit({"path": shown, "change": "removed"}, f"{shown} is gone: it was moved or deleted in the editor")
        return 0
    if after == before:
        app.emit({"path": shown, "change": None}, f"{shown} is as it was")
        return 0
    parsed = notes.store.parse(path)
    app.emit({"id": parsed.id, "title": parsed.title, "path": shown, "change": "edited"}, f"edited {shown}")
    findings = file_findings(notes, path)
    app.show_findings(findings)
    return INVALID if any(finding.blocking for finding in findings) else 0


@command("update")
@note_argument
@store_option
@click.option(
    "--title", metavar="TEXT", help="Another title; the file is renamed where its name follows the title, with all links."
)
@click.option("--type", "-t", "kind", metavar="TYPE", help="Another type; a note of type moc lies in mocs/.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Add a tag; repeatable.")
@click.option("--remove-tag", "unwanted", multiple=True, metavar="TAG", help="Take a tag away; repeatable.")
@click.option("--value", type=VALUE, metavar="0..100", help="How much the note is worth.")
@click.option("--summary", metavar="TEXT", help="Its summary; an empty one takes it out.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set any key of the frontmatter; repeatable.")
@click.option("--unset", multiple=True, metavar="KEY", help="Take a key out of the frontmatter; repeatable.")
@click.option("--stdin", "piped", is_flag=True, help="Replace its text by standard input.")
@click.option("--append", "appended", is_flag=True, help="Add standard input at the end of its text.")
@_provenance
@dry_run_option
@yes_option
@pass_app
def update(
    app: App,
    /,
    note: str,
    store: str | None,
    title: str | None,
    kind: str | None,
    tags: tuple[str, ...],
    unwanted: tuple[str, ...],
    value: int | None,
    summary: str | None,
    settings: tuple[str, ...],
    unset: tuple[str, ...],
    piped: bool,
    appended: bool,
    dry_run: bool,
    yes: bool,
    **provenance: Any,
) -> None:
    """Change a note's title, type, tags or keys; everything that is not named stays byte for byte.

    Values of --set are numbers, true, false, null and JSON lists where they read as such, else text. The text of the note is
    only touched with --stdin or --append.

    \b
    Examples:
      headwater notes update qp-a1b2 --title "A better title" --dry-run
      headwater notes update qp-a1b2 --tag done --remove-tag inbox --set due=2026-03-01 --unset draft
      headwater notes update qp-a1b2 --stdin < rewritten.md
    """
    if piped and appended:
        raise UsageError("--stdin and --append exclude each other", rule="usage", fix="give one of them")
    keys = _keys(value, summary, settings, unset, _said(**provenance))
    clean = None if title is None else clean_title(title)
    added, removed = checked_tags(tags), checked_tags(unwanted)
    if not (keys or clean or kind or added or removed or piped or appended):
        raise UsageError("nothing to change is named", rule="usage", fix="see `headwater notes update --help`")
    text = read_stdin(app) if piped or appended else None
    if text is not None and cut_frontmatter(text)[0]:
        raise UsageError(
            "standard input begins with frontmatter, and only the text below the note's own is changed",
            rule="note-frontmatter",
            fix="leave the frontmatter out; set keys with --set",
        )
    if text is not None and not text.strip():
        raise UsageError(
            "there was nothing on standard input, and the note keeps its text",
            rule="note-empty",
            fix="pipe a text in; to empty a note, use `headwater notes edit`",
        )

    def make(notes: OpenedNotes) -> Plan:
        from resources.notes.writing import update as plan_update

        return plan_update(
            notes.store,
            linker(notes),
            found_note(notes, note),
            title=clean,
            note_type=kind,
            add_tags=added,
            remove_tags=removed,
            keys=keys,
            body=text if piped else None,
            append=text if appended else None,
            now=notes.now,
        )

    carry_out(app, store, make, label="notes update", dry_run=dry_run, yes=yes)


def _keys(
    value: int | None, summary: str | None, settings: tuple[str, ...], unset: tuple[str, ...], said: dict[str, Any]
) -> dict[Any, Any]:
    """The keys to set, and with None those to take out. Raises UsageError for one that is named twice or has its own option."""
    keys: dict[Any, Any] = dict(said)
    if value is not None:
        keys["value"] = value
    if summary is not None:
        keys["summary"] = checked_text("--summary", summary) or None
    for key, given in [*map(parse_setting, settings), *((checked_key(key), None) for key in unset)]:
        own = next((option for name, option in OWN_OPTIONS.items() if key.lower() == name), None)
        if own is not None:
            raise UsageError(f"{key!r} is not set as a plain key", rule="note-key", fix=f"use {own}")
        if key in keys:
            raise UsageError(f"{key!r} is named twice", rule="note-key", fix="name it once")
        keys[key] = given
    return keys
