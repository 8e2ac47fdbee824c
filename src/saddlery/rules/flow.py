"""Gradient flow by embedded Runge-Kutta pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..basis.checks import known, positive
from .base import Gradient, Rule, Walker
from .norms import power_of_two

SOLVERS = ("tsit5", "dopri8", "kvaerno5")
# Coefficients of the step control, diffrax's pcoeff and icoeff.
PROPORTIONAL, INTEGRAL = 0.2, 0.5
# After a step that gave no number the next one has this share of its length.
REFUSED_STEP = 0.2
# Stands in for the size of weights that are all zero.
UNIT_OF_ZERO = 1e-3
# A step of no more than so many roundings of the clock is refused: it hardly moves.
STANDING = 8


@dataclass(frozen=True)
class GradientFlow(Rule):
    """theta' = -dL/dtheta, theta (P,), by an embedded Runge-Kutta pair with
    step-size control (diffrax).

    relative_tolerance: error of one step relative to each weight.
    absolute_tolerance: of a weight near zero, as a fraction of the
        root-mean-square initial weight times the relative tolerance; 1 keeps
        small initial weights, which decide when a saddle is left, as accurate as
        large ones.
    solver: tsit5 (order 5) or dopri8 (order 8, for tight tolerances), both
        explicit, whose steps on a plateau stay as short as the active units are
        fast; or kvaerno5 (order 5, implicit, P^3 a step), whose steps grow with
        the plateau: for up to a few hundred weights and plateaus of many thousand
        times what a jump takes, as of units of degree two or more from scales
        below 1e-4.

    Measured: relative tolerance 1e-6 follows a 10-50-5 linear network to 4e-7.

    Example
    -------
    >>> from saddlery.rules import GradientFlow
    >>> GradientFlow(solver="dopri8", relative_tolerance=1e-9).solver
    'dopri8'
    """

    kind: ClassVar[str] = "flow"
    rotates: ClassVar[bool] = True
    # Their steps differ in length, and all wait for the last.
    together: ClassVar[int] = 8
    relative_tolerance: float = 1e-6
    absolute_tolerance: float = 1.0
    solver: str = "tsit5"

    def __post_init__(self) -> None:
        positive(self.relative_tolerance, "relative_tolerance")
        positive(self.absolute_tolerance, "absolute_tolerance")
        known(self.solver, SOLVERS, "solver")
        super().__post_init__()

    def _parts(
        self,
        floor: Array,
    ) -> tuple[diffrax.AbstractSolver, diffrax.PIDController]:
        """The solver and its step control; floor: absolute tolerance of a weight."""
        controller = diffrax.PIDController(
            self.relative_tolerance,
            floor,
            pcoeff=PROPORTIONAL,
            icoeff=INTEGRAL,
        )
        if self.solver == "tsit5":
            return diffrax.Tsit5(), controller
        if self.solver == "dopri8":
            return diffrax.Dopri8(), controller
        newton = diffrax.VeryChord(
            rtol=self.relative_tolerance,
            atol=floor,  # type: ignore[arg-type]
        )
        return diffrax.Kvaerno5(root_finder=newton), controller

    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        power = power_of_two(theta)
        size = power * jnp.sqrt(jnp.mean((theta / power) ** 2))
        natural = jnp.where(size > 0, size, UNIT_OF_ZERO)
        floor = self.relative_tolerance * self.absolute_tolerance * natural
        solver, controller = self._parts(floor)
        term = _descent_field(gradient, key)
        order = solver.error_order(term)
        zero = jnp.zeros((), theta.dtype)
        end, state = controller.init(
            term,
            zero,
            zero + jnp.inf,
            theta,
            None,
            None,
            solver.func,
            order,
        )
        inner = {
            "floor": floor,
            "end": end,
            "controller": state,
            "solver": solver.init(term, zero, end, theta, None),
        }
        return Walker(theta, zero, gradient(theta, key), inner)

    def advance(
        self,
        walker: Walker,
        gradient: Gradient,
        key: Array,
        horizon: Array,
    ) -> tuple[Walker, Array]:
        before = walker.inner
        solver, controller = self._parts(before["floor"])
        term = _descent_field(gradient, key)
        begin, end = walker.time, jnp.minimum(before["end"], horizon)
        new, error, _, solver_state, result = solver.step(
            term,
            begin,
            end,
            walker.theta,
            None,
            before["solver"],
            False,
        )
        order = solver.error_order(term)
        assert order is not None and error is not None  # all three solvers have them

        standing = STANDING * jnp.finfo(begin.dtype).eps * begin
        long = (end - begin > standing) | (end >= horizon)
        solved = result == diffrax.RESULTS.successful
        finite = jnp.all(jnp.isfinite(new)) & jnp.all(jnp.isfinite(error))
        sound = long & solved & finite

        keep, next_begin, next_end, _, state, _ = controller.adapt_step_size(
            begin,
            end,
            walker.theta,
            new,
            None,
            error,
            order,
            before["controller"],
        )
        keep = jnp.asarray(keep) & sound
        # A step that is not sound would make the next one no number.
        adapted = next_begin, next_end, state
        shorter = begin + REFUSED_STEP * (end - begin)
        refused = begin, shorter, before["controller"]
        time, next_end, state = _tree_where(sound, adapted, refused)

        inner = {
            "floor": before["floor"],
            "end": next_end,
            "controller": state,
            "solver": _tree_where(keep, solver_state, before["solver"]),
        }
        theta = jnp.where(keep, new, walker.theta)
        slope = -_last_slope(inner["solver"], walker, term, theta=theta, keep=keep)
        return Walker(theta, time, slope, inner), keep


def _descent_field(gradient: Gradient, key: Array) -> diffrax.ODETerm:
    return diffrax.ODETerm(lambda _, theta, __: -gradient(theta, key))


def _tree_where(condition: Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _last_slope(
    state: Any,
    walker: Walker,
    term: diffrax.ODETerm,
    *,
    theta: Array,
    keep: Array,
) -> Array:
    """theta' at the place the walker has now, theta.

    Remembered by first-same-as-last solvers, else evaluated again.
    """
    if isinstance(state, tuple) and len(state) == 2:
        return jnp.where(keep, state[1], -walker.gradient)
    return term.vf(walker.time, theta, None)
