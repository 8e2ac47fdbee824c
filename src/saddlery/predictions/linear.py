"""Two-layer linear networks from small weights: which mode when, for one draw of the weights and for all of them.

Near zero mode k, with singular value s_k of E[y x'] and input variance c_k, is driven by a_i = (q_k.v_i + r_k.u_i)/sqrt(2)
of every unit, each growing as e^(s_k t), so that its strength in the map is u(t) = u0 e^(2 s_k t), u0 = 1/2 sum_i a_i^2,
and then u' = 2 u (s_k - c_k u). The coefficients a_i of a learned mode are a vector over units; what others have along it is
brought back by the learned mode, so that of the k-th to be learned only the part orthogonal to k - 1 vectors counts: with
N(0, e^2) weights sum_i a_i^2 = e^2 chi^2 of H - k + 1 degrees of freedom.
Source: Saxe, McClelland & Ganguli (2014), eq 6; Zhang, Saxe & Latham (2026), Section 5.1; the distribution of u0 is derived
here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2

from ..experiments import Experiment
from ..initializations.linear import modes
from ..networks import unflatten
from ..objectives import Moments, input_moments
from ..precision import in_float64
from ..theory import LinearSaddles, linear_saddles, mode_time
from ..theory.saddles import EQUAL
from .base import INTERVAL, PredictedStage, Prediction, Spread, demand, register
from .draws import flow_or_descent

ALIGNED = 1e-9  # relative: inputs whose covariance mixes the modes by more are not aligned with them
HALF = 1 - np.sqrt(0.5)  # of its end: the strength of a mode whose share of the loss has halved
DRAWS = 400  # quantiles of chi^2 over which times are averaged


@register("linear modes")
@in_float64
def linear_modes(experiment: Experiment) -> Prediction:
    """Modes of a two-layer linear network, in the order of their singular values. Raises DoesNotApply."""
    moments = _conditions(experiment)
    width, scale = experiment.network.widths[0], experiment.initialization.scale
    q, s, rt = modes(moments.cross)
    c = variances(moments.features, rt)
    ends = s**2 / c  # of each mode's share of E|y|^2
    order = [int(k) for k in np.argsort(-s, kind="stable")[:width]]
    closest = float(np.min(-np.diff(np.sort(ends)[::-1]), initial=np.inf))
    demand(closest > EQUAL * ends.max(), "two modes have the same share of the loss, and so a continuum of saddles")
    starts = _starts(experiment, q[:, order], rt[order])
    saddles = linear_saddles(moments.features, moments.cross, moments.target, width)
    stages = [_stage(saddles, ends, (), None, (None, None, None))]
    for count, k in enumerate(order):
        draws = (starts[count], *_draws(width - count, scale))
        times = [_time(float(s[k]), float(c[k]), float(u0)) for u0 in draws]
        stages.append(_stage(saddles, ends, order[: count + 1], times[0], _summary(np.array(times[1:]))))
    words = "neglects what modes do to each other while small; exact as the initial scale goes to zero"
    return Prediction("linear modes", "Saxe, McClelland & Ganguli 2014", words, tuple(stages))


def _conditions(experiment: Experiment) -> Moments:
    network, start = experiment.network, experiment.initialization
    layer = network.layers[0]
    demand(
        len(network.layers) == 1 and not network.readout,
        f"the network has {len(network.layers)} layers, not one of units",
    )
    demand(
        layer.unit.symmetry.linear and layer.unit.linear_in_input, f"units are {layer.unit.name}, not linear neurons"
    )
    demand(layer.unit.mixed == 0 and not layer.residual, "the layer is residual or convolutional")
    demand(start.kind == "isotropic", f"initial weights are {start.kind}, not isotropic")
    flow_or_descent(experiment)
    data = experiment.task.data(experiment.seed)
    demand(data.loss.quadratic, f"the loss is {data.loss.name}, not squared")
    demand(len(data.shape) == 1, f"inputs have shape {data.shape}, not vectors")
    moments = input_moments(network, data)
    demand(bool(np.any(moments.cross)), "nothing linear is to be learned: E[y x'] is zero")
    return moments


def variances(covariance: np.ndarray, rt: np.ndarray) -> np.ndarray:
    """c_k, if the modes r_k are eigenvectors of the input covariance."""
    image = covariance @ rt.T
    c = np.sum(rt.T * image, axis=0)
    mixed = float(np.max(np.linalg.norm(image - rt.T * c, axis=0)) / np.max(c))
    demand(mixed <= ALIGNED, f"the input covariance mixes the modes: by {mixed:.2g} of the largest variance")
    return c


def _starts(experiment: Experiment, q: np.ndarray, rt: np.ndarray) -> np.ndarray:
    """u0 of every mode, in the order of learning, for the experiment's own initial weights."""
    data = experiment.task.data(experiment.seed)
    (params,) = unflatten(experiment.network, experiment.initial_state(), data.shape, data.outputs)
    drive = (np.asarray(params["v"]) @ q + np.asarray(params["u"]) @ rt.T) / np.sqrt(2)
    return 0.5 * np.diag(np.linalg.qr(drive, mode="r")) ** 2


def _draws(free: int, scale: float) -> np.ndarray:
    """u0 at evenly spaced probabilities, for `free` units' worth of weights."""
    return 0.5 * scale**2 * chi2.ppf((np.arange(DRAWS) + 0.5) / DRAWS, free)


def _time(s: float, variance: float, u0: float) -> float:
    """When the mode has lost half of its share of the loss; 0 where it starts beyond."""
    half = HALF * s / variance
    return mode_time(half, s, u0, variance=variance) if 0 < u0 < half else 0.0


def _summary(times: np.ndarray) -> tuple[float, float, float]:
    low, high = np.quantile(times, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return float(times.mean()), float(low), float(high)


def _stage(
    saddles: LinearSaddles, ends: np.ndarray, modes: Sequence[int], jump: float | None, spread: Spread
) -> PredictedStage:
    """The saddle at which the modes (by their own index) are learned."""
    ranks = np.argsort(np.argsort(-ends, kind="stable"))  # the saddles count modes by their share of the loss
    saddle = saddles.saddle([int(ranks[k]) for k in modes])
    mean, low, high = spread
    return PredictedStage(saddle.loss, (len(modes),), jump, mean, low, high, saddle.index)
