"""`notes list|search|show|inbox|tags|stats`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assets.notes.shown import unescaped
from tests.orchestration.cli.notes_work import ALPHA, A, B, C, Run, checkout, store, tree, vault, write_files

__all__ = ["checkout", "store", "vault"]

LIST_KEYS = {"id", "title", "type", "path", "tags", "created", "updated", "value", "words", "moc", "outcome"}


def test_a_list_is_aligned_and_counted(store: Path, run: Run) -> None:
    ran = run("notes", "list", "--sort", "title")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines] == ["qp-aaaa", "qp-bbbb", "qp-cccc", "3"]
    assert [line.index(title) for line, title in zip(lines, ("Alpha", "Beta", "Map"), strict=False)] == [20, 20, 20]
    assert lines[0].endswith("#x #y")
    assert lines[-1] == "3 notes"


def test_case_60_a_list_as_json_is_one_object_a_note(store: Path, run: Run) -> None:
    ran = run("notes", "list", "--sort", "path", "--json")
    assert [record["path"] for record in ran.records] == [C, A, B]
    assert set(ran.records[0]) == LIST_KEYS
    assert run("notes", "list", "--sort", "path", "--format", "json").out == ran.out


def test_case_61_records_survive_what_a_title_holds(store: Path, run: Run) -> None:
    title = 'A "quoted"\\n\ttab, 漢字 ' + "very " * 500 + "long"
    write_files(store, {".qipu/notes/x.md": f"---\nid: qp-x\ntitle: {json.dumps(title)}\n---\n"})
    ran = run("notes", "list", "--format", "records", "--path", "notes/x.md")
    head, row = ran.out.splitlines()
    assert head == "H\t1\tnotes list\tnotes/.qipu"
    fields = [unescaped(field) for field in row.split("\t")]
    assert fields[:5] == ["N", "qp-x", "fleeting", title, ".qipu/notes/x.md"]
    assert run("notes", "list", "--path", "notes/x.md").out.count("\n") == 2


def test_filters_of_a_list(store: Path, run: Run) -> None:
    def ids(*options: str) -> list[str]:
        ran = run("notes", "list", "--json", *options)
        assert ran.code == 0, ran
        return [record["id"] for record in ran.records]

    assert ids("--type", "permanent") == ["qp-bbbb"]
    assert ids("--tag", "x, y") == ["qp-aaaa"]
    assert ids("--where", "extra=kept") == ["qp-aaaa"]
    assert ids("--custom", "!extra", "--exclude-mocs") == ["qp-bbbb"]
    assert ids("--orphan") == ["qp-cccc"]
    assert ids("--linked-by", "Map", "--max-distance", "1") == ["qp-aaaa", "qp-bbbb"]
    assert ids("--path", ".qipu/mocs") == ["qp-cccc"]
    assert ids("--mocs") == ["qp-cccc"]
    assert ids("--since", "yesterday") == []


@pytest.mark.parametrize(
    "options",
    [
        ["--since", "not-a-date"],
        ["--created", "2026-02-30"],
        ["--as-of", "yesterday"],
        ["--where", "=1"],
        ["--tag", ","],
        ["--sort", "colour"],
        ["--min-value", "101"],
        ["--linked-by", "nobody"],
        ["--format", "xml"],
        ["--unknown"],
    ],
)
def test_cases_42_43_and_60_mistakes_of_usage(store: Path, run: Run, options: list[str]) -> None:
    for command in (["list"], ["search", "alpha"], ["inbox"]):
        ran = run("notes", *command, *options)
        assert ran.code == 2
        assert ran.out == ""
        assert "fix:" in ran.err
        told = run("notes", *command, *options, "--json")
        assert (told.code, told.records[-1]["error"]["exit_code"]) == (2, 2)


def test_as_of_says_what_yesterday_is(store: Path, run: Run) -> None:
    write_files(store, {".qipu/notes/d.md": "---\nid: qp-dddd\ncreated: 2026-01-11\n---\n"})
    ran = run("notes", "list", "--created", "yesterday", "--as-of", "2026-01-12", "--json")
    assert [record["id"] for record in ran.records] == ["qp-dddd"]
    ran = run("notes", "list", "--created", "yesterday")
    assert (ran.code, ran.out) == (0, "no notes\n")
    assert "3 notes say no date" in ran.err


def test_a_limit_says_how_many_there_are(store: Path, run: Run) -> None:
    assert run("notes", "list", "-n", "1").out.splitlines()[-1] == "1 of 3 notes; --limit 0 lists all"
    assert len(run("notes", "list", "-n", "0", "--json").records) == 3


def test_a_shuffled_list_is_the_same_for_the_same_seed(store: Path, run: Run) -> None:
    shuffled = {run("notes", "list", "--sort", "random", "--seed", str(seed), "--json").out for seed in range(8)}
    assert len(shuffled) > 1
    assert run("notes", "list", "--sort", "random", "--seed", "3", "--json").out in shuffled


def test_case_28_a_list_sees_what_was_just_written(store: Path, run: Run) -> None:
    run("notes", "list")
    write_files(store, {".qipu/notes/new.md": "---\nid: qp-nnnn\ntitle: New\n---\nfresh words"})
    assert [record["id"] for record in run("notes", "search", "fresh", "--json").records] == ["qp-nnnn"]
    (store / ".qipu/notes/new.md").unlink()
    assert run("notes", "search", "fresh", "--json").records == []


def test_a_search_shows_the_line(store: Path, run: Run) -> None:
    ran = run("notes", "search", "body of beta")
    assert ran.code == 0
    assert ran.out.splitlines() == ["qp-bbbb  Beta  permanent", f"    {B}:9  Body of beta, about [[Alpha]].", "1 note"]
    (record,) = run("notes", "search", "body", "of", "beta", "--json").records
    assert record["snippets"][0]["line"] == 9
    assert set(record) == LIST_KEYS | {"score", "snippets"}
    records = run("notes", "search", "body of beta", "--format", "records").out.splitlines()
    assert [line.split("\t")[0] for line in records] == ["H", "N", "S"]
    assert records[2].split("\t")[2] == "9"


def test_found_words_are_coloured(store: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.cli.app import App

    monkeypatch.setattr(App, "_colored", lambda *_: True)
    out = run("notes", "search", "body").out
    assert "\x1b[31;1mBody\x1b[0m of beta" in out
    assert "\x1b[31;1m" not in run("notes", "list").out


def test_case_41_no_hit_is_no_failure_an_empty_query_is(store: Path, run: Run) -> None:
    ran = run("notes", "search", "unheard")
    assert (ran.code, ran.out) == (0, "no note says that\n")
    assert run("notes", "search", "unheard", "--json").out == ""
    for query in ([""], [" "], []):
        assert run("notes", "search", *query).code == 2


@pytest.mark.parametrize(
    "query", ["what's", "c++", "foo.bar", "a/b", "#tag", "100%", "AND", "note:x", '"', "(", "*", "AND NOT", "^"]
)
def test_case_64_no_query_is_an_error(store: Path, run: Run, query: str) -> None:
    assert run("notes", "search", query).code == 0


def test_a_search_in_another_order(store: Path, run: Run) -> None:
    ran = run("notes", "search", "alpha OR beta OR map", "--sort", "title-", "--json")
    titles = [record["title"] for record in ran.records]
    assert titles == sorted(titles, reverse=True)
    assert len(titles) == 3
    assert run("notes", "search", "beta", "--sort", "title", "-n", "1").code == 0


def test_a_note_is_shown(store: Path, run: Run) -> None:
    ran = run("notes", "show", "qp-bbbb", "--links")
    assert ran.code == 0
    assert ran.out.startswith("Beta\n")
    assert "Body of beta, about [[Alpha]]." in ran.out
    assert f"← related   qp-aaaa  Alpha\n    {A}:10:5  See [[qp-bbbb|the second]]" in ran.out
    record = run("notes", "show", "Alpha", "--json", "--links").records[0]
    assert record["meta"]["extra"] == "kept"
    assert record["body"].startswith("# Alpha")
    assert (record["link_count"], record["backlink_count"], len(record["links"])) == (1, 2, 5)


def test_a_note_is_shown_byte_by_byte(store: Path, run: Run) -> None:
    assert run("notes", "show", "qp-aaaa", "--raw").out == ALPHA
    assert run("notes", "show", A, "--raw", "--json").records[0]["text"] == ALPHA


def test_the_users_own_keys_are_shown(store: Path, run: Run) -> None:
    assert run("notes", "show", "qp-aaaa", "--custom").out == "extra  kept\n"
    assert run("notes", "show", "qp-aaaa", "--custom", "--json").records[0]["custom"] == {"extra": "kept"}
    assert run("notes", "show", "qp-bbbb", "--custom").out == "no keys of its own\n"


def test_an_unknown_note_is_a_mistake_with_a_hint(store: Path, run: Run) -> None:
    ran = run("notes", "show", "Betta")
    assert ran.code == 2
    assert "did you mean qp-bbbb (Beta)?" in ran.err


def test_an_inbox(store: Path, run: Run) -> None:
    write_files(store, {".qipu/notes/lone.md": "---\nid: qp-lone\ntype: permanent\n---\n"})
    assert {record["id"] for record in run("notes", "inbox", "--json").records} == {"qp-aaaa", "qp-lone"}
    assert [record["id"] for record in run("notes", "inbox", "--exclude-linked", "--json").records] == ["qp-lone"]


def test_tags_are_a_tree(store: Path, run: Run) -> None:
    write_files(store, {".qipu/notes/t.md": "---\ntags: [x/deep]\n---\n"})
    ran = run("notes", "tags")
    assert [line.split()[:2] for line in ran.out.splitlines()[:-1]] == [["x", "1"], ["deep", "1"], ["y", "1"]]
    assert ran.out.splitlines()[0].endswith("2 with those below")
    assert [record["tag"] for record in run("notes", "tags", "x*", "--json", "--sort", "count").records] == ["x", "x/deep"]


def test_stats(store: Path, run: Run) -> None:
    facts = run("notes", "stats", "--json").records[0]
    assert (facts["store"], facts["notes"], facts["edges"]) == ("notes/.qipu", 3, 5)
    assert "3: 1 fleeting, 1 moc, 1 permanent" in run("notes", "stats").out


def test_a_vault_is_read_and_not_a_byte_of_it_changes(vault: Path, run: Run) -> None:
    before = {path: path.read_bytes() for path in sorted(vault.rglob("*")) if path.is_file()}
    assert run("notes", "search", "tagged").out.splitlines()[0] == "Beta  #tagged"
    assert [record["path"] for record in run("notes", "list", "--sort", "path", "--json").records] == [
        "Alpha.md",
        "Beta.md",
        "sub/Gamma.md",
    ]
    for command in (
        ["show", "third"],
        ["backlinks", "Beta"],
        ["tree", "Alpha"],
        ["tags"],
        ["stats"],
        ["related", "Alpha"],
        ["inbox"],
    ):
        assert run("notes", *command).code == 0
    assert {path: path.read_bytes() for path in sorted(vault.rglob("*")) if path.is_file()} == before


def test_looking_changes_no_file(store: Path, run: Run) -> None:
    before = tree(store)
    for command in (["list"], ["search", "alpha"], ["show", "qp-aaaa"], ["links", "qp-aaaa"], ["tree", "qp-aaaa"], ["stats"]):
        assert run("notes", *command).code == 0
    assert tree(store) == before


@pytest.mark.parametrize(
    "command", [["list"], ["search", "alpha"], ["show", "qp-aaaa", "--links"], ["tree", "qp-aaaa"], ["stats"]]
)
def test_looking_loads_no_heavy_library(store: Path, run: Run, command: list[str]) -> None:
    run("notes", "list")
    code = (
        "import sys; from orchestration.cli.main import main; code = main(sys.argv[1:]); "
        "heavy = {'pydantic', 'fsspec', 'duckdb', 'pyarrow', 'ruamel', 'dagster', 'apsw', 'asyncio', 'dateparser'}; "
        "heavy &= set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, "notes", *command],
        cwd=store,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
