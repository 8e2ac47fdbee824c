"""Real data: 1,797 handwritten digits, which ship with the package (see
`digits.txt`)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ..basis.checks import require, whole
from ..doors.door import read_npz
from ..networks import Data, loss_named
from .base import Task


@dataclass(frozen=True)
class Digits(Task):
    """Handwritten digits, 8 x 8 pixels, one-hot targets.

    components: 0 for the 64 pixels (divided by 16), or k for the first k
        principal components (centred, scaled by one common factor so that the
        first has unit variance).
    classes: which digits, two or more of 0 to 9; their order is that of the
        outputs.
    centred: subtract the mean of the inputs and, for squared loss, of the
        targets.
    image: keep the shape (1, 8, 8) for convolutions.
    loss: "squared" (with the half, summed over classes) or "cross_entropy".

    Inputs (N, 64), (N, k) or (N, 1, 8, 8) and targets (N, O), O =
    len(classes). Source: Alpaydin & Kaynak (1998), Optical Recognition of
    Handwritten Digits, its test set.

    Example
    -------
    >>> from saddlery.tasks import Digits
    >>> data = Digits(components=2, classes=(3, 7)).data(seed=0)
    >>> data.inputs.shape, data.outputs, data.inputs.std(axis=0).round(2).tolist()
    ((362, 2), 2, [1.0, 0.65])
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
        self._demand_possible()
        pixels, labels = shipped()
        keep = np.isin(labels, self.classes)
        x = pixels[keep] / 16.0
        y = (labels[keep, None] == np.array(self.classes)).astype(float)
        if self.centred or self.components:
            x = x - x.mean(axis=0)
        if self.centred and loss.quadratic:
            y = y - y.mean(axis=0)
        if self.components:
            x = principal_components(x, self.components)
        shape = (1, 8, 8) if self.image else (x.shape[1],)
        inputs = x.reshape(len(x), *shape)
        return Data(shape, len(self.classes), inputs=inputs, targets=y, loss=loss)

    def _demand_possible(self) -> None:
        whole(self.components, "components", 0)
        require(self.components <= 64, "components", "at most 64", self.components)
        require(
            not (self.image and self.components),
            "image",
            needed="false when principal components are asked for",
            given=True,
        )
        chosen = set(self.classes)
        different = len(chosen) == len(self.classes)
        require(
            different and len(chosen) > 1 and chosen <= set(range(10)),
            "classes",
            needed="two or more different digits from 0 to 9",
            given=self.classes,
        )


def shipped() -> tuple[Float[np.ndarray, "N 64"], Float[np.ndarray, " N"]]:
    """The pixels (1797, 64), from 0 to 16, and the labels (1797,), as
    floats."""
    with resources.as_file(resources.files("saddlery.tasks") / "digits.npz") as path:
        arrays = read_npz(path, ("pixels", "labels"))
    return arrays["pixels"].astype(float), arrays["labels"].astype(float)


def principal_components(x: Float[np.ndarray, "N D"], count: int) -> Float[np.ndarray, "N K"]:
    """The first K principal components of centred rows, by one factor scaled
    so that the first has unit variance.

        x = u s r',    u_k s_k sqrt(N) / s_1    for k = 1 ... K

    Each has the sign that makes its largest entry positive.

    x (N, D): with zero mean.
    count: K, at most min(N, D).

    Cost: one singular value decomposition.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.tasks.digits import principal_components
    >>> corners = np.array([[-2.0, -1.0], [-2.0, 1.0], [2.0, -1.0], [2.0, 1.0]])
    >>> np.abs(principal_components(corners, 2)).round(12).tolist()
    [[1.0, 0.5], [1.0, 0.5], [1.0, 0.5], [1.0, 0.5]]
    """
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    largest = u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])]
    components = u * np.sign(largest) * s
    return components[:, :count] * (np.sqrt(len(x)) / s[0])
