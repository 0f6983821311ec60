"""The selection syntax: globs over `kind/store/artifact` with `+` for what is upstream and downstream, as Dagster writes it.

`tables` and `tables/shop` stand for everything below them; `*` matches any characters, a slash included, so that stores in
folders need no counting of slashes. Several selections add up. Light.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assets.engine.graph import Graph
from assets.engine.model import Ref
from schemas.errors import UsageError


def select(graph: Graph, expressions: Sequence[str]) -> list[Ref]:
    """The artifacts that any of the expressions names, in build order; all of them without an expression.

    Raises UsageError (rule `selection-empty`) with the nearest names for an expression that matches nothing.
    """
    if not expressions:
        return list(graph.nodes)
    chosen: set[Ref] = set()
    for expression in expressions:
        text = expression.strip()
        upstream, downstream = text.startswith("+"), text.endswith("+") and len(text) > 1
        pattern = text.removeprefix("+").removesuffix("+").strip("/")
        matched = _matching(graph, pattern)
        if not matched:
            raise _nothing(graph, expression, pattern)
        chosen |= matched
        if upstream:
            chosen |= graph.all_upstream(matched)
        if downstream:
            chosen |= graph.all_downstream(matched)
    return [ref for ref in graph.nodes if ref in chosen]


def _matching(graph: Graph, pattern: str) -> set[Ref]:
    if not pattern:
        return set()
    # A store's folder may be called `what*`: its own reference means it and no other.
    exact = {ref for ref in graph.nodes if str(ref) == pattern}
    if exact:
        return exact
    wanted = re.compile("".join(".*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in pattern), re.DOTALL)
    return {
        ref
        for ref in graph.nodes
        if any(wanted.fullmatch(name) for name in (str(ref), f"{ref.kind}/{ref.store}", ref.kind))
    }  # fmt: skip


def _nothing(graph: Graph, expression: str, pattern: str) -> UsageError:
    import difflib

    names = {name for ref in graph.nodes for name in (str(ref), f"{ref.kind}/{ref.store}", ref.kind)}
    near = difflib.get_close_matches(pattern, sorted(names), n=3, cutoff=0.5)
    near = near or sorted(str(ref) for ref in graph.nodes if pattern and pattern in (ref.name, ref.store))[:3]
    if near:
        fix = f"did you mean {' or '.join(near)}?"
    elif names:
        fix = "list what there is with `headwater ls`"
    else:
        fix = "there is no store here yet: start one with `headwater init`"
    return UsageError(f"nothing matches {expression!r}", rule="selection-empty", fix=fix)
