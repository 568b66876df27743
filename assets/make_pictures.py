"""The page's own pictures: its icon, what links to it show (og:image), the sheet that it opens with, how far it goes.

The samples are the page's own, of example sets, as it draws them with nothing changed. Run from the checkout, after
anything that changes what they are:

    python -m assets.make_pictures
"""

from PIL import Image, ImageDraw

from demo.examples import example_sets
from demo.render import sheet_picture
from demo.static import FOLDER
from demo.tabs.studio import OPENING
from demo.tabs.studio_results import DEFAULT
from transflow_core.engine import Engine
from transflow_core.images import to_pil
from transflow_core.images.sheets import draw_text, enlarge
from transflow_core.posterior import resolve
from transflow_core.priors.catalogue import load_prior
from transflow_core.recipes import Method

INDIGO = "#6366f1"
FAR = 8  # images in each picture of how far it goes
_CURVE = '<path d="{}" fill="none" stroke="{}" stroke-width="2.5" stroke-linecap="round"/>'
# Two bells: the prior, and what the evidence makes of it.
ICON = "\n".join(
    (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">',
        f'<rect width="32" height="32" rx="8" fill="{INDIGO}"/>',
        _CURVE.format("M13 25 C18 25 18 14 21 14 S24 25 29 25", "#c7d2fe"),
        _CURVE.format("M3 25 C9 25 8 8 12 8 S15 25 21 25", "#fff"),
        "</svg>\n",
    )
)


def preview(evidence: list[Image.Image], samples: list[Image.Image]) -> Image.Image:
    """1200×630, as Open Graph wants it: a few pieces of evidence, and samples."""
    card = Image.new("RGB", (1200, 630), "white")
    ImageDraw.Draw(card).rectangle((0, 0, 1200, 14), INDIGO)
    draw_text(card, 60, 44, "Transflow Studio", 64, "#1e293b")
    draw_text(card, 60, 128, "Show it a few faces. It makes new ones like them, in a second.", 30, "#475569")
    for index, image in enumerate(evidence[:6]):
        card.paste(enlarge(image, 128), (60 + index % 2 * 136, 206 + index // 2 * 136))
    draw_text(card, 352, 366, "→", 72, INDIGO)
    for index, image in enumerate(samples[:15]):
        card.paste(enlarge(image, 128), (450 + index % 5 * 136, 206 + index // 5 * 136))
    return card


def how_far(engine: Engine, key: str) -> None:
    """Images of a set that goes too far, and new ones from it: without the guard, and as the page draws them."""
    evidence = engine.read(example_sets()[key].files, align="never")
    how, _ = resolve(DEFAULT.replace(**dict(Method())), evidence.posterior(), engine.looks)
    sampler = engine.draw(evidence.posterior(), how)
    drawn = {
        "images": [image.face.image for image in evidence.used if image.face is not None],
        "unguarded": to_pil(engine.prior.decode(sampler.sample(FAR, how.seed, how.temperature))),
        "guarded": to_pil(engine.sample(sampler, FAR, seed=how.seed, temperature=how.temperature).images),
    }
    for kind, pictures in drawn.items():
        sheet_picture(pictures[:FAR], columns=4).save(FOLDER / "far" / f"{key}_{kind}.jpg", quality=82, optimize=True)


def main() -> None:
    """Write them into `demo/static`."""
    (FOLDER / "icon.svg").write_text(ICON, encoding="utf-8")
    engine = Engine(load_prior())
    evidence = engine.read(example_sets()[OPENING].files)
    posterior = evidence.posterior()
    how, _ = resolve(DEFAULT.replace(**dict(Method())), posterior, engine.looks)
    draws = {"n": how.n, "seed": how.seed, "temperature": how.temperature}
    samples = to_pil(engine.sample(engine.draw(posterior, how), **draws).images)
    sheet_picture(samples).save(FOLDER / "opening.jpg", quality=88)
    faces = [image.face.image for image in evidence.used if image.face is not None]
    preview(faces, samples).save(FOLDER / "preview.jpg", quality=85)
    for key in (one.key for one in example_sets().values() if not one.shown):
        how_far(engine, key)


if __name__ == "__main__":
    main()
