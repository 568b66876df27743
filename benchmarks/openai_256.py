"""A 256×256 Glow of the paper's size, in OpenAI's layout: how long converting it takes, and one image, in what memory.

    python -m benchmarks.openai_256 [--threads 2]

Writes a random model (6 levels, 32 steps, width 512; about 0.8 GB) into a temporary folder, then converts it, decodes
one latent and encodes the image again in a fresh process, and prints a row for the benchmark table.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

LEVELS, STEPS, WIDTH, SIZE = 6, 32, 512, 256


def write_random_model(path: Path) -> None:
    """Random variables under OpenAI's names, one array in memory at a time."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

        def put(name: str, *shape: int, std: float = 0.0) -> None:
            array = (std * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)
            save(name, array)

        def save(name: str, array: np.ndarray) -> None:
            with archive.open(name.replace("/", "|") + ".npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)

        def actnorm(name: str, channels: int) -> None:
            put(f"{name}_center/b", 1, 1, 1, channels, std=0.02)
            put(f"{name}_scale/logs", 1, 1, 1, channels, std=0.005)

        def zero_conv(name: str, channels: int, out: int) -> None:
            put(f"{name}/W", 3, 3, channels + 1, out, std=0.001)
            put(f"{name}/b", 1, 1, 1, out, std=0.01)
            put(f"{name}/logs", 1, out, std=0.01)

        for i in range(LEVELS):
            channels = 12 * 2**i
            for k in range(STEPS):
                step = f"model/{i}/{k}/"
                actnorm(step + "actnorm", channels)
                save(step + "invconv/W", np.linalg.qr(rng.standard_normal((channels, channels)))[0].astype(np.float32))
                put(step + "f1/l_1/W", 3, 3, channels // 2 + 1, WIDTH, std=0.05)
                actnorm(step + "f1/l_1/actnorm", WIDTH)
                put(step + "f1/l_2/W", 1, 1, WIDTH, WIDTH, std=0.05)
                actnorm(step + "f1/l_2/actnorm", WIDTH)
                zero_conv(step + "f1/l_last", WIDTH, channels // 2)
            if i < LEVELS - 1:
                zero_conv(f"model/pool{i}/conv", channels // 2, channels)
        zero_conv("model/prior/p", 2 * channels, 2 * channels)


def measure(path: Path, threads: int) -> None:
    """Convert, decode and encode once each, and print the row."""
    import torch

    from transflow_core.priors.catalogue import load_prior

    torch.set_num_threads(threads)
    start = time.perf_counter()
    prior = load_prior(path, device="cpu", image_size=SIZE, bits=5)
    converted = time.perf_counter()
    z = 0.7 * torch.randn(1, prior.dim, generator=torch.Generator().manual_seed(0))
    image = prior.decode(z)
    decoded = time.perf_counter()
    prior.encode(image)
    encoded = time.perf_counter()
    if not torch.isfinite(image).all():
        raise SystemExit("the image is not finite")
    parameters = prior.info()["parameters"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"| OpenAI layout, 256×256, 6 levels, 32 steps, width 512, {parameters / 1e6:.0f} M weights | {threads} cores "
        f"| convert {converted - start:.1f} s | sample {decoded - converted:.1f} s | encode {encoded - decoded:.1f} s "
        f"| peak {peak:.1f} GiB |"
    )


def main() -> None:
    """Write the model, and measure it in a process of its own, whose peak memory is then the conversion's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "variables.npz"
        write_random_model(path)
        print(f"wrote {path.stat().st_size / 1e9:.2f} GB", file=sys.stderr)
        command = [sys.executable, "-m", "benchmarks.openai_256", "--threads", str(arguments.threads)]
        subprocess.run([*command, "--measure", str(path)], check=True)


if __name__ == "__main__":
    main()
