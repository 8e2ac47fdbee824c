"""One problem: trained, certified, and each verdict held against brute force. A refutation is a
sentence; none is expected."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from saddlery import certify, train
from saddlery.basis.checks import SaddleryError
from saddlery.plateaus import Stages
from saddlery.saddles import Certificate, FixedPoint

from .brute import PHI, Plain
from .problems import OWN, Problem

KINKED = {
    "relu": (0.0,),
    "leaky_relu": (0.0,),
    "own_abs": (0.0,),
    "own_clip": (0.0, 1.0),
}  # where phi bends
RADII = (1.0, 0.3, 0.1)  # of the largest box in which a minimum must have nothing below it
NEARER = (0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-5)  # if falls in these boxes too are those of its order
LARGEST = 0.1  # of the task's natural weights: that box, or the one that no further kink crosses
# Of them: something lies lower than a saddle in one of these. Beside a state far smaller than the
# natural weights, descent in a wide box only climbs down walls.
BOXES = (0.1, 1e-2, 1e-3, 1e-4, 1e-5)
CLEAR = 100.0  # times the rounding of a loss: falls that count


@dataclass
class Tally:
    """What came of some problems. refuted: sentences with the problem's number."""

    verdicts: Counter[str] = field(default_factory=Counter)
    refuted: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        total = sum(self.verdicts.values())
        shares = ", ".join(
            f"{name} {count} ({count / total:.0%})" for name, count in self.verdicts.most_common()
        )
        return (
            f"{total} plateaus: {shares}; {len(self.refuted)} refuted, {len(self.failed)} "
            "runs failed with a sentence"
        )


def judged(number: int, tally: Tally) -> None:
    """Train and certify one problem and add what comes of it; any exception but saddlery's own goes
    on."""
    try:
        found = certify(train(Problem(number).experiment()))
    except SaddleryError as error:
        tally.failed.append(f"{number}: {error}")
        return
    for k, stage in enumerate(found.stages):
        certificate = stage.certificate
        assert certificate is not None
        tally.verdicts[certificate.verdict] += 1
        tally.refuted += [
            f"{number}, stage {k}: {words}" for words in refutations(found, k, certificate)
        ]


def refutations(found: Stages, k: int, c: Certificate) -> list[str]:
    if not isinstance(c, FixedPoint):
        return []
    e = found.run.experiment
    data = e.task.data(e.seed)
    plain = Plain(e.network.layers[0].unit.name, e.network.widths[0], data.inputs, data.targets)
    size = found.run.objective().scales.weights
    words = [*_stationary(plain, c, size), *_same_loss(plain, found, k, c)]
    if c.verdict == "minimum":
        words += _minimum(plain, c, size)
    if c.verdict in ("strict saddle", "degenerate saddle"):
        words += _saddle(plain, c, size)
    return words


def _stationary(plain: Plain, c: FixedPoint, size: float) -> list[str]:
    """The slope by NumPy is as small as the certificate has it; on kinks, no direction of many
    falls at first order."""
    if plain.unit not in KINKED:
        slope = float(np.linalg.norm(np.asarray(plain.slope(c.state), float)))
        limit = c.tolerance + 1e3 * PHI[plain.unit][2] * c.gradient_scale
        if (
            slope <= limit or plain.natural_slope(c.state) < 3e-12
        ):  # a weight's unit of measure may make more of it
            return []
        return [f"its gradient is {slope:.1e}, and {limit:.1e} was to be zero"]
    rng = np.random.default_rng(0)
    step = 1e-7 * size
    for _ in range(300):
        d = rng.standard_normal(len(c.state))
        rate, nearer = (
            plain.one_sided(c.state, d / np.linalg.norm(d), s) / c.gradient_scale
            for s in (step, 0.01 * step)
        )
        if (
            rate < -1e-5 and nearer < 0.5 * rate
        ):  # of second order, it would have vanished with the step
            return [f"the loss falls at first order, by {rate:.1e} of the natural gradient"]
    return []


def _same_loss(plain: Plain, found: Stages, k: int, c: FixedPoint) -> list[str]:
    """The loss of the record is that of the state, and no farther from the plateau than a quarter
    of the smaller drop."""
    loss = float(plain.loss(c.state))
    words = (
        []
        if abs(loss - c.loss) <= 1e-12 * max(loss, float(plain.loss(0 * c.state)))
        else [f"its loss is {loss}, not {c.loss}"]
    )
    drops = [abs(found[j].loss - found[k].loss) for j in (k - 1, k + 1) if 0 <= j < len(found)]
    if drops and abs(loss - found[k].loss) > 0.26 * min(drops) + 1e-12 * found[0].loss:
        words.append(
            f"its loss {loss:.3e} is far from the plateau's {found[k].loss:.3e}, where "
            f"drops are {min(drops):.3e}"
        )
    return words


def _minimum(plain: Plain, c: FixedPoint, size: float) -> list[str]:
    """No descent in boxes of three sizes; or only of a higher order than the reason says it was
    looked for."""
    largest = min(LARGEST * size, _to_the_next_kink(plain, c.state))
    falls = [plain.fall(c.state, radius * largest) for radius in RADII]
    if min(falls) <= CLEAR * plain.noise:
        return []
    order = np.log(falls[1] / falls[2]) / np.log(RADII[1] / RADII[2])
    said = re.search(r"up to order (\d+)", c.reason)
    if said and order > int(said.group(1)) + 0.5:
        return []
    for radius in NEARER:
        expected = falls[2] * (radius / RADII[2]) ** order
        if (
            expected > 1e3 * CLEAR * plain.noise
            and plain.fall(c.state, radius * largest) <= CLEAR * plain.noise
        ):
            return []  # what lies lower lies beyond a rise
    fell = f"the loss falls by {falls[2]:.1e} within {RADII[2] * largest:.1e}, order {order:.2f}"
    return [f"called a minimum ({c.reason[:60]}...), but {fell}"]


def _to_the_next_kink(plain: Plain, state: np.ndarray) -> float:
    """The half-width of the box around a state that no kink crosses but those the state lies on:
    beyond, a minimum may end."""
    u = np.asarray(state[: plain.width * plain.x.shape[1]]).reshape(plain.width, -1)
    reach = np.maximum(np.abs(plain.x).sum(axis=1), 1e-300)[
        :, None
    ]  # nothing moves a sample of zeros
    gaps = [np.abs(plain.x @ u.T - kink) / reach for kink in KINKED.get(plain.unit, ())]
    beyond = [gap[gap > 1e-9 * np.abs(u).max(initial=0.0)] for gap in gaps]
    return 0.9 * min((float(gap.min()) for gap in beyond if gap.size), default=np.inf)


def _saddle(plain: Plain, c: FixedPoint, size: float) -> list[str]:
    """The loss falls nearby; along the direction of escape, at the order that is said; and as many
    ways as the index says."""
    words = []
    if not any(plain.fall(c.state, radius * size) > 0 for radius in BOXES):
        words.append(f"called a {c.verdict}, but nothing nearby lies lower")
    if c.escape_direction is not None and c.escape_order is not None:
        words += _escape(plain, c, size)
    if c.index and plain.unit not in KINKED and not set(OWN) & {plain.unit}:
        words += _index(plain, c, size)
    return words


def _escape(plain: Plain, c: FixedPoint, size: float) -> list[str]:
    """Falls of high order need room to be seen at all: steps up to what the inputs' size makes an
    incoming weight of one."""
    base, radii = plain.loss(c.state), size * np.array([0.1, 0.03, 0.01, 3e-3, 1e-3])
    if c.escape_order > 2:
        radii = np.geomspace(0.3, 1e-3, 12) * max(size, 1 / float(np.sqrt(np.mean(plain.x**2))))
    for radius in radii:
        if any(plain.loss(c.state + sign * radius * c.escape_direction) < base for sign in (1, -1)):
            return []
    if _falls_in_decimals(plain, c, size):
        return []
    return [
        (
            f"the loss does not fall along the escape direction of a {c.verdict} of "
            f"order {c.escape_order}"
        )
    ]


def _falls_in_decimals(plain: Plain, c: FixedPoint, size: float) -> bool:
    """Whether the loss falls as its order says, below what long doubles see; nearer still only the
    state's own error is left."""
    for sign in (1, -1):
        fall = lambda r, way=sign * c.escape_direction: -plain.change(c.state, way, r)
        falls = [
            [fall(r) for r in (radius, radius / 2)]
            for radius in size * 10.0 ** -np.arange(1.0, 10.0)
        ]
        agree = [
            near > 0 and far > 0 and abs(np.log2(float(far / near)) - c.escape_order) < 0.3
            for far, near in falls
        ]
        if any(
            all(both) for both in pairwise(agree)
        ):  # at one radius a bend may look like any order
            return True
    return False


def _index(plain: Plain, c: FixedPoint, size: float) -> list[str]:
    """Negative eigenvalues by differences, where they are clearly told from zero."""
    values = np.linalg.eigvalsh(plain.hessian(c.state, 1e-6 * size))
    zero = 1e-6 * np.abs(values).max()
    clear = int(np.sum(values < -zero))
    unsure = int(np.sum(np.abs(values) <= zero))
    return (
        []
        if clear <= c.index <= clear + unsure
        else [f"its index is {clear} to {clear + unsure}, not {c.index}"]
    )
