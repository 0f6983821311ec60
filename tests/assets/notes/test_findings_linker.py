"""What the index answers: findings with the nearest names, links for those who change notes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from assets.notes.findings import nearest_names, read_findings
from assets.notes.linker import IndexLinker
from assets.notes.opened import connect
from schemas.notes.model import Mention, MentionKind
from tests.assets.notes.corpora import Corpus


def mention(kind: MentionKind, target: str) -> Mention:
    return Mention(kind, target, None, None, "related", 1, 1, 0, 0, 0, 0)


FILES = {
    "notes/a.md": "[[Photosynthsis]] [[qp-a1b3]] [[zzz]] [x](../attachments/imgae.png)\n",
    "notes/photo.md": "---\nid: qp-a1b2\n---\n# Photosynthesis\n[[a]] ![[image.png]] [[#x]] <https://example.org>\n",
    "attachments/image.png": b"x",
    "config.toml": "odd = 1\n",
}


def test_a_broken_link_comes_with_the_nearest_names(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, FILES)
    with closing(connect(corpus.build())) as connection:
        found = read_findings(connection, "deep/.qipu")
        plain = read_findings(connection, "", nearest=False)

    fixes = {finding.value: finding.fix or "" for finding in found if finding.rule.startswith("link-broken")}
    assert fixes["Photosynthsis"].startswith("did you mean 'Photosynthesis'?")
    assert fixes["qp-a1b3"].startswith("did you mean 'qp-a1b2'?")
    assert fixes["../attachments/imgae.png"].startswith("did you mean 'attachments/image.png'?")
    assert not fixes["zzz"].startswith("did you mean")
    assert {finding.path for finding in found} == {"deep/.qipu/notes/a.md", "deep/.qipu/notes/photo.md", "deep/.qipu/config.toml"}
    assert found == sorted(found)
    assert len(plain) == len(found)
    assert not any("did you mean" in (finding.fix or "") for finding in plain)


def test_nearest_names_look_at_a_bounded_number_of_keys(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {f"notes/qp-{at:05}.md": "x\n" for at in range(600)})
    with closing(connect(corpus.build())) as connection:
        assert nearest_names(connection, "qp-0005x")[0] in {f"'qp-0005{digit}'" for digit in range(10)}
        assert nearest_names(connection, "") == []


def test_the_linker_answers_for_notes_and_attachments(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, FILES)
    with closing(connect(corpus.build())) as connection:
        linker = IndexLinker(connection)

        assert linker.inbound("notes/a.md") == ["notes/photo.md"]
        assert linker.inbound("attachments/image.png") == ["notes/photo.md"]
        assert linker.inbound("notes/photo.md") == ["notes/photo.md"]
        assert linker.inbound("notes/none.md") == []
        assert linker.resolve("notes/a.md", mention(MentionKind.WIKI, "Photosynthesis")) == "notes/photo.md"
        assert linker.resolve("notes/a.md", mention(MentionKind.MARKDOWN, "photo.md")) == "notes/photo.md"
        assert linker.resolve("notes/a.md", mention(MentionKind.EMBED, "image.png")) == "attachments/image.png"
        assert linker.resolve("notes/a.md", mention(MentionKind.WIKI, "")) == "notes/a.md"
        assert linker.resolve("notes/a.md", mention(MentionKind.WIKI, "nothing")) is None
        assert linker.resolve("notes/a.md", mention(MentionKind.URL, "https://example.org")) is None
        assert linker.resolve("notes/a.md", mention(MentionKind.MARKDOWN, "../../x.md")) is None
        assert linker.named("PHOTOSYNTHESIS") == ["notes/photo.md"]
