"""Linear networks whose whole path is known in closed form: every flow time,
no small parameter.

(a) Two weight matrices, inputs that are white up to a common variance c, and
    W2'W2 - W1W1' = lambda I at the start, hence always: `balanced_path`, for a start in
    any directions and of any size (the weights sqrt(c) W obey the flow of c = 1).
(b) Any number L of them from an aligned start, where the modes q_k, r_k of E[y x'] have
    an input variance c_k of their own, E[x x'] r_k = c_k r_k: modes never meet,
    W_L ... W_1 = sum_k u_k(t) q_k r_k', with u_k by `mode_strength`.

The plateaus are those of this loss curve, found as on a run; each is named by
the modes whose strength is nearer to its end s_k/c_k than to zero, and has the
loss of the saddle where these are learned,

    1/2 (E|y|^2 - sum_k s_k^2/c_k).

No closed form is known for inputs whose covariance mixes the modes, nor for
deep networks from random weights. For the first, from small weights, take
"directions one by one", which integrates the narrow networks that are learned;
for the second train the network.

Source: Saxe, McClelland & Ganguli (2014), Section 1.2; Braun et al. (2022),
Theorem 3.1; Domine et al. (2025), Theorem 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import root_scalar

from ..basis.checks import InputError
from ..basis.precision import in_float64
from ..experiments import Experiment
from ..initializations.linear_networks import factors, modes, why_not_linear
from ..networks import Moments, input_moments, unflatten
from ..networks.losses import SQUARED
from ..plateaus import find_plateaus
from ..theory import LinearSaddles, balanced_path, linear_saddles, mode_strength
from ..theory.saddles import EQUAL, ROUNDING, pseudo_inverse
from .base import PredictedStage, Prediction, demand, register
from .draws import flow_or_descent
from .linear_modes import variances
from .ranges import RangeTolerances, demand_range, step_range

Times = Float[np.ndarray, " T"]
Products = Callable[[Times], Float[np.ndarray, "T O D"]]
# W2'W2 - W1W1' may depart from lambda I, and weights from aligned ones, by this share
# of the weights' size.
BALANCED = 1e-9
WHITE = 1e-9  # E[x x'] may depart from c I by this share of the mean input variance
SETTLED = 1e-9  # the curve ends where less than this share of the loss's whole fall is to come
SEEN = 1e-12  # less than this share of the first loss cannot be told from rounding
# Neighbours on the curve differ by no more in arsinh of a mode's strength over its end,
# and in nats of the loss still to be lost.
STEP = 0.03
SHORT = 1e-7  # neighbours nearer than this share of the flow time have no other put between them
# A part along the modes below this share of the start knows less than nine digits of
# its path.
DECIDED = 1e-7
DOUBLINGS = 300  # the end is looked for at flow times 2^k / s_1, k below this
LEAST_START = 1e-80  # a mode that starts stronger has grown by then, whatever the depth
CHUNK = 32  # times at which the loss is computed at once
ROOT = 1e-14  # relative accuracy of the flow time at which the loss falls through a level


@register("exact linear path")
@in_float64
def exact_linear_path(experiment: Experiment) -> Prediction:
    """The whole path of a linear network from balanced or aligned
    weights, in closed form.

    Raises DoesNotApply. Cost: the map at some hundreds of flow times, about 0.1 s.

    Example
    -------
    >>> from saddlery import Experiment, Initialization
    >>> from saddlery.predictions.exact import exact_linear_path
    >>> start = Initialization(kind="aligned", scale=1e-3)
    >>> found = exact_linear_path(Experiment.named("linear").replace(initialization=start))
    >>> [(round(stage.loss, 6), stage.units) for stage in found.stages]
    [(0.58, (0,)), (0.08, (1,)), (0.0, (2,))]
    >>> time, loss = found.curve
    >>> round(float(loss[0]), 6)
    0.579999

    Source: Saxe, McClelland & Ganguli (2014), Section 1.2; Braun et al.
    (2022), Theorem 3.1; Domine et al. (2025), Theorem 4.3.
    """
    path = _path(experiment)
    steps = step_range(experiment, float(path.s[0]), RangeTolerances.now().sharp)
    demand_range([steps])
    curve = _curve(path, experiment.stop.flow_time or 0.0)
    stages = tuple(_stages(path, curve, len(experiment.network.layers)))
    late = 0.5 * steps.value  # s over ln(1 + eta s) / eta, less one
    limit = "exact"
    if late:
        behind = f"late by up to {100 * late:.2g}%"
        limit = f"exact for the flow, behind which descent is {behind}"
    return Prediction(
        theory="exact linear path",
        source="Saxe et al. 2014; Braun et al. 2022; Domine et al. 2025",
        limit=limit,
        stages=stages,
        curve=(curve.time, curve.loss),
        ranges=(steps,),
        error=late,
    )


@dataclass(frozen=True, eq=False)
class _Path:
    """The map of a network in time, beside what it learns.

    product: W at times.
    moments: of the data.
    q (O, r), s (r,), rt (r, D): the modes that can be learned.
    variances (r,): c_k.
    groups: modes that are learned as one where their singular values are equal.
    saddles: of two balanced weight matrices, where their index is known.
    """

    product: Products
    moments: Moments
    q: np.ndarray
    s: np.ndarray
    rt: np.ndarray
    variances: np.ndarray
    groups: list[list[int]]
    saddles: LinearSaddles | None

    def at(self, times: Times) -> tuple[np.ndarray, np.ndarray]:
        """The loss (T,) and the strength of every mode relative to its end (T, r)."""
        s, c = self.moments.features, self.moments.cross
        best = c @ pseudo_inverse(s)
        irreducible = self._rest(float(np.sum(best * c)))
        losses, strengths = [], []
        for part in np.array_split(times, -(-len(times) // CHUNK)):
            w = self.product(part)
            off = w - best
            above = np.einsum("tod,de,toe->t", off, s, off, optimize=True)
            losses.append(irreducible + 0.5 * above)
            along = np.einsum("ok,tod,kd->tk", self.q, w, self.rt, optimize=True)
            strengths.append(along * self.variances / self.s)
        return np.concatenate(losses), np.concatenate(strengths)

    def loss(self, time: float) -> float:
        return float(self.at(np.array([time]))[0][0])

    def learned(self, time: float) -> list[int]:
        """The modes nearer to their end than to zero."""
        w = self.product(np.array([time]))[0]
        block = self.q.T @ w @ self.rt.T * (self.variances / self.s)
        found = []
        for group in self.groups:
            part = block[np.ix_(group, group)]
            shares = np.linalg.eigvalsh(0.5 * (part + part.T))
            found += group[: int(np.sum(shares > 0.5))]
        return found

    def rest(self, learned: list[int]) -> float:
        """The loss of the saddle where these modes are learned."""
        explained = self.s[learned] ** 2 / self.variances[learned]
        return self._rest(float(np.sum(explained)))

    def _rest(self, explained: float) -> float:
        left = self.moments.target - explained
        return 0.5 * left if abs(left) > ROUNDING * self.moments.target else 0.0

    def index(self, learned: list[int]) -> int | None:
        """Of that saddle; None where it is not known, or part of a multiple
        mode and so of a continuum."""
        if self.saddles is None:
            return None
        overlaps = (self.saddles.vectors.T @ self.q[:, learned]) ** 2
        inside = np.sum(overlaps, axis=1) > 0.5
        try:
            return self.saddles.saddle(np.flatnonzero(inside).tolist()).index
        except InputError:
            return None


# ------------------------------------------------------------------ the curve and its stages
class _Curve(NamedTuple):
    """time (T,): flow times; loss (T,): exact."""

    time: np.ndarray
    loss: np.ndarray


def _curve(path: _Path, reach: float) -> _Curve:
    """From the start to where nothing is to come, and at least to `reach`."""
    doublings = 2.0 ** np.arange(DOUBLINGS)
    time = np.concatenate([[0.0], doublings / path.s[0]])
    loss, strengths = path.at(time)
    final = float(loss[-1])
    little = max(SETTLED * (float(loss[0]) - final), SEEN * float(loss[0]))
    count = 2 + int(np.flatnonzero(loss > final + little).max(initial=0))
    time, loss, strengths = time[:count], loss[:count], strengths[:count]
    if reach > time[-1]:
        last_loss, last_strengths = path.at(np.array([reach]))
        time = np.append(time, reach)
        loss = np.append(loss, last_loss)
        strengths = np.vstack([strengths, last_strengths])
    while True:
        to_come = np.log(np.maximum(loss - final, little))
        grown = np.abs(np.diff(np.arcsinh(strengths), axis=0)).max(axis=1)
        step = np.maximum(np.abs(np.diff(to_come)), grown)
        apart = np.diff(time) > SHORT * time[1:]
        coarse = np.flatnonzero((step > STEP) & apart)
        if not len(coarse):
            return _Curve(time, loss)
        between = 0.5 * (time[coarse] + time[coarse + 1])
        new_loss, new_strengths = path.at(between)
        time = np.insert(time, coarse + 1, between)
        loss = np.insert(loss, coarse + 1, new_loss)
        strengths = np.insert(strengths, coarse + 1, new_strengths, axis=0)


def _stages(
    path: _Path,
    curve: _Curve,
    layers: int,
) -> Iterator[PredictedStage]:
    """One for each saddle at which the curve rests."""
    before = None
    for plateau in find_plateaus(curve.time, curve.loss):
        learned = path.learned(float(curve.time[plateau.quietest]))
        rest = path.rest(learned)
        jump = None
        if before is not None:
            if rest >= before:
                continue
            jump = _crossing(path, curve, 0.5 * (before + rest))
        units = (len(learned),) * layers
        yield PredictedStage(rest, units, jump, index=path.index(learned))
        before = rest


def _crossing(path: _Path, curve: _Curve, level: float) -> float | None:
    """When the exact loss falls through a level; None if it starts
    below or never does."""
    above = int(np.sum(curve.loss > level))
    if not 0 < above < len(curve.loss):
        return None
    bracket = (float(curve.time[above - 1]), float(curve.time[above]))
    height = lambda time: path.loss(time) - level
    # Relative alone: flow times may be of any size.
    return float(root_scalar(height, bracket=bracket, xtol=1e-300, rtol=ROOT).root)


# ------------------------------------------------------------------ the conditions
def _path(experiment: Experiment) -> _Path:
    """By (a) or by (b). Raises DoesNotApply."""
    network = experiment.network
    reason = why_not_linear(network)
    demand(not reason, reason)
    flow_or_descent(experiment)
    data = experiment.task.data(experiment.seed)
    demand(data.loss is SQUARED, f"the loss is {data.loss.name}, not squared")
    moments = input_moments(network, data)
    demand(
        bool(np.any(moments.cross)),
        "nothing linear is to be learned: E[y x'] is zero",
    )
    start = experiment.initial_state()
    params = unflatten(network, start, data.shape, data.outputs)
    weights = factors(network, params)
    if len(weights) == 2 and experiment.initialization.kind != "aligned":
        return _balanced(moments, *weights)
    return _aligned(moments, weights)


def _balanced(moments: Moments, first: np.ndarray, second: np.ndarray) -> _Path:
    """(a), from W1 (H, D) and W2 (O, H)."""
    q, s, rt = modes(moments.cross)
    variance = float(np.mean(np.diag(moments.features)))
    covariance = moments.features / variance
    departure = float(np.abs(covariance - np.eye(len(covariance))).max())
    demand(
        departure <= WHITE,
        f"inputs are not white: E[x x'] departs by {departure:.2g} of the mean variance from a"
        " multiple of the identity;"
        ' start from aligned weights, or from isotropic ones for "directions one by one"',
    )
    imbalance, departure = _imbalance(first, second)
    demand(
        departure <= BALANCED,
        f"weights are not balanced: W2'W2 - W1W1' departs by {departure:.2g} of their size from"
        " lambda I;"
        " start from lambda_balanced or aligned weights",
    )
    growing = _growing(q, s, rt, variance=variance, first=first, second=second)
    values = np.linalg.svd(growing, compute_uv=False)
    undecided = float(values[-1] / values[0])
    demand(
        undecided > DECIDED,
        f"rounding decides when the last mode is learned, if ever: the start has {undecided:.1g}"
        " of its size along it (with as"
        " many inputs as outputs and no imbalance det W2W1 keeps its sign); take another seed or"
        " aligned weights",
    )
    units = _spanned(np.hstack([first, second.T]))
    start = np.sqrt(variance) * units.T @ first, np.sqrt(variance) * second @ units
    inputs = first.shape[1]

    def product(times: Times) -> np.ndarray:
        whole = balanced_path(times, *start, moments.cross)
        return whole[:, inputs:, :inputs] / variance

    is_balanced = abs(imbalance) <= BALANCED
    return _Path(
        product=product,
        moments=moments,
        q=q,
        s=s,
        rt=rt,
        variances=np.full(len(s), variance),
        groups=_equal(s),
        saddles=_saddles(moments, len(first)) if is_balanced else None,
    )


def _equal(s: np.ndarray) -> list[list[int]]:
    """The modes (r,) of equal singular values together."""
    falls = -np.diff(s) > EQUAL * s[0]
    group = np.cumsum(np.append(0, falls))
    return [np.flatnonzero(group == k).tolist() for k in range(group[-1] + 1)]


def _growing(
    q: np.ndarray,
    s: np.ndarray,
    rt: np.ndarray,
    *,
    variance: float,
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    """The part of the start along the directions that grow, of every
    mode and unit (r, H).

    Mode k grows at f = sqrt(lambda^2/4 + s^2) along [s r_k; (f + lambda/2) q_k]
    of [W1'; W2], with lambda of sqrt(c) W. Of the singular values the smallest
    says how well the last mode is known, for as many modes as there are units.
    """
    differences = np.sum(second**2, axis=0) - np.sum(first**2, axis=1)
    imbalance = variance * float(np.mean(differences))
    ends = np.sqrt(0.25 * imbalance**2 + s**2) + 0.5 * imbalance
    along = s[:, None] * (rt @ first.T) + ends[:, None] * (q.T @ second)
    return along / np.hypot(s, ends)[:, None]


def _spanned(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis (H, k) of what the two sides of the units span, to
    rounding: W2 W1 sees no more of them."""
    left, s, _ = np.linalg.svd(rows, full_matrices=False)
    rounding = max(rows.shape) * np.finfo(float).eps * s[0]
    return left[:, s > rounding]


def _imbalance(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """lambda, and what W2'W2 - W1W1' departs from lambda I, both relative to
    the weights' size."""
    size = max(float(np.linalg.norm(first)), float(np.linalg.norm(second))) ** 2
    difference = second.T @ second - first @ first.T
    imbalance = float(np.mean(np.diag(difference)))
    rest = difference - imbalance * np.eye(len(difference))
    return imbalance / size, float(np.linalg.norm(rest)) / size


def _aligned(moments: Moments, weights: list[np.ndarray]) -> _Path:
    """(b), from W_1 to W_L."""
    layers, (q, s, rt) = len(weights), modes(moments.cross)
    amount, departure = _alignment(weights, q, rt)
    demand(
        departure <= BALANCED,
        f"weights depart by {departure:.2g} of their size from aligned and balanced modes, and"
        f" for {layers} weight matrices"
        " no closed form is known from others; start from aligned weights or train the network",
    )
    begun = np.flatnonzero(amount)
    q, s, rt, start = q[:, begun], s[begun], rt[begun], amount[begun] ** layers
    c = variances(moments.features, rt)
    for k, (u, end) in enumerate(zip(start, s / c, strict=True)):
        # Two layers are known from above, too.
        inside = u > LEAST_START and (layers == 2 or u < end)
        bounds = f"{LEAST_START:g} and its end {end:.3g}"
        demand(
            inside,
            f"mode {k} starts at strength {u:.3g}, not between {bounds}",
        )

    def product(times: Times) -> np.ndarray:
        strengths = []
        for mode, begin, variance in zip(s, start, c, strict=True):
            u = mode_strength(
                times,
                float(mode),
                float(begin),
                layers=layers,
                variance=float(variance),
            )
            strengths.append(u)
        return np.einsum("kt,ok,kd->tod", np.array(strengths), q, rt, optimize=True)

    return _Path(
        product=product,
        moments=moments,
        q=q,
        s=s,
        rt=rt,
        variances=c,
        groups=[[k] for k in range(len(s))],
        saddles=_saddles(moments, len(weights[0])) if layers == 2 else None,
    )


def _alignment(
    weights: list[np.ndarray],
    q: np.ndarray,
    rt: np.ndarray,
) -> tuple[np.ndarray, float]:
    """The weight a of every mode (r,), 0 where there is none, and what the
    weights depart from aligned and balanced ones.

    Each mode is followed through the layers, b_l = W_l b_(l-1) / a_l from
    b_0 = r_k on; aligned weights are sum_k a b_l b_(l-1)' with b_L = q_k and
    one weight a for all layers.
    """
    amounts, images = [], [rt.T]
    for w in weights:
        image = w @ images[-1]
        size = np.linalg.norm(image, axis=0)
        amounts.append(size)
        images.append(image / np.where(size > 0, size, 1.0))
    images[-1] = q
    begun = np.min(amounts, axis=0) > BALANCED * np.max(amounts)
    amount = np.where(begun, np.mean(amounts, axis=0), 0.0)
    departures = []
    for w, (before, after) in zip(weights, pairwise(images), strict=True):
        ideal = (after * amount) @ before.T
        departures.append(np.linalg.norm(w - ideal) / np.linalg.norm(w))
    return amount, float(np.max(departures))


def _saddles(moments: Moments, width: int) -> LinearSaddles:
    return linear_saddles(moments.features, moments.cross, moments.target, width)
