"""One note from bytes to what is known of it: outcomes, places in bytes, titles, hostile files."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.findings import RULES, Severity
from schemas.notes import rules as note_rules
from schemas.notes.config import NotesConfig
from schemas.notes.layout import derived_id
from schemas.notes.model import MentionKind, Outcome, ParsedNote
from schemas.notes.parse import MAX_MENTIONS, PARSER_VERSION, parse_note


def rules(parsed: ParsedNote) -> list[str]:
    return [finding.rule for finding in parsed.findings]


def targets(parsed: ParsedNote) -> list[str]:
    return [mention.target for mention in parsed.mentions]


# -- outcomes

WHOLE = b"---\nid: qp-1\ntitle: T\n---\nSee [[x]].\n"


@pytest.mark.parametrize(
    ("data", "outcome", "found", "mentions"),
    [
        (WHOLE, Outcome.INDEXED, [], ["x"]),
        (b"\xef\xbb\xbf" + WHOLE, Outcome.INDEXED, [], ["x"]),
        (WHOLE.replace(b"\n", b"\r\n"), Outcome.INDEXED, [], ["x"]),
        (WHOLE.replace(b"\n", b"\r"), Outcome.INDEXED, [], ["x"]),
        (b"\n \n" + WHOLE, Outcome.INDEXED, [], ["x"]),
        (WHOLE.replace(b"---\nSee", b"...\nSee"), Outcome.INDEXED, [], ["x"]),
        (b"See [[x]].", Outcome.INDEXED, [], ["x"]),
        (b"---\n---\nSee [[x]].", Outcome.INDEXED, [], ["x"]),
        (b"", Outcome.INDEXED, [], []),
        (b"\xef\xbb\xbf", Outcome.INDEXED, [], []),
        (b"\n\n", Outcome.INDEXED, [], []),
        (b"---\nid: a\n\ttitle: T\n---\n[[x]]", Outcome.DEGRADED, ["note-frontmatter"], ["x"]),
        (b"---\nid: a\nlist:\n\t- b\n---\n[[x]]", Outcome.INDEXED, ["note-frontmatter-tabs"], ["x"]),
        (b"---\nid: a\nSee [[x]].\n", Outcome.DEGRADED, ["note-frontmatter-unclosed"], ["x"]),
        (b"---\n- a\n---\n[[x]]", Outcome.DEGRADED, ["note-frontmatter-mapping"], ["x"]),
        (b"---\ntitle: a: b\n---\n[[x]]", Outcome.DEGRADED, ["note-frontmatter"], ["x"]),
        (b"---\nid: a\nid: b\n---\n[[x]]", Outcome.DEGRADED, ["note-duplicate-key"], ["x"]),
        (b"[[x]] \x00 [[y]]", Outcome.INDEXED, ["note-nul"], ["x", "y"]),
        (b"caf\xe9 [[x]]", Outcome.QUARANTINED, ["note-encoding"], []),
        (b"half \xe2\x82", Outcome.QUARANTINED, ["note-encoding"], []),
        ("See [[x]].".encode("utf-16"), Outcome.QUARANTINED, ["note-encoding"], []),
        ("See [[x]].".encode("utf-16-le"), Outcome.QUARANTINED, ["note-encoding"], []),
        ("See [[x]].".encode("utf-32"), Outcome.QUARANTINED, ["note-encoding"], []),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", Outcome.QUARANTINED, ["note-lfs-pointer"], []),
        (b"a\n<<<<<<< HEAD\n[[x]]\n=======\n[[y]]\n>>>>>>> other\n", Outcome.DEGRADED, ["note-conflict-markers"], ["x", "y"]),
    ],
)
def test_case_67_every_file_has_a_defined_outcome(data: bytes, outcome: Outcome, found: list[str], mentions: list[str]) -> None:
    parsed = parse_note(data, "notes/a.md", prefix="docs/.qipu")
    assert (parsed.outcome, rules(parsed), targets(parsed)) == (outcome, found, mentions)
    for finding in parsed.findings:
        assert finding.path == "docs/.qipu/notes/a.md"
        assert finding.message
        assert finding.fix


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("größer".encode("cp1252"), "größer"),
        ("größer".encode("utf-16"), "größer"),
        ("größer".encode("utf-16-be"), "größer"),
        ("größer".encode("utf-32"), "größer"),
        ("größer ".encode() + b"\xff", "größer �"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (b"---\nid: [[[\nword: here\n---\nbody", "word: here"),
        (b"---\nword: here\nbody", "word: here"),
        (b"\x00 word", "� word"),
        ("e\u0301".encode(), "é"),
    ],
)
def test_text_stays_searchable_whatever_is_wrong(data: bytes, text: str) -> None:
    assert text in parse_note(data, "a.md").search_text


def test_invalid_bytes_are_named_with_their_place() -> None:
    (finding,) = parse_note(b"one\ntwo \xff", "a.md").findings
    assert (finding.line, finding.column, finding.value) == (2, 5, "0xff")


def test_conflict_markers_are_one_finding_also_in_frontmatter_and_none_in_code() -> None:
    data = b"---\nid: a\n<<<<<<< HEAD\ntitle: T\n=======\ntitle: U\n>>>>>>> x\n---\n[[x]]\n"
    parsed = parse_note(data, "a.md")
    assert rules(parsed) == ["note-conflict-markers", "note-duplicate-key"]
    assert (parsed.id, parsed.title, targets(parsed)) == ("a", "T", ["x"])
    assert "lines 3 and 7" in parsed.findings[0].message
    assert rules(parse_note(b"```\n<<<<<<< HEAD\n=======\n>>>>>>> x\n```\n", "a.md")) == []
    assert rules(parse_note(b"<<<<<<< is not alone\n", "a.md")) == []


def test_a_note_above_the_cap_is_searchable_in_its_first_part() -> None:
    config = NotesConfig(max_note_bytes=100)
    parsed = parse_note(b"word " * 30, "a.md", config=config)
    assert (parsed.outcome, rules(parsed), parsed.words) == (Outcome.QUARANTINED, ["note-too-large"], 30)
    assert parse_note(b"word " * 20, "a.md", config=config).outcome is Outcome.INDEXED


def test_broken_frontmatter_still_names_the_note() -> None:
    parsed = parse_note(b"---\nid: qp-1\ntitle: Foo: bar\ntags: [a\n---\n# Other\n", "a.md")
    assert (parsed.id, parsed.own_id, parsed.title, parsed.title_from) == ("qp-1", True, "Foo: bar", "frontmatter")


# -- titles and ids


@pytest.mark.parametrize(
    ("data", "title", "title_from"),
    [
        (b"---\ntitle: Given\n---\n# Heading\n", "Given", "frontmatter"),
        (b"---\ntitle:\n---\n# Heading\n", "Heading", "heading"),
        (b"## Second\n\n# First *one*\n\n# Other\n", "First one", "heading"),
        (b"### Third\n\n## Second\n", "Second", "heading"),
        (b"Setext\n===\n", "Setext", "heading"),
        (b"#\n\n# Full\n", "Full", "heading"),
        (b"> # Quoted\n", "My note.v2", "file"),
        (b"prose", "My note.v2", "file"),
        (b"caf\xe9", "My note.v2", "file"),
    ],
)
def test_the_title_of_a_note(data: bytes, title: str, title_from: str) -> None:
    parsed = parse_note(data, "sub/My note.v2.md")
    assert (parsed.title, parsed.title_from) == (title, title_from)


def test_a_note_without_an_id_has_one_from_its_path() -> None:
    for data in (b"text", b"---\nid:\n---\n", b"\xff"):
        parsed = parse_note(data, "sub/a.md")
        assert (parsed.id, parsed.own_id) == (derived_id("sub/a.md"), False)
    assert parse_note(b"---\nid: qp-1\n---\n", "sub/a.md").own_id


def test_everything_at_once() -> None:
    data = (
        "---\nid: qp-a1b2\ntitle: Größe\ntype: Permanent\ncreated: 2026-01-12\ntags: [a, b]\naliases: [Maß]\nvalue: 80\n"
        "custom:\n  priority: 1\nlinks:\n- type: supports\n  id: qp-2\nup: '[[MOC]]'\n---\n\n# Überblick\n\n## Summary\n\n"
        "Die Sache.\n\nMehr [[Ziel#Teil|hier]] und [da](../x%20y.md#z). #offen ^b1\n\nstatus:: gut\n"
    ).encode()
    parsed = parse_note(data, "notes/a.md")
    assert (parsed.type, parsed.created, parsed.value, parsed.summary) == ("permanent", "2026-01-12", 80, "Die Sache.")
    assert [(tag.name, tag.inline, tag.line, tag.column) for tag in parsed.tags] == [
        ("a", False, 6, 8),
        ("b", False, 6, 11),
        ("offen", True, 23, 50),
    ]
    assert (parsed.aliases, parsed.fields, parsed.meta["custom"]) == (["Maß"], {"status": ["gut"]}, {"priority": 1})
    assert [(heading.text, heading.level, heading.line) for heading in parsed.headings] == [
        ("Überblick", 1, 17),
        ("Summary", 2, 19),
    ]
    assert [(block.id, block.line) for block in parsed.blocks] == [("b1", 23)]
    assert [(m.kind, m.type, m.target, m.anchor, m.label, m.line, m.column) for m in parsed.mentions] == [
        (MentionKind.TYPED, "supports", "qp-2", None, None, 12, 3),
        (MentionKind.PROPERTY, "related", "MOC", None, None, 14, 6),
        (MentionKind.WIKI, "related", "Ziel", "Teil", "hier", 23, 6),
        (MentionKind.MARKDOWN, "related", "../x y.md", "z", "da", 23, 29),
    ]
    assert [data[m.start : m.stop].decode() for m in parsed.mentions] == [
        "type: supports\n  id: qp-2",
        "[[MOC]]",
        "[[Ziel#Teil|hier]]",
        "[da](../x%20y.md#z)",
    ]
    assert [data[h.start : h.stop].decode() for h in parsed.headings] == ["# Überblick", "## Summary"]
    assert data[parsed.body_start :].startswith(b"\n# \xc3\x9cber")
    assert (parsed.lines, parsed.paragraphs) == (25, 3)
    assert rules(parsed) == []


# -- targets


@pytest.mark.parametrize(
    ("text", "kind", "target", "anchor", "label"),
    [
        ("[[a#h1#h2]]", "wiki", "a", "h1#h2", None),
        ("[[#h]]", "wiki", "", "h", None),
        ("[[a#]]", "wiki", "a", None, None),
        ("[[a#^b|c]]", "wiki", "a", "^b", "c"),
        ("[[esca]\\]ped \\[c]]", "wiki", "esca]]ped [c", None, None),
        ("[[a|]]", "wiki", "a", None, None),
        ("[[https://a.b/#c]]", "url", "https://a.b/#c", None, None),
        ("[[Foo: bar]]", "wiki", "Foo: bar", None, None),
        ("![[p.png|300]]", "embed", "p.png", None, "300"),
        ("[t](a%20b.md#c%20d)", "markdown", "a b.md", "c d", "t"),
        ("[t](<a b.md#c>)", "markdown", "a b.md", "c", "t"),
        ("[t](a\\_b&amp;c.md)", "markdown", "a_b&c.md", None, "t"),
        ("[t](a%23b.md)", "markdown", "a#b.md", None, "t"),
        ("[t](#here)", "markdown", "", "here", "t"),
        ("[t]()", "markdown", "", None, "t"),
        ("[t](%2e%2e/x.md)", "markdown", "../x.md", None, "t"),
        ("[t](%FF.md)", "markdown", "\ufffd.md", None, "t"),
        ("![t](p.png)", "image", "p.png", None, "t"),
        ("![t](https://a.b/p.png)", "url", "https://a.b/p.png", None, None),
        ("[t](//a.b/c)", "url", "//a.b/c", None, None),
        ("[t](mailto:a@b.c)", "url", "mailto:a@b.c", None, None),
        ("[t](obsidian://open?x=%20#y)", "url", "obsidian://open?x=%20#y", None, None),
        ("[t](javascript:alert(1))", "url", "javascript:alert(1)", None, None),
        ("[t](<Foo: bar.md>)", "markdown", "Foo: bar.md", None, "t"),
        ("[t](C:/x.md)", "markdown", "C:/x.md", None, "t"),
        ("<me@a.b>", "url", "mailto:me@a.b", None, None),
        ("https://a.b/%20#c", "url", "https://a.b/%20#c", None, None),
    ],
)
def test_case_70_what_a_link_points_at(text: str, kind: str, target: str, anchor: str | None, label: str | None) -> None:
    (mention,) = parse_note(text.encode(), "a.md").mentions
    if kind == "url":
        assert (mention.kind.value, mention.target, mention.anchor) == (kind, target, anchor)
    else:
        assert (mention.kind.value, mention.target, mention.anchor, mention.label) == (kind, target, anchor, label)


def test_case_62_every_mention_counts_with_its_place() -> None:
    parsed = parse_note(b"---\nlinks: [A]\n---\n[[A]] [b](B.md) [[A]]\n[[A]]\n", "a.md")
    assert [(m.target, m.line, m.column) for m in parsed.mentions] == [
        ("A", 2, 9),
        ("A", 4, 1),
        ("B.md", 4, 7),
        ("A", 4, 17),
        ("A", 5, 1),
    ]


_PARTS = st.lists(
    st.sampled_from(
        [
            *(
                "[[Ä#b|c]]",
                "[t](<ä b.md> 'x')",
                "[r]",
                "\n\n[r]: ä.md#x\n\n",
                "![[🚀.png]]",
                "<https://ä.b>",
                "https://a.b/é",
                "é",
                "🚀",
            ),
            *("\n", "\n\n", "# Ü\n", "> ", "- ", "| ä | [[b\\|c]] |\n|---|---|\n", "`[[no]]`", "text ", "%%é%%", "#tág ", "\t"),
        ]
    ),
    max_size=15,
).map("".join)
_FRONT = st.sampled_from(
    [
        "",
        "---\ntitle: Ä\n---\n",
        "---\nlinks:\n- 'ä'\n- type: é\n  id: \"[[Ö|ö]]\"\nup: [[Ü]]\n---\n",
        "---\nnever: [[Ä]]\n",
        "\n---\na: é\n...\n",
    ]
)


@settings(max_examples=50, deadline=None)
@given(_FRONT, _PARTS, st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_byte_spans_are_exact(front: str, body: str, mark: bool, line_end: str) -> None:
    text = (front + body).replace("\n", line_end)
    data = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    parsed = parse_note(data, "a.md")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for mention in parsed.mentions:
        whole, target = data[mention.start : mention.stop].decode(), data[mention.target_start : mention.target_stop].decode()
        first = whole.replace("\r\n", "\n").replace("\r", "\n").split("\n")[0]
        assert lines[mention.line - 1][mention.column - 1 :].startswith(first)
        assert target == target.strip()
        assert (
            mention.target.removeprefix("mailto:") in target.partition("#")[0] or "%" in target or mention.kind is MentionKind.URL
        )
        rewritten = data[: mention.target_start] + target.encode() + data[mention.target_stop :]
        assert rewritten == data
    for heading in parsed.headings:
        assert data[heading.start : heading.stop].decode().strip()
    for tag in parsed.tags:
        assert tag.name in lines[tag.line - 1][tag.column - 1 :]
    assert 0 <= parsed.body_start <= len(data)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_bytes_ever_raise(data: bytes) -> None:
    for given_data in (data, b"---\n" + data + b"\n---\n" + data, b"---\na: " + data):
        parsed = parse_note(given_data, "a.md")
        assert parsed.title
        assert parsed.id
        assert all(finding.line is None or finding.line >= 1 for finding in parsed.findings)
        parsed.search_text.encode()


def test_case_82_the_parser_has_a_version() -> None:
    assert isinstance(PARSER_VERSION, int)
    assert PARSER_VERSION >= 1


# -- counts and hints


def test_words_count_cjk_characters() -> None:
    assert parse_note("two words 日本語 here".encode(), "a.md").words == 6
    assert parse_note(b"", "a.md").words == 0


def test_links_that_stand_alone_in_lists_are_one_hint() -> None:
    data = b"- [[a]]\n- [[b]] is why\n- [[c]] with a reason that says enough\n1. [d](d.md)\n\nIn prose [[e]]\n\n- https://x.y\n"
    (finding,) = parse_note(data, "a.md").findings
    assert (finding.rule, finding.severity, finding.line) == ("note-bare-links", Severity.INFO, 1)
    assert finding.message.startswith("3 links")


def test_large_frontmatter_is_a_hint() -> None:
    parsed = parse_note(b"---\na: " + b"x" * 11_000 + b"\n---\n", "a.md")
    assert (parsed.outcome, rules(parsed)) == (Outcome.INDEXED, ["note-frontmatter-size"])


def test_every_rule_of_the_kind_is_registered_in_one_place() -> None:
    own = {rule.id for rule in vars(note_rules).values() if hasattr(rule, "severity")}
    kind = {name for name in RULES if name.startswith(("note-", "notes-", "link-"))}
    assert own <= kind
    assert len(own) > 40
    for name in own:
        assert RULES[name].title.endswith(".")


# -- size and speed


def test_more_links_than_are_kept_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.notes.parse.MAX_MENTIONS", 3)
    parsed = parse_note(b"[[a]] " * 5, "a.md")
    assert (parsed.outcome, rules(parsed), len(parsed.mentions)) == (Outcome.DEGRADED, ["note-too-many-links"], 3)
    assert parsed.findings[0].column == 19
    assert MAX_MENTIONS >= 100_000


@pytest.mark.slow
def test_a_hundred_thousand_links_in_one_note() -> None:
    data = "".join(f"[[note {number}]] sees [b](c{number}.md) é\n\n" for number in range(50_000)).encode()
    started = time.process_time()
    parsed = parse_note(data, "a.md")
    assert time.process_time() - started < 6
    assert (len(parsed.mentions), parsed.outcome) == (100_000, Outcome.INDEXED)
    last = parsed.mentions[-1]
    assert data[last.start : last.stop] == b"[b](c49999.md)"


@pytest.mark.slow
def test_ten_megabytes_take_time_in_proportion() -> None:
    page = b"Some text with words, and a [[link]] in it for good measure.\nmore\n\n- item\n\n# Head\n\n"
    times = []
    for size in (1, 10):
        data = page * (size * (1 << 20) // len(page))
        started = time.process_time()
        parsed = parse_note(data, "a.md")
        times.append(time.process_time() - started)
        assert parsed.outcome is Outcome.INDEXED
        assert len(parsed.mentions) == data.count(b"[[link]]")
    assert times[1] < 20
    assert times[1] < 25 * times[0]


def test_reading_a_plain_note_loads_no_yaml_and_no_network() -> None:
    code = (
        "import sys; from schemas.notes.parse import parse_note;"
        "parse_note(b'---\\nid: a\\ntags: [b]\\n---\\n# T\\n[[x]]\\n', 'a.md');"
        "print([m for m in ('ruamel', 'pydantic', 'fsspec', 'asyncio', 'socket', 'http') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_what_unclosed_frontmatter_says_is_not_said_twice() -> None:
    parsed = parse_note(b"---\nup: '[[A]]'\ntags: '#t'\n\n[[B]] #u\n", "a.md")
    assert [(mention.target, mention.kind.value) for mention in parsed.mentions] == [("A", "property"), ("B", "wiki")]
    assert [tag.name for tag in parsed.tags] == ["t", "u"]


def test_labels_over_several_lines_are_one_text() -> None:
    for data in (b"> [one\n> two](a.md)", b"[one\ntwo](a.md)", b"- [one  \r\n  two](a.md)"):
        assert [mention.label for mention in parse_note(data, "a.md").mentions] == ["one two"]


def test_a_fault_that_is_everywhere_is_a_bounded_number_of_findings() -> None:
    for yaml in (
        b"a: b\n" * 5_000,
        b"links:\n" + b"-\n" * 5_000,
        b"sources:\n" + b"- title: x\n" * 5_000,
        b"a: 'b\n" + b"a: {\n" * 5_000,
    ):
        started = time.process_time()
        parsed = parse_note(b"---\n" + yaml + b"---\n[[x]]\n", "a.md")
        assert time.process_time() - started < 2
        assert 1 <= len(parsed.findings) <= 25
        assert targets(parsed) == ["x"]


def test_many_markers_in_many_blocks_of_code_take_time_in_proportion() -> None:
    data = b"```\n<<<<<<< a\n```\n>>>>>>> b\n" * 20_000
    started = time.process_time()
    assert rules(parse_note(data, "a.md")) == []
    assert time.process_time() - started < 3
