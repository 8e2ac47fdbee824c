"""What the mechanisms of growth share: their conditions, the draws, and the
spread over them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ..experiments import Experiment
from ..networks import Objective
from ..networks.network import places_of_units
from ..saddles.narrow_networks import Sides
from .base import INTERVAL, Spread, demand
from .ranges import shift

DRAWS = 1000  # draws of the initial weights that a spread is over
FEWEST = 40  # a spread is stated where so many of them are left
INDEPENDENT = ("isotropic", "balanced")  # kinds of initial weights that draw unit by unit
SEED = 1_000_003  # step between their seeds, so large that they are other ones than a user's
LEARNED = 1e-7  # below this share of the first correlation nothing is left to learn


def one_layer_from_small_weights(experiment: Experiment) -> None:
    """Demand a single sum of units, small random weights, and gradient flow or
    full-batch descent.

    Raises DoesNotApply, with the condition that fails.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.predictions.draws import one_layer_from_small_weights
    >>> from saddlery.rules import Adam
    >>> one_layer_from_small_weights(Experiment.named("linear").replace(rule=Adam(0.01)))
    Traceback (most recent call last):
    saddlery.predictions.ranges.DoesNotApply: the rule is adam, not gradient flow or full
    descent
    """
    network, start = experiment.network, experiment.initialization
    first = network.layers[0]
    one_layer = len(network.layers) == 1 and not network.readout
    demand(
        one_layer and not first.residual,
        "the network is deep, residual or has a read-out, not one sum of units",
    )
    demand(
        start.kind in INDEPENDENT,
        f"initial weights are {start.kind}, not small and independent",
    )
    flow_or_descent(experiment)


def flow_or_descent(experiment: Experiment) -> None:
    """Demand gradient flow or full-batch descent. Raises DoesNotApply."""
    rule = experiment.rule
    demand(
        rule.kind in ("flow", "descent") and not rule.batch,
        f"the rule is {rule.kind}, not gradient flow or full descent",
    )


def initial_sides(
    experiment: Experiment,
    objective: Objective,
    seeds: list[int],
) -> Sides:
    """The units of several draws of initial weights on the same data.

    seeds: of M draws.

    Returns u (M, H, U), incoming weights, and v (M, H, V), outgoing ones.

    Example
    -------
    >>> from saddlery import Experiment
    >>> from saddlery.predictions.draws import initial_sides
    >>> linear = Experiment.named("linear")
    >>> u, v = initial_sides(linear, linear.objective(), [0, 1, 2])
    >>> u.shape, v.shape
    ((3, 50, 2), (3, 50, 2))
    """
    f, network = objective.function, objective.network
    states = experiment.initialization.draws(network, f.shape, f.outputs, seeds)
    (u, v), *_ = places_of_units(network, f.shape, f.outputs)
    incoming = states[:, u.numbers].reshape(-1, *u.shape)
    outgoing = states[:, v.numbers].reshape(-1, *v.shape)
    return incoming, outgoing


def other_seeds(experiment: Experiment) -> list[int]:
    """Those of the draws that a spread is over, without the experiment's own."""
    return [experiment.seed + SEED * (k + 1) for k in range(DRAWS)]


def spread(times: Float[np.ndarray, " M"]) -> Spread:
    """Mean and nominal 90% interval of jump times over draws; nothing
    where too few are left.

    times (M,): flow times, one a draw.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.predictions.draws import spread
    >>> mean, low, high = spread(np.linspace(0.0, 100.0, 101))
    >>> round(mean, 6), round(low, 6), round(high, 6)
    (50.0, 5.0, 95.0)
    >>> spread(np.linspace(0.0, 100.0, 11))
    (None, None, None)
    """
    if len(times) < FEWEST:
        return None, None, None
    ends = [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2]
    low, high = np.quantile(times, ends)
    return float(times.mean()), float(low), float(high)


def widened(
    found: Spread,
    rate: float,
    *,
    early: float = 0.0,
    late: float = 0.0,
) -> Spread:
    """The interval where neighbours move a jump.

    rate: at which what jumps has grown, 1/flow time.
    early, late: the factors, less one, up to which the strengths behind the
        jump are known; it is earlier or later by between half of what they
        make and all of it.

    Example
    -------
    >>> from saddlery.predictions.draws import widened
    >>> mean, low, high = widened((7.5, 7.3, 7.7), 1.0, late=0.1)
    >>> mean, round(low, 3), round(high, 3)
    (7.5, 7.324, 7.748)
    """
    mean, low, high = found
    if low is None or high is None:
        return found
    sooner, later = shift(early, rate), shift(late, rate)
    return mean, low - sooner + 0.5 * later, high + later - 0.5 * sooner
