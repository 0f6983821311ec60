"""What has to do with a note, and why; its tags; the store in numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from assets.notes.filters import Filters, condition
from assets.notes.related import related
from assets.notes.summary import summarise
from assets.notes.tagging import list_tags
from tests.assets.notes.asked import Asked, asking, note

SAME = "glaciers and moraines shape valleys"
FILES = {
    "config.toml": "version = 1\n",
    "notes/a.md": note("Glaciers", f"{SAME} [[hub]] [[rare]]", id="qp-a", tags="[ice, common]", created="2026-01-01"),
    "notes/text.md": note("Valleys", f"{SAME}.", id="qp-text"),
    "notes/links.md": note("Unlike", "[[hub]] [[rare]] nothing alike", id="qp-links", created="2026-01-09"),
    "notes/tags.md": note("Different", "words", id="qp-tags", tags="[Ice]"),
    "notes/both.md": note("Linked too", "[[a]]", id="qp-both"),
    "notes/hub.md": note("Hub", "", id="qp-hub"),
    "notes/rare.md": note("Rare", "", id="qp-rare", type="permanent"),
    **{f"notes/c{n}.md": note(f"Crowd {n}", "[[hub]] other text", id=f"qp-c{n}", tags="common") for n in range(9)},
    "notes/broken.md": "[[nowhere]] #ice/sea #ice/sea",
    "notes/odd.md": "quixotic zeal",
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asking(tmp_path_factory.mktemp("related"), FILES) as opened:
        yield opened


def test_each_kind_of_reason(asked: Asked) -> None:
    found = {one.note.id: one for one in related(asked.connection, asked.number("notes/a.md"), limit=50)}
    assert set(found["qp-text"].shared_words) == {"glaciers", "moraines", "shape", "valleys"}
    assert found["qp-text"].parts["links"] == found["qp-text"].parts["tags"] == 0
    assert [row.id for row in found["qp-links"].shared_links] == ["qp-rare", "qp-hub"]  # the rarer first
    assert found["qp-tags"].shared_tags == ["ice"]
    assert found["qp-both"].linked
    assert "qp-a" not in found


def test_what_everything_shares_says_little(asked: Asked) -> None:
    found = {one.note.id: one.score for one in related(asked.connection, asked.number("notes/a.md"), limit=50)}
    assert found["qp-links"] > found["qp-c1"]
    assert found["qp-tags"] > 0
    assert len({found[f"qp-c{n}"] for n in range(9)}) == 1
    order = [one.note.id for one in related(asked.connection, asked.number("notes/a.md"), limit=50)]
    crowd = [one for one in order if one.startswith("qp-c")]
    assert crowd == sorted(crowd)  # ties by id


def test_only_what_is_not_linked_yet_and_filters(asked: Asked) -> None:
    number = asked.number("notes/a.md")
    unlinked = {one.note.id for one in related(asked.connection, number, limit=50, unlinked=True)}
    assert not unlinked & {"qp-both", "qp-hub", "qp-rare"}
    assert "qp-text" in unlinked
    permanent = condition(asked.connection, Filters(types=("permanent",)))
    assert [one.note.id for one in related(asked.connection, number, kept=permanent)] == ["qp-rare"]
    assert len(related(asked.connection, number, limit=2)) == 2


def test_a_note_that_shares_nothing_is_related_to_none(asked: Asked) -> None:
    assert related(asked.connection, asked.number("notes/odd.md")) == []


def test_scores_are_plain_json(asked: Asked) -> None:
    record = related(asked.connection, asked.number("notes/a.md"), limit=1)[0].to_json("s/")
    assert record["path"].startswith("s/notes/")
    assert set(record["parts"]) == {"links", "tags", "words", "linked"}
    assert record["score"] > 0


def test_tags_with_those_below_them(asked: Asked) -> None:
    tags = {tag.name: tag for tag in list_tags(asked.connection, {"glacier": "ice", "common": "crowd"})}
    assert (tags["Ice"].notes, tags["Ice"].total, tags["Ice"].spellings) == (2, 3, ["Ice", "ice"])
    assert (tags["ice/sea"].depth, tags["ice/sea"].inline, tags["ice/sea"].notes) == (1, 2, 1)
    assert tags["common"].alias_of == "crowd"
    assert [tag.folded for tag in list_tags(asked.connection, pattern="ice*")] == ["ice", "ice/sea"]
    assert list_tags(asked.connection, pattern="nothing") == []


def test_a_store_in_numbers(asked: Asked) -> None:
    facts = summarise(asked.connection, dt.datetime(2026, 1, 10, tzinfo=dt.UTC), "fleeting")
    assert (facts["notes"], facts["types"]) == (18, {"fleeting": 17, "permanent": 1})
    assert (facts["tags"], facts["states"]) == (3, {"resolved": 14, "broken": 1})
    assert (facts["newest"], facts["oldest"], facts["changed_lately"]) == ("2026-01-09", "2026-01-01", 1)
    assert facts["findings"]["error"] == 1
    assert facts["unlinked"] == 4
