"""Two-layer linear networks from small weights: which mode when, for one draw
of the weights and for all of them.

Near zero mode k, with singular value s_k of E[y x'] and input variance c_k, is
driven by

    a_ki = (q_k.v_i + r_k.u_i) / sqrt(2)

of every unit, each growing as e^(s_k t); the opposite combinations shrink.
What grows is balanced whatever the start was, and M = 1/2 sum_i a_i a_i', the
strengths of the modes in the map (its off-diagonal entries mix modes), obeys,
with S = diag(s), C = diag(c),

    M' = S M + M S - 2 M C M,
    M(t)^-1 = e^(-St) M(0)^-1 e^(-St) + (C/S) (1 - e^(-2St)),

exactly for white inputs, C = c I, however near the modes lie; of other variances
as far as modes do not overlap. With N(0, e^2) weights M(0) is e^2/2 times a
Wishart matrix of H degrees of freedom, drawn by its Cholesky factor (Bartlett
1933); what is left of it once k modes are learned is the lower right corner.
Descent of learning rate eta takes the exponents from s to ln(1 + eta s) / eta.

Source: Saxe, McClelland & Ganguli (2014), eq 6; Fukumizu (1998) for the matrix
equation; Zhang, Saxe & Latham (2026), Section 5.1; that small weights reduce
to it, and the distribution of M(0), are derived here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from ..basis.precision import in_float64
from ..experiments import Experiment
from ..initializations.linear_networks import modes
from ..networks import Moments, input_moments, unflatten
from ..networks.losses import SQUARED
from ..theory import LinearSaddles, linear_saddles
from ..theory.saddles import EQUAL
from .base import PredictedStage, Prediction, Spread, demand, register
from .draws import SEED, flow_or_descent, spread
from .ranges import (
    Range,
    RangeTolerances,
    demand_range,
    overlap_range,
    rates,
    start_range,
    step_of,
    step_range,
)

# Inputs whose covariance mixes the modes by more than this share of the largest
# variance are not aligned with them.
ALIGNED = 1e-9
DRAWS = 1000  # draws of the initial weights that a spread is over
# A mode is followed with so many neighbours on either side: earlier ones are learned,
# later ones have not begun.
BEFORE, AFTER = 3, 4
ROUNDS, NEARLY = 60, 1e-10  # bisection ends after so many rounds, or at this share of the flow time
LIMIT = (
    "exact for white inputs as the initial scale goes to zero, however near modes lie; of other"
    " variances it neglects what modes"
    " do to each other"
)
NO_SPREAD: Spread = (None, None, None)


@register("linear modes")
@in_float64
def linear_modes(experiment: Experiment) -> Prediction:
    """Modes of a two-layer linear network, in the order of their singular values.

    Raises DoesNotApply. Cost: a thousand inverses of at most eight modes at
    sixty flow times, about 0.1 s a stage.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.predictions.linear_modes import linear_modes
    >>> found = linear_modes(Experiment.named("linear"))
    >>> [(round(stage.loss, 6), stage.index) for stage in found.stages]
    [(0.58, 100), (0.08, 49), (0.0, 0)]

    Source: Saxe, McClelland & Ganguli (2014), eq 6; Zhang, Saxe & Latham
    (2026), Section 5.1.
    """
    moments = _conditions(experiment)
    width, scale = experiment.network.widths[0], experiment.initialization.scale
    q, s, rt = modes(moments.cross)
    c = variances(moments.features, rt)
    ends = s**2 / c  # of each mode's share of E|y|^2
    order = [int(k) for k in np.argsort(-s, kind="stable")[:width]]
    strengths = 0.5 * width * scale**2 * c[order] / s[order]
    ranges = (
        start_range(float(strengths.max()), RangeTolerances.now().start_jointly),
        step_range(experiment, float(s.max())),
    )
    demand_range(ranges)
    learned = _Modes(
        s=s[order],
        c=c[order],
        rates=rates(s[order], step_of(experiment)),
        ends=ends[order],
    )
    overlaps = learned.overlaps(strengths)
    groups = _groups(overlaps, len(order))
    _demand_apart(ends, order, groups)
    own = _own_factor(experiment, q[:, order], rt[order])
    drawn = _drawn_factors(len(order), width, scale, experiment.seed)
    factors = np.concatenate([own[None], drawn])
    saddles = linear_saddles(moments.features, moments.cross, moments.target, width)
    stages = [_stage(saddles, ends, ())]
    for first, last in groups:
        times = learned.half_times(factors, first, last)
        beside = [*overlaps[max(first - 1, 0) : first], *overlaps[last - 1 : last]]
        stage = _stage(
            saddles,
            ends,
            order[:last],
            jump=float(times[0]),
            spread=spread(times[1:]),
            found=overlap_range(float(max(beside, default=0.0))),
        )
        stages.append(stage)
    return Prediction(
        theory="linear modes",
        source="Saxe, McClelland & Ganguli 2014",
        limit=LIMIT,
        stages=tuple(stages),
        ranges=ranges,
    )


def _groups(overlaps: np.ndarray, count: int) -> list[tuple[int, int]]:
    """The modes that are one stage, as (first, behind the last): no plateau
    lies between those that overlap."""
    most = RangeTolerances.now().overlap[1]
    apart = [k + 1 for k in range(count - 1) if overlaps[k] <= most]
    return list(pairwise([0, *apart, count]))


def _demand_apart(
    ends: np.ndarray,
    order: list[int],
    groups: list[tuple[int, int]],
) -> None:
    """Demand that modes of one share of the loss are learned as one: between
    them is a continuum of saddles."""
    stage = {}
    for k, (first, last) in enumerate(groups):
        stage.update(dict.fromkeys(order[first:last], k))
    ranked = np.argsort(-ends, kind="stable")
    for one, other in pairwise(int(k) for k in ranked):
        same = ends[one] - ends[other] <= EQUAL * ends.max()
        demand(
            not same or stage.get(one) == stage.get(other),
            "two modes have the same share of the loss but are not learned as one, and "
            "so a continuum of saddles",
        )


@dataclass(frozen=True)
class _Modes:
    """The modes that are learned, in that order.

    s (r,): singular values of E[y x'].
    c (r,): input variances along them.
    rates (r,): at which they grow from small weights.
    ends (r,): their shares s^2/c of E|y|^2.
    """

    s: np.ndarray
    c: np.ndarray
    rates: np.ndarray
    ends: np.ndarray

    def overlaps(self, strengths: np.ndarray) -> np.ndarray:
        """How far mode k + 1 is, of its end, when mode k is learned: from
        u0/s at the start."""
        ratio = -self.rates[1:] / self.rates[:-1]
        return np.minimum(strengths[1:] * strengths[:-1] ** ratio, 1.0)

    def half_times(
        self,
        factors: np.ndarray,
        first: int,
        last: int,
    ) -> np.ndarray:
        """When the loss is half-way from the saddle without modes
        first..last-1 to that with them (M,).

        factors (M, r, r): Cholesky factors of M(0), one a draw.
        """
        begin, end = max(first - BEFORE, 0), min(last + AFTER, len(self.s))
        own = slice(begin, end)
        inverse = np.linalg.inv(factors[:, own, own])
        # M(0)^-1 of what is not learned yet.
        start = np.swapaxes(inverse, 1, 2) @ inverse
        joining, after = self.ends[first:last].sum(), self.ends[last:end].sum()
        level = 0.5 * float(joining + 2 * after)

        def above(times: np.ndarray) -> np.ndarray:
            return self._left(start, times, own) > level

        low = np.zeros(len(factors))
        high = np.full(len(factors), 1.0 / self.rates[own].min())
        while np.any(early := above(high)):
            high = np.where(early, 2 * high, high)
        for _ in range(ROUNDS):
            middle = 0.5 * (low + high)
            early = above(middle)
            low = np.where(early, middle, low)
            high = np.where(early, high, middle)
            if np.all(high - low <= NEARLY * high):
                break
        return 0.5 * (low + high)

    def _left(
        self,
        start: np.ndarray,
        times: np.ndarray,
        own: slice,
    ) -> np.ndarray:
        """Twice the loss that the modes leave, for every draw at its own time (M,)."""
        s, c = self.s[own], self.c[own]
        fade = np.exp(-times[:, None] * self.rates[own])
        begun = fade[:, :, None] * start * fade[:, None, :]
        filled = (c / s) * (1 - fade**2)
        inverse = begun + np.eye(len(s)) * filled[:, None]
        # Its entries are of very different sizes: it is scaled to a unit
        # diagonal before it is inverted.
        size = 1 / np.sqrt(np.einsum("mkk->mk", inverse))
        rows, columns = size[:, :, None], size[:, None, :]
        m = np.linalg.inv(inverse * rows * columns) * rows * columns
        explained = 2 * np.einsum("mkk,k->m", m, s)
        return self.ends[own].sum() - explained + np.einsum("mkl,l->m", m**2, c)


def _conditions(experiment: Experiment) -> Moments:
    network, start = experiment.network, experiment.initialization
    layer = network.layers[0]
    unit = layer.unit
    demand(
        len(network.layers) == 1 and not network.readout,
        f"the network has {len(network.layers)} layers, not one of units",
    )
    demand(
        unit.symmetry.linear and unit.linear_in_input,
        f"units are {unit.name}, not linear neurons",
    )
    demand(
        unit.mixed == 0 and not layer.residual,
        "the layer is residual or convolutional",
    )
    demand(
        start.kind == "isotropic",
        f"initial weights are {start.kind}, not isotropic",
    )
    flow_or_descent(experiment)
    data = experiment.task.data(experiment.seed)
    demand(data.loss is SQUARED, f"the loss is {data.loss.name}, not squared")
    demand(len(data.shape) == 1, f"inputs have shape {data.shape}, not vectors")
    moments = input_moments(network, data)
    demand(
        bool(np.any(moments.cross)),
        "nothing linear is to be learned: E[y x'] is zero",
    )
    return moments


def variances(
    covariance: Float[np.ndarray, "D D"],
    rt: Float[np.ndarray, "r D"],
) -> Float[np.ndarray, " r"]:
    """c_k of E[x x'] r_k = c_k r_k, the input variance along each mode.

    covariance (D, D): E[x x'].
    rt (r, D): the modes r_k, a row each, of length one.

    Raises DoesNotApply where the modes are no eigenvectors, to 1e-9 of the largest c.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.predictions.linear_modes import variances
    >>> variances(np.diag([3.0, 1.0, 2.0]), np.eye(3)[:2])
    array([3., 1.])
    """
    image = covariance @ rt.T
    c = np.sum(rt.T * image, axis=0)
    mixed = float(np.max(np.linalg.norm(image - rt.T * c, axis=0)) / np.max(c))
    demand(
        mixed <= ALIGNED,
        f"the input covariance mixes the modes: by {mixed:.2g} of the largest variance",
    )
    return c


def _own_factor(
    experiment: Experiment,
    q: np.ndarray,
    rt: np.ndarray,
) -> np.ndarray:
    """The Cholesky factor (r, r) of M(0) for the experiment's own initial
    weights, modes in the order of learning."""
    data = experiment.task.data(experiment.seed)
    state = experiment.initial_state()
    (params,) = unflatten(experiment.network, state, data.shape, data.outputs)
    u, v = np.asarray(params["u"]), np.asarray(params["v"])
    drive = (v @ q + u @ rt.T) / np.sqrt(2)
    return np.asarray(np.linalg.qr(drive, mode="r")).T / np.sqrt(2)


def _drawn_factors(
    modes: int,
    width: int,
    scale: float,
    seed: int,
) -> np.ndarray:
    """The same for DRAWS other ones (M, r, r): the roots of chi^2 of H - k
    degrees of freedom, and normal numbers below them."""
    rng = np.random.default_rng([seed, SEED])
    factors = np.tril(rng.standard_normal((DRAWS, modes, modes)), -1)
    k = np.arange(modes)
    factors[:, k, k] = np.sqrt(rng.chisquare(width - k, (DRAWS, modes)))
    return scale / np.sqrt(2) * factors


def _stage(
    saddles: LinearSaddles,
    ends: np.ndarray,
    modes: Sequence[int],
    *,
    jump: float | None = None,
    spread: Spread = NO_SPREAD,
    found: Range | None = None,
) -> PredictedStage:
    """The saddle at which the modes (by their own index) are learned."""
    # The saddles count modes by their share of the loss.
    ranks = np.argsort(np.argsort(-ends, kind="stable"))
    saddle = saddles.saddle([int(ranks[k]) for k in modes])
    mean, low, high = spread
    return PredictedStage(
        loss=saddle.loss,
        units=(len(modes),),
        jump=jump,
        mean=mean,
        low=low,
        high=high,
        index=saddle.index,
        range=found,
    )
