"""Images for training: what is taken from a folder or an archive, how it is framed, and how it is split."""

import io
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from transflow_core.flows.pixels import PixelConvention
from transflow_core.training import TrainingError
from transflow_core.training import data as module
from transflow_core.training.data import batch, prepare

from ..helpers import ROOT
from .conftest import discs


def archive(path, entries):
    """A zip of pictures, given as pixels or as the bytes of a file."""
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in entries.items():
            if isinstance(content, np.ndarray):
                Image.fromarray(content).save(out := io.BytesIO(), "PNG")
                content = out.getvalue()
            opened.writestr(name, content)
    return path


def test_a_folder_and_an_archive_of_it_are_read_once_and_a_file_stays_on_its_side(disc_folder, tmp_path, monkeypatch):
    def read(data, cache):
        found = prepare(data, 32, tmp_path / cache, held_out="0.2")
        return found.digest, *({picture.tobytes() for picture in part} for part in (found.train, found.held_out))

    zipped = shutil.make_archive(str(tmp_path / "pictures"), "zip", disc_folder)
    digest, train, held_out = read(disc_folder, "a")
    assert train | held_out == {picture.tobytes() for picture in discs(60)}
    assert len(train) + len(held_out) == 60 and 3 <= len(held_out) <= 25
    assert read(zipped, "b")[1:] == (train, held_out)
    with monkeypatch.context() as no:
        no.setattr(module, "load_image", lambda *_, **__: pytest.fail("decoded again"))
        assert read(disc_folder, "a") == (digest, train, held_out)
    for index, picture in enumerate(discs(30, seed=9)):
        Image.fromarray(picture).save(disc_folder / f"new_{index}.png")
    after = read(disc_folder, "c")
    assert after[0] != digest and after[1] > train and after[2] >= held_out


def test_images_in_use_stay_as_they_are(disc_folder, tmp_path):
    found, _ = (prepare(disc_folder, 32, tmp_path / "cache", held_out=f"disc_0{part}*") for part in "01")
    assert found.train.shape == (50, 32, 32, 3) and (found.train[0] == discs(11)[10]).all()
    with pytest.raises(TrainingError):
        prepare(disc_folder, 64, tmp_path / "cache")
    assert (prepare(disc_folder, 32, tmp_path / "cache", held_out="disc_01*").train[:10] == discs(10)).all()


def test_held_out_by_pattern_and_larger_pictures_by_their_means(tmp_path):
    large, small, wide = discs(1, 64)[0], discs(1, 32)[0], np.zeros((64, 96, 3), np.uint8)
    wide[:, 16:80] = large
    files = {"train/a.png": large, "train/b.png": small, "val/c.png": wide, "val/d.png": small}
    data = archive(tmp_path / "data.zip", files | {"train/tiny.png": discs(1, 8)[0]})
    found = prepare(data, 32, tmp_path / "cache", held_out="val/*")
    means = large.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert len(found.train) == len(found.held_out) == 2
    assert np.abs(found.train[0] - means).max() <= 0.5
    assert (found.held_out[0] == found.train[0]).all()  # the centre square of the wide one
    assert (found.train[1] == small).all()
    assert list(found.left_out.values()) == [1] and "smaller than 32" in next(iter(found.left_out))


def test_what_is_no_picture_or_lies_of_its_size_is_left_out_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("transflow_core.images.reading.MAX_BYTES", 2000)
    entries = {f"{i}.png": picture for i, picture in enumerate(discs(6))}
    entries |= {"broken.png": b"not a picture", "notes.txt": b"words", "__MACOSX/0.png": b"x", ".hidden.png": b"x"}
    data = archive(tmp_path / "data.zip", entries | {"bomb.png": bytes(100_000)})
    found = prepare(data, 32, tmp_path / "cache", held_out="[01].png")
    assert (len(found.train), len(found.held_out), sum(found.left_out.values())) == (4, 2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 64}, "of 64×64 or more, 0 are to train on .* it is smaller"),
        ({"held_out": "disc_000*"}, "1 are held out; at least 1 and 2"),
        ({"held_out": "*"}, "0 are to train on"),
        ({"held_out": "1.5"}, "between 0 and 1"),
        ({"data": "broken.zip"}, "zip"),
    ],
)
def test_nothing_to_train_on_is_said(disc_folder, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(TrainingError, match=message):
        prepare(**{"data": disc_folder, "size": 32, "cache": tmp_path / "cache"} | options)
    assert not [*tmp_path.glob("cache/*")]  # no copies of what may be private


def test_faces_are_aligned_when_asked(tmp_path):
    for index, file in enumerate(sorted((ROOT / "assets" / "examples" / "greyscale").glob("*.png"))[:3]):
        canvas = Image.new("RGB", (400, 300), "grey")
        canvas.paste(Image.open(file).resize((200, 200)), (180, 60))
        canvas.save(tmp_path / f"{index}.png")
    Image.new("RGB", (80, 80)).save(tmp_path / "nobody.png")
    aligned = prepare(tmp_path, 32, tmp_path / "a", align_faces="always", held_out="[01].png")
    assert len(aligned.train) == 1 and "no face" in " ".join(aligned.left_out)
    whole = prepare(tmp_path, 32, tmp_path / "b", align_faces="auto", held_out="[01].png")
    assert len(whole.train) == 2
    with pytest.raises(TrainingError, match="3 × its face has too few pixels for 320×320"):
        prepare(tmp_path, 320, tmp_path / "c", align_faces="auto", held_out="[01].png")


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
