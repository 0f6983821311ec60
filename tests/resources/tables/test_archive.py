"""Zip files of projects: the same bytes for the same project, and nothing hostile gets in."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from resources.storage.local import LocalStorage
from resources.tables.archive import read_zip, unzip, write_zip
from schemas.errors import HeadwaterError, Refused

PROJECT = {
    "shop/project.yaml": b"version: 1\n",
    "shop/data/order.csv": b"id\n1\n",
    "shop/data/deep/caf\u00e9.csv": b"id\r\n2\r\n",
    "shop/history.log": b'{"log":1,"project":"x"}\n',
}


def lay(folder: Path, files: dict[str, bytes]) -> LocalStorage:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return LocalStorage(folder)


def packed(storage: LocalStorage, *, history: bool = True) -> bytes:
    target = io.BytesIO()
    write_zip(storage, "shop", target, history=history)
    return target.getvalue()


def crafted(*members: tuple[str | zipfile.ZipInfo, bytes]) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (("project.yaml", b"version: 1\n"), *members):
            archive.writestr(name, data)
    return target


def test_case_90_zip_and_unzip_give_the_same_files_and_the_same_bytes(tmp_path: Path) -> None:
    storage = lay(tmp_path / "one", {**PROJECT, "shop/playground.db": b"db", "shop/.DS_Store": b"x", "shop/notes.txt": b"no"})
    first = packed(storage)
    (tmp_path / "one/shop/project.yaml").touch()
    assert packed(storage) == first
    (tmp_path / "shop.zip").write_bytes(first)
    made = unzip(tmp_path / "shop.zip", tmp_path / "two/shop", name="shop.zip")
    assert made.left_out == []
    files = {
        path.relative_to(tmp_path / "two").as_posix(): path.read_bytes()
        for path in (tmp_path / "two/shop").rglob("*")
        if path.is_file()
    }
    assert files == PROJECT
    assert packed(LocalStorage(tmp_path / "two")) == first


def test_the_history_stays_at_home_when_asked(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(packed(lay(tmp_path, PROJECT), history=False))) as archive:
        assert archive.namelist() == ["data/deep/café.csv", "data/order.csv", "project.yaml"]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def _link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("data/link.csv")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("member", "rule"),
    [
        ("../x", "zip-path"),
        ("data/../../x.csv", "zip-path"),
        ("/etc/x.csv", "zip-path"),
        ("C:/x.csv", "zip-path"),
        ("data\\..\\x.csv", "zip-path"),
        ("data/con.csv", "zip-path"),
        ("data/x\n.csv", "zip-path"),
        ("__MACOSX/../../x", "zip-path"),
    ],
)
def test_case_91_a_zip_that_leads_out_is_refused(tmp_path: Path, member: str, rule: str) -> None:
    (tmp_path / "bad.zip").write_bytes(crafted((member, b"id\n")).getvalue())
    with pytest.raises(Refused) as caught:
        unzip(tmp_path / "bad.zip", tmp_path / "out/shop", name="bad.zip")
    assert caught.value.rule == rule
    assert not (tmp_path / "out/shop").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ([(_link(), b"/etc/passwd")], "zip-link"),
        ([("data/a.csv", b"1"), ("data/a.csv", b"2")], "zip-duplicate"),
        ([("data/cafe\u0301.csv", b"1"), ("data/caf\u00e9.csv", b"2")], "zip-duplicate"),
        ([("data/a.csv", b"1"), ("data/A.csv", b"2")], "zip-collision"),
        ([("data/a.csv", b"0" * (40 << 20))], "zip-bomb"),
        ([(f"history/{'0' * 64}.csv", b"id\n1\n")], "zip-history"),
        ([(f"history/{'0' * 64}.csv", b"0" * (40 << 20))], "zip-bomb"),
        ([(f"history/{'0' * 64}.csv/../../../x.csv", b"")], "zip-path"),
    ],
)
def test_hostile_members_are_refused(members: list[tuple[str | zipfile.ZipInfo, bytes]], rule: str) -> None:
    with pytest.raises(Refused) as caught:
        read_zip(crafted(*members), "bad.zip")
    assert caught.value.rule == rule


def test_an_encrypted_member_is_refused() -> None:
    data = bytearray(crafted(("data/a.csv", b"id\n")).getvalue())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rfind(mark) + offset] |= 1
    with pytest.raises(Refused) as caught:
        read_zip(io.BytesIO(bytes(data)), "bad.zip")
    assert caught.value.rule == "zip-encrypted"


def test_overlapping_members_are_refused() -> None:
    data = bytearray(crafted(("data/a.csv", b"id\n")).getvalue())
    place = data.rfind(b"PK\x01\x02")
    data[place + 42 : place + 46] = (0).to_bytes(4, "little")
    with pytest.raises(Refused) as caught:
        read_zip(io.BytesIO(bytes(data)), "bad.zip")
    assert caught.value.rule == "zip-overlap"


@pytest.mark.parametrize("data", [b"", b"not a zip", crafted().getvalue()[:-30]])
def test_a_damaged_zip_is_named(data: bytes) -> None:
    with pytest.raises(HeadwaterError) as caught:
        read_zip(io.BytesIO(data), "bad.zip")
    assert caught.value.rule == "zip-damaged"


def test_a_damaged_member_is_named() -> None:
    data = crafted(("data/a.csv", bytes(range(256)) * 40)).getvalue()
    place = data.index(b"data/a.csv") + 40
    with pytest.raises(HeadwaterError) as caught:
        read_zip(io.BytesIO(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]), "bad.zip")
    assert caught.value.rule == "zip-damaged"


def test_one_folder_around_is_taken_off_and_strangers_are_left_out() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in (
            "shop/project.yaml",
            "shop/data/cafe\u0301.csv",
            "shop/playground.db",
            "shop/run.sh",
            "__MACOSX/shop/._project.yaml",
        ):
            archive.writestr(name, b"x\n")
        archive.writestr("shop/.DS_Store", b"x")
    made = read_zip(target, "shop.zip")
    assert sorted(made.files) == ["data/caf\u00e9.csv", "project.yaml"]
    assert [path for path, _ in made.left_out] == ["playground.db", "run.sh"]
    assert "database" in made.left_out[0][1]


def test_present_files_are_not_overwritten(tmp_path: Path) -> None:
    storage = lay(tmp_path, PROJECT)
    (tmp_path / "shop.zip").write_bytes(packed(storage))
    unzip(tmp_path / "shop.zip", tmp_path / "shop", name="shop.zip")
    (tmp_path / "shop/data/order.csv").write_bytes(b"id\n7\n")
    with pytest.raises(Refused) as caught:
        unzip(tmp_path / "shop.zip", tmp_path / "shop", name="shop.zip")
    assert caught.value.rule == "zip-exists"
    assert (tmp_path / "shop/data/order.csv").read_bytes() == b"id\n7\n"


def test_a_zip_without_a_project_is_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("data/a.csv", b"id\n")
    with pytest.raises(HeadwaterError) as caught:
        read_zip(target, "x.zip")
    assert caught.value.rule == "zip-no-project"
