"""Writing single notes: where they go, what stays, what is refused; links in the text made into others; attachments."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from resources.notes.inline import materialize, rewrite_wiki_links
from resources.notes.store import NotesStore
from resources.notes.writing import attach, create, link_add, link_rm, update
from schemas.errors import Conflict, HeadwaterError, InvalidText, UsageError
from schemas.notes import edit
from schemas.notes.layout import Layout
from tests.resources.notes.stores import NOW, FilesLinker, carry_out, contents, links_of, store_of

NOTE = """\
---
id: qp-a1b2
title: Hello World   # greeting
type: fleeting
unknown: {x: 1}
updated: 2026-01-01T00:00:00Z
---

Body.
"""


def zeros(count: int) -> bytes:
    return bytes(count)


# new notes


def test_case_10_files_are_named_by_id_and_slug(tmp_path: Path) -> None:
    store = store_of(tmp_path, {})
    plan = create(store, title="Hello World", note_id="qp-a1b2", now=NOW)
    assert plan.path == "notes/qp-a1b2-hello-world.md"
    plan = create(store, title="\u4f60\u597d", note_id="qp-c3d4", note_type="moc", body="x", now=NOW)
    assert plan.path == "mocs/qp-c3d4.md"
    after = carry_out(store, plan)
    assert after == {
        "mocs/qp-c3d4.md": "---\nid: qp-c3d4\ntitle: \u4f60\u597d\ntype: moc\ncreated: 2026-01-12T13:07:00Z\n---\n\nx\n"
    }


def test_new_note_has_template_tags_and_keys(tmp_path: Path) -> None:
    store = store_of(
        tmp_path,
        {
            "templates/fleeting.md": "---\nid: x\n---\n\n## {{title}} on {{date}}\n",
            "templates/meeting.md": "With {{ nobody }}\n",
            "config.toml": 'version = 1\nid_scheme = "ulid"\n[layout]\nnote_path = "date"\n',
        },
    )
    plan = create(store, title="A: b", tags=["x", "#y", "x"], keys={"author": "me", "none": None}, now=NOW, entropy=zeros)
    assert re.fullmatch(r"notes/2026/01/qp-01[0-9a-z]{8}0{16}-a-b\.md", str(plan.path))
    text = carry_out(store, plan)[str(plan.path)]
    assert text.endswith("tags: [x, y]\nauthor: me\n---\n\n## A: b on 2026-01-12\n")
    assert edit.frontmatter(text.encode(), "a.md")["title"] == "A: b"
    assert str(edit.frontmatter(text.encode(), "a.md")["id"]).startswith("qp-01")
    other = create(store, title="M", template="meeting", now=NOW)
    assert other.changes[0].data is not None
    assert other.changes[0].data.endswith(b"---\n\nWith {{ nobody }}\n")
    with pytest.raises(UsageError, match="template"):
        create(store, title="M", template="nothing", now=NOW)
    built_in = create(store_of(tmp_path, {}, root="b/.qipu"), title="M", now=NOW)
    assert built_in.changes[0].data is not None
    assert b"## Summary" in built_in.changes[0].data


@pytest.mark.parametrize("note_id", ["../x", "qp-a/b", "", "a b"])
def test_case_11_bad_ids_are_refused(tmp_path: Path, note_id: str) -> None:
    with pytest.raises(UsageError):
        create(store_of(tmp_path, {}), title="x", note_id=note_id, now=NOW)


def test_case_12_unknown_types_are_refused_with_those_there_are(tmp_path: Path) -> None:
    store = store_of(tmp_path, {})
    with pytest.raises(UsageError) as refused:
        create(store, title="x", note_type="essay", now=NOW)
    assert "fleeting, literature, permanent, moc" in str(refused.value.fix)
    declared = store_of(tmp_path, {"config.toml": '[ontology]\nmode = "extended"\n[ontology.note_types.essay]\n'}, root="b/.qipu")
    assert create(declared, title="x", note_type="Essay", now=NOW).changes


def test_taken_ids_are_refused_or_left_out(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"notes/qp-0000000000-x.md": "", "notes/qp-1.md": ""})
    with pytest.raises(UsageError, match="taken"):
        create(store, title="x", note_id="qp-1", now=NOW)
    with pytest.raises(UsageError, match="taken"):
        create(store, title="x", note_id="qp-9", known=lambda one: one == "qp-9", now=NOW)
    with pytest.raises(HeadwaterError, match="are taken"):
        create(store, title="x", now=NOW, entropy=zeros)


def test_ids_of_other_branches_are_taken(tmp_path: Path) -> None:
    import subprocess

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True, capture_output=True
        )

    git("init", "-q", "-b", "main")
    store = store_of(tmp_path, {"notes/qp-mine-x.md": "x", "config.toml": 'id_scheme = "timestamp"\n'})
    create(store, title="T", now=NOW)
    carry_out(store, create(store, title="T", now=NOW))
    git("add", ".")
    git("commit", "-q", "-m", "x")
    git("checkout", "-q", "-b", "other")
    git("rm", "-q", "-r", ".qipu/notes")
    git("commit", "-q", "-m", "y")
    with pytest.raises(UsageError, match="taken"):
        create(store, title="x", note_id="qp-mine", now=NOW)
    assert create(store, title="T", now=NOW).path == "notes/qp-20260112130700001-t.md"


def test_vaults_and_folders_get_names_that_people_read(tmp_path: Path) -> None:
    vault = store_of(
        tmp_path, {".obsidian/app.json": '{"newFileLocation": "folder", "newFileFolderPath": "Inbox"}'}, root="vault"
    )
    assert vault.layout is Layout.VAULT
    plan = create(vault, title="What / why? #1", note_id="qp-1", now=NOW)
    assert plan.path == "Inbox/What why 1.md"
    carry_out(vault, plan)
    assert create(vault, title="what why 1", note_id="qp-2", now=NOW).path == "Inbox/what why 1 qp-2.md"
    folder = store_of(tmp_path, {"a.md": ""}, root="folder")
    plan = create(folder, title="Hello World", note_id="qp-1", now=NOW)
    assert plan.path == "hello-world.md"
    assert b"type:" not in (plan.changes[0].data or b"")
    assert create(folder, title="A", note_id="qp-2", folder="sub/x", now=NOW).path == "sub/x/a.md"
    with pytest.raises(HeadwaterError):
        create(folder, title="A", folder="../x", now=NOW)


@pytest.mark.parametrize("title", ["x" * 400, "\u6f22" * 400, "CON", "a/b\\c", "...", "\U0001f600" * 30, "nul"])
@pytest.mark.parametrize("layout", ["qipu", "vault", "folder"])
def test_case_80_any_title_gives_a_valid_file_name(tmp_path: Path, title: str, layout: str) -> None:
    store = store_of(tmp_path, {}, root="s", layout=layout)
    plan = create(store, title=title, now=NOW)
    after = carry_out(store, plan)
    assert store.parse(str(plan.path)).title == title
    assert len(after) == 1


# changes


def test_case_68_title_update_changes_its_line_and_the_name(tmp_path: Path) -> None:
    store = store_of(
        tmp_path,
        {
            "notes/qp-a1b2-hello-world.md": NOTE,
            "notes/b.md": "[[qp-a1b2]] [[Hello World]] [[qp-a1b2-hello-world|x]] [y](qp-a1b2-hello-world.md)\n",
        },
    )
    plan = update(store, FilesLinker(store), "notes/qp-a1b2-hello-world.md", title="Good Bye", now=NOW)
    assert plan.path == "notes/qp-a1b2-good-bye.md"
    after = carry_out(store, plan)
    assert after == {
        "notes/qp-a1b2-good-bye.md": NOTE.replace("Hello World", "Good Bye").replace(
            "2026-01-01T00:00:00Z", "2026-01-12T13:07:00Z"
        ),
        "notes/b.md": "[[qp-a1b2]] [[Good Bye]] [[qp-a1b2-good-bye|x]] [y](qp-a1b2-good-bye.md)\n",
    }


def test_case_16_type_moc_moves_to_mocs_and_back(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"notes/qp-a1b2-hello-world.md": NOTE, "notes/b.md": "[x](qp-a1b2-hello-world.md)\n"})
    after = carry_out(store, update(store, FilesLinker(store), "notes/qp-a1b2-hello-world.md", note_type="MOC", now=NOW))
    assert after["mocs/qp-a1b2-hello-world.md"] == NOTE.replace("fleeting", "moc").replace(
        "2026-01-01T00", "2026-01-12T13"
    ).replace("13:00:00Z", "13:07:00Z")
    assert after["notes/b.md"] == "[x](../mocs/qp-a1b2-hello-world.md)\n"
    after = carry_out(store, update(store, FilesLinker(store), "mocs/qp-a1b2-hello-world.md", note_type="permanent", now=NOW))
    assert "notes/qp-a1b2-hello-world.md" in after
    assert after["notes/b.md"] == "[x](qp-a1b2-hello-world.md)\n"


def test_case_15_metadata_update_keeps_the_body_and_no_change_is_no_commit(tmp_path: Path) -> None:
    data = NOTE.encode() + b"[[x]]  \nno newline, not UTF-8: \xe9"
    store = store_of(tmp_path, {"notes/a.md": data.replace(b"\n", b"\r\n")})
    linker = FilesLinker(store)
    carry_out(store, update(store, linker, "notes/a.md", add_tags=["x"], keys={"value": 70}, now=NOW))
    made = store.read("notes/a.md")
    assert edit.body_of(made) == edit.body_of(data.replace(b"\n", b"\r\n"))
    assert made.count(b"\n") == made.count(b"\r\n")
    nothing = update(store, linker, "notes/a.md", add_tags=["X"], keys={"value": 70}, now=NOW + timedelta(days=1))
    assert nothing.changes == []
    with pytest.raises(UsageError):
        update(store, linker, "notes/a.md", keys={"id": "x"}, now=NOW)


def test_title_is_changed_where_it_stands(tmp_path: Path) -> None:
    store = store_of(
        tmp_path, {"one.md": "# Old\n\ntext\n", "plain.md": "text\n", "l.md": "[[one]] [[Old]] [[plain]]\n"}, root="v"
    )
    linker = FilesLinker(store)
    after = carry_out(store, update(store, linker, "one.md", title="New name", now=NOW))
    assert after["one.md"] == "# New name\n\ntext\n"
    assert after["l.md"] == "[[one]] [[New name]] [[plain]]\n"
    after = carry_out(store, update(store, FilesLinker(store), "plain.md", title="fancy", now=NOW))
    assert after == {"one.md": "# New name\n\ntext\n", "fancy.md": "text\n", "l.md": "[[one]] [[New name]] [[fancy]]\n"}
    after = carry_out(store, update(store, FilesLinker(store), "fancy.md", title="Very: fancy", now=NOW))
    assert after["very-fancy.md"] == '---\ntitle: "Very: fancy"\n---\ntext\n'


def test_body_is_replaced_or_continued_and_broken_frontmatter_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"notes/a.md": NOTE, "notes/b.md": "---\ntitle: a: b\n---\ntext\n"})
    linker = FilesLinker(store)
    after = carry_out(store, update(store, linker, "notes/a.md", body="New.", now=NOW))
    assert after["notes/a.md"].endswith("---\n\nNew.\n")
    after = carry_out(store, update(store, linker, "notes/a.md", append="More.", now=NOW))
    assert after["notes/a.md"].endswith("---\n\nNew.\n\nMore.\n")
    before = contents(store)
    with pytest.raises(InvalidText):
        update(store, linker, "notes/b.md", add_tags=["x"], now=NOW)
    after = carry_out(store, update(store, linker, "notes/b.md", append="More.", now=NOW))
    assert after["notes/b.md"].encode() == before["notes/b.md"] + b"\nMore.\n"


# links


def test_case_30_links_are_added_once_and_never_to_the_note_itself(tmp_path: Path) -> None:
    store = store_of(
        tmp_path, {"notes/a.md": "---\nid: qp-a\n---\n", "notes/b.md": "---\nid: qp-b\n---\n", "notes/c d.md": "no id\n"}
    )
    after = carry_out(store, link_add(store, "notes/a.md", "Supports", "notes/b.md", now=NOW))
    assert after["notes/a.md"] == "---\nid: qp-a\nlinks:\n  - type: supports\n    id: qp-b\n---\n"
    assert link_add(store, "notes/a.md", "supports", "notes/b.md", now=NOW).changes == []
    with pytest.raises(UsageError):
        link_add(store, "notes/a.md", "supports", "notes/a.md", now=NOW)
    with pytest.raises(UsageError):
        link_add(store, "notes/a.md", "two words", "notes/b.md", now=NOW)
    carry_out(store, link_add(store, "notes/a.md", "related", "notes/c d.md", now=NOW))
    assert [to for _, to, _ in links_of(store)["notes/a.md"]] == ["notes/b.md", "notes/c d.md"]
    after = carry_out(store, link_rm(store, "notes/a.md", None, "notes/c d.md", now=NOW))
    after = carry_out(store, link_rm(store, "notes/a.md", "supports", "qp-b", now=NOW))
    assert after["notes/a.md"] == "---\nid: qp-a\n---\n"
    assert link_rm(store, "notes/a.md", "supports", "qp-b", now=NOW).changes == []


def test_link_types_of_a_declared_ontology_only(tmp_path: Path) -> None:
    config = '[ontology]\nmode = "replacement"\n[ontology.link_types.cites]\ninverse = "cited-by"\n'
    store = store_of(tmp_path, {"config.toml": config, "notes/a.md": "", "notes/b.md": "---\nid: b\n---\n"})
    assert link_add(store, "notes/a.md", "cited-by", "notes/b.md", now=NOW).changes
    with pytest.raises(UsageError, match="no link type"):
        link_add(store, "notes/a.md", "supports", "notes/b.md", now=NOW)


def test_case_37_links_in_the_text_become_typed_ones(tmp_path: Path) -> None:
    head = "---\nid: qp-a\nlinks:\n- {type: related, id: qp-c}\n---\n\n"
    text = head + "See [[qp-b]], [[qp-b|the b]], [c](c.md), `[[qp-b]]`, ![[qp-b]].\n"
    store = store_of(
        tmp_path, {"notes/a.md": text, "notes/b.md": "---\nid: qp-b\ntitle: Bee\n---\n", "notes/c.md": "---\nid: qp-c\n---\n"}
    )
    plan = materialize(store, FilesLinker(store), "notes/a.md", now=NOW)
    assert contents(store)["notes/a.md"] == text.encode()
    assert len(plan.lines) == 1
    after = carry_out(store, plan)
    assert after["notes/a.md"] == text.replace("id: qp-c}\n", "id: qp-c}\n- type: related\n  id: qp-b\n")
    assert materialize(store, FilesLinker(store), "notes/a.md", now=NOW).changes == []
    after = carry_out(store, materialize(store, FilesLinker(store), "notes/a.md", remove_inline=True, now=NOW))
    assert after["notes/a.md"].endswith("See Bee, the b, c, `[[qp-b]]`, ![[qp-b]].\n")


def test_case_29_and_71_wiki_links_become_markdown_links_that_lead_to_the_same(tmp_path: Path) -> None:
    text = "[[qp-b]] [[Bee#A heading|l *x*]] [[qp-b#^blk]] [[none]] ![[qp-b]] `[[qp-b]]`\n\n| [[qp-b\\|in a table]] |\n|---|\n"
    store = store_of(
        tmp_path,
        {
            "mocs/a.md": text,
            "notes/b c.md": "---\nid: qp-b\ntitle: Bee\n---\n\n# A heading\n\npara ^blk\n",
            "notes/c.md": "[x](b%20c.md)\n",
        },
    )
    before = links_of(store)
    after = carry_out(store, rewrite_wiki_links(store, FilesLinker(store)))
    assert after["mocs/a.md"] == (
        "[Bee](../notes/b%20c.md) [l *x*](../notes/b%20c.md#a-heading) [Bee](../notes/b%20c.md#^blk) [[none]] ![[qp-b]] "
        "`[[qp-b]]`\n\n| [in a table](../notes/b%20c.md) |\n|---|\n"
    )
    assert [to for _, to, _ in links_of(store)["mocs/a.md"]] == [to for _, to, _ in before["mocs/a.md"]]
    assert after["notes/c.md"] == "[x](b%20c.md)\n"
    assert rewrite_wiki_links(store, FilesLinker(store)).changes == []


# attachments


def test_attachments_go_where_the_layout_says_with_a_link(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"notes/a.md": "---\nid: qp-a\n---\n\nText.\n"})
    after = carry_out(store, attach(store, "notes/a.md", "my [p].png", b"png", now=NOW))
    assert after["attachments/my [p].png"] == "png"
    assert after["notes/a.md"] == "---\nid: qp-a\n---\n\nText.\n\n![my \\[p\\].png](../attachments/my%20%5Bp%5D.png)\n"
    again = attach(store, "notes/a.md", "my [p].png", b"other", link=False, now=NOW)
    assert [change.path for change in again.changes] == [".qipu/attachments/my [p]-2.png"]
    assert attach(store, "notes/a.md", "my [p].png", b"png", link=False, now=NOW).changes == []
    assert links_of(store)["notes/a.md"] == [("image", "attachments/my [p].png", None)]
    per_note = store_of(
        tmp_path, {"config.toml": '[layout]\nattachments = "per-note"\n', "notes/a.md": "---\nid: qp-a\n---\n"}, "b/.qipu"
    )
    assert attach(per_note, "notes/a.md", "x.pdf", b"x", now=NOW).lines == ["b/.qipu/attachments/qp-a/x.pdf"]
    vault = store_of(tmp_path, {".obsidian/app.json": '{"attachmentFolderPath": "./files"}', "d/a.md": ""}, root="v")
    assert attach(vault, "d/a.md", "x.pdf", b"x", now=NOW).lines == ["v/d/files/x.pdf"]
    for name in ("../x", "a/b", "CON", "", "x\n"):
        with pytest.raises(HeadwaterError):
            attach(store, "notes/a.md", name, b"", now=NOW)


# at the same moment


def test_case_79_edit_saved_between_plan_and_commit_is_a_conflict_and_nothing_is_written(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"notes/a.md": "---\nid: qp-a\n---\n", "notes/b.md": "[[a]]\n", "notes/c.md": "[[a]]\n"})
    from resources.notes.moving import move

    plan = move(store, FilesLinker(store), "notes/a.md", "notes/z.md")
    place = tmp_path / ".qipu/notes/b.md"
    place.write_text("[[a]] and more\n")
    before = contents(store)
    with pytest.raises(Conflict):
        store.commit(plan.changes, plan.label)
    assert contents(store) == before
    fresh = create(store, title="x", note_id="qp-x", now=NOW)
    (tmp_path / ".qipu" / str(fresh.path)).write_text("somebody was quicker\n")
    with pytest.raises(Conflict):
        store.commit(fresh.changes, fresh.label)
    done = store.retry(lambda: move(store, FilesLinker(store), "notes/a.md", "notes/z.md"))
    assert len(done.changes) == 4
    assert place.read_text() == "[[z]] and more\n"


def test_retry_plans_again_until_it_fits(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"notes/a.md": "---\nid: qp-a\n---\n"})
    calls: list[int] = []

    def make() -> object:
        plan = update(store, FilesLinker(store), "notes/a.md", add_tags=["mine"], now=NOW)
        calls.append(1)
        if len(calls) < 3:
            store.storage.write(".qipu/notes/a.md", store.read("notes/a.md") + b"more\n")
        return plan

    store.retry(make)  # type: ignore[arg-type]  # a plan
    assert len(calls) == 3
    assert store.read("notes/a.md") == b"---\nid: qp-a\ntags: [mine]\n---\nmore\nmore\n"


def test_settings_of_the_workspace_decide_what_is_a_note(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"a.md": "", "drafts/b.md": "", "c.txt": "", ".trash/d.md": ""}, root="v", exclude=["drafts/**"])
    assert store.note_paths() == ["a.md"]
    assert store.attachment_paths() == ["c.txt"]
    assert NotesStore(store.storage, "v").note_paths() == ["a.md", "drafts/b.md"]
    assert store.inside("v/a.md") == "a.md"
    assert store.inside("w/a.md") is None
