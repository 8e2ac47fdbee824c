"""The kind of a fixed point: its spectrum, its silent units, and the way down from
it, if there is one.

Second order first, then (above the lower bound of the loss) one silent unit, then all
flat directions together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ..basis.precision import in_float64
from ..basis.tolerances import Tolerances, chosen
from ..basis.values import Value
from ..networks import Objective, hessian
from ..networks.rounding import Rounded, RoundingTolerances, curvatures
from ..solvers import DescentDirection, Spectrum, dense_spectrum, lanczos_spectrum
from ..solvers.spectra import SpectrumTolerances, in_plain_units
from ..symmetry import Utility, best_silent_unit, silent_direction, silent_units
from ..symmetry.reduction import sides
from ..symmetry.utility import utility_rounded
from . import fixed_points, kinks
from .deep_linear import LeastLoss, least_loss
from .fixed_points import FixedPointTolerances, Found
from .kinks import Kinks, kinks_at
from .orders import Looked, along_chain, flat_directions, look_for_descent

Vector = Float[np.ndarray, " P"]
Blur = Callable[[float], float]


@dataclass(frozen=True)
class BoundTolerances(Tolerances, decides="bound"):
    """When what is left of the loss is that of a state that has not settled, and no silent
    unit's to lower."""

    left: float = chosen(
        1e-2,
        "what the narrow network may leave of it when it settles, of what there was",
        "a judgement: at a saddle the narrow network loses nothing",
        most=1.0,
    )
    near: float = chosen(
        1e-3,
        "how far away it may settle, of the size of its weights",
        "a judgement: a soft direction moves by the square root of what is left",
        most=1.0,
    )


def excess(objective: Objective, state: np.ndarray) -> float:
    """How far the loss is above its lower bound."""
    return float(objective.loss(state)) - objective.constant


@in_float64
def spectrum_at(
    objective: Objective, state: np.ndarray, *, seed: int = 0, gradient_norm: float = 0.0
) -> Spectrum:
    """The Hessian's spectrum at a state (P,): dense up to 2,000 parameters, its two
    ends by Lanczos beyond.

    Signs are counted in natural units of the weights, S H S with S =
    diag(`Objective.units_at`), where they do not depend on the units of inputs and
    targets; eigenvalues are those of H itself. The state is a fixed point only up to
    its gradient g. Where the Hessian is flat, an error d of the state leaves g ~ d^2
    and eigenvalues ~ d, so eigenvalues up to sqrt(|g| max|l| / |theta|) cannot be
    told from zero, |theta| at least the task's natural weights; nor can those that
    are rounding beside the task's natural curvature, or that the rounding of the data
    explains (see `rounding`).
    gradient_norm: zero for a state that is exact. Where the state lies on kinks,
    silent units of a kind with kinks included, the spectrum is that of the Hessian on
    the directions that cross none: beyond, there is no Hessian. Cost: see
    `dense_spectrum`, twice where units differ.
    """
    units = objective.units_at(state)
    on = kinks_at(objective, state, _zero(objective))
    blur = _blur(objective, state, units, exact=not gradient_norm > 0)
    if objective.size <= fixed_points.DENSE:
        return _dense(objective, state, units, on, blur)
    return _ends(objective, state, units, on, blur, seed=seed)


def _zero(objective: Objective) -> float:
    """Gradients below it are zero."""
    return FixedPointTolerances.now().gradient * objective.scales.gradient


def _blur(objective: Objective, state: Vector, units: Vector, *, exact: bool) -> Blur:
    """Largest eigenvalue -> those that cannot be told from zero, by rounding and by
    the error of the state."""
    scales = objective.standard
    limits = SpectrumTolerances.now()
    rounding = limits.rounding * np.finfo(float).eps * scales.curvature
    size = max(scales.weights, float(np.linalg.norm(state / units)))
    slope = 0.0
    if not exact:
        slope = float(np.linalg.norm(units * np.asarray(objective.gradient(state))))
    return lambda largest: max(rounding, float(np.sqrt(slope * largest / size)))


def _dense(
    objective: Objective,
    state: Vector,
    units: Vector,
    on: Kinks | None,
    blur: Blur,
) -> Spectrum:
    """The whole spectrum, by the Hessian itself."""
    mine = _scaled(on, units)
    matrix = hessian(objective, state)

    def bounds(rows: np.ndarray) -> np.ndarray:
        """How far rounding moves the curvatures along these directions (K, m)."""
        moved = units * kinks.spread(rows, mine)
        return np.array([r.bound for r in curvatures(objective, state, moved)])

    def plain() -> Spectrum:
        return kinks.lifted(dense_spectrum(kinks.restricted(matrix, on)), on)

    scaled = kinks.restricted(units[:, None] * matrix * units, mine)
    natural = kinks.lifted(dense_spectrum(scaled, blur=blur, rounding=bounds), mine)
    return in_plain_units(natural, units, plain, matrix)


def _ends(
    objective: Objective,
    state: Vector,
    units: Vector,
    on: Kinks | None,
    blur: Blur,
    *,
    seed: int,
) -> Spectrum:
    """The two ends of the spectrum, by Hessian-vector products."""

    def product(d: np.ndarray) -> np.ndarray:
        return np.asarray(objective.hessian_vector(state, d))

    def scaled(d: np.ndarray) -> np.ndarray:
        return units * product(units * d)

    def plain() -> Spectrum:
        return _by_lanczos(product, objective.size, on, seed=seed)

    mine = _scaled(on, units)
    natural = _by_lanczos(scaled, objective.size, mine, blur=blur, seed=seed)
    return in_plain_units(natural, units, plain, product)


def _scaled(on: Kinks | None, units: Vector) -> Kinks | None:
    if on is None:
        return None
    return on.scaled(units)


def _by_lanczos(product: Callable, size: int, on: Kinks | None, **options: Any) -> Spectrum:
    """The two ends of a spectrum on the directions that cross no kink."""
    if on is None:
        return lanczos_spectrum(product, size, **options)
    within = lambda d: on.smooth.T @ product(on.smooth @ d)
    found = lanczos_spectrum(within, on.dimension, **options)
    return kinks.lifted(found, on)


def utilities_at(objective: Objective, state: np.ndarray, seed: int) -> list[Utility]:
    """The best silent unit of every layer that has one."""
    found = []
    for k, layer in enumerate(objective.network.layers):
        if layer.unit.symmetry.degree and silent_units(objective, state, k).any():
            found.append(best_silent_unit(objective, state, k, seed=seed))
    return found


# ------------------------------------------------------------------- the kind, and the way down
@dataclass(frozen=True, eq=False)
class Escape(Value):
    """The kind of fixed point and the way down from it, if there is one.

    order: q, at which the loss falls along `direction` (P,). rate: of the
    exponential growth along it, at second order. utility: of the silent unit that
    it moves, if it is one.
    """

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
    """The kind of fixed point, by the clearest evidence there is.

    found: the fixed point; spectrum: of its Hessian; utilities: of its silent units;
    on: the kinks that it lies on.
    """
    if on is None:
        return _escape(objective, found, spectrum, utilities, seed, on)
    if not on.decided and not at_lower_bound(objective, found.state):
        words = "no one-sided slope was found to fall, which is no proof here"
        reason = f"on kinks whose first order is not decided: {words} ({on.words()})"
        return Escape("undecided", reason)
    escape = _escape(objective, found, spectrum, utilities, seed, on)
    return replace(escape, reason=escape.reason + _on_kinks(on, objective.size))


def _on_kinks(on: Kinks, size: int) -> str:
    """What the Hessian is one of, and what holds the state on kinks, in words."""
    dimensions = f"the {on.dimension} of {size} dimensions that cross no kink"
    words = f"; index and zero modes are those of {dimensions}"
    if on.live:
        words += f"; it rests on a kink: {on.words()}"
    return words


def _escape(
    objective: Objective,
    found: Found,
    spectrum: Spectrum,
    utilities: list[Utility],
    seed: int,
    on: Kinks | None,
) -> Escape:
    """From the surest evidence to searches: negative curvature, silent units, chains
    of linear layers, bounds of the loss, kinks, and what is flat."""
    state = found.state
    down = _downwards(objective, state, spectrum, on)
    if on is not None and on.below:
        # Utilities pass through kinks above too.
        utilities = [u for u in utilities if _falls_by(objective, state, u)]
    if down is not None and not (on is not None and _any_faster(utilities, spectrum)):
        return _by_curvature(spectrum, down)

    flat = f"no Hessian eigenvalue below {-spectrum.tolerance:.1e}"
    judged = [(u, _utility_above_zero(objective, state, u)) for u in utilities]
    helpful = [u for u, number in judged if number.decided and number.value > 0]
    if helpful and at_lower_bound(objective, state) and _only_unsettled(objective, found):
        helpful = []
    if helpful:
        beside = _beside_silent_units(spectrum, down is not None)
        return _by_silent_unit(objective, state, helpful, beside)
    chain = along_chain(objective, state)
    if chain is not None:
        return _by_higher_order(objective, chain)

    if at_lower_bound(objective, state):
        return Escape("minimum", f"{flat}, and the loss is at its lower bound")
    least = least_loss(objective)
    if least is not None and above(objective, state, least.loss).zero:
        bound = f"the loss is the least of any linear map of rank {least.rank}"
        return Escape("minimum", f"{flat}, and {bound}")

    dense = objective.size <= fixed_points.DENSE
    across = kinks.look_across(objective, state, on, dense=dense, seed=seed)
    if across.fall is not None:
        return _by_fall_across(across.fall)
    looked = _look_along_what_is_flat(objective, found, spectrum, seed)
    if looked.descent is not None:
        return _by_higher_order(objective, looked.descent)
    if not across.proven:
        words = (
            "no descent of second order was found across kinks that cost nothing at first order, "
            "which proves nothing"
        )
        return Escape("undecided", f"{flat}; {words}; {looked.words}")
    if least is not None:
        return _above_the_least(objective, state, least, f"{flat}; {looked.words}")
    if looked.unsettled is not None:
        return Escape("undecided", f"{flat}; {looked.words}")
    doubtful = _doubtful([number for _, number in judged], looked)
    if doubtful is not None:
        left = f"the correlation of new units with what is left is {doubtful}"
        words = f"undecided to rounding: {left}"
        return Escape("undecided", f"{flat}; {words}; {looked.words}")
    if utilities:
        most = max(u.value for u in utilities)
        flat += f"; silent units have utility {most:.1e}, zero to rounding"
    return Escape("minimum", f"{flat}; {looked.words}")


# ------------------------------------------------------------------- second order
def _downwards(
    objective: Objective, state: Vector, spectrum: Spectrum, on: Kinks | None
) -> Vector | None:
    """A direction (P,) of negative curvature, or None."""
    lowest = float(spectrum.eigenvalues[0])
    below_zero = lowest < -spectrum.tolerance
    negative = below_zero if spectrum.index is None else spectrum.index > 0
    if not negative:
        return None
    if on is None or not on.below:
        return spectrum.lowest_vector
    # What is taken at the state passes through kinks above, so that it is looked at.
    return _side_that_falls(objective, state, spectrum.lowest_vector, -0.5 * lowest)


def _any_faster(utilities: list[Utility], spectrum: Spectrum) -> bool:
    """Whether a silent unit grows faster than along the lowest eigenvector."""
    rate = max(-float(spectrum.eigenvalues[0]), 0.0)
    return any(u.rate is not None and u.rate > rate for u in utilities)


def _by_curvature(spectrum: Spectrum, down: Vector) -> Escape:
    lowest = float(spectrum.eigenvalues[0])
    count = "some" if spectrum.index is None else spectrum.index
    zero = f"zero means within {spectrum.tolerance:.1e}"
    return Escape(
        verdict="strict saddle",
        reason=f"{count} negative Hessian eigenvalues, the lowest {lowest:.6g} ({zero})",
        order=2,
        rate=-lowest,
        direction=down,
    )


def _by_fall_across(fall: kinks.Fall) -> Escape:
    curvature = f"at curvature {fall.curvature:.6g}"
    return Escape(
        verdict="strict saddle",
        reason=f"the loss falls across kinks at second order, {curvature}",
        order=2,
        rate=fall.rate,
        direction=fall.direction,
    )


def _side_that_falls(
    objective: Objective, state: np.ndarray, direction: np.ndarray, fall: float
) -> np.ndarray | None:
    """The direction, forth or back, along which the loss falls at second order as it
    should; None where it does not."""
    sides = (direction, -direction)
    return next((side for side in sides if kinks.lowers(objective, state, side, fall, 2)), None)


# ------------------------------------------------------------------- silent units, higher orders
def _falls_by(objective: Objective, state: np.ndarray, utility: Utility) -> bool:
    """Whether a silent unit lowers the loss by its utility."""
    direction = silent_direction(objective, state, utility)
    if not utility.value > 0:
        return False
    return kinks.lowers(objective, state, direction, utility.value, utility.order)


def _beside_silent_units(spectrum: Spectrum, negative: bool) -> str:
    """What else there is at second order, in words."""
    if not negative:
        return "no negative Hessian eigenvalue, but"
    lowest = float(spectrum.eigenvalues[0])
    count = f"{spectrum.index} negative Hessian eigenvalues"
    return f"{count}, the lowest {lowest:.6g}, and faster than these"


def _by_silent_unit(
    objective: Objective,
    state: np.ndarray,
    helpful: list[Utility],
    beside: str,
) -> Escape:
    """The silent unit of lowest order, of these the best."""
    best = min(helpful, key=lambda u: (u.order, -u.value))
    unit = f"a silent unit of utility {best.value:.6g} > 0"
    return Escape(
        verdict="strict saddle" if best.order == 2 else "degenerate saddle",
        reason=f"{beside} {unit} lowers the loss at order {best.order}",
        order=best.order,
        rate=best.rate,
        direction=silent_direction(objective, state, best),
        utility=best,
    )


def _look_along_what_is_flat(
    objective: Objective, found: Found, spectrum: Spectrum, seed: int
) -> Looked:
    """The search for descents of higher order."""
    norm = found.refinement.gradient_norm

    def again(small: Objective, state: np.ndarray) -> Spectrum:
        return spectrum_at(small, state, seed=seed, gradient_norm=norm)

    flat = flat_directions(objective, found, spectrum, again)
    return look_for_descent(objective, found, flat, seed)


def _doubtful(utilities: list[Rounded], looked: Looked) -> Rounded | None:
    """The first correlation of new units that may be above zero or rounding."""
    for number in utilities:
        if number.value > 0 and not number.zero and not number.decided:
            return number
    return looked.doubt


def _by_higher_order(objective: Objective, descent: DescentDirection) -> Escape:
    nothing = "no negative Hessian eigenvalue and no single silent unit of the lowest order"
    measured = f"measured {descent.measured_order:.2f}, by {descent.fall:.1e}"
    radius = f"at radius {descent.radius:.2g} in natural units"
    falls = f"the loss falls {descent.how} at order {descent.order}"
    # That of a narrow network is none of the wide one.
    own = len(descent.direction) == objective.size
    return Escape(
        verdict="degenerate saddle",
        reason=f"{nothing}, but {falls} ({measured} {radius})",
        order=descent.order,
        direction=descent.direction if own else None,
    )


# ------------------------------------------------------------------- bounds of the loss
def at_lower_bound(objective: Objective, state: np.ndarray) -> bool:
    """Whether the loss is its lower bound, to 1e-12 of what there was to learn or to
    the rounding of the loss."""
    return above(objective, state, objective.constant).zero


def _only_unsettled(objective: Objective, found: Found) -> bool:
    """Whether what is left of the loss is there because the narrow network has not
    settled: without any silent unit it loses nearly all of it, close by.

    Along a direction that is almost flat a gradient of 1e-12 leaves some loss, and
    with it a utility, that no silent unit needs to lower. At a saddle the narrow
    network has nothing left to lose.
    """
    if found.narrow_state is None or found.reduction is None or not len(found.narrow_state):
        return False
    small = objective.with_network(found.reduction.network)
    if small.size > fixed_points.DENSE:
        return False
    start = np.asarray(found.narrow_state, float)
    limits = BoundTolerances.now()
    near = limits.near * float(np.linalg.norm(start))
    settled = fixed_points.minimised(small, start, gtol=0.0, maxiter=100, initial_trust_radius=near)
    moved = float(np.linalg.norm(settled - start))
    return moved <= near and excess(small, settled) <= limits.left * excess(small, start)


def above(objective: Objective, state: np.ndarray, bound: float) -> Rounded:
    """How far the loss is above a bound, and what explains that it is: 1e-12 of what
    there was to learn, or rounding."""
    loss, eps = float(objective.loss(state)), np.finfo(float).eps
    # Sums of |y|^2 and |f|^2, which cancel in losses.
    terms = 2 * loss + objective.target_scale**2
    learnt = FixedPointTolerances.now().gradient * objective.scales.loss
    explained = max(learnt, eps * terms)
    return Rounded(loss - bound, explained / eps)


def _above_the_least(
    objective: Objective,
    state: np.ndarray,
    least: LeastLoss,
    words: str,
) -> Escape:
    """The verdict on a deep linear network above its least loss, where no minimum is,
    whatever the searches found."""
    gap = above(objective, state, least.loss)
    if not gap.decided:
        doubt = f"the loss is above the least of any linear map by {gap}"
        return Escape("undecided", f"{words}; undecided to rounding: {doubt}")
    height = f"the loss is {gap.value:.3g} above the least of any linear map of rank {least.rank}"
    theorem = "deep linear networks have no other minima (Kawaguchi 2016, Zhang 2019)"
    return Escape("degenerate saddle", f"{words}; yet {height}, and {theorem}")


def _utility_above_zero(objective: Objective, state: np.ndarray, utility: Utility) -> Rounded:
    """A utility with what may explain it: rounding, or the error of the state, a
    gradient of 1e-12 of the task's in natural units and, where something has been
    learned, 1e-9 of the utility where nothing was."""
    if not state.any():
        return utility_rounded(objective, state, utility)
    error = _utility_of_the_error(objective, state, utility)
    margin = RoundingTolerances.now().margin * np.finfo(float).eps
    least = Rounded(utility.value, error / margin)
    if not least.decided:
        return least
    rounding = utility_rounded(objective, state, utility)
    return Rounded(utility.value, max(least.sway, rounding.sway))


def _utility_of_the_error(objective: Objective, state: np.ndarray, utility: Utility) -> float:
    """What a state that is known to a gradient of 1e-12 of the task's
    may make of a utility."""
    natural = objective.params(objective.units_at(state))
    u, v = sides(objective.network, natural, utility.layer)
    gradient = FixedPointTolerances.now().gradient * objective.standard.gradient
    nothing_learned = np.zeros(objective.size)
    reference = best_silent_unit(objective, nothing_learned, utility.layer)
    return max(gradient * utility.stretch(u[0], v[0]), 1e-9 * reference.value)
