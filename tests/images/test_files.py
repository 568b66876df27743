"""Images in folders and zips: order, what is skipped, and what is an error."""

import io
import zipfile

import pytest
from PIL import Image

from transflow_core.images import ImageError, find_images, load_image
from transflow_core.images.files import IMAGE_SUFFIXES, find_members, find_others

IMAGES = ["b/9.webp", "b/deep/1.heic", "IMG1.JPG", "img2.png", "img10.png"]
OTHERS = ["notes.txt", "Thumbs.db", ".hidden.png", ".git/x.png", "__MACOSX/._img2.png", "__MACOSX/img2.png", "._a.png"]


@pytest.fixture
def folder(tmp_path):
    for name in [*IMAGES[::-1], *OTHERS]:
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "faces"


def test_a_folder_in_natural_order_without_what_is_hidden(folder):
    assert [path.relative_to(folder).as_posix() for path in find_images(folder)] == IMAGES
    assert find_images([str(folder)]) == find_images(folder)
    (folder / "b" / "loop").symlink_to(folder, target_is_directory=True)
    assert len(find_images(folder)) == len(IMAGES), "a loop of links ends"


def test_a_link_to_nothing_is_no_text_and_no_member(folder):
    for name in ("gone.png", "gone.txt"):
        (folder / name).symlink_to(folder / "nowhere")
    assert sorted(member.name for member in find_members(folder)) == sorted(IMAGES)
    assert (folder / "gone.txt", False) in find_others([folder])


def test_arguments_keep_their_order_and_appear_once(folder):
    found = find_images([folder / "img10.png", folder, folder / "b" / ".." / "img2.png", folder / "notes.txt"])
    assert [path.name for path in found] == ["img10.png", "9.webp", "1.heic", "IMG1.JPG", "img2.png", "notes.txt"]
    assert find_images([]) == []


def test_every_suffix_is_one_that_can_be_read(tmp_path):
    pillow = Image.registered_extensions()
    for suffix in IMAGE_SUFFIXES - {".heic", ".heif", ".hif"}:
        path = tmp_path / f"image{suffix}"
        Image.new("L", (16, 16), 255).save(path, pillow[suffix])
        assert load_image(path).getpixel((8, 8)) == (255, 255, 255)


NAMES = ("a.png", "b/c.png")


def png(value):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def sets(tmp_path):
    """The same two images twice, among what is none."""
    contents = {name: png(value) for value, name in enumerate(NAMES)}
    contents |= {"a.cls": b"7", ".hidden.png": b"x", "__MACOSX/a.png": b"x"}
    folder = tmp_path / "folder"
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as zipped:
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            zipped.writestr(name, content, zipfile.ZIP_DEFLATED)
    return [folder, tmp_path / "set.zip"]


def test_members_are_the_same_wherever_they_lie(sets):
    for path in sets:
        members = find_members(path)
        assert sorted(member.name for member in members) == list(NAMES)
        for member in members:
            assert load_image(member).getpixel((0, 0)) == (NAMES.index(member.name), 0, 0)


@pytest.mark.parametrize("name", ["bare", "gone.png", "set.zip"])
def test_what_is_damaged_or_absent_is_named(tmp_path, name):
    (tmp_path / "bare").mkdir()
    if name.startswith("set"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 and then nothing" * 100)
    with pytest.raises(ImageError, match=name):
        find_members(tmp_path / name)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_of_an_archive_is_a_problem_of_its_own(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "set.zip", "w", compression) as archive:
        archive.writestr("a.png", bytes(10_000))
    content = (tmp_path / "set.zip").read_bytes()
    begins = 30 + len("a.png") + 9 * (compression == zipfile.ZIP_LZMA)  # behind what says how it is packed
    (tmp_path / "set.zip").write_bytes(content[:begins] + b"\xff" * 8 + content[begins + 8 :])
    with pytest.raises(ImageError, match="unpacked"):
        load_image(find_members(tmp_path / "set.zip")[0])


def test_a_member_of_an_archive_that_changed_is_a_problem_of_its_own(sets):
    members = find_members(sets[1])
    with zipfile.ZipFile(sets[1], "w") as archive:
        archive.writestr("other.png", b"x")
    with pytest.raises(ImageError, match=r"unpacked|empty"):
        load_image(members[0])
