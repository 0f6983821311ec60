"""`headwater notes value|verify|custom|attach`: commands that change what is said about a note, not its text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from orchestration.cli.app import App, command, group, pass_app
from orchestration.cli.notes_plans import carry_out, dry_run_option, found_note, linker
from orchestration.cli.notes_stores import note_argument, opened, store_option
from orchestration.cli.notes_text import checked_key, parse_value
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from resources.notes.changes import Plan
    from schemas.notes.edit import Key

DEFAULT_VALUE: Final = 50
"""What a note counts as where it has no value of its own."""
ATTACHMENT_LIMIT: Final = 1 << 30
"""Bytes of a file that is attached: it is copied into the store, and read whole."""


@group("value")
def value() -> None:
    """How much a note is worth, from 0 to 100: walks and searches prefer what is worth more.

    \b
    Examples:
      headwater notes value show qp-a1b2
      headwater notes value set qp-a1b2 90
    """


@command("show")
@note_argument
@store_option
@pass_app
def value_show(app: App, note: str, store: str | None) -> None:
    """Print what a note is worth: 50 where it does not say.

    \b
    Example:
      headwater notes value show qp-a1b2
    """
    with opened(app, store) as notes:
        found = notes.store.parse(found_note(notes, note))
    worth = DEFAULT_VALUE if found.value is None else found.value
    record = {"id": found.id, "value": worth, "default": found.value is None}
    app.emit(record, f"{worth}{'  (the default)' if found.value is None else ''}")


@command("set")
@note_argument
@click.argument("number", type=click.IntRange(0, 100), metavar="0..100")
@store_option
@dry_run_option
@pass_app
def value_set(app: App, note: str, number: int, store: str | None, dry_run: bool) -> None:
    """Say what a note is worth, from 0 to 100.

    \b
    Example:
      headwater notes value set qp-a1b2 90
    """
    _set(app, store, note, {"value": number}, "notes value set", dry_run)


value.add_command(value_show)
value.add_command(value_set)


@command("verify")
@note_argument
@store_option
@click.option("--off", is_flag=True, help="Say that nobody has checked it.")
@dry_run_option
@pass_app
def verify(app: App, note: str, store: str | None, off: bool, dry_run: bool) -> None:
    """Say that a person has checked a note, such as one that a program generated.

    \b
    Examples:
      headwater notes verify qp-a1b2
      headwater notes verify qp-a1b2 --off
    """
    _set(app, store, note, {"verified": not off}, "notes verify", dry_run)


@group("custom")
def custom() -> None:
    """Keys of your own: the entries of `custom:` in a note's frontmatter.

    Any other key of the frontmatter is set by `headwater notes update --set`.

    \b
    Examples:
      headwater notes custom set qp-a1b2 priority 2
      headwater notes custom show qp-a1b2
    """


@command("get")
@note_argument
@click.argument("key")
@store_option
@pass_app
def custom_get(app: App, note: str, key: str, store: str | None) -> None:
    """Print the value of a custom key.

    \b
    Example:
      headwater notes custom get qp-a1b2 priority
    """
    path, entries = _custom(app, store, note)
    if key not in entries:
        raise HeadwaterError(
            f"it has no custom key {key!r}",
            rule="note-key",
            path=path,
            fix=f"it has: {', '.join(entries)}" if entries else f"set one with `headwater notes custom set NOTE {key} VALUE`",
        )
    app.emit({"key": key, "value": entries[key]}, _text(entries[key]))


@command("show")
@note_argument
@store_option
@pass_app
def custom_show(app: App, note: str, store: str | None) -> None:
    """Print all custom keys of a note.

    \b
    Example:
      headwater notes custom show qp-a1b2
    """
    path, entries = _custom(app, store, note)
    app.emit({"path": path, "custom": entries})
    app.table([[app.style(key, "bold"), _text(entry)] for key, entry in entries.items()])


@command("set")
@note_argument
@click.argument("key")
@click.argument("given", metavar="VALUE")
@store_option
@dry_run_option
@pass_app
def custom_set(app: App, note: str, key: str, given: str, store: str | None, dry_run: bool) -> None:
    """Set a custom key: a number, true, false, or JSON where VALUE reads as such, else text.

    \b
    Examples:
      headwater notes custom set qp-a1b2 priority 2
      headwater notes custom set qp-a1b2 reviewers '["ann", "bo"]'
    """
    wanted = parse_value(given)
    if wanted is None:
        raise UsageError("null is no value", rule="usage", fix="take the key out with `headwater notes custom unset`")
    _set(app, store, note, {("custom", checked_key(key)): wanted}, "notes custom set", dry_run)


@command("unset")
@note_argument
@click.argument("key")
@store_option
@dry_run_option
@pass_app
def custom_unset(app: App, note: str, key: str, store: str | None, dry_run: bool) -> None:
    """Take a custom key out; the last one goes with `custom:` itself.

    \b
    Example:
      headwater notes custom unset qp-a1b2 priority
    """
    _set(app, store, note, {("custom", checked_key(key)): None}, "notes custom unset", dry_run)


custom.add_command(custom_get)
custom.add_command(custom_set)
custom.add_command(custom_unset)
custom.add_command(custom_show)


@command("attach")
@note_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@store_option
@click.option("--name", metavar="NAME", help="The name it gets, instead of its own.")
@click.option("--no-link", is_flag=True, help="Only copy the file; leave the note as it is.")
@dry_run_option
@pass_app
def attach(app: App, note: str, file: str, store: str | None, name: str | None, no_link: bool, dry_run: bool) -> None:
    """Copy FILE to the attachments of a note and link to it at the note's end; a picture is shown there.

    Nothing is overwritten: a file of the same name and other content gets a number.

    \b
    Examples:
      headwater notes attach qp-a1b2 diagram.png
      headwater notes attach qp-a1b2 ~/Downloads/paper.pdf --name raft.pdf
    """
    source = Path(file)
    size = source.stat().st_size
    if size > ATTACHMENT_LIMIT:
        raise UsageError(
            f"the file has {size:,} bytes; {ATTACHMENT_LIMIT:,} are allowed",
            rule="file-too-large",
            path=file,
            fix="keep it elsewhere and link to it",
        )
    named = name or source.name
    if named.startswith("."):
        raise UsageError(
            f"{named!r} would be hidden: no link leads to a name with a dot before it",
            rule="notes-place",
            fix="give another with --name",
        )
    data = source.read_bytes()

    def make(notes: OpenedNotes) -> Plan:
        from resources.notes.writing import attach as plan_attach

        path = found_note(notes, note)
        return plan_attach(notes.store, path, named, data, link=not no_link, now=notes.now)

    carry_out(app, store, make, label="notes attach", dry_run=dry_run)


def _set(app: App, store: str | None, note: str, keys: dict[Key, Any], label: str, dry_run: bool) -> None:
    """Set keys of a note's frontmatter."""

    def make(notes: OpenedNotes) -> Plan:
        from resources.notes.writing import update

        return update(notes.store, linker(notes), found_note(notes, note), keys=keys, now=notes.now)

    carry_out(app, store, make, label=label, dry_run=dry_run)


def _custom(app: App, store: str | None, note: str) -> tuple[str, dict[str, Any]]:
    """(workspace path, the entries of `custom:`) of a note, read from its file."""
    with opened(app, store) as notes:
        path = found_note(notes, note)
        entries = notes.store.parse(path).meta.get("custom")
        return notes.store.workspace_path(path), dict(entries) if isinstance(entries, dict) else {}


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
