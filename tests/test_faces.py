"""Faces are found and aligned: faces sampled from the prior, put where their eyes are known to be."""

import cmath
import math
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from transflow_core.faces import AlignedFace, align, detection, models
from transflow_core.faces import frame as frame_module
from transflow_core.faces.detection import detect
from transflow_core.faces.frame import LEFT_EYE, RIGHT_EYE, to_frame, to_image
from transflow_core.faces.recognition import describe, descriptors

from .helpers import ROOT, SHARED, squares

PHOTOGRAPHS = SHARED / "data" / "photos"
TEMPLATE = np.array([LEFT_EYE, RIGHT_EYE])
TOLERANCE = 0.02  # of the frame
BACKGROUND = (120, 130, 140)


@pytest.fixture(scope="module")
def frames():
    """Four 64×64 faces sampled from the project's first prior, in its frame: nobody's, whatever prior ships."""
    images = np.load(ROOT / "tests" / "faces.npz")["images"]
    return [Image.fromarray(image) for image in images]


def scene(size: tuple[int, int], *faces: tuple[Image.Image, complex, complex]) -> tuple[Image.Image, list[np.ndarray]]:
    """A picture of `size` with frames placed by similarities (a, b), and where the template's eyes (2, 2) are in it."""
    picture, eyes = Image.new("RGB", size, BACKGROUND), []
    for frame, a, b in faces:
        inverse = frame.width / a
        offset = -b * inverse
        rows = (inverse.real, -inverse.imag, offset.real, inverse.imag, inverse.real, offset.imag)
        warp = {"size": size, "method": Image.Transform.AFFINE, "data": rows, "resample": Image.Resampling.BICUBIC}
        # The outermost pixels are doubled so that bicubic interpolation has what it needs at the frame's border.
        mask = Image.new("L", frame.size, 255).transform(**warp)
        picture.paste(frame.transform(**warp), mask=mask)
        eyes.append(np.array([(p.real, p.imag) for p in (a * complex(*eye) + b for eye in TEMPLATE)]))
    return picture, eyes


def placed(
    frame: Image.Image, side: float, centre: complex, degrees: float = 0.0
) -> tuple[Image.Image, complex, complex]:
    """The frame with `side` pixels around `centre`, turned clockwise."""
    a = cmath.rect(side, math.radians(degrees))
    return frame, a, centre - a * (0.5 + 0.5j)


def error(face: AlignedFace, eyes: np.ndarray) -> float:
    """How far the eyes that were found are from where they are, as a fraction of the frame."""
    a, _ = to_image(tuple(map(tuple, eyes)))
    return float(np.abs(np.array(face.eyes) - eyes).max() / abs(a))


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference in the middle of two frames, in levels of 255."""
    middle = tuple(slice(round(0.2 * side), round(0.8 * side)) for side in one.size)
    pixels = [np.asarray(image, dtype=float)[middle] for image in (one, other)]
    return float(np.abs(pixels[0] - pixels[1]).mean())


def in_place(side):
    return tuple(tuple(side * eye) for eye in TEMPLATE)


def test_a_picture_in_the_frame_is_not_changed_by_the_warp():
    (picture,) = squares(1, 64)
    assert to_frame(picture, in_place(64), 64).tobytes() == picture.tobytes()


@pytest.mark.parametrize("side", [90, 512])
def test_the_warp_is_the_resampling_of_the_whole_frame(side):
    """A blurred picture holds nothing that two good filters could disagree about; half a pixel of shift would show."""
    smooth = squares(1, 32)[0].filter(ImageFilter.GaussianBlur(2)).resize((side, side), Image.Resampling.BICUBIC)
    expected = np.asarray(smooth.resize((64, 64), Image.Resampling.LANCZOS), dtype=int)
    np.testing.assert_allclose(np.asarray(to_frame(smooth, in_place(side), 64), dtype=int), expected, atol=2)


@pytest.mark.parametrize(("scale", "degrees"), [(2.5, 0), (3.3, 13), (6.7, 0), (23.0, 13)])
def test_a_fine_checkerboard_turns_grey_instead_of_moire(scale: float, degrees: float):
    y, x = np.mgrid[:1500, :1500]
    board = Image.fromarray(np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2))
    a = cmath.rect(64 * scale, math.radians(degrees))
    b = 750 * (1 + 1j) - a * (0.5 + 0.5j)
    points = [a * complex(*eye) + b for eye in TEMPLATE]
    frame = np.asarray(to_frame(board, tuple((p.real, p.imag) for p in points), 64), dtype=float)
    assert frame.std() < 3
    assert abs(frame.mean() - 127.5) < 2


def test_borders_are_reflections():
    """A frame that hangs over the left border shows the picture mirrored there, and no black; a far larger one too."""
    picture = squares(1, 64)[0].filter(ImageFilter.GaussianBlur(1))
    shifted = np.asarray(to_frame(picture, tuple((x - 20, y) for x, y in in_place(64)), 64))
    np.testing.assert_array_equal(shifted[:, 20:], np.asarray(picture)[:, :44])
    np.testing.assert_array_equal(shifted[:, :20], np.asarray(picture)[:, 20:0:-1])
    assert np.asarray(to_frame(Image.new("RGB", (40, 30), "white"), ((18, 12), (22, 40)), 64)).min() == 255


@pytest.mark.parametrize("centre", [330 + 250j, 20 + 480j, -60 - 30j, 700 + 250j])
@pytest.mark.parametrize(("distance", "degrees"), [(9, 0), (60, 20), (240, -100)])
def test_a_frame_is_cut_out_of_a_part_of_the_picture_as_of_all_of_it(monkeypatch, centre, distance, degrees):
    """Reflections at the borders as well. To copy twelve megapixels for each frame took most of the time."""
    picture = squares(1, 640)[0].crop((0, 0, 640, 500))
    eye = cmath.rect(distance / 2, math.radians(degrees))
    eyes = tuple((place.real, place.imag) for place in (centre - eye, centre + eye))
    found = np.asarray(to_frame(picture, eyes, 32), dtype=int)
    monkeypatch.setattr(frame_module, "_part", lambda image, *_: (0j, image))
    np.testing.assert_allclose(found, np.asarray(to_frame(picture, eyes, 32), dtype=int), atol=1)


def test_eyes_are_located_once_for_each_face(frames, monkeypatch):
    """Two looks see a large face. That took most of the time of a photograph."""
    picture, _ = scene((640, 440), placed(frames[0], 240, 300 + 150j), placed(frames[1], 90, 90 + 100j))
    located = []
    locate = detection._locate_eyes
    monkeypatch.setattr(detection, "_locate_eyes", lambda *how: located.append(how) or locate(*how))
    assert len(detect(picture)) == len(located) == 2


@pytest.mark.parametrize(
    ("face", "side", "centre", "degrees", "turned", "words"),
    [
        (0, 256, 300 + 260j, 0, 0, ""),
        (1, 64, 180 + 190j, 0, 0, ""),
        (3, 150, 211.3 + 305.7j, -15, 0, ""),
        (0, 201, 250 + 250j, -30, 0, ""),
        (0, 200, 300 + 180j, 90, 90, " after turning the picture by 90° to the left"),
        (0, 200, 300 + 180j, 180, 180, " after turning the picture by 180°"),
        (0, 200, 300 + 180j, 270, 270, " after turning the picture by 90° to the right"),
    ],
)
def test_eyes_land_on_the_template_wherever_the_face_is(frames, face, side, centre, degrees, turned, words):
    """Turned clockwise; turning the picture counter-clockwise by as much sets it upright."""
    picture, (eyes,) = scene((640, 600), placed(frames[face], side, centre, degrees))
    (found,) = align(picture)
    assert error(found, eyes) < TOLERANCE
    assert (found.placement, found.rotation, found.how) == ("aligned", turned, "face found" + words)
    assert found.image.size == (64, 64)
    assert difference(found.image, frames[face]) < 8
    assert all(found.box[i] < eye[i] < found.box[i + 2] for eye in eyes for i in (0, 1))


def test_without_dlib_the_other_detector_aligns_and_a_sentence_says_so(frames, monkeypatch, caplog):
    models.dlib.cache_clear()
    monkeypatch.setitem(sys.modules, "dlib", None)
    try:
        for face in range(2):
            picture, (eyes,) = scene((640, 600), placed(frames[face], 256, 300 + 260j))
            (found,) = align(picture)
            assert error(found, eyes) < 2 * TOLERANCE and found.placement == "aligned"
        assert [path.name for path in models.load_detectors()] == ["centerface.onnx"]
        assert caplog.text.count("dlib is not installed here") == 1
    finally:
        models.dlib.cache_clear()


def test_every_face_is_returned_largest_first(frames, monkeypatch):
    sides = [90, 240, 150]
    centres = [90 + 100j, 300 + 150j, 520 + 330j]
    picture, eyes = scene((640, 440), *(placed(*one) for one in zip(frames, sides, centres, strict=False)))
    found = align(picture)
    assert [error(face, eyes[i]) < TOLERANCE for face, i in zip(found, (1, 2, 0), strict=True)] == [True] * 3
    assert [face.index for face in found] == [0, 1, 2]
    assert found[1].how == "face found (2 of 3)"
    monkeypatch.setattr(detection, "_MOST_FOUND", 1)
    (found,) = align(picture)
    assert error(found, eyes[1]) < TOLERANCE, "of too many the largest is kept"


def test_a_face_that_fills_the_picture_or_touches_its_border_is_found_once(frames):
    picture, (eyes,) = scene((300, 400), placed(frames[2], 330, 120 + 200j))  # the frame is cut at the left and right
    (found,) = align(picture)
    assert error(found, eyes) < TOLERANCE
    assert np.asarray(found.image).max(axis=2).min(axis=0).max() > 0  # no black column
    close = frames[2].resize((400, 400), Image.Resampling.BICUBIC).crop((100, 110, 300, 370))  # brow to chin
    assert len(align(close)) == 1


@pytest.mark.parametrize(("kind", "detector", "tolerance"), [("masked", "centerface", 0.02), ("drawn", "hog", 0.04)])
def test_what_one_detector_does_not_see_is_found_by_the_other(frames, kind, detector, tolerance):
    face = frames[0].resize((256, 256), Image.Resampling.BICUBIC)
    ImageDraw.Draw(face).rectangle((0, 165, 256, 256), fill="white")  # mouth and chin, as by a medical mask
    if kind == "drawn":
        face = Image.open(ROOT / "assets" / "examples" / "cartoon" / "cartoon_10.png")
    picture, (eyes,) = scene((500, 500), placed(face, 256, 250 + 250j))
    assert [one.detector for one in detect(picture)] == [detector]
    assert error(align(picture)[0], eyes) < tolerance


@pytest.mark.parametrize("kind", ["constant", "noise"])
@pytest.mark.parametrize("size", [(150, 100), (64, 64)])
def test_without_a_face_the_centre_square_is_used_or_nothing(kind, size):
    picture = Image.new("RGB", size, "grey") if kind == "constant" else Image.effect_noise(size, 60).convert("RGB")
    assert align(picture, align="always") == []
    (used,) = align(picture)
    assert (used.placement, used.eyes) == ("whole", None)
    assert used.how.startswith("no face found: the whole picture is used")
    left, side = (size[0] - size[1]) // 2, size[1]
    assert used.box == (left, 0, left + side, side)
    assert used.image.tobytes() == picture.crop(used.box).resize((64, 64), Image.Resampling.LANCZOS).tobytes()


def test_never_uses_the_centre_square_of_a_photograph(frames):
    picture, _ = scene((400, 300), placed(frames[0], 200, 250 + 150j))
    (used,) = align(picture, align="never")
    assert (used.placement, used.box) == ("whole", (50, 0, 350, 300))
    assert used.how == "used as it is, whole (its centre square)"
    y, x = np.mgrid[:500, :500]
    board = Image.fromarray(((x + y) % 2 * 255).astype(np.uint8))
    assert np.asarray(align(board, align="never")[0].image, dtype=float).std() < 3, "no moire"


@pytest.mark.parametrize(("face", "side"), [(0, 64), (1, 128), (2, 64)])
def test_a_ready_picture_is_used_as_it_is(frames, face: int, side):
    ready = frames[face] if side == 64 else frames[face].resize((side, side), Image.Resampling.BICUBIC)
    (kept,) = align(ready)
    expected = ready if side == 64 else ready.resize((64, 64), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(np.asarray(kept.image), np.asarray(expected))
    assert (kept.placement, kept.how.removesuffix(", resized")) == ("kept", "already aligned: used as it is")
    assert kept.image is not ready and error(kept, side * TEMPLATE) < TOLERANCE
    (moved,) = align(ready, align="always")
    assert moved.placement == "aligned" and difference(moved.image, frames[face]) < 8


def test_a_small_square_picture_with_its_face_elsewhere_is_aligned(frames):
    picture, (eyes,) = scene((96, 96), placed(frames[3], 75, 55 + 52j))
    (found,) = align(picture)
    assert found.placement == "aligned" and error(found, eyes) < TOLERANCE


@pytest.mark.parametrize(("size", "mode"), [(1, "RGB"), (17, "L"), (64, "P"), (200, "RGBA"), (64, "CMYK")])
def test_every_mode_gives_rgb_of_exactly_the_size(frames, size: int, mode: str):
    picture, (eyes,) = scene((400, 300), placed(frames[0], 200, 200 + 150j))
    for how in ("auto", "never"):
        (face,) = align(picture.convert(mode), size=size, align=how)
        assert (face.image.size, face.image.mode) == ((size, size), "RGB")
        assert how == "never" or error(face, eyes) < TOLERANCE


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (60000, 2), (40, 900)])
def test_extreme_shapes_are_survived(size: tuple[int, int]):
    """dlib's CNN reads outside its memory for strips; margins in proportion to the long side would fill the memory."""
    for picture in (Image.new("RGB", size, "red"), Image.effect_noise(size, 90)):
        assert [face.placement for face in align(picture)] == ["whole"]


@pytest.mark.parametrize("options", [{"align": "sometimes"}, {"landmarks": "6"}, {"size": 0}])
def test_unknown_options_are_refused(options: dict[str, object]):
    with pytest.raises(ValueError, match="must be"):
        align(Image.new("RGB", (80, 60)), **options)


def test_threads_see_their_own_pictures(frames):
    faces = [placed(frames[i % 4], 120 + 15 * i, 250 + 200j, 3 * i) for i in range(6)]
    pictures = [scene((500, 400), *([face] if i % 3 else []))[0] for i, face in enumerate(faces)]
    alone = [detect(picture, thorough=False) for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda picture: detect(picture, thorough=False), pictures)) == alone


def test_descriptors_are_those_of_dlib(frames):
    """The network is computed by torch, from dlib's own file."""
    chips = [np.asarray(frame.resize((150, 150))) for frame in frames[:3]]
    network = models.dlib().face_recognition_model_v1(models.dlib_file("descriptor"))
    eyes = (150 * 0.3182, 150 * 0.3143), (150 * 0.6685, 150 * 0.3142)  # where a chip has them: nothing is moved
    for chip in chips:
        expected = np.array(network.compute_face_descriptor(chip))
        np.testing.assert_allclose(describe(Image.fromarray(chip), eyes), expected, atol=1e-3)


def test_an_aligned_face_is_described_at_every_size(frames):
    images = torch.from_numpy(np.stack([np.asarray(frame) for frame in frames[:3]])).permute(0, 3, 1, 2) / 255
    (side, _), found = frames[0].size, descriptors(images)
    for row, frame in zip(found, frames, strict=False):
        eyes = tuple((side * x, side * y) for x, y in (LEFT_EYE, RIGHT_EYE))
        assert np.linalg.norm(row.numpy() - describe(frame, eyes)) < 0.1
    larger = descriptors(torch.nn.functional.interpolate(images, scale_factor=2, mode="bilinear"))
    assert (larger - found).norm(dim=1).max() < 0.2


def test_one_face_is_described_alike_wherever_it_is_and_others_are_not(frames):
    picture, (eyes,) = scene((500, 400), placed(frames[0], 220, 270 + 200j, 15))
    reference = describe(picture, tuple(map(tuple, eyes)))
    assert reference.shape == (128,)
    assert np.linalg.norm(reference - describe(frames[0], in_place(64))) < 0.4
    assert np.linalg.norm(reference - describe(frames[2], in_place(64))) > 0.6


# Faces that show both eyes to the camera, counted by eye; dogs have none.
PHOTOS = {
    "2008_001009.jpg": 2,
    "2008_002470.jpg": 6,
    "2008_004176.jpg": 7,
    "Tom_Cruise_avp_2014_4.jpg": 1,
    "dogs.jpg": 0,
}


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the photographs are not beside the checkout")
@pytest.mark.parametrize("name", PHOTOS)
def test_photographs_give_every_face_at_the_template(name: str):
    faces = align(Image.open(PHOTOGRAPHS / name), size=256, align="always")
    assert len(faces) == PHOTOS[name]
    away = []
    for face in faces:
        again = detect(face.image, landmarks="68", thorough=False)
        errors = [np.abs(np.array(one.eyes) / 256 - TEMPLATE).max() for one in again]
        away.append(min(errors, default=1.0))
    assert all(one < TOLERANCE for one in away)
