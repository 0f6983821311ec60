"""Moving, joining, renumbering and deleting notes: every link still leads where it did, in its own spelling."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.notes.moving import merge_notes, move, remove, renumber
from resources.notes.relayout import relayout
from resources.notes.store import NotesStore
from schemas.errors import HeadwaterError, Refused, UsageError
from schemas.notes import edit
from tests.resources.notes.stores import NOW, FilesLinker, carry_out, contents, links_of, store_of

TARGET = (
    "---\nid: qp-t\ntitle: The Target\naliases: [Bullseye]\n---\n\n"
    "# Heading\n\nSee [home](../mocs/map.md) and ![p](../attachments/p%20q.png).\n"
)
HEAD = """\
---
id: qp-m
title: Map # kept
up: "[[{up}]]"
see: ['[[{see}|x]]']
links:
- type: part-of
  id: qp-t
---
"""
SPELLINGS = {
    "[[qp-t]]": "[[qp-t]]",
    "[[qp-t|a label]]": "[[qp-t|a label]]",
    "[[notes/target]]": "[[archive/2026/goal]]",
    "[[notes/target.md#Heading|x]]": "[[archive/2026/goal.md#Heading|x]]",
    "[[target]]": "[[goal]]",
    "[[Target#^b1]]": "[[goal#^b1]]",
    "![[target]]": "![[goal]]",
    "[[The Target]]": "[[The Target]]",
    "[[bullseye]]": "[[bullseye]]",
    "[x](../notes/target.md)": "[x](../archive/2026/goal.md)",
    '[x](../notes/target.md#heading "title")': '[x](../archive/2026/goal.md#heading "title")',
    "[x](<../notes/target.md>)": "[x](<../archive/2026/goal.md>)",
    "[x](/notes/target.md)": "[x](/archive/2026/goal.md)",
    "[x][ref] and [ref]\n\n[ref]: ../notes/target.md": "[x][ref] and [ref]\n\n[ref]: ../archive/2026/goal.md",
    "| [[target\\|in a table]] |\n|---|": "| [[goal\\|in a table]] |\n|---|",
    "`[[target]]` and \\[[target]] <!-- [[target]] -->": "`[[target]]` and \\[[target]] <!-- [[target]] -->",
    "```\n[[target]]\n```": "```\n[[target]]\n```",
    "https://example.org/notes/target.md": "https://example.org/notes/target.md",
    "[[missing]] [x](missing.md)": "[[missing]] [x](missing.md)",
}


def linked(tmp_path: Path) -> NotesStore:
    """A store whose map links to the target in every spelling, from its text and its frontmatter."""
    head = HEAD.format(up="target", see="notes/target")
    return store_of(
        tmp_path,
        {
            "mocs/map.md": head + "\n" + "\n\n".join(SPELLINGS) + "\n",
            "notes/target.md": TARGET,
            "notes/other.md": "---\nid: qp-o\n---\n[[qp-m]]\n",
            "attachments/p q.png": b"\x89PNG",
        },
    )


def test_moved_note_is_linked_in_the_spelling_of_each_link(tmp_path: Path) -> None:
    store = linked(tmp_path)
    before = links_of(store)
    other = store.read("notes/other.md")
    plan = move(store, FilesLinker(store), "notes/target.md", "archive/2026/goal.md")
    assert contents(store)["notes/target.md"] == TARGET.encode()  # a plan writes nothing
    assert plan.before[".qipu/notes/target.md"] == TARGET.encode()
    assert plan.lines == ["move .qipu/notes/target.md to .qipu/archive/2026/goal.md", "rewrite 15 links"]
    after = carry_out(store, plan)
    head, _, body = after["mocs/map.md"].partition("\n---\n\n")
    assert body == "\n\n".join(SPELLINGS.values()) + "\n"
    assert head + "\n---\n" == HEAD.format(up="goal", see="archive/2026/goal")
    assert after["archive/2026/goal.md"] == TARGET.replace("../", "../../")
    assert "notes/target.md" not in after
    assert after["notes/other.md"].encode() == other
    moved = {"notes/target.md": "archive/2026/goal.md"}
    expected = {
        moved.get(path, path): [(kind, moved.get(to, to), anchor) for kind, to, anchor in found] for path, found in before.items()
    }
    assert links_of(store) == expected


def test_move_and_back_is_the_same_bytes(tmp_path: Path) -> None:
    store = linked(tmp_path)
    before = contents(store)
    carry_out(store, move(store, FilesLinker(store), "notes/target.md", "archive/goal.md"))
    carry_out(store, move(store, FilesLinker(store), "archive/goal.md", "notes/target.md"))
    after = contents(store)
    # `[[Target#^b1]]` took the case of the file it was found by.
    assert after.pop("mocs/map.md").replace(b"[[target#^b1]]", b"[[Target#^b1]]") == before.pop("mocs/map.md")
    assert after == before


def test_folder_moves_with_links_inside_untouched(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "notes/a/one.md": "[two](two.md) [up](../top.md) [[two]] ![i](pic.png) [gone](gone.md)\n",
        "notes/a/two.md": "[one](./one.md)\n",
        "notes/a/pic.png": b"png",
        "notes/top.md": "[one](a/one.md) [[notes/a/two]] [pic](a/pic.png)\n",
    }
    store = store_of(tmp_path, files)
    after = carry_out(store, move(store, FilesLinker(store), "notes/a", "notes/b/c"))
    assert after == {
        "notes/b/c/one.md": "[two](two.md) [up](../../top.md) [[two]] ![i](pic.png) [gone](gone.md)\n",
        "notes/b/c/two.md": "[one](./one.md)\n",
        "notes/b/c/pic.png": "png",
        "notes/top.md": "[one](b/c/one.md) [[notes/b/c/two]] [pic](b/c/pic.png)\n",
    }
    with pytest.raises(UsageError):
        move(store, FilesLinker(store), "notes/b", "notes/b/inside")


def test_attachment_moves_with_its_links(tmp_path: Path) -> None:
    store = linked(tmp_path)
    after = carry_out(store, move(store, FilesLinker(store), "attachments/p q.png", "attachments/deep/r (1).png"))
    assert "![p](../attachments/deep/r%20%281%29.png)" in after["notes/target.md"]


def test_names_that_become_ambiguous_are_spelled_longer(tmp_path: Path) -> None:
    files = {
        "notes/a/one.md": "---\nid: qp-1\n---\n",
        "notes/b/two.md": "---\nid: qp-2\n---\n",
        "notes/from.md": "[[one]] [[two]] [[two|label]]\n",
    }
    store = store_of(tmp_path, files)
    after = carry_out(store, move(store, FilesLinker(store), "notes/a/one.md", "notes/a/two.md"))
    assert after["notes/from.md"] == "[[notes/a/two]] [[notes/b/two]] [[notes/b/two|label]]\n"
    assert [to for _, to, _ in links_of(store)["notes/from.md"]] == ["notes/a/two.md", "notes/b/two.md", "notes/b/two.md"]


def test_names_that_cannot_be_written_in_brackets_fall_back_to_path_or_id(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"notes/a.md": "---\nid: qp-1\n---\n", "notes/b.md": '---\nup: "[[a]]"\n---\n[[a]] [x](a.md)\n'})
    after = carry_out(store, move(store, FilesLinker(store), "notes/a.md", "notes/C# [x].md"))
    assert after["notes/b.md"] == '---\nup: "[[qp-1]]"\n---\n[[qp-1]] [x](C%23%20%5Bx%5D.md)\n'


def test_encoded_targets_stay_encoded(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"notes/\u00e9.md": "", "notes/b.md": "[x](%C3%A9.md) [y](\u00e9.md)\n"})
    after = carry_out(store, move(store, FilesLinker(store), "notes/\u00e9.md", "notes/\u00fc u.md"))
    assert after["notes/b.md"] == "[x](%C3%BC%20u.md) [y](\u00fc%20u.md)\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("notes/target.md", "notes/other.md"),
        ("notes/target.md", "../out.md"),
        ("notes/target.md", "/etc/x.md"),
        ("notes/target.md", "notes/OTHER.md"),
        ("notes/target.md", "notes/target.txt"),
        ("notes/target.md", "templates/x.md"),
        ("notes/target.md", "notes/aux.md"),
        ("attachments/p q.png", "notes/p.md"),
        ("notes/nothing.md", "notes/x.md"),
        ("nothing", "notes/x"),
    ],
)
def test_places_that_are_none_are_refused(tmp_path: Path, old: str, new: str) -> None:
    store = linked(tmp_path)
    before = contents(store)
    with pytest.raises(HeadwaterError):
        move(store, FilesLinker(store), old, new)
    assert contents(store) == before


def test_remove_refuses_what_is_linked_and_says_what_breaks(tmp_path: Path) -> None:
    store = linked(tmp_path)
    with pytest.raises(Refused) as refused:
        remove(store, FilesLinker(store), ["notes/target.md"])
    assert ".qipu/mocs/map.md:" in refused.value.message
    plan = remove(store, FilesLinker(store), ["notes/target.md"], force=True)
    assert len(plan.broken) == 19
    assert all(link.path == ".qipu/mocs/map.md" and link.line > 1 for link in plan.broken)
    assert [change.data for change in plan.changes] == [None]
    assert "notes/target.md" not in carry_out(store, plan)
    both = remove(store, FilesLinker(store), ["notes/other.md"])
    assert both.broken == []


def test_merge_unites_what_both_say_and_redirects_links(tmp_path: Path) -> None:
    store = store_of(
        tmp_path,
        {
            "notes/a/old.md": "---\nid: qp-a\ntitle: Old\ntags: [x, y]\naliases: [Elder]\n"
            "sources:\n- url: u1\n- url: u2\nlinks:\n"
            "- type: supports\n  id: qp-c\n- type: related\n  id: qp-b\n---\n\nOld text, see [c](../c.md) and [[qp-b]].\n",
            "notes/b.md": "---\n# keep\nid: qp-b\ntitle: New\ntags: [y]\nupdated: 2026-01-01\nsources:\n- url: u1\nlinks:\n"
            "- type: refines\n  id: qp-a\n---\n\nNew text.\n",
            "notes/c.md": "---\nid: qp-c\nlinks:\n- type: part-of\n  id: qp-a\n- type: part-of\n  id: qp-b\n---\n"
            "[[qp-a]] [[Old]] [[Elder]] [[old|l]] [m](a/old.md#x)\n",
        },
    )
    after = carry_out(store, merge_notes(store, FilesLinker(store), "notes/a/old.md", "notes/b.md", now=NOW))
    assert sorted(after) == ["notes/b.md", "notes/c.md"]
    assert after["notes/c.md"] == (
        "---\nid: qp-c\nlinks:\n- type: part-of\n  id: qp-b\n---\n[[qp-b]] [[New]] [[Elder]] [[b|l]] [m](b.md#x)\n"
    )
    assert after["notes/b.md"] == (
        "---\n# keep\nid: qp-b\ntitle: New\ntags: [y, x]\nupdated: 2026-01-12\nsources:\n- url: u1\n- url: u2\nlinks:\n"
        "- type: supports\n  id: qp-c\naliases: [Elder]\n---\n\nNew text.\n\nOld text, see [c](c.md) and [[qp-b]].\n"
    )
    with pytest.raises(UsageError):
        merge_notes(store, FilesLinker(store), "notes/b.md", "notes/b.md", now=NOW)


def test_renumber_changes_the_id_wherever_it_is_used(tmp_path: Path) -> None:
    store = store_of(
        tmp_path,
        {
            "notes/qp-a-title.md": "---\nid: qp-a # mine\n---\n[[qp-a]]\n",
            "notes/b.md": '---\nid: qp-b\nup: "[[qp-a|x]]"\nlinks:\n- {type: supports, id: qp-a}\n---\n'
            "[[qp-a#h]] [x](qp-a-title.md) [y](qp-a) [[qp-a-title]]\n",
        },
    )
    after = carry_out(store, renumber(store, FilesLinker(store), "notes/qp-a-title.md", "qp-new", now=NOW))
    assert after == {
        "notes/qp-new-title.md": "---\nid: qp-new # mine\n---\n[[qp-new]]\n",
        "notes/b.md": '---\nid: qp-b\nup: "[[qp-new|x]]"\nlinks:\n- {type: supports, id: qp-new}\n---\n'
        "[[qp-new#h]] [x](qp-new-title.md) [y](qp-new) [[qp-new-title]]\n",
    }
    with pytest.raises(UsageError):
        renumber(store, FilesLinker(store), "notes/b.md", "qp-new", now=NOW)
    with pytest.raises(UsageError):
        renumber(store, FilesLinker(store), "notes/b.md", "../x", now=NOW)


def test_renumber_of_one_of_two_with_an_id_leaves_links_to_the_other(tmp_path: Path) -> None:
    note = "---\nid: qp-a\n---\n"
    store = store_of(tmp_path, {"notes/1.md": note, "notes/2.md": note, "notes/3.md": "[[qp-a]] [x](2.md)\n"})
    after = carry_out(store, renumber(store, FilesLinker(store), "notes/2.md", "qp-b", now=NOW))
    assert after["notes/2.md"] == "---\nid: qp-b\n---\n"
    assert after["notes/3.md"] == "[[qp-a]] [x](2.md)\n"
    assert links_of(store)["notes/3.md"] == [("wiki", "notes/1.md", None), ("markdown", "notes/2.md", None)]


def test_relayout_moves_and_moves_back(tmp_path: Path) -> None:
    store = store_of(
        tmp_path,
        {
            "config.toml": "# ours\nversion = 1\n",
            "mocs/map.md": "---\nid: qp-m\ntype: moc\ncreated: 2025-03-04\n---\n"
            "[a](../notes/a.md) [[a]] ![p](../attachments/p.png)\n",
            "notes/a.md": "---\nid: qp-a\ncreated: 2026-01-02T00:00:00Z\n---\n[map](../mocs/map.md) [own](own/b.md)\n",
            "notes/own/b.md": "---\nid: qp-b\n---\n[a](../a.md)\n",
            "attachments/p.png": b"png",
        },
    )
    before, links = contents(store), links_of(store)
    plan = relayout(store, FilesLinker(store), mocs="type", note_path="date", attachments="per-note")
    after = carry_out(store, plan)
    assert sorted(after) == [
        "attachments/qp-m/p.png",
        "config.toml",
        "notes/2025/03/map.md",
        "notes/2026/01/a.md",
        "notes/own/b.md",
    ]
    assert after["notes/2025/03/map.md"].endswith("[a](../../2026/01/a.md) [[a]] ![p](../../../attachments/qp-m/p.png)\n")
    assert after["config.toml"].startswith("# ours\nversion = 1\n")
    again = NotesStore(store.storage, store.root)
    assert (again.config.layout_mocs, again.config.layout_note_path, again.config.layout_attachments) == (
        "type",
        "date",
        "per-note",
    )
    assert relayout(again, FilesLinker(again)).changes == []
    back = relayout(again, FilesLinker(again), mocs="folder", note_path="flat", attachments="flat")
    carry_out(again, back)
    assert links_of(again) == links
    assert {path: data for path, data in contents(again).items() if path != "config.toml"} == {
        path: data for path, data in before.items() if path != "config.toml"
    }


WORDS = st.sampled_from(["a", "b", "A", "c d", "\u00e9", "b.x"])
FOLDERS = st.sampled_from(["notes", "notes/x", "mocs", ""])
LINKS = st.sampled_from(
    ["[[{stem}]]", "[[{path}]]",
     "[[{bare}|l]]", "[[{id}]]", "[[{title}#h]]", "[m]({rel})", "[m](<{raw}>)", "![[{stem}]]",
     "[r][q]\n\n[q]: {rel}"]
)  # fmt: skip


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_after_any_move_every_link_leads_where_it_did(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    from posixpath import relpath
    from urllib.parse import quote

    paths = data.draw(
        st.lists(
            st.builds(lambda f, w: f"{f}/{w}.md".lstrip("/"), FOLDERS, WORDS), min_size=2, max_size=4, unique_by=str.casefold
        )
    )
    texts: dict[str, str] = {}
    for number, path in enumerate(paths):
        rows = []
        for target in data.draw(st.lists(st.sampled_from(paths), max_size=4)):
            names = {
                "path": target, "bare": target[:-3], "stem": target.rpartition("/")[2][:-3], "id": f"qp-{paths.index(target)}",
                "title": f"Title {paths.index(target)}", "raw": relpath("/" + target, "/" + path.rpartition("/")[0]),
            }  # fmt: skip
            rows.append(data.draw(LINKS).format(**names, rel=quote(names["raw"])))
        texts[path] = f"---\nid: qp-{number}\ntitle: Title {number}\n---\n\n" + "\n\n".join(dict.fromkeys(rows)) + "\n"
    store = store_of(tmp_path_factory.mktemp("move"), texts, root="qipu")
    before = links_of(store)
    old = data.draw(st.sampled_from(paths))
    new = data.draw(st.builds(lambda f, w: f"{f}/{w}.md".lstrip("/"), FOLDERS, WORDS))
    try:
        plan = move(store, FilesLinker(store), old, new)
    except UsageError:
        return
    carry_out(store, plan)
    after = links_of(store)
    for path, found in before.items():
        for was, now in zip(found, after[new if path == old else path], strict=True):
            # What led nowhere (or to several) may find something by a new name; what led somewhere leads there.
            if was[1] != "?":
                assert now == (was[0], new if was[1] == old else was[1], was[2]), (path, was, now, old, new)
    assert edit.frontmatter(store.read(new), new)["id"] == f"qp-{paths.index(old)}"
