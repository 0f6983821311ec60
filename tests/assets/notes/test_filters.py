"""Which notes each filter keeps: types, tags, dates, paths, any key of the frontmatter, and how notes are linked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.notes.dates import When, read_when
from assets.notes.filters import Filters, condition, waiting
from assets.notes.listing import Sort, count_notes, list_notes, read_sort, title_key
from assets.notes.where import keys_in_use, read_where
from schemas.errors import UsageError
from schemas.notes.config import NotesConfig
from tests.assets.notes.asked import Asked, asking, note

NOW = dt.datetime(2026, 3, 18, 15, 4, tzinfo=dt.UTC)
CONFIG = NotesConfig(tag_aliases={"ml": "machine-learning"})

FILES = {
    "config.toml": "version = 1\n",
    "notes/a.md": note(
        "Alpha", "See [[b]] and [[c]].", id="qp-a", type="permanent", tags="[climate, science/earth]",
        created="2026-01-12T13:07:00Z", value="80", status="done", priority="3",
        due="2026-02-01", custom="{area: water, depth: 7}", nothing="null",
    ),
    "notes/b.md": note(
        "beta", "Back to [[a]]. [[gone]]", id="qp-b", tags="Climate/hot", created="2026-01-11", updated="2026-03-01",
        status="open", priority="10", authors="[Ada, Bo]", reviewed="true", due="2026-03",
    ),
    "notes/deep/c.md": note(
        "Äther", "Nothing links on.\n\nrating:: 5\n", id="qp-c", tags="[machine-learning]", value="20", priority="high",
    ),
    "mocs/m.md": note("Map", "- [[a]]\n- [[b]]", id="qp-m", type="moc", created="2026-03-18T10:00:00Z", status=""),
    "notes/alone.md": "no title, no tags, about Alpha",
    "notes/bad.md": "---\ntitle: [\n---\ntext",
}  # fmt: skip


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asking(tmp_path_factory.mktemp("filters"), FILES) as opened:
        yield opened


def kept(asked: Asked, filters: Filters, prefix: str = "") -> list[str]:
    """The names of the notes that are kept, sorted."""
    made = condition(asked.connection, filters, CONFIG, prefix=prefix)
    rows = list_notes(asked.connection, made, sort=Sort("path"))
    assert count_notes(asked.connection, made) == len(rows)
    return sorted(Path(row.path).stem for row in rows)


def when(text: str) -> When:
    return read_when(text, NOW)


ALL = ["a", "alone", "b", "bad", "c", "m"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (Filters(), ALL),
        (Filters(types=("permanent",)), ["a"]),
        (Filters(types=("permanent", "moc")), ["a", "m"]),
        (Filters(types=("!moc", "!PERMANENT")), ["alone", "b", "bad", "c"]),
        (Filters(types=("fleeting",)), ["alone", "b", "bad", "c"]),  # a note without a type has the store's default
        (Filters(types=("p*",)), ["a"]),
        (Filters(moc=True), ["m"]),
        (Filters(moc=False, types=("moc",)), []),
        (Filters(tags=("climate",)), ["a", "b"]),  # a tag stands for those below it, whatever its case
        (Filters(tags=("climate/hot",)), ["b"]),
        (Filters(tags=("#science",)), ["a"]),
        (Filters(tags=("clim*",)), ["a", "b"]),
        (Filters(tags=("climate, science",)), ["a"]),
        (Filters(tags=("climate", "science")), ["a"]),
        (Filters(tags=("science OR ml",)), ["a", "c"]),
        (Filters(tags=("science|ml",)), ["a", "c"]),
        (Filters(tags=("NOT climate",)), ["alone", "bad", "c", "m"]),
        (Filters(tags=("climate, -science",)), ["b"]),
        (Filters(tags=("climat",)), []),
        (Filters(tagless=True), ["alone", "bad", "m"]),
        (Filters(paths=("notes/deep",)), ["c"]),
        (Filters(paths=("notes/deep/",)), ["c"]),
        (Filters(paths=("./notes/a",)), ["a"]),
        (Filters(paths=("notes/a.md", "mocs")), ["a", "m"]),
        (Filters(paths=("note",)), []),
        (Filters(paths=("notes/*a*",)), ["a", "alone", "bad"]),
        (Filters(paths=("!notes",)), ["m"]),
        (Filters(paths=("notes", "!notes/deep", "!notes/b*")), ["a", "alone"]),
        (Filters(paths=(".",)), ALL),
        (Filters(created=(When(when("2026-01-12T13:07:00Z").start, None),)), ["a", "m"]),  # case 42: that instant counts
        (Filters(created=(When(when("2026-01-12").start, None), When(None, when("2026-01").stop))), ["a"]),
        (Filters(created=(When(None, when("2026-01-11").stop),)), ["b"]),
        (Filters(created=(when("today"),)), ["m"]),
        (Filters(modified=(when("2026-03"),)), ["b", "m"]),
        (Filters(min_value=50), ["a", "alone", "b", "bad", "m"]),
        (Filters(min_value=51), ["a"]),
        (Filters(max_value=49), ["c"]),
        (Filters(orphan=True), ["alone", "bad", "m"]),
        (Filters(unlinked=True), ["alone", "bad"]),
        (Filters(untitled=True), ["alone"]),
        (Filters(broken=True), ["b"]),
        (Filters(missing_backlink=True), ["a", "b", "c"]),
        (Filters(outcomes=("quarantined", "degraded")), ["bad"]),
        (Filters(numbers=()), []),
    ],
)
def test_what_a_filter_keeps(asked: Asked, filters: Filters, names: list[str]) -> None:
    assert kept(asked, filters) == names


def test_a_path_may_begin_with_the_stores_folder(asked: Asked) -> None:
    assert kept(asked, Filters(paths=(".qipu/notes/deep",)), prefix=".qipu/") == ["c"]
    assert kept(asked, Filters(paths=(".qipu",)), prefix=".qipu/") == ALL


def linked(asked: Asked, **names: str) -> list[str]:
    recursive = {"recursive": True} if names.pop("recursive", None) else {}
    far = {"max_distance": int(names.pop("far"))} if "far" in names else {}
    numbers = {key: (asked.number(path),) for key, path in names.items()}
    return kept(asked, Filters(**numbers, **recursive, **far))  # type: ignore[arg-type]


def test_filters_by_links(asked: Asked) -> None:
    assert linked(asked, linked_by="mocs/m.md") == ["a", "b"]
    assert linked(asked, linked_by="mocs/m.md", recursive="yes") == ["a", "b", "c"]
    assert linked(asked, linked_by="mocs/m.md", far="2") == ["a", "b", "c"]
    assert linked(asked, link_to="notes/deep/c.md") == ["a"]
    assert linked(asked, link_to="notes/deep/c.md", recursive="yes") == ["a", "b", "m"]
    assert linked(asked, no_linked_by="mocs/m.md") == ["alone", "bad", "c", "m"]
    assert linked(asked, no_link_to="notes/a.md") == ["a", "alone", "bad", "c"]
    assert linked(asked, related_to="notes/deep/c.md") == ["b", "m"]
    assert linked(asked, mention="notes/a.md") == ["alone"]
    assert linked(asked, mentioned_by="notes/alone.md") == ["a"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("status=done", ["a"]),
        ("STATUS == Done", ["a"]),
        ("status!=done", ["alone", "b", "bad", "c", "m"]),
        ("status=", ["m"]),
        ("status", ["a", "b", "m"]),
        ("!status", ["alone", "bad", "c"]),
        ("! status", ["alone", "bad", "c"]),
        ("status~pe", ["b"]),
        ("priority>3", ["b"]),  # as numbers: 10 > 3; "high" is neither
        ("priority>=3", ["a", "b"]),
        ("priority < 5.5", ["a"]),
        ("priority=3.0", ["a"]),
        ("priority=high", ["c"]),
        ("due<2026-03", ["a"]),
        ("due<=2026-03", ["a", "b"]),
        ("due>2026-02-01", ["b"]),
        ("due=2026-02", ["a"]),
        ("due<today", ["a", "b"]),
        ("authors=ada", ["b"]),
        ("authors!=ada", ["a", "alone", "bad", "c", "m"]),
        ("authors~b", ["b"]),
        ("reviewed=true", ["b"]),
        ("nothing=null", ["a"]),
        ("nothing", ["a"]),
        ("area=water", ["a"]),  # under `custom`
        ("custom.depth>6", ["a"]),
        ("rating>=5", ["c"]),  # an inline field
        ("value>=80", ["a"]),
        ("value", ["a", "c"]),
        ("words<3", ["bad"]),
        ("created>2026-01-11", ["a", "m"]),
        ("created=2026-01-12", ["a"]),
        ("modified=2026-03-01", ["b"]),
        ("title=ALPHA", ["a"]),
        ("unknown", []),
        ("!unknown", ALL),
        ("a%b_c=1", []),
    ],
)
def test_case_43_conditions_on_any_key(asked: Asked, text: str, names: list[str]) -> None:
    found = kept(asked, Filters(where=(read_where(text, NOW),)))
    if text.startswith("words"):
        assert set(found) <= {"bad", "m", "alone"}
    else:
        assert found == names


@pytest.mark.parametrize("text", ["", "=x", "!", "!k=v", "k>", "k>high", "k<=", "k~", "<3", "!=x"])
def test_case_43_a_bad_condition_is_a_mistake_of_usage(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_where(text, NOW)
    assert (caught.value.exit_code, caught.value.rule) == (2, "notes-bad-filter")


@pytest.mark.parametrize("text", ["", ",", "a,,b", "a OR ", "OR", "NOT ", "#", "-", "NOT NOT a"])
def test_a_bad_expression_of_tags_is_a_mistake_of_usage(asked: Asked, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        kept(asked, Filters(tags=(text,)))
    assert caught.value.rule == "notes-bad-filter"


def test_the_keys_in_use(asked: Asked) -> None:
    assert dict(keys_in_use(asked.connection))["status"] == 3


def test_an_inbox_holds_what_is_fleeting_or_linked_with_nothing(asked: Asked) -> None:
    rows = list_notes(asked.connection, waiting("fleeting"), sort=Sort("path"))
    assert [row.path for row in rows] == ["notes/alone.md", "notes/b.md", "notes/bad.md", "notes/deep/c.md"]


def test_orders(asked: Asked) -> None:
    def order(text: str, **more: int) -> list[str]:
        everything = condition(asked.connection, Filters(paths=("notes/a", "notes/b", "notes/deep", "mocs")), CONFIG)
        return [row.id for row in list_notes(asked.connection, everything, sort=read_sort(text), **more)]

    assert order("created") == ["qp-m", "qp-a", "qp-b", "qp-c"]  # what has no date comes last
    assert order("created+") == ["qp-b", "qp-a", "qp-m", "qp-c"]
    assert order("updated") == ["qp-m", "qp-b", "qp-a", "qp-c"]
    assert order("title") == ["qp-a", "qp-c", "qp-b", "qp-m"]  # Ä beside a
    assert order("title-") == ["qp-m", "qp-b", "qp-c", "qp-a"]
    assert order("-title") == order("title-")
    assert order("path") == ["qp-m", "qp-a", "qp-b", "qp-c"]
    assert order("value") == ["qp-a", "qp-m", "qp-b", "qp-c"]
    assert order("links") == ["qp-m", "qp-a", "qp-b", "qp-c"]
    assert order("backlinks") == ["qp-a", "qp-b", "qp-c", "qp-m"]
    assert order("type", limit=1) == ["qp-b"]
    assert order("modified", limit=2) == ["qp-m", "qp-b"]
    assert order("random", seed=1) == order("random", seed=1)
    assert {tuple(order("random", seed=seed)) for seed in range(20)} != {tuple(order("random"))}
    assert order("random", seed=3, limit=2) == order("random", seed=3)[:2]


@pytest.mark.parametrize("text", ["", "colour", "+title-", "title--", "1"])
def test_a_bad_order_is_a_mistake_of_usage(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_sort(text)
    assert (caught.value.exit_code, caught.value.rule) == (2, "notes-bad-sort")


def test_titles_sort_as_people_read_them() -> None:
    titles = ["zebra", "«Über»", "apple", "Émile", "…"]
    assert sorted(titles, key=title_key) == ["apple", "Émile", "«Über»", "zebra", "…"]
