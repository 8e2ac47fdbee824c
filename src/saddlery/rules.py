"""Learning rules: gradient flow by an adaptive explicit solver, and gradient descent, momentum and Adam through optax.

A rule moves a `Walker` and knows no model: it sees flat parameters and a gradient function.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import diffrax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from .checks import InputError, known, positive, require, whole

Gradient = Callable[[Array, Array], Array]  # (theta, key) -> dL/dtheta, on a batch drawn with the key
SOLVERS = ("tsit5", "dopri8", "kvaerno5")
RULES: dict[str, type[Rule]] = {}


class Walker(NamedTuple):
    """Where a run stands. gradient: the latest one the rule computed, at theta (flow) or one step before (descent)."""

    theta: Float[Array, " P"]
    time: Float[Array, ""]
    gradient: Float[Array, " P"]
    inner: Any


class Rule(ABC):
    """Base of all rules. A concrete rule is a frozen dataclass with a `kind`, a `start` and an `advance`.

    batch: samples drawn for one step (with replacement), 0 for all of them.
    """

    kind: ClassVar[str] = ""
    batch: int = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.kind:
            RULES[cls.kind] = cls

    @abstractmethod
    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        """The walker before the first step."""

    @abstractmethod
    def advance(self, walker: Walker, gradient: Gradient, key: Array, horizon: Array) -> tuple[Walker, Bool[Array, ""]]:
        """One attempted step; False where it was rejected (the walker then waits). An adaptive flow never goes past flow time
        `horizon`; a rule of fixed steps takes the last one whole, and so ends less than a step behind it."""

    def options(self) -> dict[str, Any]:
        """The kind and every field, as in an experiment file."""
        return {"kind": self.kind, **dataclasses.asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class GradientFlow(Rule):
    """theta' = -dL/dtheta by an embedded explicit Runge-Kutta pair with step-size control.

    relative_tolerance: error of one step relative to each weight. absolute_tolerance: of a weight near zero, as a
    fraction of the root-mean-square initial weight times the relative tolerance; 1 keeps small initial weights, which
    decide when a saddle is left, as accurate as large ones. solver: tsit5 (order 5) or dopri8 (order 8, for tight
    tolerances), both explicit, whose steps on a plateau stay as short as the active units are fast; or kvaerno5 (order 5,
    implicit, P^3 a step), whose steps grow with the plateau: for up to a few hundred weights and plateaus of many thousand
    times what a jump takes, as of units of degree two or more from scales below 1e-4. Measured: relative tolerance 1e-6
    follows a 10-50-5 linear network to 4e-7.
    """

    kind: ClassVar[str] = "flow"
    relative_tolerance: float = 1e-6
    absolute_tolerance: float = 1.0
    solver: str = "tsit5"

    def __post_init__(self) -> None:
        positive(self.relative_tolerance, "relative_tolerance")
        positive(self.absolute_tolerance, "absolute_tolerance")
        known(self.solver, SOLVERS, "solver")

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
        inner = {"floor": floor, "end": end, "controller": state, "solver": solver.init(term, zero, end, theta, None)}
        return Walker(theta, zero, gradient(theta, key), inner)

    def advance(self, walker: Walker, gradient: Gradient, key: Array, horizon: Array) -> tuple[Walker, Array]:
        solver, controller = self._parts(walker.inner["floor"])
        term = _descent_field(gradient, key)
        begin, end = walker.time, jnp.minimum(walker.inner["end"], horizon)
        new, error, _, solver_state, result = solver.step(
            term, begin, end, walker.theta, None, walker.inner["solver"], False
        )
        order = solver.error_order(term)
        assert order is not None and error is not None  # both solvers have them
        long = (end - begin > 8 * jnp.finfo(begin.dtype).eps * begin) | (end >= horizon)  # else time stands still
        sound = (
            long & (result == diffrax.RESULTS.successful) & jnp.all(jnp.isfinite(new)) & jnp.all(jnp.isfinite(error))
        )
        refused = (walker.time, begin + 0.2 * (end - begin), walker.inner["controller"])
        keep, begin, end, _, state, _ = controller.adapt_step_size(
            begin, end, walker.theta, new, None, error, order, walker.inner["controller"]
        )
        keep = jnp.asarray(keep) & sound
        begin, end, state = _tree_where(sound, (begin, end, state), refused)  # else the next step would not be a number
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
    import jax

    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _last_slope(state: Any, walker: Walker, term: diffrax.ODETerm, new: Array, keep: Array) -> Array:
    """theta' at the walker's place: remembered by first-same-as-last solvers, else evaluated again."""
    if isinstance(state, tuple) and len(state) == 2:
        return jnp.where(keep, state[1], -walker.gradient)
    return term.vf(walker.time, jnp.where(keep, new, walker.theta), None)


@dataclass(frozen=True)
class _Descent(Rule):
    """theta <- theta - update; flow time is the learning rate times the steps: the last may end past a horizon."""

    learning_rate: float = 1e-2
    batch: int = 0

    def __post_init__(self) -> None:
        positive(self.learning_rate, "learning_rate")
        whole(self.batch, "batch", 0, "0 takes all samples")

    def transformation(self) -> optax.GradientTransformation:
        return optax.sgd(self.learning_rate)

    def start(self, theta: Array, gradient: Gradient, key: Array) -> Walker:
        return Walker(
            theta,
            jnp.zeros((), theta.dtype),
            jnp.zeros_like(theta),
            {"steps": jnp.zeros((), jnp.int32), "optimizer": self.transformation().init(theta)},
        )

    def advance(self, walker: Walker, gradient: Gradient, key: Array, horizon: Array) -> tuple[Walker, Array]:
        slope = gradient(walker.theta, key)
        update, optimizer = self.transformation().update(slope, walker.inner["optimizer"], walker.theta)
        moved = jnp.asarray(optax.apply_updates(walker.theta, update))
        steps = walker.inner["steps"] + 1
        time = (steps * self.learning_rate).astype(walker.time.dtype)  # a running sum would drift by rounding
        close = jnp.abs(time - horizon) <= 8 * jnp.finfo(time.dtype).eps * time
        inner = {"steps": steps, "optimizer": optimizer}
        return Walker(moved, jnp.where(close, horizon, time), slope, inner), jnp.array(True)


@dataclass(frozen=True)
class GradientDescent(_Descent):
    """Full-batch gradient descent, or stochastic gradient descent where `batch` is given; one step is `learning_rate`
    of flow time."""

    kind: ClassVar[str] = "descent"


@dataclass(frozen=True)
class Momentum(_Descent):
    """Heavy-ball momentum m <- beta m + g, theta <- theta - eta m (optax.sgd); flow time counts eta a step."""

    kind: ClassVar[str] = "momentum"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.momentum < 1, "momentum", "at least 0 and below 1", self.momentum)

    def transformation(self) -> optax.GradientTransformation:
        return optax.sgd(self.learning_rate, momentum=self.momentum)


@dataclass(frozen=True)
class Adam(_Descent):
    """Adam (Kingma & Ba 2015) with optax's defaults for epsilon; flow time counts the learning rate a step."""

    kind: ClassVar[str] = "adam"
    learning_rate: float = 1e-3
    first: float = 0.9
    second: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("first", self.first), ("second", self.second)):
            require(0 <= value < 1, name, "a decay of at least 0 and below 1", value)

    def transformation(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate, self.first, self.second)


def make(kind: str, **options: Any) -> Rule:
    """The rule called `kind`: flow, descent, momentum or adam."""
    cls = RULES[known(kind, RULES, "rule")]
    fields = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in options:
        known(name, fields, f"option of rule {kind!r}")
    try:
        return cls(**options)
    except TypeError as error:
        raise InputError(f"rule {kind!r} could not be made from {sorted(options)}: {error}") from None
