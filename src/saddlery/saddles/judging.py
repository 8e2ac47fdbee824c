"""The kind of a fixed point: its spectrum, its silent units, and the way down from
it, if there is one.

Second order first, then (above the lower bound of the loss) one silent unit, then all
flat directions together.
"""

from __future__ import annotations

import functools
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


# What is said where second order across kinks was searched, and nothing found.
UNPROVEN = (
    "no descent of second order was found across kinks that cost nothing at first order, "
    "which proves nothing"
)


@dataclass(frozen=True)
class BoundTolerances(Tolerances, decides="bound"):
    """When what is left of the loss is that of a state that has not settled,
    and no silent unit's to lower."""

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
    """How far the loss is above its lower bound, at a state (P,).

    Example
    -------
    Half the squares of the singular values 1 and 0.4, where nothing is learned.

    >>> from saddlery import Experiment
    >>> objective = Experiment.named("linear").objective()
    >>> round(excess(objective, np.zeros(objective.size)), 6)
    0.58
    """
    return float(objective.loss(state)) - objective.irreducible


@in_float64
def spectrum_at(
    objective: Objective,
    state: np.ndarray,
    *,
    seed: int = 0,
    gradient_norm: float = 0.0,
) -> Spectrum:
    """The Hessian's spectrum at a state (P,): dense up to 2,000 parameters, its two
    ends by Lanczos beyond.

    Signs are counted in natural units of the weights, S H S with S =
    diag(`Objective.units_at`), where they do not depend on the units of inputs and
    targets; eigenvalues are those of H itself.

    The state is a fixed point only up to its gradient g. Where the Hessian is flat, an
    error d of the state leaves g ~ d^2 and eigenvalues ~ d, so eigenvalues up to
    sqrt(|g| max|l| / |theta|) cannot be told from zero, |theta| at least the task's
    natural weights; nor can those that are rounding beside the task's natural
    curvature, or that the rounding of the data explains (see `rounding`).

    Where the state lies on kinks, silent units of a kind with kinks included, the
    spectrum is that of the Hessian on the directions that cross none: beyond, there is
    no Hessian.

    seed: of the Lanczos vectors.
    gradient_norm: what refinement left of |g|; zero for a state that is exact.

    Cost: see `dense_spectrum`, twice where units differ.

    Example
    -------
    Where nothing is learned, each of 50 linear units sees the singular values s of the
    map as curvatures s and -s.

    >>> from saddlery import Experiment
    >>> objective = Experiment.named("linear").objective()
    >>> spectrum = spectrum_at(objective, np.zeros(objective.size))
    >>> spectrum.index, np.unique(spectrum.eigenvalues.round(6)).tolist()
    (100, [-1.0, -0.4, 0.4, 1.0])
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
    """Largest eigenvalue -> up to which size others cannot be told from zero, by
    rounding and by the error of the state."""
    scales = objective.standard
    limits = SpectrumTolerances.now()
    rounding = limits.rounding * np.finfo(float).eps * scales.curvature
    size = max(scales.weights, float(np.linalg.norm(state / units)))
    slope = 0.0
    if not exact:
        slope = float(np.linalg.norm(units * np.asarray(objective.gradient(state))))

    def blur(largest: float) -> float:
        error = float(np.sqrt(slope * largest / size))
        return max(rounding, error)

    return blur


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


def _by_lanczos(
    product: Callable[[np.ndarray], np.ndarray],
    size: int,
    on: Kinks | None,
    **options: Any,
) -> Spectrum:
    """The two ends of a spectrum on the directions that cross no kink."""
    if on is None:
        return lanczos_spectrum(product, size, **options)

    def within(d: np.ndarray) -> np.ndarray:
        return on.smooth.T @ product(on.smooth @ d)

    found = lanczos_spectrum(within, on.dimension, **options)
    return kinks.lifted(found, on)


def utilities_at(objective: Objective, state: np.ndarray, seed: int) -> list[Utility]:
    """The best silent unit of every layer that has one, at a state (P,).

    seed: of the search for it.

    Example
    -------
    A linear unit joins the first mode, s = 1, at utility s / 2.

    >>> from saddlery import Experiment
    >>> objective = Experiment.named("linear").objective()
    >>> origin = np.zeros(objective.size)
    >>> [round(found.value, 6) for found in utilities_at(objective, origin, seed=0)]
    [0.5]
    """
    found = []
    for k, layer in enumerate(objective.network.layers):
        if layer.unit.symmetry.degree and silent_units(objective, state, k).any():
            found.append(best_silent_unit(objective, state, k, seed=seed))
    return found


# ------------------------------------------------------------------- the kind, and the way down
@dataclass(frozen=True, eq=False)
class Escape(Value):
    """The kind of fixed point and the way down from it, if there is one.

    verdict, reason: as of a `FixedPoint`.
    order: q, at which the loss falls.
    rate: of the exponential growth along it, at second order.
    direction (P,): along which it falls, of unit length.
    utility: of the silent unit that it moves, if it is one.
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

    found: the fixed point (P,).
    spectrum: of its Hessian.
    utilities: of its silent units, one a layer that has some.
    on: the kinks that it lies on.
    seed: of the searches.

    Cost: nothing beside what is given where there is negative curvature or a silent
    unit that helps; else that of `look_for_descent`.
    """
    evidence = _Evidence(objective, found, spectrum, utilities, on, seed)
    if on is None:
        return evidence.escape()
    if not on.decided and not at_lower_bound(objective, found.state):
        words = "no one-sided slope was found to fall, which is no proof here"
        reason = f"on kinks whose first order is not decided: {words} ({on.words()})"
        return Escape("undecided", reason)
    escape = evidence.escape()
    return replace(escape, reason=escape.reason + _on_kinks(on, objective.size))


def _on_kinks(on: Kinks, size: int) -> str:
    """What the Hessian is one of, and what holds the state on kinks, in words."""
    dimensions = f"the {on.dimension} of {size} dimensions that cross no kink"
    words = f"; index and zero modes are those of {dimensions}"
    if on.live:
        words += f"; it rests on a kink: {on.words()}"
    return words


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What is known of a fixed point, and what can be found out: each way down by name,
    None where it does not decide."""

    objective: Objective
    found: Found
    spectrum: Spectrum
    given: list[Utility]
    on: Kinks | None
    seed: int

    def escape(self) -> Escape:
        """From the surest evidence to searches: negative curvature, silent units, chains
        of linear layers, bounds of the loss, kinks, and what is flat."""
        for way in (self._curvature, self._silent_unit, self._chain, self._bound):
            escape = way()
            if escape is not None:
                return escape
        return self._searched()

    @property
    def state(self) -> Vector:
        return self.found.state

    @property
    def flat(self) -> str:
        """That nothing falls at second order, in words."""
        return f"no Hessian eigenvalue below {-self.spectrum.tolerance:.1e}"

    @functools.cached_property
    def down(self) -> Vector | None:
        """A direction (P,) of negative curvature, or None."""
        return _downwards(self.objective, self.state, self.spectrum, self.on)

    @functools.cached_property
    def utilities(self) -> list[Utility]:
        """Those that are evidence: utilities pass through kinks above too."""
        if self.on is None or not self.on.below:
            return self.given
        return [u for u in self.given if _falls_by(self.objective, self.state, u)]

    @functools.cached_property
    def above_zero(self) -> list[Rounded]:
        """How far each utility is above zero."""
        objective, state = self.objective, self.state
        return [_utility_above_zero(objective, state, u) for u in self.utilities]

    @functools.cached_property
    def at_bound(self) -> bool:
        return at_lower_bound(self.objective, self.state)

    @functools.cached_property
    def least(self) -> LeastLoss | None:
        return least_loss(self.objective)

    def _curvature(self) -> Escape | None:
        if self.down is None:
            return None
        # The Hessian is not all of second order on kinks, which silent units are on.
        if self.on is not None and _any_faster(self.utilities, self.spectrum):
            return None
        return _by_curvature(self.spectrum, self.down)

    def _silent_unit(self) -> Escape | None:
        helpful = []
        for utility, number in zip(self.utilities, self.above_zero, strict=True):
            if number.decided and number.value > 0:
                helpful.append(utility)
        if not helpful:
            return None
        if self.at_bound and _only_unsettled(self.objective, self.found):
            return None
        beside = _beside_silent_units(self.spectrum, self.down is not None)
        return _by_silent_unit(self.objective, self.state, helpful, beside)

    def _chain(self) -> Escape | None:
        chain = along_chain(self.objective, self.state)
        if chain is None:
            return None
        return _by_higher_order(self.objective, chain)

    def _bound(self) -> Escape | None:
        """A minimum, where the loss is as low as can be."""
        if self.at_bound:
            return Escape("minimum", f"{self.flat}, and the loss is at its lower bound")
        if self.least is None:
            return None
        if not above(self.objective, self.state, self.least.loss).zero:
            return None
        bound = f"the loss is the least of any linear map of rank {self.least.rank}"
        return Escape("minimum", f"{self.flat}, and {bound}")

    def _searched(self) -> Escape:
        """Across kinks and along what is flat; where nothing falls, how much that
        proves."""
        across = self._look_across()
        if across.fall is not None:
            return _by_fall_across(across.fall)
        looked = self._look_along_what_is_flat()
        if looked.descent is not None:
            return _by_higher_order(self.objective, looked.descent)
        if not across.proven:
            return Escape("undecided", f"{self.flat}; {UNPROVEN}; {looked.words}")
        words = f"{self.flat}; {looked.words}"
        if self.least is not None:
            return _above_the_least(self.objective, self.state, self.least, words)
        if looked.unsettled is not None:
            return Escape("undecided", words)
        doubtful = _doubtful(self.above_zero, looked)
        if doubtful is not None:
            left = f"the correlation of new units with what is left is {doubtful}"
            return Escape(
                "undecided",
                f"{self.flat}; undecided to rounding: {left}; {looked.words}",
            )
        if self.utilities:
            most = max(u.value for u in self.utilities)
            silent = f"silent units have utility {most:.1e}, zero to rounding"
            words = f"{self.flat}; {silent}; {looked.words}"
        return Escape("minimum", words)

    def _look_across(self) -> kinks.Across:
        return kinks.look_across(
            self.objective,
            self.state,
            self.on,
            dense=self.objective.size <= fixed_points.DENSE,
            seed=self.seed,
        )

    def _look_along_what_is_flat(self) -> Looked:
        """The search for descents of higher order."""
        norm = self.found.refinement.gradient_norm

        def again(small: Objective, state: np.ndarray) -> Spectrum:
            return spectrum_at(small, state, seed=self.seed, gradient_norm=norm)

        flat = flat_directions(self.objective, self.found, self.spectrum, again)
        return look_for_descent(self.objective, self.found, flat, self.seed)


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
    for side in (direction, -direction):
        if kinks.lowers(objective, state, side, fall, order=2):
            return side
    return None


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
    """Whether the loss at a state (P,) is its lower bound, to 1e-12 of what there was to
    learn or to the rounding of the loss.

    Example
    -------
    >>> from saddlery import train
    >>> run = train("linear")
    >>> [at_lower_bound(run.objective(), run.trajectory.states[k]) for k in (0, -1)]
    [False, True]
    """
    return above(objective, state, objective.irreducible).zero


def _only_unsettled(objective: Objective, found: Found) -> bool:
    """Whether what is left of the loss is there because the narrow network has not
    settled: without any silent unit it loses nearly all of it, close by.

    Along a direction that is almost flat a gradient of 1e-12 leaves some loss, and
    with it a utility, that no silent unit needs to lower. At a saddle the narrow
    network has nothing left to lose.
    """
    if found.narrow_state is None or found.reduction is None:
        return False
    if not len(found.narrow_state):
        return False
    small = objective.with_network(found.reduction.network)
    if small.size > fixed_points.DENSE:
        return False
    start = np.asarray(found.narrow_state, float)
    limits = BoundTolerances.now()
    near = limits.near * float(np.linalg.norm(start))
    if not near > 0:
        return False
    settled = fixed_points.minimised(small, start, gtol=0.0, maxiter=100, radius=near)
    if not float(np.linalg.norm(settled - start)) <= near:
        return False
    return excess(small, settled) <= limits.left * excess(small, start)


def above(objective: Objective, state: np.ndarray, bound: float) -> Rounded:
    """How far the loss at a state (P,) is above a bound, and what explains that it is:
    1e-12 of what there was to learn, or rounding.

    Example
    -------
    >>> from saddlery import Experiment
    >>> objective = Experiment.named("linear").objective()
    >>> gap = above(objective, np.zeros(objective.size), 0.5)
    >>> round(gap.value, 6), gap.decided
    (0.08, True)
    """
    loss, eps = float(objective.loss(state)), float(np.finfo(float).eps)
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
    bound = f"the least of any linear map of rank {least.rank}"
    height = f"the loss is {gap.value:.3g} above {bound}"
    theorem = "deep linear networks have no other minima (Kawaguchi 2016, Zhang 2019)"
    return Escape("degenerate saddle", f"{words}; yet {height}, and {theorem}")


def _utility_above_zero(
    objective: Objective,
    state: np.ndarray,
    utility: Utility,
) -> Rounded:
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


def _utility_of_the_error(
    objective: Objective,
    state: np.ndarray,
    utility: Utility,
) -> float:
    """What a state that is known to a gradient of 1e-12 of the task's
    may make of a utility."""
    natural = objective.params(objective.units_at(state))
    u, v = sides(objective.network, natural, utility.layer)
    gradient = FixedPointTolerances.now().gradient * objective.standard.gradient
    nothing_learned = np.zeros(objective.size)
    reference = best_silent_unit(objective, nothing_learned, utility.layer)
    return max(gradient * utility.stretch(u[0], v[0]), 1e-9 * reference.value)
