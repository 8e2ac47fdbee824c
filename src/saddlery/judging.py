"""The kind of a fixed point: its spectrum, its silent units, and the way down from it, if there is one.

Second order first, then (above the lower bound of the loss) one silent unit, then all flat directions together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from . import fixed_points, kinks
from .curvature import hessian
from .descent import Descent, find_descent
from .fixed_points import TOLERANCE, Found
from .kinks import Kinks, kinks_at
from .networks import flatten
from .objectives import Objective
from .precision import in_float64
from .spectra import ROUNDING, Spectrum, dense_spectrum, lanczos_spectrum
from .symmetry import Utility, best_silent_unit, silent_direction, silent_units
from .symmetry.reduction import sides


def excess(objective: Objective, state: np.ndarray) -> float:
    """How far the loss is above its lower bound."""
    return float(objective.loss(state)) - objective.constant


@in_float64
def spectrum_at(objective: Objective, state: np.ndarray, *, seed: int = 0, gradient_norm: float = 0.0) -> Spectrum:
    """The Hessian's spectrum at a state (P,): dense up to 2,000 parameters, its two ends by Lanczos beyond.

    The state is a fixed point only up to its gradient g. Where the Hessian is flat, an error d of the state leaves
    g ~ d^2 and eigenvalues ~ d, so eigenvalues up to sqrt(g max|l| / |theta|) cannot be told from zero, |theta| at least
    the task's natural weights; nor can those that are rounding beside the task's natural curvature. The zero tolerance is
    the larger of the two, or the rounding of the decomposition where that is larger. Where the state lies on kinks, silent
    units of a kind with kinks included, the spectrum is that of the Hessian on the directions that cross none: beyond, there is
    no Hessian. Cost: see `dense_spectrum`.
    """
    on = kinks_at(objective, state, TOLERANCE * objective.scales.gradient)
    scales = objective.scales
    size = max(scales.weights, float(np.linalg.norm(state)))
    rounding = ROUNDING * np.finfo(float).eps * scales.curvature
    blur = lambda largest: max(rounding, float(np.sqrt(gradient_norm * largest / size)))
    if objective.size <= fixed_points.DENSE:
        return kinks.lifted(dense_spectrum(kinks.restricted(hessian(objective, state), on), blur=blur), on)
    product = lambda d: np.asarray(objective.hessian_vector(state, d))
    if on is None:
        return lanczos_spectrum(product, objective.size, blur=blur, seed=seed)
    within = lambda d: on.smooth.T @ product(on.smooth @ d)
    return kinks.lifted(lanczos_spectrum(within, on.dimension, blur=blur, seed=seed), on)


def utilities_at(objective: Objective, state: np.ndarray, seed: int) -> list[Utility]:
    """The best silent unit of every layer that has one."""
    layers = enumerate(objective.network.layers)
    able = [k for k, layer in layers if layer.unit.symmetry.degree and silent_units(objective, state, k).any()]
    return [best_silent_unit(objective, state, k, seed=seed) for k in able]


@dataclass(frozen=True, eq=False)
class Escape:
    """The kind of fixed point and the way down from it, if there is one."""

    verdict: str
    reason: str
    order: int | None = None
    rate: float | None = None
    direction: np.ndarray | None = None
    utility: Utility | None = None


def escape_from(
    objective: Objective, found: Found, spectrum: Spectrum, utilities: list[Utility], scale: float, seed: int
) -> Escape:
    """The kind of fixed point, by the clearest evidence there is."""
    on = kinks_at(objective, found.state, TOLERANCE * scale)
    if on is not None and not on.decided and excess(objective, found.state) > TOLERANCE * objective.scales.loss:
        words = "no one-sided slope was found to fall, which is no proof here"
        return Escape("undecided", f"on kinks whose first order is not decided: {words} ({on.words()})")
    escape = _escape(objective, found, spectrum, utilities, scale, seed, on)
    return escape if on is None else replace(escape, reason=escape.reason + _on_kinks(on, objective.size))


def _on_kinks(on: Kinks, size: int) -> str:
    """What the Hessian is one of, and what holds the state on kinks, in words."""
    words = f"; index and zero modes are those of the {on.dimension} of {size} dimensions that cross no kink"
    return words + (f"; it rests on a kink: {on.words()}" if on.live else "")


def _escape(
    objective: Objective,
    found: Found,
    spectrum: Spectrum,
    utilities: list[Utility],
    scale: float,
    seed: int,
    on: Kinks | None,
) -> Escape:
    lowest = float(spectrum.eigenvalues[0])
    faster = [u for u in utilities if on is not None and u.rate is not None and u.rate > max(-lowest, 0.0)]
    if lowest < -spectrum.tolerance and not faster:
        count = "some" if spectrum.index is None else spectrum.index
        reason = f"{count} negative Hessian eigenvalues, the lowest {lowest:.6g} (zero means within {spectrum.tolerance:.1e})"
        return Escape("strict saddle", reason, 2, -lowest, spectrum.lowest_vector)
    flat = f"no Hessian eigenvalue below {-spectrum.tolerance:.1e}"
    if excess(objective, found.state) <= TOLERANCE * objective.scales.loss:
        return Escape("minimum", f"{flat}, and the loss is at its lower bound")
    helpful = [u for u in utilities if u.value > _zero_utility(objective, u, scale)]
    if helpful:
        best = min(helpful, key=lambda u: (u.order, -u.value))
        few = f"{spectrum.index} negative Hessian eigenvalues, the lowest {lowest:.6g}, and faster than these"
        slower = few if lowest < -spectrum.tolerance else "no negative Hessian eigenvalue, but"
        words = f"{slower} a silent unit of utility {best.value:.6g} > 0 lowers the loss at order {best.order}"
        verdict = "strict saddle" if best.order == 2 else "degenerate saddle"
        return Escape(verdict, words, best.order, best.rate, silent_direction(objective, found.state, best), best)
    dense = objective.size <= fixed_points.DENSE
    across = (
        kinks.Across(None, True)
        if on is None
        else kinks.look_across(objective, found.state, on, dense=dense, seed=seed)
    )
    if across.fall is not None:
        words = f"the loss falls across kinks at second order, at curvature {across.fall.curvature:.6g}"
        return Escape("strict saddle", words, 2, across.fall.rate, across.fall.direction)
    joint, searched = _joint_descent(objective, found, spectrum, seed, on)
    if joint is not None:
        words = (
            f"no negative Hessian eigenvalue and no single silent unit of the lowest order, but the loss falls along flat"
            f" directions at order {joint.order} (measured {joint.measured_order:.2f}, by {joint.fall:.1e} at radius"
            f" {joint.radius:.2g})"
        )
        direction = joint.direction if len(joint.direction) == objective.size else None
        return Escape("degenerate saddle", words, joint.order, None, direction)
    if not across.proven:
        words = (
            "no descent of second order was found across kinks that cost nothing at first order, which proves nothing"
        )
        return Escape("undecided", f"{flat}; {words}; {searched}")
    silent = f"; silent units have utility {max(u.value for u in utilities):.1e}, zero to rounding" if utilities else ""
    return Escape("minimum", f"{flat}{silent}; {searched}")


def _joint_descent(
    objective: Objective, found: Found, spectrum: Spectrum, seed: int, on: Kinks | None
) -> tuple[Descent | None, str]:
    """Search the flat directions for a descent of higher order; and in words what was searched.

    Beyond dense Hessians the same question is put to the narrow network with two silent units more a layer, which embeds
    the same map: what more of them could do, two can.
    """
    if spectrum.kernel is None:
        small = _padded(objective, found)
        if small is None:
            return None, "flat directions were not searched: the network has too many parameters"
        objective, state = small
        on = kinks_at(objective, state, TOLERANCE * objective.scales.gradient)
        spectrum = spectrum_at(objective, state, seed=seed, gradient_norm=found.refinement.gradient_norm)
        assert spectrum.kernel is not None
    else:
        state = found.state
    kernel, rounding = kinks.with_silent(on, spectrum.kernel), 32 * np.finfo(float).eps
    descent = find_descent(
        lambda t: float(objective.loss(t)),
        lambda t: np.asarray(objective.gradient(t)),
        state,
        lambda d: kernel @ (kernel.T @ d),
        size=objective.scales.weights,
        noise=rounding * max(float(objective.loss(state)), objective.scales.loss),
        stiff=_stiff(objective, state, kernel, on),
        seed=seed,
    )
    return descent, f"a search of the {kernel.shape[1]} flat directions found no descent"


def _stiff(
    objective: Objective, state: np.ndarray, kernel: np.ndarray, on: Kinks | None
) -> Callable[[np.ndarray], np.ndarray]:
    """g -> H^+ g on the complement of the kernel, within the directions that cross no kink."""
    matrix = kinks.padded(hessian(objective, state), on)
    factors = scipy.linalg.lu_factor(matrix + np.abs(matrix).max(initial=1e-300) * kernel @ kernel.T)

    def solve(g: np.ndarray) -> np.ndarray:
        return scipy.linalg.lu_solve(factors, g - kernel @ (kernel.T @ g))

    return solve


def _padded(objective: Objective, found: Found) -> tuple[Objective, np.ndarray] | None:
    """The narrow fixed point with up to two silent units more a layer, if that is small and every unit can be silent."""
    network = objective.network
    if found.narrow is None or found.reduction is None or not all(x.unit.symmetry.silent for x in network.layers):
        return None
    narrow = found.reduction.network
    params = objective.with_network(narrow).params(np.asarray(found.narrow, float))
    for index in reversed(range(len(network.layers))):
        u, v = sides(narrow, params, index)
        more = ((0, min(2, network.widths[index] - len(u))), (0, 0))
        narrow, params = narrow.with_sides(params, index, np.pad(u, more), np.pad(v, more))
    small = objective.with_network(narrow)
    return (small, flatten(params)) if small.size <= fixed_points.DENSE else None


def _zero_utility(objective: Objective, utility: Utility, scale: float) -> float:
    """Utilities below this are zero: 1e-9 of the utility where nothing has been learned, theta = 0 (which vanishes in deep
    networks), and 1e-12 of the gradient scale."""
    reference = best_silent_unit(objective, np.zeros(objective.size), utility.layer)
    return max(1e-9 * reference.value, TOLERANCE * scale)
