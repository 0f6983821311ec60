"""`headwater notes context` and `export`: bundles within a budget with places, documents, outlines, bibliographies."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.orchestration.cli.notes_work import A, B, C, Run, checkout, store, tree, vault, write_files

__all__ = ["checkout", "store", "tree", "vault"]

SOURCED = """\
---
id: qp-dddd
title: Sourced
created: 2026-01-02
summary: What the paper says.
sources:
  - {url: "https://example.org/a_b?x=1&y=2", title: "Ebb & flow {1}", accessed: 2026-02-03}
  - {url: "Shelf 7, second row"}
---

## First

One paragraph that is long enough to be worth giving on its own, because it goes on and on about the tide, and then some more,
so that a part of this note says more than its summary does, which is what a part has to do to be given at all.

```python
# a fence

with a blank line in it
```

Last paragraph.
"""


@pytest.fixture
def sourced(store: Path) -> Path:
    write_files(store, {".qipu/notes/qp-dddd-sourced.md": SOURCED})
    return store


def cited(root: Path, passage: dict[str, object]) -> str:
    lines = (root / str(passage["path"])).read_text("utf-8").split("\n")
    return "\n".join(lines[int(str(passage["first_line"])) - 1 : int(str(passage["last_line"]))])


class TestContext:
    def test_every_passage_is_what_stands_at_its_place(self, sourced: Path, run: Run) -> None:
        (bundle,) = run("notes", "context", "qp-dddd", "qp-aaaa", "--walk", "2", "--json").records
        assert [note["id"] for note in bundle["notes"]] == ["qp-dddd", "qp-aaaa", "qp-bbbb"]
        assert bundle["notes"][2]["why"] == ["linked from Alpha"]
        assert "instructions" in bundle["notice"]
        for note in bundle["notes"]:
            for passage in note["passages"]:
                assert cited(sourced, passage) == passage["text"]
        assert bundle["notes"][0]["sources"][0]["url"] == "https://example.org/a_b?x=1&y=2"

    @pytest.mark.parametrize("budget", [*range(400, 2400, 130), 5000])
    def test_a_budget_is_kept_and_nothing_is_cut_inside_a_block(self, sourced: Path, run: Run, budget: int) -> None:
        ran = run("notes", "context", "qp-dddd", "qp-aaaa", "qp-bbbb", "--max-chars", budget)
        assert ran.code == 0
        assert len(ran.out) <= budget
        assert ran.out.count("```") % 2 == 0
        (bundle,) = run("notes", "context", "qp-dddd", "qp-aaaa", "qp-bbbb", "--max-chars", budget, "--json").records
        assert bundle["used_chars"] == len(ran.out)
        assert {note["id"] for note in bundle["notes"] + bundle["left_out"]} == {"qp-dddd", "qp-aaaa", "qp-bbbb"}
        assert bundle["truncated"] == (bool(bundle["left_out"]) or any(note["level"] != "full" for note in bundle["notes"]))
        for note in bundle["notes"]:
            for passage in note["passages"]:
                assert cited(sourced, passage) == passage["text"]

    def test_summaries_come_before_whole_texts(self, sourced: Path, run: Run) -> None:
        levels = set()
        for budget in range(450, 2200, 50):
            (bundle,) = run("notes", "context", "qp-dddd", "qp-aaaa", "qp-bbbb", "--max-chars", budget, "--json").records
            levels |= {note["level"] for note in bundle["notes"]}
        assert levels == {"summary", "part", "full"}

    def test_selectors_meet_in_one_bundle(self, sourced: Path, run: Run) -> None:
        (found,) = run("notes", "context", "--query", "tide", "--json").records
        assert [note["id"] for note in found["notes"]] == ["qp-dddd"]
        (listed,) = run("notes", "context", "--moc", "Map", "--json").records
        assert [note["id"] for note in listed["notes"]] == ["qp-cccc", "qp-aaaa", "qp-bbbb"]
        assert listed["notes"][1]["why"] == ["listed in Map"]
        (tagged,) = run("notes", "context", "--tag", "x", "--json").records
        assert [note["id"] for note in tagged["notes"]] == ["qp-aaaa"]
        (back,) = run("notes", "context", "qp-dddd", "qp-bbbb", "--backlinks", "--json").records
        assert {note["id"] for note in back["notes"]} >= {"qp-aaaa", "qp-cccc"}
        (like,) = run("notes", "context", "qp-aaaa", "--related", "2", "--json").records
        assert len(like["notes"]) > 1

    def test_tokens_are_four_characters(self, sourced: Path, run: Run) -> None:
        assert len(run("notes", "context", "qp-dddd", "--max-tokens", "150").out) <= 600

    def test_the_same_request_gives_the_same_bytes(self, sourced: Path, run: Run) -> None:
        asked = ("notes", "context", "--query", "a OR b OR tide OR body", "--walk", "1", "--max-chars", "1500")
        assert run(*asked).out == run(*asked).out

    def test_records_and_no_notice(self, sourced: Path, run: Run) -> None:
        records = [line.split("\t") for line in run("notes", "context", "qp-dddd", "--format", "records").out.splitlines()]
        assert [fields[0] for fields in records] == ["H", "N", "W", "S", "S", "P"]
        assert run("notes", "context", "qp-dddd", "--no-notice").out.startswith("## Sourced")

    def test_what_cannot_be_asked(self, sourced: Path, run: Run) -> None:
        assert run("notes", "context").code == 2
        assert run("notes", "context", "qp-none").code != 0
        assert run("notes", "context", "qp-dddd", "--max-chars", "0").code == 2
        tiny = run("notes", "context", "qp-dddd", "--max-chars", "10", "--json").records[0]
        assert (tiny["notes"], len(tiny["left_out"])) == ([], 1)

    def test_a_note_with_crlf_keeps_its_lines(self, store: Path, run: Run) -> None:
        (store / ".qipu/notes/crlf.md").write_bytes(b"---\r\nid: qp-crlf\r\ntitle: C\r\n---\r\n\r\none\r\n\r\ntwo\r\n")
        (bundle,) = run("notes", "context", "qp-crlf", "--json").records
        (passage,) = bundle["notes"][0]["passages"]
        assert (passage["first_line"], passage["last_line"], passage["text"]) == (6, 8, "one\n\ntwo")


class TestExport:
    def test_case_58_order_and_anchors(self, store: Path, run: Run) -> None:
        text = run("notes", "export", "--moc", "Map", "--link-mode", "anchors", "--title", "All").out
        headings = re.findall(r"^(#+ .*)$", text, re.MULTILINE)
        assert headings == ["# All", "## Alpha", "## Beta", "### End"]
        anchors = {"all", "alpha", "beta", "end"}
        assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors
        assert "[the second](#beta)" in text
        assert "[it again](#end)" in text
        alone = run("notes", "export", "qp-aaaa", "--link-mode", "anchors").out
        assert "](#" not in alone
        assert "See the second and it again." in alone

    def test_the_other_ways_of_links(self, store: Path, run: Run) -> None:
        assert "[[qp-bbbb|the second]]" in run("notes", "export", "qp-aaaa").out
        assert "the second" in run("notes", "export", "qp-aaaa", "--link-mode", "plain").out
        assert "[[" not in run("notes", "export", "qp-aaaa", "--link-mode", "plain").out
        made = run("notes", "export", "qp-aaaa", "--link-mode", "markdown", "-o", "out/doc.md")
        assert made.code == 0
        assert f"[the second](../{B})" in (store / "out/doc.md").read_text()
        assert f"[it again](../{B}#end)" in (store / "out/doc.md").read_text()

    def test_notes_without_an_order_go_by_date_then_path(self, sourced: Path, run: Run) -> None:
        text = run("notes", "export", "--path", ".qipu/notes").out
        assert re.findall(r"^## (.*)$", text, re.MULTILINE)[:1] == ["Sourced"]

    def test_attachments_go_along(self, store: Path, run: Run) -> None:
        write_files(
            store,
            {
                ".qipu/attachments/map.png": "png",
                ".qipu/attachments/sub/map.png": "other png",
                ".qipu/notes/p.md": "---\nid: qp-pppp\ntitle: P\n---\n![[attachments/map.png|300]] "
                "[m](../attachments/sub/map.png)\n",
            },
        )
        made = run("notes", "export", "qp-pppp", "--with-attachments", "-o", "out/p.md", "--json")
        assert made.code == 0
        assert made.records[0]["attachments"] == ["attachments/map-2.png", "attachments/map.png"]
        assert "![](attachments/map.png) [m](attachments/map-2.png)" in (store / "out/p.md").read_text()
        assert (store / "out/attachments/map-2.png").read_text() == "other png"
        again = run("notes", "export", "qp-pppp", "--with-attachments", "-o", "out/p.md", "--json")
        assert (again.code, again.records[-1]["error"]["rule"]) == (1, "export-in-the-way")
        assert run("notes", "export", "qp-pppp", "--with-attachments", "-o", "out/p.md", "--force").code == 0
        assert run("notes", "export", "qp-pppp", "--with-attachments").code == 2

    def test_an_outline_is_the_map_in_its_order(self, store: Path, run: Run) -> None:
        text = run("notes", "export", "--mode", "outline", "Map", "--max-hops", "2").out
        lines = text.splitlines()
        assert lines[0] == "# Map"
        assert [line.split(":")[0] for line in lines[2:]] == [
            "- [[qp-aaaa|Alpha]]",
            "  - [[qp-bbbb|Beta]]",
            "- [[qp-bbbb|Beta]]",
        ]
        assert run("notes", "export", "--mode", "outline").code == 2

    def test_case_59_a_bibliography_is_bibtex_or_csl_json(self, sourced: Path, run: Run) -> None:
        write_files(
            sourced,
            {
                ".qipu/notes/e.md": '---\nid: qp-eeee\ntitle: E\nsources: [{url: "https://example.org/a_b?x=1&y=2", '
                "accessed: 2026-03-04}]\n---\n"
            },
        )
        bib = run("notes", "export", "qp-dddd", "qp-eeee", "--mode", "bibliography", "--bib-format", "bibtex").out
        assert bib.count("@misc{") == 2
        assert r"title        = {{Ebb \& flow \{1\}}}" in bib
        assert "urldate      = {2026-03-04}" in bib
        assert bib.count("{") == bib.count("}")
        keys = re.findall(r"@misc\{([a-z0-9-]+),", bib)
        items = json.loads(run("notes", "export", "qp-eeee", "qp-dddd", "--mode", "bibliography", "--bib-format", "csl-json").out)
        assert {item["id"] for item in items} == set(keys)
        assert items[0]["URL"] == "https://example.org/a_b?x=1&y=2"
        assert items[0]["accessed"] == {"date-parts": [[2026, 3, 4]]}
        assert items[0]["title"] == "Ebb & flow {1}"
        assert "Shelf 7" in run("notes", "export", "qp-dddd", "--mode", "bibliography").out

    def test_case_28_what_was_just_written_is_exported(self, store: Path, run: Run) -> None:
        assert run("notes", "new", "Fresh", "--body", "Just written.").code == 0
        assert "Just written." in run("notes", "export", "--query", "fresh").out

    def test_setext_and_repeated_headings(self, store: Path, run: Run) -> None:
        write_files(
            store,
            {
                ".qipu/notes/s.md": "---\nid: qp-ssss\ntitle: S\n---\nTop\n===\n\nSub\n---\n\n###### Deep\n\n"
                "# End #\n\n[here](#end) [[qp-bbbb#End]]\n"
            },
        )
        text = run("notes", "export", "qp-bbbb", "qp-ssss", "--link-mode", "anchors").out
        assert re.findall(r"^(#+ .*)$", text, re.MULTILINE) == [
            "## Beta",
            "### End",
            "## S",
            "## Top",
            "### Sub",
            "###### Deep",
            "## End #",
        ]
        assert "[here](#end-1)" in text
        assert "(#end)" in text
        assert (A, C) == (".qipu/notes/qp-aaaa-alpha.md", ".qipu/mocs/qp-cccc-map.md")
