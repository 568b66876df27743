"""Images for training: what is taken from a folder or an archive, how it is framed, and how it is split."""

import io
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from transflow_core.flows.pixels import PixelConvention
from transflow_core.training import data as module
from transflow_core.training.data import DataError, batch, prepare

from ..helpers import ROOT
from .conftest import discs


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def archive(path, entries):
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in entries.items():
            opened.writestr(name, content)
    return path


def test_a_folder_and_an_archive_of_it_are_read_once_and_a_file_stays_on_its_side(disc_folder, tmp_path, monkeypatch):
    zipped = shutil.make_archive(str(tmp_path / "pictures"), "zip", disc_folder)
    folder, packed = (
        prepare(data, 32, tmp_path / name, held_out="0.2") for name, data in (("a", disc_folder), ("b", zipped))
    )
    assert len(folder.train) + len(folder.held_out) == 60 and 3 <= len(folder.held_out) <= 25
    assert (folder.train == packed.train).all() and (folder.held_out == packed.held_out).all()
    found = [picture.tobytes() for picture in (*folder.train, *folder.held_out)]
    assert set(found) == {picture.tobytes() for picture in discs(60)} and len(found) == len(set(found))
    with monkeypatch.context() as no:
        no.setattr(module, "load_image", lambda *_, **__: pytest.fail("decoded again"))
        again = prepare(disc_folder, 32, tmp_path / "a", held_out="0.2")
    assert (again.train == folder.train).all() and again.digest == folder.digest
    for index, picture in enumerate(discs(30, seed=9)):
        Image.fromarray(picture).save(disc_folder / f"new_{index}.png")
    after = prepare(disc_folder, 32, tmp_path / "c", held_out="0.2")
    for part in ("train", "held_out"):
        kept = {picture.tobytes() for picture in getattr(after, part)}
        assert {picture.tobytes() for picture in getattr(packed, part)} <= kept
    assert packed.digest != after.digest


def test_held_out_by_pattern_and_larger_pictures_by_their_means(tmp_path):
    large, small, wide = discs(1, 64)[0], discs(1, 32)[0], np.zeros((64, 96, 3), np.uint8)
    wide[:, 16:80] = large
    data = archive(
        tmp_path / "data.zip",
        {
            "train/a.png": png(large),
            "train/b.png": png(small),
            "val/c.png": png(wide),
            "train/tiny.png": png(discs(1, 8)[0]),
        },
    )
    found = prepare(data, 32, tmp_path / "cache", held_out="val/*")
    means = large.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert len(found.train) == 2 and len(found.held_out) == 1
    assert np.abs(found.train[0] - means).max() <= 0.5
    assert (found.held_out[0] == found.train[0]).all()  # the centre square of the wide one
    assert (found.train[1] == small).all()
    assert list(found.left_out.values()) == [1] and "smaller than 32" in next(iter(found.left_out))


def test_what_is_no_picture_or_lies_of_its_size_is_left_out_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("transflow_core.images.reading.MAX_BYTES", 2000)
    entries = {f"{i}.png": png(picture) for i, picture in enumerate(discs(6))}
    entries |= {"broken.png": b"not a picture", "notes.txt": b"words", "__MACOSX/0.png": b"x", ".hidden.png": b"x"}
    data = archive(tmp_path / "data.zip", entries | {"bomb.png": bytes(100_000)})
    found = prepare(data, 32, tmp_path / "cache", held_out="[01].png")
    assert (len(found.train), len(found.held_out), sum(found.left_out.values())) == (4, 2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 64}, "no image of 64×64"),
        ({"held_out": "nothing*"}, "to hold out"),
        ({"held_out": "*"}, "to train on"),
        ({"held_out": "1.5"}, "between 0 and 1"),
    ],
)
def test_nothing_to_train_on_is_said(disc_folder, tmp_path, options, message):
    options = {"size": 32} | options
    with pytest.raises(DataError, match=message):
        prepare(disc_folder, options.pop("size"), tmp_path / "cache", **options)


def test_neither_a_folder_nor_an_archive(tmp_path):
    file = tmp_path / "data.zip"
    file.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match="zip"):
        prepare(file, 32, tmp_path / "cache")


def test_faces_are_aligned_when_asked(tmp_path):
    faces = sorted((ROOT / "assets" / "examples" / "greyscale").glob("*.*"))[:2]
    folder = tmp_path / "faces"
    folder.mkdir()
    for file in faces:
        canvas = Image.new("RGB", (400, 300), "grey")
        with Image.open(file) as opened:
            canvas.paste(opened.convert("RGB").resize((200, 200)), (180, 60))
        canvas.save(folder / file.with_suffix(".png").name)
    Image.new("RGB", (80, 80)).save(folder / "nobody.png")
    names = sorted(file.name for file in folder.iterdir())
    aligned = prepare(folder, 32, tmp_path / "a", align_faces="always", held_out=names[0])
    assert "no face" in " ".join(aligned.left_out)
    whole = prepare(folder, 32, tmp_path / "b", align_faces="auto", held_out=names[0])
    assert len(whole.train) == len(aligned.train) + 1


def test_batches_follow_from_seed_and_step_and_part_evenly():
    images, pixels = discs(10), PixelConvention(bits=5)
    options = {"size": 8, "seed": 3, "mirror": True}
    for step in range(5):
        whole = batch(images, pixels, step, **options)
        parts = [batch(images, pixels, step, part=(i, 4), **options) for i in range(4)]
        assert np.array_equal(np.concatenate(parts), whole) and whole.shape == (8, 3, 32, 32)
        assert batch(images, pixels, step, **options).equal(whole)
        assert not batch(images, pixels, step, **options | {"seed": 4}).equal(whole)


def test_an_epoch_shows_every_picture_once_as_it_is_or_mirrored():
    images, pixels = discs(12), PixelConvention(bits=5)
    known = {(picture >> 3).tobytes(): (index, False) for index, picture in enumerate(images)}
    known |= {(picture[:, ::-1] >> 3).tobytes(): (index, True) for index, picture in enumerate(images)}
    seen, mirrored = [], 0
    for step in range(6):
        x = batch(images, pixels, step, size=4, seed=0, mirror=True)
        assert x.min() >= -0.5 and x.max() < 0.5
        for picture in ((x + 0.5) * 32).floor().byte().permute(0, 2, 3, 1).numpy():
            index, turned = known[picture.tobytes()]
            seen.append(index)
            mirrored += turned
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12)) and seen[:12] != seen[12:]
    assert 3 < mirrored < 21
