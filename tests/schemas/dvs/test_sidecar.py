"""Sidecars of every generation, read and written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dvs import sidecar as sidecars
from schemas.dvs.sidecar import Sidecar, SidecarFormat, data_path, read_sidecar, sidecar_path, write_sidecar
from schemas.errors import InvalidText

HEX = "ab" * 32
TIME = "2026-01-20T10:00:00Z"


def _text(**changes: object) -> bytes:
    record = {"blake3_checksum": HEX, "size": 18, "add_time": TIME, "message": "first", "saved_by": "ann", **changes}
    return json.dumps({key: value for key, value in record.items() if value is not None}).encode()


@pytest.mark.parametrize("spelling", list(SidecarFormat))
def test_case_08_both_spellings_keep_what_is_written(spelling: SidecarFormat) -> None:
    sidecar = Sidecar("blake3:" + HEX, 18, TIME, 'a "quoted" message\nof two lines', "ann é")
    data = write_sidecar(sidecar, spelling)
    if spelling is SidecarFormat.JSON:
        assert data.startswith(b"{")
        assert list(json.loads(data)) == ["blake3_checksum", "size", "add_time", "message", "saved_by"]
    else:
        assert b" = " in data
        assert b"{" not in data
    assert read_sidecar(data, sidecar_path("d/f.csv", spelling)) == sidecar


@settings(max_examples=50, deadline=None)
@given(
    algorithm=st.sampled_from([("blake3", 64), ("sha256", 64), ("xxh3", 16)]),
    size=st.integers(0, 2**62),
    message=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    spelling=st.sampled_from(list(SidecarFormat)),
    extra=st.dictionaries(st.text("xyz", min_size=1, max_size=3), st.integers(0, 9) | st.text("ab", max_size=3), max_size=2),
)
def test_what_is_written_is_read(
    algorithm: tuple[str, int], size: int, message: str, spelling: SidecarFormat, extra: dict[str, int | str]
) -> None:
    sidecar = Sidecar(f"{algorithm[0]}:{'0a' * (algorithm[1] // 2)}", size, TIME, message, "ann", None, dict(extra))
    assert read_sidecar(write_sidecar(sidecar, spelling), sidecar_path("f", spelling)) == sidecar


def test_the_quick_way_and_the_careful_one_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [_text(), _text(message=""), b" " + _text() + b"\n", json.dumps(json.loads(_text()), indent=2).encode()]
    quick = [read_sidecar(text, "f.dvs") for text in texts]
    assert all(sidecars._quick(text) for text in texts)
    monkeypatch.setattr(sidecars, "_quick", lambda data: None)
    assert [read_sidecar(text, "f.dvs") for text in texts] == quick


def test_case_10_paths_of_data_and_sidecars() -> None:
    assert sidecar_path("/d/f.csv", SidecarFormat.JSON) == "/d/f.csv.dvs"
    assert sidecar_path("/d/f.csv", SidecarFormat.TOML) == "/d/f.csv.dvs.toml"
    assert data_path("/d/f.csv.dvs") == data_path("/d/f.csv.dvs.toml") == "/d/f.csv"
    for plain in ("/d/f.csv", ".dvs", "d/.dvs", ".dvs.toml", "d/dvs"):
        assert data_path(plain) is None


def test_case_10_no_message_is_an_empty_one() -> None:
    assert read_sidecar(_text(message=None), "f.dvs").message == ""


def test_case_26_other_algorithms_name_themselves() -> None:
    sidecar = read_sidecar(_text(hash_algo="xxh3", blake3_checksum="0123456789abcdef"), "f.dvs")
    assert sidecar.oid == "xxh3:0123456789abcdef"
    assert json.loads(write_sidecar(sidecar, SidecarFormat.JSON))["hash_algo"] == "xxh3"
    assert b"hash_algo" not in write_sidecar(read_sidecar(_text(), "f.dvs"), SidecarFormat.TOML)


def test_upper_case_digits_are_one_object_not_two() -> None:
    assert read_sidecar(_text(blake3_checksum=HEX.upper(), hash_algo="BLAKE3"), "f.dvs").oid == "blake3:" + HEX


def test_the_third_generation_is_read() -> None:
    text = {"hashes": {"blake3": HEX}, "size": 5, "created_by": "bo", "add_time": TIME, "compression": "zstd", "later": 1}
    sidecar = read_sidecar(json.dumps(text).encode(), ".dvs/f.csv.dvs")
    assert sidecar == Sidecar("blake3:" + HEX, 5, TIME, "", "bo", "zstd", {"later": 1})


def test_a_message_alone_does_not_make_another_file() -> None:
    assert read_sidecar(_text(), "f.dvs").says_the_same(read_sidecar(_text(message="second", saved_by="bo"), "f.dvs"))
    assert not read_sidecar(_text(), "f.dvs").says_the_same(read_sidecar(_text(size=19), "f.dvs"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[]", "a sidecar is a mapping"),
        (b"{}", "blake3_checksum is missing"),
        (_text(blake3_checksum="short"), "needs 64"),
        (_text(blake3_checksum="g" * 64), "needs 64"),
        (_text(blake3_checksum="../" + "a" * 61), "needs 64"),
        (_text(hash_algo="md5"), "is not a content id"),
        (_text(size="18"), "size is not a number of bytes"),
        (_text(size=-1), "size is not a number of bytes"),
        (_text(size=True), "size is not a number of bytes"),
        (_text(size=None), "size is missing"),
        (_text(message=3), "message is not text"),
        (b'{"hashes": {}, "size": 1}', "there is no blake3 checksum"),
        (b'{"blake3_checksum": "a", "blake3_checksum": "b"}', "blake3_checksum"),
        (b"<<<<<<< ours\n{}\n=======\n[]\n>>>>>>> theirs\n", "merge"),
        (b"", "empty"),
    ],
)
def test_a_malformed_sidecar_says_what_and_where(text: bytes, message: str) -> None:
    with pytest.raises(InvalidText, match=message) as caught:
        read_sidecar(text, "data/f.dvs")
    assert caught.value.path == "data/f.dvs"
    assert caught.value.fix
