"""Real data: 1,797 handwritten digits, which ship with the package (see `digits.txt`)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

import numpy as np

from ..basis.checks import require, whole
from ..doors.door import read_npz
from ..networks import Data, loss_named
from .base import Task


@dataclass(frozen=True)
class Digits(Task):
    """Handwritten digits, 8 x 8 pixels, one-hot targets.

    Source: Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, its test set.
    components: 0 for the 64 pixels (divided by 16), or k for the first k principal components
    (centred, scaled by one common factor so that the first has unit variance). classes: which
    digits. centred: subtract the mean of the inputs and, for squared loss, of the targets. image:
    keep the shape (1, 8, 8) for convolutions. loss: "squared" (with the half, summed over classes)
    or "cross_entropy".
    """

    kind: ClassVar[str] = "digits"
    seeded: ClassVar[bool] = False
    components: int = 0
    classes: tuple[int, ...] = tuple(range(10))
    centred: bool = True
    image: bool = False
    loss: str = "squared"

    def data(self, seed: int) -> Data:
        loss = loss_named(self.loss)
        whole(self.components, "components", 0)
        require(self.components <= 64, "components", "at most 64", self.components)
        require(
            not (self.image and self.components),
            "image",
            "false when principal components are asked for",
            True,
        )
        chosen = set(self.classes) if isinstance(self.classes, tuple) else set()
        require(
            len(chosen) > 1 and len(chosen) == len(self.classes) and chosen <= set(range(10)),
            "classes",
            "two or more different digits from 0 to 9",
            self.classes,
        )
        pixels, labels = shipped()
        keep = np.isin(labels, self.classes)
        x, y = pixels[keep] / 16.0, (labels[keep, None] == np.array(self.classes)).astype(float)
        if self.centred or self.components:
            x = x - x.mean(axis=0)
        if self.centred and loss.quadratic:
            y = y - y.mean(axis=0)
        if self.components:
            x = principal_components(x, self.components)
        shape = (1, 8, 8) if self.image else (x.shape[1],)
        return Data(shape, len(self.classes), x.reshape(len(x), *shape), y, loss=loss)


def shipped() -> tuple[np.ndarray, np.ndarray]:
    """The pixels (1797, 64), from 0 to 16, and the labels (1797,), as floats."""
    with resources.as_file(resources.files("saddlery.tasks") / "digits.npz") as path:
        arrays = read_npz(path, ("pixels", "labels"))
    return arrays["pixels"].astype(float), arrays["labels"].astype(float)


def principal_components(x: np.ndarray, count: int) -> np.ndarray:
    """The first `count` principal components (N, count) of centred rows, the first scaled to unit
    variance."""
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    signs = np.sign(u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])])
    return (u * signs * s)[:, :count] * (np.sqrt(len(x)) / s[0])
