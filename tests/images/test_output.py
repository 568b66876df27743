"""From float images to bytes; PNG files that say how they were made; animations, read back by another decoder."""

import io
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from transflow_core.images import ImageError, load_image, save_animation, to_pil
from transflow_core.images.output import ANIMATION_SUFFIXES, read_png_metadata, save_png

SHADES = [(220, 40, 40), (40, 200, 60), (40, 60, 210), (230, 220, 60)]


def test_every_byte_survives_the_round_trip():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    floats = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    assert all((np.asarray(image) == pixel).all() for image, pixel in zip(to_pil(floats), pixels, strict=True))
    assert to_pil(floats[:0]) == []
    assert to_pil(floats[:, :1]) == to_pil(floats[:, [0, 0, 0]])  # one channel is grey


def test_rounding_clipping_and_what_is_not_finite():
    values = [-1.0, 0.0, 0.49 / 255, 0.51 / 255, 1.0, 2.0, np.nan, np.inf, -np.inf]
    x = np.broadcast_to(np.array(values), (3, 1, len(values)))
    assert np.asarray(to_pil(x)[0])[0, :, 1].tolist() == [0, 0, 0, 1, 255, 255, 128, 128, 128]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_tensors(dtype):
    x = torch.linspace(0, 1, 48).reshape(3, 4, 4).to(dtype).requires_grad_()
    (image,) = to_pil(x)
    assert (image.mode, image.size) == ("RGB", (4, 4))
    assert [image] == to_pil(x.detach().double().numpy())


@pytest.mark.parametrize(
    "x", [np.zeros((4, 4, 3)), np.zeros((4, 4)), np.zeros((2, 2, 4, 4)), torch.zeros(3, 4, 4).int()]
)
def test_other_arrays_are_refused(x):
    with pytest.raises(ValueError, match="images are"):
        to_pil(x)


def png(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    save_png(image, file, **options)
    return file.getvalue()


def test_metadata_and_pixels_come_back(tmp_path):
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    metadata = {"Software": "Transflow Studio", "lam_ratio": "λ/m = 0.5 — 日本\n2nd line", "long": "x" * 99999}
    path = tmp_path / "sheet.png"
    save_png(pixels, path, metadata=metadata)
    assert read_png_metadata(path) == read_png_metadata(path.read_bytes()) == metadata
    assert all(type(text) is str for text in read_png_metadata(path).values())
    assert load_image(path).tobytes() == pixels.tobytes()
    assert read_png_metadata(png(pixels)) == {}


def test_reading_from_what_is_no_good_png():
    """The text of an animation would be read by decoding all its frames."""
    jpeg, animation = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(jpeg, "JPEG")
    Image.new("RGB", (8, 8)).save(animation, "PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    cut = png(Image.new("RGB", (64, 64), "red"), metadata={"a": "b"})[:-40]
    for data, words in [(jpeg.getvalue(), "JPEG.*Only a PNG"), (animation.getvalue(), "animation"), (cut, "damaged")]:
        with pytest.raises(ImageError, match=rf"^image: .*{words}"):
            read_png_metadata(data)


def frames(width: int = 48, height: int = 32) -> list[Image.Image]:
    return [Image.new("RGB", (width, height), shade) for shade in SHADES]


def pyav():
    return pytest.importorskip("av", reason="MP4 is optional and needs PyAV")


def read(path) -> list[np.ndarray]:
    if path.suffix == ".mp4":
        with pyav().open(str(path)) as file:
            return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
@pytest.mark.parametrize(("shown", "loop"), [(4, False), (4, True), (1, False)])
def test_frames_go_forwards_and_back_or_round_in_their_colours(tmp_path, suffix, shown, loop):
    if suffix == ".mp4":
        pyav()
    path = tmp_path / f"a:b %d{suffix.upper() if suffix == '.gif' else suffix}"
    save_animation(frames()[:shown], path, loop=loop)
    back = [] if loop else SHADES[:shown][-2:0:-1]
    for frame, shade in zip(read(path), SHADES[:shown] + back, strict=True):
        assert frame.shape == (32, 48, 3)
        assert np.abs(frame[10:20, 10:20].astype(int) - shade).max() <= 8
    if suffix == ".mp4":
        with pyav().open(str(path)) as file:  # BT.709: untagged, players take small videos for BT.601
            how = file.streams.video[0].codec_context
            assert [how.colorspace, how.color_primaries, how.color_trc, how.color_range] == [1] * 4
            assert file.streams.video[0].average_rate == 12
    elif shown > 1:
        with Image.open(path) as image:
            image.load()
            assert image.info["loop"] == 0 and abs(image.info["duration"] - 1000 / 12) <= 5


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_an_animation_says_who_made_it_where_other_programs_look(tmp_path, suffix):
    if suffix == ".mp4":
        pyav()
    path = tmp_path / f"a{suffix}"
    save_animation(frames(), path, source="compositeWithTrainedAlgorithmicMedia")
    packet = re.search(rb"<x:xmpmeta.*</x:xmpmeta>", path.read_bytes())
    assert packet is not None and source_type(packet.group()) == "compositeWithTrainedAlgorithmicMedia"
    if suffix == ".webp":  # of the others Pillow reads none
        with Image.open(path) as image:
            assert source_type(image.info["xmp"]) == "compositeWithTrainedAlgorithmicMedia"


def test_a_png_says_who_made_it_where_other_programs_look(tmp_path):
    path = tmp_path / "a.png"
    made = {"recipe": "sample", "DigitalSourceType": "trainedAlgorithmicMedia"}
    save_png(frames()[0], path, metadata=made)
    with Image.open(path) as image:
        assert source_type(image.info["xmp"]) == "trainedAlgorithmicMedia"
    assert read_png_metadata(path) == made
    save_png(frames()[0], path, metadata={"recipe": "align"})
    with Image.open(path) as image:
        assert "xmp" not in image.info


def source_type(packet):
    packet = packet if isinstance(packet, str) else packet.decode()
    names = {"rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "at": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"}
    root = ElementTree.fromstring(re.search(r"<x:xmpmeta.*</x:xmpmeta>", packet).group())
    return (
        root.find("rdf:RDF/rdf:Description", names)
        .attrib[f"{{{names['at']}}}DigitalSourceType"]
        .removeprefix("http://cv.iptc.org/newscodes/digitalsourcetype/")
    )


def test_a_gif_has_one_palette_for_all_frames(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    save_animation([Image.fromarray(frame) for frame in noise], tmp_path / "a.gif")
    colours = {tuple(colour) for frame in read(tmp_path / "a.gif") for colour in frame.reshape(-1, 3)}
    assert 128 < len(colours) <= 256


@pytest.mark.parametrize(("suffix", "words"), [("avi", r"\.gif, \.mp4, not as '\.avi'"), ("mp4", "pip install av")])
def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch, suffix, words):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=words):
        save_animation(frames(), tmp_path / f"a.{suffix}")
