"""The kind of a fixed point: its spectrum, its silent units, and the way down from it, if there is
one.

Second order first, then (above the lower bound of the loss) one silent unit, then all flat
directions together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..basis.precision import in_float64
from ..basis.values import Value
from ..networks import Objective, hessian
from ..networks.rounding import Rounded, RoundingTolerances, curvatures
from ..solvers import Descent, Spectrum, dense_spectrum, lanczos_spectrum
from ..solvers.spectra import ROUNDING, in_plain_units
from ..symmetry import Utility, best_silent_unit, silent_direction, silent_units
from ..symmetry.reduction import sides
from ..symmetry.utility import utility_rounded
from . import fixed_points, kinks
from .deep_linear import LeastLoss, least_loss
from .fixed_points import FixedPointTolerances, Found
from .kinks import Kinks, kinks_at
from .orders import along_chain, flat_directions, look_for_descent


def excess(objective: Objective, state: np.ndarray) -> float:
    """How far the loss is above its lower bound."""
    return float(objective.loss(state)) - objective.constant


@in_float64
def spectrum_at(
    objective: Objective, state: np.ndarray, *, seed: int = 0, gradient_norm: float = 0.0
) -> Spectrum:
    """The Hessian's spectrum at a state (P,): dense up to 2,000 parameters, its two ends by Lanczos
    beyond.

    Signs are counted in natural units of the weights, S H S with S = diag(`Objective.units_at`),
    where they do not depend on the units of inputs and targets; eigenvalues are those of H itself.
    The state is a fixed point only up to its gradient g. Where the Hessian is flat, an error d of
    the state leaves g ~ d^2 and eigenvalues ~ d, so eigenvalues up to sqrt(|g| max|l| / |theta|)
    cannot be told from zero, |theta| at least the task's natural weights; nor can those that are
    rounding beside the task's natural curvature, or that the rounding of the data explains (see
    `rounding`).
    gradient_norm: zero for a state that is exact. Where the state lies on kinks, silent units of a
    kind with kinks included, the spectrum is that of the Hessian on the directions that cross none:
    beyond, there is no Hessian. Cost: see `dense_spectrum`, twice where units differ.
    """
    units, scales = objective.units_at(state), objective.standard
    on = kinks_at(objective, state, FixedPointTolerances.now().gradient * objective.scales.gradient)
    mine = None if on is None else on.scaled(units)
    size = max(scales.weights, float(np.linalg.norm(state / units)))
    slope = (
        float(np.linalg.norm(units * np.asarray(objective.gradient(state))))
        if gradient_norm > 0
        else 0.0
    )
    rounding = ROUNDING * np.finfo(float).eps * scales.curvature
    blur = lambda largest: max(rounding, float(np.sqrt(slope * largest / size)))
    if objective.size <= fixed_points.DENSE:
        matrix = hessian(objective, state)
        moved = lambda rows: curvatures(objective, state, units * kinks.spread(rows, mine))
        bounds = lambda rows: np.array([r.bound for r in moved(rows)])
        scaled = kinks.restricted(units[:, None] * matrix * units, mine)
        natural = kinks.lifted(dense_spectrum(scaled, blur=blur, rounding=bounds), mine)
        plain = lambda: kinks.lifted(dense_spectrum(kinks.restricted(matrix, on)), on)
        return in_plain_units(natural, units, plain, matrix)
    product = lambda d: np.asarray(objective.hessian_vector(state, d))
    natural = _by_lanczos(
        lambda d: units * product(units * d), objective.size, mine, blur=blur, seed=seed
    )
    return in_plain_units(
        natural, units, lambda: _by_lanczos(product, objective.size, on, seed=seed), product
    )


def _by_lanczos(product: Callable, size: int, on: Kinks | None, **options: Any) -> Spectrum:
    """The two ends of a spectrum on the directions that cross no kink."""
    if on is None:
        return lanczos_spectrum(product, size, **options)
    within = lambda d: on.smooth.T @ product(on.smooth @ d)
    return kinks.lifted(lanczos_spectrum(within, on.dimension, **options), on)


def utilities_at(objective: Objective, state: np.ndarray, seed: int) -> list[Utility]:
    """The best silent unit of every layer that has one."""
    layers = enumerate(objective.network.layers)
    able = [
        k
        for k, layer in layers
        if layer.unit.symmetry.degree and silent_units(objective, state, k).any()
    ]
    return [best_silent_unit(objective, state, k, seed=seed) for k in able]


@dataclass(frozen=True, eq=False)
class Escape(Value):
    """The kind of fixed point and the way down from it, if there is one."""

    verdict: str
    reason: str
    order: int | None = None
    rate: float | None = None
    direction: np.ndarray | None = None
    utility: Utility | None = None


def escape_from(
    objective: Objective,
    found: Found,
    spectrum: Spectrum,
    utilities: list[Utility],
    on: Kinks | None,
    seed: int,
) -> Escape:
    """The kind of fixed point, by the clearest evidence there is. on: the kinks that it lies on."""
    if on is not None and not on.decided and not at_lower_bound(objective, found.state):
        words = "no one-sided slope was found to fall, which is no proof here"
        return Escape(
            "undecided", f"on kinks whose first order is not decided: {words} ({on.words()})"
        )
    escape = _escape(objective, found, spectrum, utilities, seed, on)
    return (
        escape
        if on is None
        else replace(escape, reason=escape.reason + _on_kinks(on, objective.size))
    )


def _on_kinks(on: Kinks, size: int) -> str:
    """What the Hessian is one of, and what holds the state on kinks, in words."""
    words = (
        f"; index and zero modes are those of the {on.dimension} of {size} "
        "dimensions that cross no kink"
    )
    return words + (f"; it rests on a kink: {on.words()}" if on.live else "")


def _escape(
    objective: Objective,
    found: Found,
    spectrum: Spectrum,
    utilities: list[Utility],
    seed: int,
    on: Kinks | None,
) -> Escape:
    state, lowest = found.state, float(spectrum.eigenvalues[0])
    negative = lowest < -spectrum.tolerance if spectrum.index is None else spectrum.index > 0
    downwards = spectrum.lowest_vector
    if (
        on is not None and on.below
    ):  # what is taken at the state passes through kinks above, so that it is looked at
        downwards = (
            _side_that_falls(objective, state, downwards, -0.5 * lowest) if negative else downwards
        )
        negative = negative and downwards is not None
        utilities = [u for u in utilities if _falls_by(objective, state, u)]
    faster = [
        u for u in utilities if on is not None and u.rate is not None and u.rate > max(-lowest, 0.0)
    ]
    if negative and not faster:
        count = "some" if spectrum.index is None else spectrum.index
        reason = (
            f"{count} negative Hessian eigenvalues, the lowest {lowest:.6g} (zero means "
            f"within {spectrum.tolerance:.1e})"
        )
        return Escape("strict saddle", reason, 2, -lowest, downwards)
    flat = f"no Hessian eigenvalue below {-spectrum.tolerance:.1e}"
    judged = [(u, _utility_above_zero(objective, state, u)) for u in utilities]
    helpful = [u for u, number in judged if number.decided and number.value > 0]
    if helpful:
        slower = (
            f"{spectrum.index} negative Hessian eigenvalues, the lowest "
            f"{lowest:.6g}, and faster than these"
        )
        return _by_silent_unit(
            objective, state, helpful, slower if negative else "no negative Hessian eigenvalue, but"
        )
    chain = along_chain(objective, state)
    if chain is not None:
        return _by_higher_order(objective, chain)
    if at_lower_bound(objective, state):
        return Escape("minimum", f"{flat}, and the loss is at its lower bound")
    least = least_loss(objective)
    if least is not None and above(objective, state, least.loss).zero:
        return Escape(
            "minimum", f"{flat}, and the loss is the least of any linear map of rank {least.rank}"
        )
    dense = objective.size <= fixed_points.DENSE
    across = kinks.look_across(objective, state, on, dense=dense, seed=seed)
    if across.fall is not None:
        words = (
            f"the loss falls across kinks at second order, at curvature {across.fall.curvature:.6g}"
        )
        return Escape("strict saddle", words, 2, across.fall.rate, across.fall.direction)
    again = lambda o, state: spectrum_at(
        o, state, seed=seed, gradient_norm=found.refinement.gradient_norm
    )
    looked = look_for_descent(
        objective, found, flat_directions(objective, found, spectrum, again), seed
    )
    if looked.descent is not None:
        return _by_higher_order(objective, looked.descent)
    if not across.proven:
        words = (
            "no descent of second order was found across kinks that cost nothing at first "
            "order, which proves nothing"
        )
        return Escape("undecided", f"{flat}; {words}; {looked.words}")
    if least is not None:
        return _above_the_least(objective, state, least, f"{flat}; {looked.words}")
    if looked.unsettled is not None:
        return Escape("undecided", f"{flat}; {looked.words}")
    doubtful = [
        number
        for _, number in judged
        if number.value > 0 and not number.zero and not number.decided
    ]
    doubtful += [looked.doubt] if looked.doubt is not None else []
    if doubtful:
        words = (
            "undecided to rounding: the correlation of new units with what is "
            f"left is {doubtful[0]}"
        )
        return Escape("undecided", f"{flat}; {words}; {looked.words}")
    silent = (
        f"; silent units have utility {max(u.value for u in utilities):.1e}, zero to rounding"
        if utilities
        else ""
    )
    return Escape("minimum", f"{flat}{silent}; {looked.words}")


def _side_that_falls(
    objective: Objective, state: np.ndarray, direction: np.ndarray, fall: float
) -> np.ndarray | None:
    """The direction, forth or back, along which the loss falls at second order as it should; None
    where it does not."""
    sides = (direction, -direction)
    return next((side for side in sides if kinks.lowers(objective, state, side, fall, 2)), None)


def _falls_by(objective: Objective, state: np.ndarray, utility: Utility) -> bool:
    """Whether a silent unit lowers the loss by its utility."""
    direction = silent_direction(objective, state, utility)
    return utility.value > 0 and kinks.lowers(
        objective, state, direction, utility.value, utility.order
    )


def _by_silent_unit(
    objective: Objective, state: np.ndarray, helpful: list[Utility], beside: str
) -> Escape:
    """The silent unit of lowest order, of these the best."""
    best = min(helpful, key=lambda u: (u.order, -u.value))
    words = (
        f"{beside} a silent unit of utility {best.value:.6g} > 0 lowers the "
        f"loss at order {best.order}"
    )
    verdict = "strict saddle" if best.order == 2 else "degenerate saddle"
    return Escape(
        verdict, words, best.order, best.rate, silent_direction(objective, state, best), best
    )


def _by_higher_order(objective: Objective, descent: Descent) -> Escape:
    words = (
        "no negative Hessian eigenvalue and no single silent unit of the lowest order, but the"
        f" loss falls {descent.how}"
        f" at order {descent.order} (measured {descent.measured_order:.2f}, by {descent.fall:.1e}"
        " at radius"
        f" {descent.radius:.2g} in natural units)"
    )
    direction = descent.direction if len(descent.direction) == objective.size else None
    return Escape("degenerate saddle", words, descent.order, None, direction)


def at_lower_bound(objective: Objective, state: np.ndarray) -> bool:
    """Whether the loss is its lower bound, to 1e-12 of what there was to learn or to the rounding
    of the loss."""
    return above(objective, state, objective.constant).zero


def above(objective: Objective, state: np.ndarray, bound: float) -> Rounded:
    """How far the loss is above a bound, and what explains that it is: 1e-12 of what there was to
    learn, or rounding."""
    loss = float(objective.loss(state))
    terms = 2 * loss + objective.target_scale**2  # sums of |y|^2 and |f|^2, which cancel in losses
    explained = max(
        FixedPointTolerances.now().gradient * objective.scales.loss, np.finfo(float).eps * terms
    )
    return Rounded(loss - bound, explained / np.finfo(float).eps)


def _above_the_least(
    objective: Objective, state: np.ndarray, least: LeastLoss, words: str
) -> Escape:
    """The verdict on a deep linear network above its least loss, where no minimum is, whatever the
    searches found."""
    gap = above(objective, state, least.loss)
    if not gap.decided:
        return Escape(
            "undecided",
            (
                f"{words}; undecided to rounding: the loss is above the least of "
                f"any linear map by {gap}"
            ),
        )
    theorem = (
        f"the loss is {gap.value:.3g} above the least of any linear map of rank {least.rank}, and"
        " deep linear networks have"
        " no other minima (Kawaguchi 2016, Zhang 2019)"
    )
    return Escape("degenerate saddle", f"{words}; yet {theorem}")


def _utility_above_zero(objective: Objective, state: np.ndarray, utility: Utility) -> Rounded:
    """A utility with what may explain it: rounding, or the error of the state, a gradient of 1e-12
    of the task's in natural units and, where something has been learned, 1e-9 of the utility where
    nothing was."""
    if not state.any():
        return utility_rounded(objective, state, utility)
    u, v = sides(objective.network, objective.params(objective.units_at(state)), utility.layer)
    stretch = float(np.linalg.norm(utility.u / u[0])) ** (utility.order - 1) * float(
        np.linalg.norm(utility.v / v[0])
    )
    reference = best_silent_unit(objective, np.zeros(objective.size), utility.layer)
    error = max(
        FixedPointTolerances.now().gradient * objective.standard.gradient * stretch,
        1e-9 * reference.value,
    )
    least = Rounded(utility.value, error / (RoundingTolerances.now().margin * np.finfo(float).eps))
    if not least.decided:
        return least
    return Rounded(utility.value, max(least.sway, utility_rounded(objective, state, utility).sway))
