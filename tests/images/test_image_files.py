"""Finding images: order, what is skipped, and what is an error."""

from pathlib import Path

import pytest
from PIL import Image

from transflow_core.images import IMAGE_SUFFIXES, ImageError, find_images, load_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = [
        "img10.png",
        "img2.png",
        "IMG1.JPG",
        "b/9.webp",
        "b/deep/1.heic",
        "notes.txt",
        "Thumbs.db",
        ".hidden.png",
        ".git/x.png",
        "__MACOSX/._img2.png",
        "__MACOSX/img2.png",
        "._img2.png",
    ]
    for name in names:
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "faces"


def test_a_folder_in_natural_order_without_what_is_hidden(folder):
    found = [path.relative_to(folder).as_posix() for path in find_images(folder)]
    assert found == ["b/9.webp", "b/deep/1.heic", "IMG1.JPG", "img2.png", "img10.png"]
    assert find_images([str(folder)]) == find_images(folder)


def test_arguments_keep_their_order_and_appear_once(folder):
    found = find_images([folder / "img10.png", folder, folder / "b" / ".." / "img2.png", folder / "notes.txt"])
    assert [path.name for path in found] == ["img10.png", "9.webp", "1.heic", "IMG1.JPG", "img2.png", "notes.txt"]


def test_names_that_differ_only_in_how_a_number_is_written_have_an_order(tmp_path):
    for name in ("1.png", "01.png", "a1b.png", "a1.png", "²3.png"):
        (tmp_path / name).touch()
    assert find_images(tmp_path) == find_images(tmp_path)
    assert len(find_images(tmp_path)) == 5


def test_errors_name_the_path(folder, tmp_path):
    (tmp_path / "bare").mkdir()
    with pytest.raises(ImageError, match="bare: there are no images"):
        find_images([folder, tmp_path / "bare"])
    with pytest.raises(ImageError, match=r"gone\.png: there is no such file"):
        find_images([folder, tmp_path / "gone.png"])
    assert find_images([]) == []


def test_a_loop_of_links_ends(folder):
    try:
        (folder / "b" / "loop").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("this system does not let us make links")
    assert len(find_images(folder)) == 5


def test_every_suffix_is_one_that_can_be_read(tmp_path):
    pillow = Image.registered_extensions()
    for suffix in IMAGE_SUFFIXES - {".heic", ".heif", ".hif"}:
        path = tmp_path / f"image{suffix}"
        Image.new("L", (16, 16), 255).save(path, pillow[suffix])
        assert load_image(path).getpixel((8, 8)) == (255, 255, 255)
