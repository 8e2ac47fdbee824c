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

SOLVERS = ("tsit5", "dopri8", "kvaerno5")


@dataclass(frozen=True)
class GradientFlow(Rule):
    """theta' = -dL/dtheta by an embedded explicit Runge-Kutta pair with step-size control.

    relative_tolerance: error of one step relative to each weight. absolute_tolerance: of a weight
    near zero, as a fraction of the root-mean-square initial weight times the relative tolerance; 1
    keeps small initial weights, which decide when a saddle is left, as accurate as large ones.
    solver: tsit5 (order 5) or dopri8 (order 8, for tight tolerances), both explicit, whose steps on
    a plateau stay as short as the active units are fast; or kvaerno5 (order 5, implicit, P^3 a
    step), whose steps grow with the plateau: for up to a few hundred weights and plateaus of many
    thousand times what a jump takes, as of units of degree two or more from scales below 1e-4.
    Measured: relative tolerance 1e-6 follows a 10-50-5 linear network to 4e-7.
    """

    kind: ClassVar[str] = "flow"
    rotates: ClassVar[bool] = True
    together: ClassVar[int] = 8  # their steps differ in length, and all wait for the last
    relative_tolerance: float = 1e-6
    absolute_tolerance: float = 1.0
    solver: str = "tsit5"

    def __post_init__(self) -> None:
        positive(self.relative_tolerance, "relative_tolerance")
        positive(self.absolute_tolerance, "absolute_tolerance")
        known(self.solver, SOLVERS, "solver")
        super().__post_init__()

    def _parts(self, floor: Array) -> tuple[diffrax.AbstractSolver, diffrax.PIDController]:
        newton = lambda: diffrax.VeryChord(rtol=self.relative_tolerance, atol=floor)  # type: ignore[arg-type]
        makers = {
            "tsit5": diffrax.Tsit5,
            "dopri8": diffrax.Dopri8,
            "kvaerno5": lambda: diffrax.Kvaerno5(root_finder=newton()),
        }
        solver = makers[self.solver]()
        return solver, diffrax.PIDController(self.relative_tolerance, floor, pcoeff=0.2, icoeff=0.5)

    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        size = jnp.sqrt(jnp.mean(theta**2))
        floor = self.relative_tolerance * self.absolute_tolerance * jnp.where(size > 0, size, 1e-3)
        solver, controller = self._parts(floor)
        term = _descent_field(gradient, key)
        zero = jnp.zeros((), theta.dtype)
        end, state = controller.init(
            term, zero, zero + jnp.inf, theta, None, None, solver.func, solver.error_order(term)
        )
        inner = {
            "floor": floor,
            "end": end,
            "controller": state,
            "solver": solver.init(term, zero, end, theta, None),
        }
        return Walker(theta, zero, gradient(theta, key), inner)

    def advance(
        self, walker: Walker, gradient: Gradient, key: Array, horizon: Array
    ) -> tuple[Walker, Array]:
        solver, controller = self._parts(walker.inner["floor"])
        term = _descent_field(gradient, key)
        begin, end = walker.time, jnp.minimum(walker.inner["end"], horizon)
        new, error, _, solver_state, result = solver.step(
            term, begin, end, walker.theta, None, walker.inner["solver"], False
        )
        order = solver.error_order(term)
        assert order is not None and error is not None  # both solvers have them
        long = (end - begin > 8 * jnp.finfo(begin.dtype).eps * begin) | (
            end >= horizon
        )  # else time stands still
        sound = (
            long
            & (result == diffrax.RESULTS.successful)
            & jnp.all(jnp.isfinite(new))
            & jnp.all(jnp.isfinite(error))
        )
        refused = (walker.time, begin + 0.2 * (end - begin), walker.inner["controller"])
        keep, begin, end, _, state, _ = controller.adapt_step_size(
            begin, end, walker.theta, new, None, error, order, walker.inner["controller"]
        )
        keep = jnp.asarray(keep) & sound
        begin, end, state = _tree_where(
            sound, (begin, end, state), refused
        )  # else the next step would not be a number
        chosen = lambda a, b: jnp.where(keep, a, b)
        inner = {
            "floor": walker.inner["floor"],
            "end": end,
            "controller": state,
            "solver": _tree_where(keep, solver_state, walker.inner["solver"]),
        }
        slope = -_last_slope(inner["solver"], walker, term, new, keep)
        return Walker(chosen(new, walker.theta), begin, slope, inner), keep


def _descent_field(gradient: Gradient, key: Array) -> diffrax.ODETerm:
    return diffrax.ODETerm(lambda _, theta, __: -gradient(theta, key))


def _tree_where(condition: Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _last_slope(
    state: Any, walker: Walker, term: diffrax.ODETerm, new: Array, keep: Array
) -> Array:
    """theta' at the walker's place: remembered by first-same-as-last solvers, else evaluated
    again."""
    if isinstance(state, tuple) and len(state) == 2:
        return jnp.where(keep, state[1], -walker.gradient)
    return term.vf(walker.time, jnp.where(keep, new, walker.theta), None)
