"""`notes links|backlinks|tree|path|related`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.orchestration.cli.notes_work import A, B, C, Run, checkout, store, write_files

__all__ = ["checkout", "store"]


def test_links_show_where_they_stand(store: Path, run: Run) -> None:
    ran = run("notes", "links", "qp-aaaa", "--direction", "out")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "→ related  qp-bbbb  Beta",
        f"    {A}:10:5  See [[qp-bbbb|the second]] and [it again](qp-bbbb-beta.md#end).",
        "→ related  qp-bbbb  Beta  #end",
        f"    {A}:10:32  See [[qp-bbbb|the second]] and [it again](qp-bbbb-beta.md#end).",
        "2 mentions; 1 note",
    ]


def test_case_31_backlinks_are_inverted_and_filtered_as_shown(store: Path, run: Run) -> None:
    rows = run("notes", "backlinks", "qp-aaaa", "--json").records
    assert [(row["id"], row["type"], row["stored_type"], row["virtual"], row["path"], row["line"]) for row in rows] == [
        ("qp-cccc", "related", "related", True, C, 7),
        ("qp-bbbb", "supported-by", "supports", True, B, 6),
        ("qp-bbbb", "related", "related", True, B, 9),
    ]
    shown = run("notes", "backlinks", "qp-aaaa", "--type", "supported-by", "--json").records
    assert [row["line"] for row in shown] == [6]
    plain = run("notes", "backlinks", "qp-aaaa", "--type", "supports", "--no-semantic-inversion", "--json").records
    assert [(row["type"], row["virtual"]) for row in plain] == [("supports", False)]
    assert run("notes", "backlinks", "qp-aaaa", "--typed-only", "--json").records == shown


def test_links_by_state(store: Path, run: Run) -> None:
    write_files(
        store,
        {
            ".qipu/notes/odd.md": "---\nid: qp-oddd\n---\n[[gone]] <https://x.org/> [[same]] [[#top]]\n",
            ".qipu/notes/p/same.md": "one",
            ".qipu/notes/q/same.md": "two",
        },
    )
    broken = run("notes", "links", "qp-oddd", "--state", "broken", "--json").records
    assert [(row["target"], row["note"]) for row in broken] == [("gone", None)]
    out = run("notes", "links", "qp-oddd").out
    assert "may be .qipu/notes/p/same.md, .qipu/notes/q/same.md" in out
    assert "external" not in out
    assert "https://x.org/" in run("notes", "links", "qp-oddd", "--state", "external").out


def test_records_of_links(store: Path, run: Run) -> None:
    lines = run("notes", "backlinks", "qp-bbbb", "--format", "records").out.splitlines()
    assert lines[0].startswith("H\t1\tnotes backlinks\t")
    assert lines[1].split("\t")[:6] == ["L", "in", "related", "qp-cccc", C, "8"]


def test_a_note_nothing_links_to(store: Path, run: Run) -> None:
    assert run("notes", "backlinks", "qp-cccc").out == "no note links to it\n"
    assert run("notes", "backlinks", "qp-cccc", "--json").out == ""


def test_a_tree(store: Path, run: Run) -> None:
    ran = run("notes", "tree", "qp-cccc", "--direction", "out")
    assert ran.code == 0
    assert ran.out.splitlines()[:3] == [
        "qp-cccc  Map  moc",
        "├─ → related  qp-aaaa  Alpha",
        "│  └─ → related  qp-bbbb  see above",
    ]
    assert ran.out.splitlines()[-1] == "3 notes, 5 links between them"
    grown = run("notes", "tree", "qp-cccc", "--json").records[0]
    assert [node["id"] for node in grown["nodes"]] == ["qp-cccc", "qp-aaaa", "qp-bbbb"]
    assert [(edge["from"], edge["to"], edge["cost"]) for edge in grown["tree"]] == [
        ("qp-cccc", "qp-aaaa", 1.5),
        ("qp-cccc", "qp-bbbb", 1.5),
    ]
    assert (len(grown["links"]), grown["truncated"], grown["reasons"]) == (5, False, [])


def test_case_34_a_tree_that_is_cut_says_why(store: Path, run: Run) -> None:
    grown = run("notes", "tree", "qp-cccc", "--max-nodes", "2", "--json").records[0]
    assert (len(grown["nodes"]), grown["truncated"], grown["reasons"]) == (2, True, ["max-nodes"])
    assert run("notes", "tree", "qp-cccc", "--max-nodes", "2").out.splitlines()[-1].endswith("; cut short by --max-nodes")
    kinds = [
        line.split("\t")[0] for line in run("notes", "tree", "qp-cccc", "--max-hops", "1", "--format", "records").out.splitlines()
    ]
    assert kinds == ["H", "N", "W"]


def test_case_35_a_root_of_little_value_has_no_tree(store: Path, run: Run) -> None:
    ran = run("notes", "tree", "qp-cccc", "--min-value", "60", "--json")
    assert (ran.code, ran.records[0]["nodes"]) == (0, [])
    assert run("notes", "tree", "qp-cccc", "--min-value", "60").code == 0


def test_a_path(store: Path, run: Run) -> None:
    ran = run("notes", "path", "Map", "Beta")
    assert ran.out.splitlines() == ["qp-cccc  Map  moc", "  ↓ related", "qp-bbbb  Beta  permanent", "1 link, cost 1.5"]
    found = run("notes", "path", "qp-aaaa", "qp-cccc", "--json").records[0]
    assert (found["found"], found["hops"], [step["direction"] for step in found["steps"]]) == (True, 1, ["in"])


def test_no_path_is_no_failure(store: Path, run: Run) -> None:
    ran = run("notes", "path", "qp-aaaa", "qp-cccc", "--direction", "out")
    assert (ran.code, ran.out) == (0, "no way within 10 hops\n")
    record = run("notes", "path", "qp-aaaa", "qp-cccc", "--direction", "out", "--json").records[0]
    assert (record["found"], record["cost"], record["notes"]) == (False, None, [])


def test_related_says_why(store: Path, run: Run) -> None:
    write_files(store, {".qipu/notes/t.md": "---\nid: qp-tttt\ntitle: Other\ntags: [x]\n---\n"})
    ran = run("notes", "related", "qp-aaaa")
    assert ran.code == 0
    assert "linked; both linked with Beta" in ran.out
    assert "both tagged #x" in ran.out
    (only,) = run("notes", "related", "qp-aaaa", "--exclude-linked", "--json").records
    assert (only["id"], only["shared_tags"], only["linked"]) == ("qp-tttt", ["x"], False)
    records = run("notes", "related", "qp-aaaa", "--exclude-linked", "--format", "records").out.splitlines()
    assert [line.split("\t")[0] for line in records] == ["H", "N", "R"]
    assert run("notes", "related", "qp-aaaa", "--type", "moc", "--json").records[0]["id"] == "qp-cccc"


@pytest.mark.parametrize(
    "command",
    [
        ["links", "nobody"],
        ["backlinks"],
        ["links", "qp-aaaa", "--typed-only", "--inline-only"],
        ["links", "qp-aaaa", "--state", "lost"],
        ["tree", "qp-aaaa", "--max-nodes", "0"],
        ["tree", "qp-aaaa", "--direction", "up"],
        ["path", "qp-aaaa"],
        ["path", "qp-aaaa", "nobody"],
        ["related", "nobody"],
    ],
)
def test_mistakes_of_usage(store: Path, run: Run, command: list[str]) -> None:
    assert run("notes", *command).code == 2
    assert run("notes", *command, "--json").records[-1]["error"]["exit_code"] == 2
