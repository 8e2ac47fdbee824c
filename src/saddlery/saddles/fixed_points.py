"""The fixed point behind a state, by way of its narrow network or directly.

*Reduce*: reduce the state to its narrow network, refine that to a fixed point, embed
it back beside the state (Theorem 1). *Direct*: refine the wide state itself. The
first comes first, because the narrow problem is small and keeps only the symmetry of
its own units; the second is tried where the first does not end at a fixed point near
the state. A state that is at rest already is its own fixed point, whatever a coarser
network would make of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from ..basis.precision import in_float64
from ..basis.tolerances import Tolerances, chosen
from ..basis.values import Value
from ..networks import Objective, flatten, hessian
from ..solvers import Refinement, refine
from ..symmetry import Reduction, Utility, embed_near, reduce
from ..symmetry.embedding import Sides
from ..symmetry.reduction import sides
from ..symmetry.utility import silent_units, unseen_coordinates
from ..units import Unit
from .behind import Around, Behind, BehindTolerances, behind, level_units
from .kinks import kinks_at


@dataclass(frozen=True)
class FixedPointTolerances(Tolerances, decides="fixed_points"):
    """When a state is a fixed point, and when it *is* a narrower network."""

    gradient: float = chosen(
        1e-12,
        "gradient norm that is zero, of the task's gradient scale",
        "a bound: some thousand roundings of float64; the criterion of every certificate",
    )
    basin: float = chosen(
        1.0,
        "how far refinement may go, of the norm of its start",
        "a judgement: farther away another fixed point would be named",
    )
    same_map: float = chosen(
        1e-6,
        "map error up to which a fixed point is a narrower network, of the targets",
        "a judgement: along third order a gradient of 1e-12 leaves a weight known to 1e-6",
    )
    silent: float = chosen(
        1e-3,
        "how far silent units may be from exactly so, of the weights",
        "a judgement",
    )
    own: float = chosen(
        0.1,
        "distance of a state's own fixed point, of that in which its small units are silent",
        "a judgement: where a saddle is approached the two are one (0.5 to 1 measured)",
        most=1.0,
    )


# The Hessian is formed up to so many parameters.
DENSE = 2000
# Trust regions grow to so many times the natural size of the weights.
WIDEST_REGION = 1e3
# Newton steps begin without eigenvalues below this share of the largest: without flat
# ones, or with stiff ones alone.
FLAT_FIRST, STIFF_FIRST = 1e-9, 1e-3
# Most Newton steps: degenerate minima are approached linearly, which takes many.
NEWTON_STEPS = 150
# Finer reductions have map errors of FINER times this share of the targets, or times
# the tolerance where that is smaller.
COARSEST = 0.02
FINER = (0.1, 0.01, 0.001)
# A silent unit may be what refinement left up to so many times the size at which its
# gradient is the tolerance.
LEFT_OVER = 100.0
# Distances are compared with the size of a state, or with this share of the task's
# natural weights where that is larger.
LEAST = 1e-3


@dataclass(frozen=True, eq=False)
class Found(Value):
    """A fixed point of the wide network and how it was reached.

    state (P,): the point.
    reduction: of the state it lies behind.
    narrow_state (P',): of the narrow network at its own fixed point, or None.
    refinement: how it ended; only where it converged is the state a fixed point.
    route: "reduce" or "direct".
    behind: the conditions under which it is the fixed point behind the state; None where
        there is none.
    """

    state: np.ndarray
    reduction: Reduction | None
    narrow_state: np.ndarray | None
    refinement: Refinement
    route: str
    behind: Behind | None = None

    @property
    def share(self) -> float:
        """Its distance from the state, of the state's size; of no fixed point,
        infinite."""
        return np.inf if self.behind is None else self.behind.margins[0].measured

    @property
    def narrow_units(self) -> tuple[int, ...]:
        """Of the narrow network, one number a layer; none where none is known."""
        return () if self.reduction is None else self.reduction.widths

    @property
    def construction(self) -> str | None:
        """The case of Theorem 1 that embeds the narrow network, if one is known."""
        return None if self.reduction is None else self.reduction.construction

    @property
    def is_behind(self) -> bool:
        """Whether it is a fixed point, and the one behind the state."""
        return self.behind is not None and self.behind.holds


def _zero() -> float:
    return FixedPointTolerances.now().gradient


def _basin() -> float:
    return FixedPointTolerances.now().basin


def _same_map() -> float:
    return FixedPointTolerances.now().same_map


@in_float64
def find_fixed_point(
    objective: Objective,
    theta: np.ndarray,
    *,
    scale: float | None = None,
    tolerance: float = 0.02,
    route: str = "auto",
    reduction: Reduction | None = None,
    around: Around | None = None,
) -> Found:
    """The fixed point dL/dtheta = 0 behind a state theta (P,), float64.

    scale: of gradients, against which |gradient| <= 1e-12 scale counts as zero; by
        default that of the task.
    tolerance: of the map, for the reduction of the state.
    route: "reduce" or "direct", or "auto": the state itself if it is at rest (on kinks:
        B-stationary, see `kinks`), else the first that is behind the state of those
        that its reductions lead to, coarse to fine, and direct refinement: the
        narrowest network that meets the conditions. Where none is, the nearest one
        found, whose `behind` says how it misses.
    reduction: of the state, to save computing it again.
    around: what is known of the plateau (see `behind`).

    A fixed point that turns out to need fewer units is returned as that narrower
    network. Nothing is raised for a state without a fixed point: `refinement` says how
    the search ended. Cost: a few Newton steps on the narrow network, some 10 p^3 each.

    Example
    -------
    Behind small random weights lies the origin, a narrow network of no unit.

    >>> from saddlery import Experiment
    >>> experiment = Experiment.named("linear")
    >>> found = find_fixed_point(experiment.objective(), experiment.initial_state())
    >>> found.refinement.status, found.narrow_units, found.is_behind
    ('converged', (0,), True)
    """
    if scale is None:
        scale = objective.scales.gradient

    def measured(found: Found) -> Found:
        return _measured(objective, theta, found, around)

    if route in ("auto", "direct"):
        on_kink = _on_kink(objective, theta, scale)
        if on_kink is not None:
            return measured(on_kink)
    if route == "auto" and _norm(objective, theta) <= _zero() * scale:
        return measured(_at_rest(objective, theta, scale))
    if route == "direct":
        return measured(_direct(objective, theta, scale, _basin()))

    coarse = reduction or reduce(objective, theta, tolerance=tolerance)
    first = measured(_through_narrow(objective, theta, coarse, scale))
    if route == "reduce" or first.is_behind:
        return first
    nearest = first
    for other in _others(objective, theta, scale, tolerance, first):
        found = measured(other)
        if found.is_behind:
            return found
        nearest = min(nearest, found, key=lambda one: one.share)
    return nearest


@in_float64
def own_fixed_point(
    objective: Objective,
    theta: np.ndarray,
    silenced: Found,
    utility: Utility,
    *,
    scale: float,
    around: Around | None = None,
) -> Found | None:
    """The fixed point that a state (P,) rests at with its small units as they are, where
    it is another one than that in which they are silent; else None.

    A small unit that points where nothing turns it on, or nothing moves it, stays for
    ever, though one that points elsewhere would grow: silencing it makes a saddle of a
    minimum. It is none of its own where Newton's method has made a unit silent that
    grows: each small unit must be within a tenth of its size of where it was. Nor where
    it may be what refinement leaves of a silent unit, up to a hundred times the size at
    which U s^p is the tolerance.

    silenced: the fixed point in which it is silent.
    utility: U > 0 of the best silent unit there, of which a unit of size s grows with a
        gradient of about U s^p, in natural units of the weights.
    scale: of gradients.
    around: what is known of the plateau (see `behind`).

    Cost: a gradient; where that is much less than U s^p, as that of small units that do
    grow is not, direct refinement, up to 2,000 parameters.
    """
    if objective.size > DENSE:
        return None
    units = level_units(objective, theta)
    size = float(np.linalg.norm((theta - silenced.state) / units))
    slope = float(np.linalg.norm(units * np.asarray(objective.gradient(theta))))
    least = FixedPointTolerances.now().own
    growth = _growth(objective, units, utility)
    left = growth.size(_zero() * objective.standard.gradient)
    if size <= LEFT_OVER * left or slope > least * growth.gradient(size):
        return None
    refinement = refined(objective, theta, scale, BehindTolerances.now().weights)
    itself = _without_narrow(refinement.point, refinement)
    own = _measured(objective, theta, itself, around)
    if not own.is_behind or own.share > least * silenced.share:
        return None
    if not _keeps_small_units(objective, theta, own.state, silenced.state, units):
        return None
    return replace(own, reduction=reduce(objective, own.state, tolerance=_same_map()))


def _keeps_small_units(
    objective: Objective,
    theta: np.ndarray,
    own: np.ndarray,
    silenced: np.ndarray,
    units: np.ndarray,
) -> bool:
    """Whether the units of a state (P,) that another fixed point has silent are in its own
    as they are, each to a share of its size."""
    least = FixedPointTolerances.now().own
    for k in range(len(objective.network.layers)):
        small = silent_units(objective, silenced, k)
        moved = _unit_sizes(objective, (own - theta) / units, k)
        size = _unit_sizes(objective, theta / units, k)
        if not np.all(moved[small] <= least * size[small]):
            return False
    return True


def _unit_sizes(objective: Objective, state: np.ndarray, layer: int) -> np.ndarray:
    """sqrt(|u_i|^2 + |v_i|^2) of the units of a layer (H,)."""
    u, v = sides(objective.network, objective.params(state), layer)
    return np.sqrt(np.sum(u**2, axis=1) + np.sum(v**2, axis=1))


class _Growth(NamedTuple):
    """How a unit that should be silent grows: |grad L| = U s^p for one of size s."""

    utility: float
    degree: int

    def gradient(self, size: float) -> float:
        return self.utility * size**self.degree

    def size(self, gradient: float) -> float:
        return (gradient / self.utility) ** (1 / self.degree)


def _growth(objective: Objective, units: np.ndarray, utility: Utility) -> _Growth:
    """That of the best silent unit, in units (P,) of the weights."""
    u, v = sides(objective.network, objective.params(units), utility.layer)
    return _Growth(utility.value / utility.stretch(u[0], v[0]), utility.order - 1)


def _measured(
    objective: Objective,
    theta: np.ndarray,
    found: Found,
    around: Around | None,
) -> Found:
    """With the conditions of `behind`, where there is a fixed point."""
    if not found.refinement.converged:
        return found
    dense = objective.size <= DENSE
    conditions = behind(objective, theta, found.state, around, dense=dense)
    return replace(found, behind=conditions)


def _others(
    objective: Objective,
    theta: np.ndarray,
    scale: float,
    tolerance: float,
    first: Found,
) -> Iterator[Found]:
    """The fixed points of finer reductions of the state, then that of the state itself,
    where dense Hessians can be formed."""
    seen = {first.narrow_units, objective.network.widths}
    for share in FINER:
        finer = reduce(objective, theta, tolerance=share * min(tolerance, COARSEST))
        if finer.widths not in seen:
            seen.add(finer.widths)
            yield _through_narrow(objective, theta, finer, scale)
    if objective.size > DENSE:
        return
    basin = _basin()
    if first.refinement.converged:
        basin = BehindTolerances.now().weights
    # At a degenerate minimum small eigenvalues are made by what is left of the gradient,
    # and Newton steps along them lead far away (three linear layers: 0.034 of the
    # weights, where 0.017 is near); so the stiff directions come first.
    yield _direct(objective, theta, scale, basin, STIFF_FIRST)
    yield _direct(objective, theta, scale, basin)


# ------------------------------------------------------------------- the state itself
def _on_kink(objective: Objective, theta: np.ndarray, scale: float) -> Found | None:
    """The state itself where it rests on a kink, with no one-sided slope that falls; no
    Newton step is taken there."""
    on = kinks_at(objective, theta, _zero() * scale)
    if on is None or not on.live or on.residual > _zero() * scale:
        return None
    words = f"no one-sided slope falls by more than {on.residual:.1e} at the state itself"
    standing = _standing(objective, theta, on.residual, scale)
    return Found(
        state=theta,
        reduction=reduce(objective, theta, tolerance=_same_map()),
        narrow_state=None,
        refinement=replace(standing, reason=words),
        route="direct",
    )


def _norm(objective: Objective, theta: np.ndarray) -> float:
    units, factor = objective.gradient_units(theta)
    return factor * float(np.linalg.norm(units * np.asarray(objective.gradient(theta))))


def _at_rest(objective: Objective, theta: np.ndarray, scale: float) -> Found:
    """A state whose gradient counts as zero, refined where it is not."""
    norm = _norm(objective, theta)
    if norm > 0:
        return _direct(objective, theta, scale, _basin())
    standing = _without_narrow(theta, _standing(objective, theta, norm, scale))
    # Nothing moves the state: it is named, and not exchanged.
    named = _polished(objective, theta, standing, scale)
    return replace(standing, reduction=named.reduction, narrow_state=named.narrow_state)


def _standing(
    objective: Objective,
    theta: np.ndarray,
    norm: float,
    scale: float,
) -> Refinement:
    """A state that is taken as it is."""
    return Refinement(
        point=theta,
        loss=float(objective.loss(theta)),
        gradient_norm=norm,
        relative_gradient=norm / scale,
        distance=0.0,
        steps=0,
        status="converged",
        reason=f"gradient norm {norm:.1e} at the state itself",
        history=(norm,),
    )


def _without_narrow(state: np.ndarray, refinement: Refinement) -> Found:
    return Found(
        state=state,
        reduction=None,
        narrow_state=None,
        refinement=refinement,
        route="direct",
    )


# ------------------------------------------------------------------- refinement
@in_float64
def refined(
    objective: Objective,
    start: np.ndarray,
    scale: float,
    basin: float | None,
    cutoff: float = FLAT_FIRST,
) -> Refinement:
    """Newton refinement of a state (P,), in natural units of the weights where these
    differ (from far away it may end elsewhere than in plain ones).

    scale: of gradients.
    basin: how far it may go, relative to the norm of the start (or, if larger, to 1e-3
        of the task's natural weights); None for anywhere.
    cutoff: of eigenvalues that count as flat (see `refine`).

    Cost: that of `refine`, with Hessians up to 2,000 parameters and Hessian-vector
    products beyond.
    """
    units, factor = objective.gradient_units(start)
    plain = bool(np.all(units == 1.0))
    weights = objective.scales.weights if plain else objective.standard.weights
    size = max(float(np.linalg.norm(start / units)), LEAST * weights)
    slopes = _Slopes(objective, units, factor)
    dense = objective.size <= DENSE
    found = refine(
        slopes.gradient,
        start / units,
        hessian=slopes.hessian if dense else None,
        hessian_vector=None if dense else slopes.hessian_vector,
        loss=slopes.loss,
        tolerance=_zero(),
        scale=scale,
        basin=_times(basin, size),
        cutoff=cutoff,
        max_steps=NEWTON_STEPS,
    )
    if plain:
        return found
    point = units * found.point
    point.flags.writeable = False
    return replace(found, point=point, distance=float(np.linalg.norm(point - start)))


class _Slopes(NamedTuple):
    """The loss of t = theta / units, its slopes as the sizes of
    gradients are measured."""

    objective: Objective
    units: np.ndarray
    factor: float

    def loss(self, t: np.ndarray) -> float:
        return float(self.objective.loss(self.units * t))

    def gradient(self, t: np.ndarray) -> np.ndarray:
        gradient = np.asarray(self.objective.gradient(self.units * t))
        return self.factor * self.units * gradient

    def hessian(self, t: np.ndarray) -> np.ndarray:
        matrix = hessian(self.objective, self.units * t)
        return self.factor * self.units[:, None] * matrix * self.units

    def hessian_vector(self, t: np.ndarray, d: np.ndarray) -> np.ndarray:
        product = self.objective.hessian_vector(self.units * t, self.units * d)
        return self.factor * self.units * np.asarray(product)


def _times(basin: float | None, size: float) -> float | None:
    """A basin relative to a size; None stays anywhere."""
    if basin is None:
        return None
    return basin * size


def _size(objective: Objective, state: np.ndarray) -> float:
    """|theta|, at least LEAST of the task's natural weights."""
    return max(float(np.linalg.norm(state)), LEAST * objective.scales.weights)


def minimised(
    small: Objective,
    start: np.ndarray,
    *,
    gtol: float,
    maxiter: int,
    radius: float | None = None,
) -> np.ndarray:
    """Where a narrow network settles from a state (P,): trust-region minimisation by
    scipy with its dense Hessian, for networks of at most DENSE parameters.

    gtol, maxiter: of scipy's "trust-exact".
    radius: of the first region, above zero; None for the natural size of the weights.
    """
    size = small.scales.weights
    first = size if radius is None else radius
    found = minimize(
        lambda t: float(small.loss(t)),
        start,
        jac=lambda t: np.asarray(small.gradient(t)),
        hess=lambda t: hessian(small, t),
        method="trust-exact",
        options={
            "gtol": gtol,
            "maxiter": maxiter,
            "initial_trust_radius": first,
            "max_trust_radius": WIDEST_REGION * max(size, first),
        },
    )
    return found.x


@in_float64
def fixed_point(
    small: Objective,
    start: np.ndarray,
    scale: float,
    basin: float | None,
) -> Refinement:
    """The fixed point of a narrow network near a state (P,): Newton refinement, from
    where it settles if need be.

    Newton's method alone can miss when the run leaves the saddle before it has come
    near. The narrow network then settles in its own minimum first, as the flow on
    the invariant manifold would (trust-region minimisation by scipy, whose only
    role is a better start; what counts is the refinement after it).

    scale: of gradients.
    basin: of the start, None for anywhere.

    Cost: some Newton steps, and up to 200 of the minimisation.

    Example
    -------
    One unit of a map of singular values 1 and 0.4 ends where 0.4^2 / 2 is left.

    >>> from saddlery import Experiment
    >>> objective = Experiment.named("linear").objective()
    >>> small = objective.with_network(objective.network.with_widths([1]))
    >>> found = fixed_point(small, np.full(4, 0.7), small.scales.gradient, None)
    >>> found.status, round(found.loss, 6)
    ('converged', 0.08)
    """
    first = refined(small, start, scale, basin)
    if first.converged or small.size > DENSE:
        return first
    lowest = minimised(small, start, gtol=1e-9 * scale, maxiter=200)
    again = refined(small, lowest, scale, None)
    if not again.converged:
        return first
    allowed = _times(basin, _size(small, start))
    return _moved(again, again.point - start, allowed)


def _moved(
    refinement: Refinement,
    displacement: np.ndarray,
    basin: float | None,
) -> Refinement:
    """The same refinement, as seen from elsewhere."""
    distance = float(np.linalg.norm(displacement))
    if basin is None or distance <= basin:
        return replace(refinement, distance=distance)
    far = f"farther than the allowed {basin:.3g}"
    return replace(
        refinement,
        status="left the basin",
        distance=distance,
        reason=f"the fixed point found is {distance:.3g} away, {far}",
    )


# ------------------------------------------------------------------- the two routes
def _direct(
    objective: Objective,
    theta: np.ndarray,
    scale: float,
    basin: float,
    cutoff: float = FLAT_FIRST,
) -> Found:
    refinement = refined(objective, theta, scale, basin, cutoff)
    found = _without_narrow(refinement.point, refinement)
    return _polished(objective, theta, found, scale)


def _polished(
    objective: Objective,
    theta: np.ndarray,
    found: Found,
    scale: float,
) -> Found:
    """A fixed point of the wide network with the narrow one it embeds, and its silent
    units exactly silent."""
    if not found.refinement.converged:
        return found
    reduction = reduce(objective, found.state, tolerance=_same_map())
    if reduction.widths == objective.network.widths:
        return replace(found, reduction=reduction)
    narrow = _through_narrow(objective, found.state, reduction, scale)
    size = objective.scales.weights
    if any(reduction.widths):
        size = _size(objective, found.state)
    exchanged = float(np.linalg.norm(narrow.state - found.state))
    beside = exchanged <= FixedPointTolerances.now().silent * size
    if not (narrow.refinement.converged and beside):
        return replace(found, reduction=reduction)
    moved = _moved(narrow.refinement, narrow.state - theta, None)
    steps = found.refinement.steps + moved.steps
    return replace(narrow, refinement=replace(moved, steps=steps), route=found.route)


def _through_narrow(
    objective: Objective,
    theta: np.ndarray,
    reduction: Reduction,
    scale: float,
) -> Found:
    """The fixed point of the narrow network, embedded beside the state."""
    if not any(reduction.widths):
        return _origin(objective, theta, reduction, scale)
    small = objective.with_network(reduction.network)
    refinement = fixed_point(small, reduction.theta, scale, _basin())
    if refinement.converged:
        needed = reduce(small, refinement.point, tolerance=_same_map()).widths
        if needed != reduction.widths:
            # The refinement has silenced units, or made some proportional.
            fewer = reduce(objective, theta, widths=needed)
            return _through_narrow(objective, theta, fewer, scale)
    embedded = embed_state_near(objective, small, refinement.point, reduction)
    state = _with_unseen(objective, theta, embedded, scale)
    return Found(
        state=state,
        reduction=reduction,
        narrow_state=refinement.point,
        refinement=_checked_wide(objective, state, refinement, scale),
        route="reduce",
    )


def _origin(
    objective: Objective,
    theta: np.ndarray,
    reduction: Reduction,
    scale: float,
) -> Found:
    """No units are left: all of them silent, which is a fixed point if every layer's
    units have a silent point."""
    state = _with_unseen(objective, theta, np.zeros_like(theta), scale)
    norm = _norm(objective, state)
    words = f"all units silent; gradient norm {norm:.1e}"
    refinement = replace(_standing(objective, state, norm, scale), reason=words)
    if norm <= _zero() * scale:
        allowed = _basin() * objective.scales.weights
        refinement = _moved(refinement, theta - state, allowed)
    else:
        refinement = replace(refinement, status="stalled")
    return Found(
        state=state,
        reduction=reduction,
        narrow_state=reduction.theta,
        refinement=refinement,
        route="reduce",
    )


def _with_unseen(
    objective: Objective,
    theta: np.ndarray,
    state: np.ndarray,
    scale: float,
) -> np.ndarray:
    """A fixed point (P,) with the units that no sample turns on where they are
    in theta: nothing moves them, and silent ones would be another fixed point,
    which the run could leave."""
    unseen = unseen_coordinates(objective, theta)
    if not unseen.any():
        return state
    kept = np.where(unseen, theta, state)
    if _norm(objective, kept) <= _zero() * scale:
        return kept
    return state


def _checked_wide(
    objective: Objective,
    state: np.ndarray,
    refinement: Refinement,
    scale: float,
) -> Refinement:
    """The same refinement, called converged only if the wide gradient at the embedded
    point is zero as well."""
    if not refinement.converged:
        return refinement
    norm = _norm(objective, state)
    seen = replace(refinement, gradient_norm=norm, relative_gradient=norm / scale)
    if not norm > _zero() * scale:
        return seen
    words = (
        "the narrow fixed point converged, but embedded in the wide network its gradient "
        f"norm is {norm:.1e}, above the tolerance {_zero() * scale:.1e}"
    )
    return replace(seen, status="stalled", reason=words)


@in_float64
def embed_state_near(
    objective: Objective,
    small: Objective,
    narrow: np.ndarray,
    reduction: Reduction,
    near: Callable[[Sides, Sides, Unit], Sides] = embed_near,
) -> np.ndarray:
    """The narrow network embedded in the wide one by Theorem 1, as near to the
    reduced state as its coefficients allow: a state (P,) of the same map.

    Undoes the reduction layer by layer from the last, each against the sides the
    layer had before it was reduced.

    small, narrow (P',): the narrow network and its weights.
    reduction: of the wide state.
    near: how coefficients are chosen, `embed_near` or, at more cost,
        `nearest_embedding`.

    Example
    -------
    The fixed point of one unit, beside a run of 50 that passes it.

    >>> from saddlery import train
    >>> run = train("linear")
    >>> objective = run.objective()
    >>> near = run.trajectory.states[int(np.argmax(run.trajectory.loss < 0.081))]
    >>> reduction = reduce(objective, near, widths=(1,))
    >>> small = objective.with_network(reduction.network)
    >>> point = fixed_point(small, reduction.theta, small.scales.gradient, None).point
    >>> state = embed_state_near(objective, small, point, reduction)
    >>> round(float(objective.loss(state)), 6), bool(np.linalg.norm(state - near) < 0.1)
    (0.08, True)
    """
    network, params = small.network, small.params(np.asarray(narrow, float))
    for index in reversed(range(len(network.layers))):
        unit, before = network.layers[index].unit, reduction.before[index]
        if len(before[0]) > network.layers[index].width:
            embedded = near(sides(network, params, index), before, unit)
            network, params = network.with_sides(params, index, *embedded)
    return flatten(params)
