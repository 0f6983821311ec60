"""Queries as people type them: what each means, and that none is an error."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.notes.query import Not, Term, fts, parse_query


def read(text: str) -> str | None:
    root = parse_query(text).root
    assert root is not None
    return fts(root)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        # terms are taken as they are written
        ("foo", '"foo"'),
        ("foo bar", '("foo" AND "bar")'),
        ("foo AND bar", '("foo" AND "bar")'),
        ("foo-bar", '"foo-bar"'),
        ("--foo", '"--foo"'),
        ("what's", '"what\'s"'),
        ("foo.bar/baz", '"foo.bar/baz"'),
        ("note:x", '"note:x"'),
        ("https://x.org/a-b", '"https://x.org/a-b"'),
        ("f(x)", '"f(x)"'),
        ("foo:", '"foo:"'),
        ("and or not", '("and" AND "or" AND "not")'),
        # phrases
        ('"foo bar"', '"foo bar"'),
        ('"foo bar" baz', '("foo bar" AND "baz")'),
        ('"foo bar', '"foo bar"'),
        ('foo "bar', '("foo" AND "bar")'),
        ('"say ""hi"" now"', '"say ""hi"" now"'),
        ('"foo OR bar"', '"foo OR bar"'),
        ('"foo bar"*', '"foo bar" *'),
        # either, without
        ("foo OR bar", '("foo" OR "bar")'),
        ("foo | bar", '("foo" OR "bar")'),
        ("foo|bar", '("foo" OR "bar")'),
        ("foo OR bar baz", '("foo" OR ("bar" AND "baz"))'),
        ("foo -bar", '(("foo") NOT ("bar"))'),
        ("foo NOT bar", '(("foo") NOT ("bar"))'),
        ("foo -bar -baz", '(("foo") NOT ("bar" OR "baz"))'),
        ('foo -"bar baz"', '(("foo") NOT ("bar baz"))'),
        ("foo -(bar baz)", '(("foo") NOT (("bar" AND "baz")))'),
        ("NOT NOT foo", '"foo"'),
        # beginnings
        ("foo*", '"foo" *'),
        ("foo* bar", '("foo" * AND "bar")'),
        ("^foo", '^ "foo"'),
        ("foo^bar", '"foo^bar"'),
        # fields
        ("title:foo", '{title} : "foo"'),
        ("Title:foo*", '{title} : "foo" *'),
        ("title:^foo", '{title} : ^ "foo"'),
        ('heading:"foo bar"', '{headings} : "foo bar"'),
        ("text:foo", '{body} : "foo"'),
        ("title:(foo OR bar) baz", '(({title} : "foo" OR {title} : "bar") AND "baz")'),
        # groups
        ("(foo OR bar) baz", '(("foo" OR "bar") AND "baz")'),
        ("((foo))", '"foo"'),
        ("(foo", '"foo"'),
        ("foo)", '"foo"'),
        # operators with nothing to stand between are words; punctuation between words says nothing
        ("AND", '"AND"'),
        ("foo AND", '("foo" AND "AND")'),
        ("OR foo", '("OR" AND "foo")'),
        ("AND NOT", '("AND" AND "NOT")'),
        ("foo - bar", '("foo" AND "bar")'),
        ("foo & bar", '("foo" AND "bar")'),
        # nothing of FTS5's own language is special
        ("NEAR(foo bar)", '("NEAR" AND "foo" AND "bar")'),
        ("{foo} : bar", '("{foo}" AND "bar")'),
        ("foo\0bar", '("foo" AND "bar")'),
        # characters that are set apart in the index
        ("日本語", '" 日  本  語 "'),
        ("foo日", '"foo 日 "'),
    ],
)
def test_case_64_what_a_query_means(text: str, expression: str) -> None:
    assert read(text) == expression


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("#tag", Term("tag", "tag")),
        ("#a/b", Term("a/b", "tag")),
        ("tag:a/*", Term("a/*", "tag")),
        ("path:notes/a*", Term("notes/a*", "path")),
        ("type:moc", Term("moc", "type")),
        ("-foo", Not(Term("foo"))),
        ("c++", Term("c++")),
        ("100%", Term("100%")),
        ("🚀", Term("🚀")),
        ("(", Term("(")),
        ('""', Term('""')),
        ("*", Term("*")),
        ("-", Term("-")),
    ],
)
def test_what_the_tables_or_the_text_must_answer(text: str, root: object) -> None:
    assert parse_query(text).root == root
    assert read(text) is None


@pytest.mark.parametrize("text", ["", "  ", "\n\t", "\0"])
def test_blank_text_asks_nothing(text: str) -> None:
    assert parse_query(text).root is None


@settings(max_examples=50, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [
                    "foo",
                    "AND",
                    "OR",
                    "NOT",
                    "-",
                    "(",
                    ")",
                    '"',
                    "*",
                    "^",
                    "title:",
                    "tag:",
                    ":",
                    "|",
                    "'",
                    "{",
                    "}",
                    "+",
                    "日",
                    "\0",
                ]
            ),
            max_size=20,
        ).map(" ".join),
        st.lists(st.sampled_from(["a", "-", "(", ")", '"', "*", "^", "title:", "|", " "]), max_size=25).map("".join),
    )
)
@example("(" * 500)
@example("(a " * 500)
@example("a " * 5000)
@example("a OR " * 3000)
@example("-" * 1000 + "a")
@example("NOT " * 3000 + "a")
@example("\ud800")
def test_case_64_no_text_is_a_syntax_error(text: str) -> None:
    root = parse_query(text).root
    assert root is not None or not any(sign.isprintable() and not sign.isspace() for sign in text)
    expression = fts(root) if root is not None else None
    if expression is None:
        return
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE t USING fts5(title, headings, tags, body)")
    connection.execute("SELECT * FROM t WHERE t MATCH ?", (expression,)).fetchall()
    connection.close()


def test_the_terms_of_a_query_are_those_a_hit_has() -> None:
    assert [term.text for term in parse_query("a (b OR c) -d NOT e").terms] == ["a", "b", "c"]
