"""What searches find, in which order, and the lines they show."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.notes.filters import Filters
from assets.notes.opened import connect
from assets.notes.query import parse_query
from assets.notes.search import count_hits, search
from assets.notes.snippets import LINE_WIDTH, lines_with
from schemas.errors import UsageError
from schemas.notes.config import NotesConfig, SearchConfig
from tests.assets.notes.asked import Asked, asking, note
from tests.assets.notes.corpora import Corpus

FILES = {
    "config.toml": 'version = 1\n\n[tag_aliases]\nml = "machine-learning"\n',
    "notes/climate.md": note(
        "Climate model", "About the weather.\n\nA long winter of running water.", id="qp-clim", tags="[science]"
    ),
    "notes/weather.md": note("Weather", "Rain and a climate of doubt. C++ is a language, c is another.", id="qp-weat"),
    "notes/tagged.md": note("Something else", "Nothing of interest.", id="qp-tagg", tags="[climate/hot, machine-learning]"),
    "notes/heading.md": note("Quiet", "## Café society\n\nÉtudes at 100% volume 🚀 and more.", id="qp-head", aliases="[Silence]"),
    "notes/cjk.md": note("漢字の本", "これは日本語の文章です。東京タワー。", id="qp-cjk1"),
    "notes/code.md": note("Code", "what's in foo.bar or a/b? note:x (see f(x)) #inline/tag and snake_case here", id="qp-code"),
    "mocs/map.md": note("Map of weather", "- [[qp-clim]]", id="qp-map1", type="moc", value="90"),
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asking(tmp_path_factory.mktemp("search"), FILES) as opened:
        yield opened


def found(asked: Asked, query: str, **settings_: object) -> list[str]:
    config = NotesConfig(tag_aliases={"ml": "machine-learning"})
    return [hit.note.id for hit in search(asked.connection, query, config=config, **settings_)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        # every word, wherever it stands (case 38)
        ("climate", {"qp-clim", "qp-weat", "qp-tagg"}),
        ("climate model", {"qp-clim"}),
        ("climate weather", {"qp-clim", "qp-weat"}),
        ("climate OR silence", {"qp-clim", "qp-weat", "qp-tagg", "qp-head"}),
        ("climate -rain", {"qp-clim", "qp-tagg"}),
        ("NOT climate", {"qp-head", "qp-cjk1", "qp-code", "qp-map1"}),
        ("climate OR NOT weather", {"qp-clim", "qp-weat", "qp-tagg", "qp-head", "qp-cjk1", "qp-code"}),
        ('"climate of doubt"', {"qp-weat"}),
        ('"doubt of climate"', set()),
        ("climat*", {"qp-clim", "qp-weat", "qp-tagg"}),
        # words whose stem is shorter than the beginning that is asked for
        ("runnin*", {"qp-clim"}),
        ("societ* -climate", {"qp-head"}),
        ("raini*", set()),
        ("langua*", {"qp-weat"}),
        ("run", {"qp-clim"}),  # any form of the word
        ("cafe etudes", {"qp-head"}),  # with or without accents
        ("snake", {"qp-code"}),
        # fields
        ("title:climate", {"qp-clim"}),
        ("body:climate", {"qp-weat"}),
        ("heading:society", {"qp-head"}),
        ("tags:climate", {"qp-tagg"}),
        ("tag:climate", {"qp-tagg"}),
        ("tag:science climate", {"qp-clim"}),
        ("tag:sci", set()),
        ("tag:sci*", {"qp-clim"}),
        ("tag:ml", {"qp-tagg"}),
        ("#inline", {"qp-code"}),
        ("climate -tag:science", {"qp-weat", "qp-tagg"}),
        ("tag:science OR title:code", {"qp-clim", "qp-code"}),
        ("type:moc", {"qp-map1"}),
        ("weather type:moc", {"qp-map1"}),
        ("weather -type:moc", {"qp-clim", "qp-weat"}),
        ("path:mocs", {"qp-map1"}),
        ("path:notes/c*", {"qp-clim", "qp-cjk1", "qp-code"}),
        ("id:qp-c*", {"qp-clim", "qp-cjk1", "qp-code"}),
        ("title:(weather OR code) -map", {"qp-weat", "qp-code"}),
        # names are found although no text says them
        ("qp-head", {"qp-head"}),
        ("Silence", {"qp-head"}),
        # as it is written
        ("c++", {"qp-weat"}),
        ("what's", {"qp-code"}),
        ("foo.bar", {"qp-code"}),
        ("a/b", {"qp-code"}),
        ("note:x", {"qp-code"}),
        ("100%", {"qp-head"}),
        ("🚀", {"qp-head"}),
        ("-🚀 weather", {"qp-clim", "qp-weat", "qp-map1"}),
        ("f(x)", {"qp-code"}),
        ("nothing said by anyone", set()),
    ],
)
def test_cases_38_and_64_what_is_found(asked: Asked, query: str, ids: set[str]) -> None:
    assert set(found(asked, query)) == ids
    assert count_hits(asked.connection, parse_query(query), config=NotesConfig(tag_aliases={"ml": "machine-learning"})) == (
        # What is only called so is no match, but is found.
        len(ids) if query != "qp-head" else 0
    )


@pytest.mark.parametrize("query", ["漢", "字", "漢字", "字の本", "語", "本語", "日本語", "東京タワー", "東京*", "title:字"])
def test_case_81_substrings_of_cjk_text_are_found(asked: Asked, query: str) -> None:
    assert "qp-cjk1" in found(asked, query)


def test_case_81_and_only_where_they_stand_together(asked: Asked) -> None:
    assert found(asked, "本漢") == []
    assert found(asked, "日語") == []


def test_case_41_an_empty_query_is_a_mistake_and_no_hit_is_none(asked: Asked) -> None:
    assert found(asked, "unheard") == []
    with pytest.raises(UsageError) as caught:
        search(asked.connection, "  ")
    assert (caught.value.exit_code, caught.value.rule) == (2, "notes-empty-query")


def test_case_40_filters(asked: Asked) -> None:
    assert found(asked, "weather", filters=Filters(moc=False)) == found(asked, "weather -type:moc")
    assert found(asked, "weather", filters=Filters(types=("moc",))) == ["qp-map1"]
    assert found(asked, "weather", filters=Filters(min_value=60)) == ["qp-map1"]
    assert found(asked, "climate", filters=Filters(tags=("science",))) == ["qp-clim"]
    assert found(asked, "qp-head", filters=Filters(types=("moc",))) == []


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "climate",
                "c++",
                "AND",
                "OR",
                "NOT",
                "-",
                "(",
                ")",
                '"',
                "wea*",
                "title:",
                "tag:",
                "#x",
                "path:",
                "🚀",
                "日",
                "type:!",
                "tag:,",
            ]
        ),
        min_size=1,
        max_size=9,
    ).map(" ".join)
)
def test_case_64_whatever_is_typed_is_answered(asked: Asked, query: str) -> None:
    hits = search(asked.connection, query, read=asked.read, lines=2, limit=50)
    numbers = [hit.note.number for hit in hits]
    assert len(numbers) == len(set(numbers))
    assert search(asked.connection, query, limit=1)[:1] == search(asked.connection, query, limit=50)[:1]


# -- order


def crowd(**more: str) -> dict[str, str]:
    """Fifty notes whose text says much about a word."""
    files = {
        f"notes/n{number:02}.md": note(f"Note {number}", "tide tide tide, the tide", id=f"qp-n{number:02}")
        for number in range(50)
    }
    return {**files, **more}


def test_case_63_a_title_comes_before_all_texts(tmp_path: Path) -> None:
    long = "word " * 3000
    with asking(tmp_path, crowd(**{"notes/z.md": note("On the tide of things", long, id="qp-z")})) as asked:
        assert found(asked, "tide", limit=3)[0] == "qp-z"
        assert found(asked, "tide -unheard", limit=3)[0] == "qp-z"
        assert found(asked, "tide path:notes", limit=3)[0] == "qp-z"


def test_what_is_called_so_comes_first(tmp_path: Path) -> None:
    files = crowd(
        **{
            "notes/title.md": note("Tide", "nothing", id="qp-zz"),
            "notes/longer.md": note("Tide tide tide", "tide", id="qp-aa"),
            "notes/alias.md": note("Sea", "nothing", id="qp-yy", aliases="[tide]"),
        }
    )
    with asking(tmp_path, files) as asked:
        assert found(asked, "TIDE", limit=4)[:3] == ["qp-zz", "qp-yy", "qp-aa"]


def test_ties_go_by_id_and_a_limit_only_cuts(tmp_path: Path) -> None:
    with asking(tmp_path, crowd()) as asked:
        whole = found(asked, "tide", limit=100)
        assert whole == sorted(whole)
        assert len(whole) == 50
        assert found(asked, "tide", limit=7) == whole[:7]


DATED = {
    "notes/old.md": note("Old", "the same words", id="qp-a", created="2020-01-01"),
    "notes/new.md": note("New", "the same words", id="qp-b", created="2026-01-01"),
    "notes/none.md": note("Non", "the same words", id="qp-c"),
}


def test_cases_39_and_77_the_newer_of_equals_first_whatever_day_it_is(tmp_path: Path) -> None:
    with asking(tmp_path, DATED) as asked:
        first = search(asked.connection, "same words")
        assert [hit.note.id for hit in first] == ["qp-b", "qp-a", "qp-c"]
        assert [hit.score for hit in first] == [hit.score for hit in search(asked.connection, "same words")]
        # Seen from 2020 the note of 2026 is no newer than that of 2020.
        assert found(asked, "same words", now=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)) == ["qp-a", "qp-b", "qp-c"]


def test_recency_can_be_switched_off(tmp_path: Path) -> None:
    config = NotesConfig(search=SearchConfig(recency_boost=0.0))
    with asking(tmp_path, DATED) as asked:
        assert [hit.note.id for hit in search(asked.connection, "same words", config=config)] == ["qp-a", "qp-b", "qp-c"]


def test_case_73_a_folded_index_ranks_as_a_new_one(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, crowd())
    corpus.build()
    corpus.write({"notes/n07.md": note("Tide", "changed"), "notes/x.md": note("X", "tide " * 9, created="2026-01-01")})
    corpus.delete("notes/n30.md")
    results = []
    for path in (corpus.fold(), corpus.rebuilt()):
        connection = connect(path)
        results.append(
            [[(hit.note.path, hit.score) for hit in search(connection, q, limit=60)] for q in ("tide", "tide OR x", "ti*")]
        )
        connection.close()
    assert results[0] == results[1]


# -- lines


def test_a_hit_shows_the_line_and_the_place(asked: Asked) -> None:
    (hit,) = search(asked.connection, "running winter", read=asked.read)
    (line,) = hit.snippets
    assert (line.line, line.text) == (9, "A long winter of running water.")
    assert [line.text[start:stop] for start, stop in line.spans] == ["winter", "running"]
    assert hit.title_spans == ()


def test_a_hit_marks_its_title(asked: Asked) -> None:
    (hit,) = search(asked.connection, "title:models", read=asked.read)
    assert [hit.note.title[start:stop] for start, stop in hit.title_spans] == ["model"]


def test_lines_of_cjk_text_are_marked(asked: Asked) -> None:
    (hit,) = search(asked.connection, "日本語", read=asked.read)
    (line,) = hit.snippets
    assert (line.text, line.spans) == ("これは日本語の文章です。東京タワー。", ((3, 6),))


def test_lines_of_what_is_written_are_marked(asked: Asked) -> None:
    (hit,) = search(asked.connection, "c++", read=asked.read)
    assert [hit.snippets[0].text[start:stop] for start, stop in hit.snippets[0].spans] == ["C++"]


def test_without_files_the_index_shows_what_it_has(asked: Asked) -> None:
    (hit,) = search(asked.connection, "winter")
    assert hit.snippets[0].line is None
    assert [hit.snippets[0].text[start:stop] for start, stop in hit.snippets[0].spans] == ["winter"]


def test_the_best_lines_in_their_order_and_no_heading_that_says_the_title() -> None:
    data = b"---\ntitle: Sea level\n---\n# Sea level\n\nthe sea\nnothing\n\xe2\x80\xa6 sea level and sea\nlevel\n"
    assert [line.line for line in lines_with(data, ["sea", "level"], 2, "Sea level")] == [6, 8]
    assert [line.line for line in lines_with(data, ["sea", "level"], 9, "Sea level")] == [2, 4, 6, 8, 9]


def test_line_numbers_count_every_kind_of_line_end() -> None:
    assert [line.line for line in lines_with(b"a\r\nb\rtide\nc\r\ntide", ["tide"], 9)] == [3, 5]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 900), st.integers(0, 900), st.sampled_from([" ", "x", "漢"]))
def test_a_long_line_is_cut_around_what_was_found(before: int, after: int, filler: str) -> None:
    line = ("ab" + filler) * before + " tide " + (filler + "cd") * after
    (shown,) = lines_with(line.encode(), ["tide"], 1)
    assert len(shown.text) <= LINE_WIDTH + 2
    assert [shown.text[start:stop] for start, stop in shown.spans] == ["tide"]


def test_hits_are_plain_json(asked: Asked) -> None:
    (hit,) = search(asked.connection, "winter", read=asked.read)
    record = hit.to_json(".qipu/")
    assert (record["path"], record["id"], record["tags"]) == (".qipu/notes/climate.md", "qp-clim", ["science"])
    assert record["snippets"] == [{"line": 9, "text": "A long winter of running water.", "spans": [[7, 13]]}]


def test_a_long_note_full_of_the_word_is_shown_at_once(tmp_path: Path) -> None:
    """FTS5's own snippets take minutes here: every found word is weighed against every other."""
    body = "word " * 100_000 + "\n" + "filler " * 20_000 + "\nzebrafish at the end\n"
    with asking(tmp_path, {"notes/long.md": f"# Long\n\n{body}"}) as asked:
        started = time.process_time()
        (hit,) = search(asked.connection, "word", read=asked.read)
        assert hit.snippets[0].text.startswith("word word")
        (hit,) = search(asked.connection, "zebra*", read=asked.read)
        assert (hit.snippets[0].text, hit.snippets[0].spans) == ("zebrafish at the end", ((0, 9),))
        (hit,) = search(asked.connection, "zebra*")
        assert "zebrafish" in hit.snippets[0].text
        assert time.process_time() - started < 5
