"""Two priors side by side: bits per dimension of held-out images, face rates, sharpness, time, and a sheet of samples.

    python -m benchmarks.priors celeba64 runs/mine --data faces.zip --held-out 'val*/*' -o sheet.png
    python -m benchmarks.priors celeba64 celeba128 -o grown.png
    python -m benchmarks.priors celeba64 runs/mine -n 4000 --seed 2 --temperatures 0.7

Samples share their noise: of two priors of one size the whole latent; of a prior and one that was grown from it the
latents of the smaller, so that each pair shows one face. Sharpness is the root mean square of the Haar details
(differences within 2×2 pixels) at the larger of the two sizes; the smaller prior's samples are enlarged by bicubic
interpolation. A face rate of 100 % tells two priors apart no more: there are also the scores of dlib's detector, and
with `--data` the share of samples of which it is at least as sure as of nineteen in twenty held-out faces. Held-out
images are not shown.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from transflow_core.faces.models import hog_detections
from transflow_core.flows import haar_split
from transflow_core.images import enlarge, labelled_rows, save_png, to_pil
from transflow_core.posterior import standard_normal
from transflow_core.prior import Prior, load_prior
from transflow_core.training import prepare

SHOWN = 12


def enlarged(x: Tensor, side: int) -> Tensor:
    """(n, 3, S, S) -> (n, 3, side, side), bicubic as Pillow does it."""
    if x.shape[-1] == side:
        return x
    pictures = [np.asarray(i.resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255 for i in to_pil(x)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def sharpness(x: Tensor) -> float:
    """Root mean square of the finest Haar details, in units of the range of intensities."""
    return float(haar_split(x)[1].square().mean().sqrt())


def sureness(x: Tensor) -> np.ndarray:
    """(n,) scores of dlib's HOG detector, enlarged to 256 pixels as for the face rate; 0 where it finds no face."""
    pictures = [np.asarray(enlarge(image, 256)) for image in to_pil(x)]
    return np.array([max((score for _, score in hog_detections(picture, 0.0)), default=0.0) for picture in pictures])


def decode_seconds(priors: list[Prior], n: int = 16, repeats: int = 7) -> list[float]:
    """Median seconds for n samples, the priors taking turns."""
    noise = [0.7 * standard_normal(n, prior.dim) for prior in priors]
    seconds: list[list[float]] = [[] for _ in priors]
    for turn in range(repeats + 1):
        for prior, z, times in zip(priors, noise, seconds, strict=True):
            start = time.perf_counter()
            prior.decode(z, n).cpu()
            if turn:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def main() -> None:
    """Print the table and write the sheet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.priors", description=__doc__)
    parser.add_argument("priors", nargs=2, help="names, files or folders")
    parser.add_argument("--data", type=Path, help="a folder or zip with held-out images")
    parser.add_argument("--held-out", default="val*/*", help="the pattern of their names")
    parser.add_argument("-n", type=int, default=500, help="samples for each face rate")
    parser.add_argument("--seed", type=int, default=1, help="of the noise")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.5, 0.7, 0.85, 1.0])
    parser.add_argument("-o", "--output", type=Path, help="a sheet of samples")
    options = parser.parse_args()

    priors = [load_prior(name) for name in options.priors]
    names = [f"{prior.name} {prior.fingerprint[:8]}" for prior in priors]
    side, most = max(prior.image_size for prior in priors), max(prior.dim for prior in priors)
    rows: dict[str, list[str]] = {}
    sure = []  # of held-out faces, at each prior's size
    if options.data:
        rows["bits per dimension, held out"] = []
        for prior in priors:
            with tempfile.TemporaryDirectory() as cache:
                held_out = prepare(options.data, prior.image_size, Path(cache), held_out=options.held_out).held_out
                bits = prior.bits_per_dim(np.array(held_out))
            error = float(bits.std() / len(bits) ** 0.5)
            rows["bits per dimension, held out"].append(f"{float(bits.mean()):.4f} ± {error:.4f} ({len(bits)} images)")
            v = prior.to_unit(np.array(held_out)).cpu()
            sure.append(np.percentile(sureness(v), 5))
            if prior.image_size == side:
                rows["sharpness, held-out images"] = [f"{sharpness(v):.4f}"] * 2
    noise = standard_normal(options.n, most, seed=options.seed)
    shown = []
    for temperature in options.temperatures:
        rates, found, sharp, as_sure = [], [], [], []
        for place, prior in enumerate(priors):
            x = torch.cat([prior.decode(temperature * z[:, most - prior.dim :]).cpu() for z in noise.split(50)])
            scores = sureness(x)
            rates.append(f"{(scores > 0).mean():.1%}")
            error, least = scores.std() / len(scores) ** 0.5, np.percentile(scores, [1, 0])
            found.append(f"{scores.mean():.3f} ± {error:.3f}, {least[0]:.2f}, {least[1]:.2f}")
            as_sure += [f"{(scores >= sure[place]).mean():.1%}"] if sure else []
            sharp.append(f"{sharpness(enlarged(x, side)):.4f}")
            shown.append(to_pil(enlarged(x[:SHOWN], side)))
        rows[f"face rate, temperature {temperature:g} ({options.n} samples)"] = rates
        rows[f"detector's score, temperature {temperature:g}: mean, 1st percentile, least"] = found
        if as_sure:
            rows[f"as sure a face as 95 % of held-out ones, temperature {temperature:g}"] = as_sure
        rows[f"sharpness, temperature {temperature:g}"] = sharp
    seconds = decode_seconds(priors)
    rows["seconds for 16 samples"] = [f"{value:.3f}" for value in seconds]
    rows["times the first"] = [f"{value / seconds[0]:.2f}" for value in seconds]
    print(f"| | {' | '.join(names)} |\n|---|---|---|")
    for what, cells in rows.items():
        print(f"| {what} | {' | '.join(cells)} |")
    if options.output:
        words = [f"{prior.image_size} px" for prior in priors]
        if words[0] == words[1]:
            words = ["1st", "2nd"]
        labels = [f"{word}, {t:g}" for t in options.temperatures for word in words]
        how = {"priors": ", ".join(names), "seed": str(options.seed)}
        save_png(labelled_rows(shown, row_labels=labels), options.output, metadata=how)


if __name__ == "__main__":
    main()
