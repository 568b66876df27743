"""A bar over the eyes that does not count: what is drawn in its place, and what samples of such evidence are.

    python -m benchmarks.masks --faces FACES

Faces of the example sets, whose eyes are known, get the bars of Figure 6: one colour, and noise. The bar is masked, and
filled in by the rest of the face (`masked.fill`). Held-out pixels are those under the bar: PSNR against the face as it
was. Then all of them are evidence, with the bars and with the bars masked, and samples of both are looked at.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from transflow_core.engine import Engine
from transflow_core.images import labelled_rows, load_image, to_pil
from transflow_core.operations.inpaint import ignore, inpaint, usual
from transflow_core.priors.catalogue import load_prior
from transflow_core.recipes import Method

from .measures import as_unit, region_distance
from .paper.fig6 import BAR, NEON, with_bar
from .paper.setting import Setting
from .sets import EXAMPLES, ROOT

TABLE, PICTURE = ROOT / "docs" / "results" / "masks.md", ROOT / "docs" / "results" / "masks.jpg"
SETS = ("red_hair", "sepia", "greyscale")
ROUNDS = (0, 1, 2, 4, 8, 16)
DEFAULT = 2
METHODS = {"the paper's, λ/m = 0.3": Method(method="posterior", lam_ratio=0.3), "local": Method(method="local")}
HEAD = """<!-- Written by `python -m benchmarks.masks --faces FACES`. -->
# Ignored parts, measured

Faces of the example sets, of nobody, have a bar over their eyes. The bar is masked, and the model fills the part.
*PSNR* compares the pixels under the bar with the face as it was, in dB. *Unlike* is the share that is far from all
real faces by an ImageNet network. The limit was set so that 5 % of real faces break it. Of others {alarms:.0f} % do,
and {misses:.0f} % of real faces with another one's mouth do not: so a low share proves little. *Torn* is the share
whose nose and mouth are like those of no real face; {torn:.0f} % of real faces are. *Density* is the mean log
N(z; 0, I), in nats.

Round 0 fits the prior's mean face to what is around the bar, and nearly all of the gain comes from it. Many more rounds
draw eyes that are further from those that were there. The second table has samples, and the colour in the bar's place.

"""


def bar_mask(size: int) -> Image.Image:
    """White where the bar is."""
    mask = Image.new("L", (size, size))
    left, top, right, bottom = (round(edge * size) for edge in BAR)
    mask.paste(255, (left, top, right, bottom))
    return mask


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Of the pixels under the bar, (n,) in dB."""
    left, top, right, bottom = (round(edge * images.shape[-1]) for edge in BAR)
    square = (images - truth)[:, :, top:bottom, left:right].square().mean((1, 2, 3))
    return -10 * square.clamp_min(1e-9).log10()


def surroundings(images: Tensor) -> Tensor:
    """One colour in the bar's place: the mean of the pixels around it, within a bar's height."""
    side = images.shape[-1]
    left, top, right, bottom = (round(edge * side) for edge in BAR)
    margin = (bottom - top) // 2
    around = torch.zeros(side, side)
    around[top - margin : bottom + margin, left - margin : right + margin] = 1
    around[top:bottom, left:right] = 0
    filled = images.clone()
    colour = (images * around).sum((2, 3)) / around.sum()
    filled[:, :, top:bottom, left:right] = colour[:, :, None, None]
    return filled


def main() -> None:
    """Measure, and write table and picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.masks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", default="celeba64", help="name, file or folder")
    parser.add_argument("-n", type=int, default=8, help="faces of each set")
    parser.add_argument("--faces", type=Path, required=True, help="a folder or zip of real faces")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    prior = load_prior(options.prior)
    engine, side = Engine(prior), prior.image_size
    files = [file for name in SETS for file in sorted((EXAMPLES / name).glob("*.png"))[: options.n]]
    faces = [load_image(file).resize((side, side), Image.Resampling.LANCZOS) for file in files]
    rng = np.random.default_rng(6)
    bars = {
        "solid": [with_bar(face, np.array(NEON)) for face in faces],
        "noise": [with_bar(face, rng) for face in faces],
    }
    real = Setting(engine, options.picture.parent, None, faces=options.faces).real_faces
    truth, solid = prior.to_unit(faces).cpu(), prior.to_unit(bars["solid"]).cpu()
    mask = bar_mask(side)
    masks = [mask] * len(faces)
    shown = {"with the bar": solid, "the colour around": surroundings(solid)}
    for rounds in ROUNDS:
        shown[f"{rounds} rounds"] = inpaint(engine, solid, masks, usual(prior), rounds=rounds)
    lines = ["| in the bar's place | PSNR | unlike, % | density |", "|---|---|---|---|"]
    for name, images in shown.items():
        values = psnr(images, truth)
        density = prior.encode_and_score(images.clamp(0, 1), 8).log_prior.mean()
        name = f"{name} (the default)" if name == f"{DEFAULT} rounds" else name
        lines.append(
            f"| {name} | {values.mean():.1f} ± {values.std() / len(values) ** 0.5:.1f} | "
            f"{real.unlike(images.numpy()):.0f} | {density:,.0f} |"
        )
        print(lines[-1], flush=True)
    density = prior.encode_and_score(truth, 8).log_prior.mean()
    lines.append(f"| the face as it was | | {real.unlike(truth.numpy()):.0f} | {density:,.0f} |")
    lines += ["", f"{len(faces)} faces; ± is one standard error over them. Samples, 16 of each:", ""]
    lines += [
        "| evidence | method | torn, % | unlike, % | colour of the bar's place: from the bar's | from the faces' |"
    ]
    lines += ["|---" * 6 + "|"]
    rows, labels = [to_pil(truth[:: len(faces) // 8][:8])], ["faces"]
    for name, frames in bars.items():
        evidence = engine.read(frames, align="never")
        masked = ignore(engine, evidence, dict.fromkeys(range(len(frames)), mask))
        for what, given in ((f"{name} bars", evidence), (f"{name} bars, masked", masked)):
            used = [image.filled or image.face.image for image in given if image.face]
            rows.append(used[:: len(used) // 8][:8])
            labels.append(what.replace(" bars,", ","))
            for row, how in METHODS.items():
                x = engine.sample(engine.draw(given.posterior(), how), 16).images
                from_bar, from_face = (region_distance(x, as_unit(ref), BAR) for ref in (frames, faces))
                lines.append(
                    f"| {what} | {row} | {real.torn(x):.0f} | {real.unlike(x):.0f} | {from_bar:.3f} | {from_face:.3f} |"
                )
                print(lines[-1], flush=True)
                rows.append(to_pil(x[:8]))
                labels.append(row.removeprefix("the paper's, "))
    labelled_rows(rows, row_labels=labels, cell=72).convert("RGB").save(options.picture, quality=88)
    options.table.write_text(
        HEAD.format(alarms=real.alarms["unlike"], misses=real.misses["unlike"], torn=real.alarms["torn"])
        + f"![Bars, and without]({PICTURE.name})\n\n"
        + "\n".join(lines)
        + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
