"""Selections: globs, neighbours by plus signs, several at once, and a helpful answer to a typing error."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.engine.engine import Engine
from assets.engine.model import Ref
from schemas.errors import UsageError
from tests.assets.engine.workspaces import engine_on, write


@pytest.fixture
def engine(root: Path) -> Engine:
    write(root, {"deep/shop floor/letters.txt": "letters\n", "deep/shop floor/words/x.txt": "x"})
    return engine_on(root)


ALL = ["upper", "pair", "length", "double", "database"]
SELECTIONS = [
    ([], [*(f"a/{name}" for name in ALL), *(f"deep/shop floor/{name}" for name in ALL)]),
    (["letters"], [*(f"a/{name}" for name in ALL), *(f"deep/shop floor/{name}" for name in ALL)]),
    (["letters/a"], [f"a/{name}" for name in ALL]),
    (["letters/deep/shop floor"], [f"deep/shop floor/{name}" for name in ALL]),
    (["letters/*/pair"], ["a/pair", "deep/shop floor/pair"]),
    (["*/pair"], ["a/pair", "deep/shop floor/pair"]),
    (["letters/a/p*"], ["a/pair"]),
    (["letters/a/?air"], ["a/pair"]),
    (["+letters/a/pair"], ["a/upper", "a/pair"]),
    (["letters/a/length+"], ["a/length", "a/double"]),
    (["+letters/a/double+"], ["a/length", "a/double"]),
    (["+letters/a/length+"], ["a/length", "a/double"]),
    (["letters/a/database", "letters/a/upper"], ["a/upper", "a/database"]),
    (["letters/a/upper", "letters/a/upper+"], ["a/upper", "a/pair"]),
]


@pytest.mark.parametrize(("expressions", "expected"), SELECTIONS)
def test_what_a_selection_names(engine: Engine, expressions: list[str], expected: list[str]) -> None:
    assert [f"{ref.store}/{ref.name}" for ref in engine.refs(expressions)] == expected


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("letters/a/uper", "letters/a/upper"),
        ("leters", "letters"),
        ("database", "letters/a/database"),
        ("+letter/a", "letters/a"),
    ],
)
def test_a_typing_error_is_answered_with_the_nearest_names(engine: Engine, typed: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        engine.refs([typed])
    assert caught.value.rule == "selection-empty"
    assert meant in str(caught.value.fix)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("typed", ["", "+", "/", "LETTERS", "letters/a/[u]pper"])
def test_what_names_nothing_is_an_error(engine: Engine, typed: str) -> None:
    with pytest.raises(UsageError):
        engine.refs([typed])


def test_an_empty_workspace_says_how_to_start(tmp_path: Path) -> None:
    write(tmp_path / "new", {"headwater.toml": "version = 1\n"})
    engine = engine_on(tmp_path / "new")
    assert engine.refs() == []
    with pytest.raises(UsageError) as caught:
        engine.refs(["tables"])
    assert "headwater init" in str(caught.value.fix)


def test_neighbours(engine: Engine) -> None:
    upper, pair = Ref("letters", "a", "upper"), Ref("letters", "a", "pair")
    assert engine.upstream(pair) == (upper,)
    assert engine.downstream(upper) == (pair,)
    assert engine.store(pair).root == "a"
    assert engine.recipe(pair).name == "pair"
    with pytest.raises(UsageError, match="no artifact"):
        engine.recipe(Ref("letters", "a", "nothing"))
