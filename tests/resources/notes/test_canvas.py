"""Canvases follow the files they show."""

from __future__ import annotations

from resources.notes.canvas import rewritten

CANVAS = b"""{
\t"nodes":[
\t\t{"id":"1","type":"file","file":"a/One.md","x":0,"y":0,"width":4,"height":4},
\t\t{"id":"2","type":"text","text":"a/One.md","x":0,"y":0},
\t\t{"id":"3","type":"file","file":"Two.md", "subpath":"#End"}
\t],
\t"edges":[]
}"""


def test_only_the_values_that_name_the_file_change() -> None:
    data, changed = rewritten(CANVAS, "b.canvas", {"a/One.md": "c/Eins.md"})
    assert changed == 1
    assert data == CANVAS.replace(b'"file":"a/One.md"', b'"file":"c/Eins.md"')


def test_what_names_nothing_that_moved_or_cannot_be_read_stays() -> None:
    for given in (CANVAS, b"{", b"[]", b'{"nodes": 3}', b'{"nodes": [1, {"file": 2}]}', b""):
        assert rewritten(given, "b.canvas", {"x.md": "y.md"}) == (given, 0)
