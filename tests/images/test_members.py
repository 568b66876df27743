"""Sets of images: folders, zips and tars give the same members, and their order is their own."""

import io
import tarfile
import zipfile

import pytest
from PIL import Image

from transflow_core.images import ImageError, find_members, load_image

NAMES = ("a.png", "b/c.png")


def png(value):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def sets(tmp_path):
    """The same two images three times, among what is none."""
    contents = {name: png(value) for value, name in enumerate(NAMES)}
    contents |= {"a.cls": b"7", ".hidden.png": b"x", "__MACOSX/a.png": b"x"}
    folder = tmp_path / "folder"
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return [folder, tmp_path / "set.zip", tmp_path / "set.tar"]


def test_they_are_the_same_wherever_they_lie(sets):
    for path in sets:
        members = list(find_members(path))
        assert sorted(member.name for member in members) == list(NAMES)
        for member in members:
            assert load_image(member).getpixel((0, 0)) == (NAMES.index(member.name), 0, 0)
    assert [member.path for member in find_members(sets)][::2] == [sets[0] / "a.png", *sets[1:]]


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "none.tar"])
def test_a_damaged_or_absent_archive_is_said(tmp_path, name):
    if name.startswith("set"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 and then nothing" * 100)
    with pytest.raises(ImageError, match=name):
        list(find_members(tmp_path / name))


def test_a_member_of_an_archive_that_changed_is_a_problem_of_its_own(sets):
    members = list(find_members(sets[1]))
    with zipfile.ZipFile(sets[1], "w") as archive:
        archive.writestr("other.png", b"x")
    with pytest.raises(ImageError, match=r"unpacked|empty"):
        load_image(members[0])
