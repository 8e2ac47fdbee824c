"""Losses of one sample; a run's loss is their mean over samples, plus a constant
the network cannot change.

Scale convention: the squared loss carries the half, 1/2 |y - f|^2, and is summed
over outputs. A loss is at least zero, which certificates take for its lower
bound, and twice differentiable in f: kinks are looked for in units alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy import optimize

from ..basis.checks import answered, numbers, require
from ..basis.echo import Words
from ..basis.families import Family
from ..basis.precision import in_float64
from ..basis.values import Immutable, demand_travels
from ..units.smoothness import find_jump

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Loss(Immutable):
    """loss(y, f) of one sample.

    name: how tasks refer to it.
    function: (y, f) -> a number of at least zero, in jax.numpy, twice
        differentiable in f; y and f of one shape, that of the network's output.
    quadratic: whether it is c/2 |y - f|^2, with a factor c that may depend on the
        shape, so that second moments of the data are all it needs.
    example: a target (O,) on which it is checked; any numbers unless given.
    admit: raises InputError for targets (N, ...) that have no such loss; None
        admits all.
    label: of an axis that shows it.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.networks.losses import Loss
    >>> Loss("log_cosh", lambda y, f: jnp.sum(jnp.log(jnp.cosh(y - f))))
    Loss(log_cosh)
    """

    name: str
    function: Callable[[Array, Array], Array]
    quadratic: bool = False
    example: tuple[float, ...] = ()
    admit: Callable[[np.ndarray], None] | None = None
    label: str = "loss (mean over samples)"

    def __hash__(self) -> int:
        # Asked for at every call of a compiled program, so of two fields alone.
        return hash((self.name, self.function))

    def __repr__(self) -> str:
        return f"Loss({self.name})"

    def factor(self, shape: Shape) -> float:
        """c of a quadratic loss c/2 |y - f|^2 of targets of a shape, (O,) or more."""
        return _factor(self, tuple(shape))

    def __reduce__(self) -> tuple[Callable[..., Loss], tuple[object, ...]]:
        """Sent to another process by its name, or by that of its function."""
        if LOSSES.members.get(self.name) is self:
            return _received, (self.name, self.function.__module__)
        demand_travels(self.function, f"the function of loss {self.name!r}")
        if self.admit is not None:
            demand_travels(self.admit, f"`admit` of loss {self.name!r}")
        values = tuple(getattr(self, field.name) for field in fields(self))
        return Loss, values


def _received(name: str, module: str) -> Loss:
    """A loss by name; one of one's own is known once its module is imported."""
    if name not in LOSSES:
        import_module(module)
    return LOSSES.named(name)


@functools.lru_cache(maxsize=256)
@in_float64
def _factor(loss: Loss, shape: Shape) -> float:
    # |y - f|^2 is the number of entries where y = 1 and f = 0.
    value = float(loss.function(jnp.ones(shape), jnp.zeros(shape)))
    return 2 * value / max(math.prod(shape), 1)


def _squared(y: Array, f: Array) -> Array:
    """1/2 |y - f|^2."""
    return 0.5 * jnp.sum((y - f) ** 2)


def _cross_entropy(y: Array, f: Array) -> Array:
    """-sum_c y_c ln p_c with p = softmax(f), y a distribution over classes."""
    return -jnp.sum(y * jax.nn.log_softmax(f))


def _probabilities(targets: np.ndarray) -> None:
    """The targets (N, O) that cross-entropy admits."""
    sums = np.sum(targets, axis=-1)
    distributions = bool(np.all(targets >= 0) and np.allclose(sums, 1))
    require(
        distributions,
        "targets",
        needed="probabilities of the classes, rows that sum to one",
        given=f"sums from {sums.min():g} to {sums.max():g}",
        remedy="encode class labels as one-hot rows for loss = cross_entropy",
    )


SQUARED = Loss(
    "squared",
    _squared,
    quadratic=True,
    label="loss (½ mean |y − f|²)",  # noqa: RUF001 (set like print)
)
CROSS_ENTROPY = Loss(
    "cross_entropy",
    _cross_entropy,
    example=(0.2, 0.3, 0.5),
    admit=_probabilities,
    label="loss (mean cross-entropy, nats)",
)
LOSSES: Family[Loss] = Family("loss")
LOSSES.members.update(squared=SQUARED, cross_entropy=CROSS_ENTROPY)


def loss_named(name: str) -> Loss:
    """The loss of that name: "squared" (1/2 |y - f|^2), "cross_entropy" (softmax,
    y a distribution over classes) or one of your own (see `register`).

    Raises InputError for an unknown name.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.networks import loss_named
    >>> y, f = jnp.array([1.0, 0.0]), jnp.array([1.0, 3.0])
    >>> float(loss_named("squared").function(y, f))
    4.5
    """
    return LOSSES.named(name)


def register(loss: Loss) -> Loss:
    """Make a loss of one's own available by name, as in `[task]
    loss = "log_cosh"`; returns it.

    Raises InputError for a name that is taken, or where the loss is not what it
    has to be (see `check_loss`). Cost: a few seconds, mostly of compiling.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.networks import losses
    >>> log_cosh = lambda y, f: jnp.sum(jnp.log(jnp.cosh(y - f)))
    >>> losses.register(losses.Loss("log_cosh", log_cosh))
    Loss(log_cosh)
    """
    check_loss(loss)
    return LOSSES.add(loss.name, loss)


# ---------------------------------------------------------------- what a loss has to be
# A loss is tried at f = y, and so often at random outputs f of each of these sizes.
SIZES, TRIALS = (1e-2, 1.0, 10.0), 2
# Limits of a descent to the least loss: one without bound falls for ever.
DESCENT = {"maxiter": 50, "maxfun": 200}
# Step of a central difference, relative to 1 + |f|: its error is of order STEP^2.
STEP = 1e-5
# Relative violations up to these are what differences leave, and what rounding leaves.
ALIKE, EXACT = 1e-6, 1e-9
# A loss is at least zero down to minus this share of the largest met: a minimum that
# descent finds is as exact as this.
BELOW = 1e-6
# Names of the derivatives of order 0, 1 and 2.
PARTS = ("its value", "its slope", "its curvature")


@in_float64
def check_loss(loss: Loss) -> None:
    """Verify on random targets and outputs that a loss gives one number, has a
    gradient (which central differences confirm) and a second derivative, is
    nowhere below zero, and is c/2 |y - f|^2 where it is declared quadratic.

    Targets y (O,) are those of its `example`, or three and one random numbers.
    Raises InputError naming what fails. Kinks are looked for on random lines of
    f, minima by descent from random f: what neither meets is missed. Cost: a few
    seconds.
    """
    require(
        isinstance(loss, Loss),
        "a loss",
        needed="a Loss",
        given=loss,
        remedy="see saddlery.networks.losses.Loss",
    )
    rng = np.random.default_rng(0)
    targets = [numbers(loss.example, "example of a loss")]
    if not len(targets[0]):
        targets = [rng.standard_normal(3), rng.standard_normal(1)]
    tried = [_Tried(loss, y, rng) for y in targets]
    for one in tried:
        one.check_number()
        one.check_gradient()
    steepest = max(one.steepest for one in tried)
    require(
        steepest > 0,
        f"loss {loss.name!r}",
        needed="differentiable in f",
        given=Words("a gradient of zero wherever it was tried"),
        remedy="gradient flow does not move on it",
    )
    for one in tried:
        # A loss of classes is constant in one output alone: nothing to look at.
        if one.steepest > EXACT * steepest:
            one.check_smooth()
            one.check_bound()
            one.check_quadratic()


class _Tried:
    """A loss on one target y (O,).

    steepest: the largest entry of a gradient that was met.
    """

    def __init__(
        self,
        loss: Loss,
        y: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        self.loss = loss
        self.y = y
        self.rng = rng
        self.name = f"loss {loss.name!r}"
        self.steepest = 0.0
        self._compiled = jax.jit(jax.value_and_grad(loss.function, argnums=1))

    def check_number(self) -> None:
        needed = "a function (y, f) that gives one real number"
        given = jax.ShapeDtypeStruct(self.y.shape, self.y.dtype)
        traced = lambda: jax.eval_shape(self.loss.function, given, given)
        found = answered(traced, self.name, needed)
        array = isinstance(found, jax.ShapeDtypeStruct)
        require(array, self.name, needed, given=Words(type(found).__name__))
        number = found.shape == () and jnp.issubdtype(found.dtype, jnp.floating)
        words = Words(f"{found.dtype} of shape {found.shape}")
        require(number, self.name, needed, given=words)

    def check_gradient(self) -> None:
        for f in self._outputs():
            value, gradient = self._at(f)
            size = float(np.linalg.norm(f))
            steepest = float(np.abs(gradient).max())
            words = f"a loss of {value:.3g}, a gradient of up to {steepest:.3g}"
            require(
                math.isfinite(value) and bool(np.all(np.isfinite(gradient))),
                self.name,
                needed=f"finite with its gradient at |f| = {size:.2g}",
                given=Words(words),
            )
            self._check_slope(f, gradient)
            self.steepest = max(self.steepest, steepest)

    def _check_slope(self, f: np.ndarray, gradient: np.ndarray) -> None:
        """Along a random direction, by a central difference."""
        direction = self.rng.standard_normal(f.shape)
        step = STEP * (1 + float(np.linalg.norm(f)))
        above, _ = self._at(f + step * direction)
        below, _ = self._at(f - step * direction)
        measured = (above - below) / (2 * step)
        slope = float(gradient @ direction)

        near = ALIKE * float(np.linalg.norm(gradient) * np.linalg.norm(direction))
        rounding = 10 * np.finfo(float).eps * max(abs(above), abs(below)) / step
        words = f"a derivative of {slope:.6g} where differences give {measured:.6g}"
        require(
            abs(measured - slope) <= near + rounding,
            self.name,
            needed="differentiable in f",
            given=Words(words),
            remedy="correct its derivative, or round the kink off",
        )

    def check_smooth(self) -> None:
        jump = find_jump(
            self.loss.function,
            self.y,
            shape=self.y.shape,
            rng=self.rng,
            sizes=SIZES,
        )
        if jump is None:
            return
        words = f"a jump of {PARTS[jump.order]} at |f| = {jump.size:.3g}"
        require(
            False,
            self.name,
            needed="twice differentiable in f",
            given=Words(words),
            remedy="round the kink off",
        )

    def check_bound(self) -> None:
        """Descent from the target and from random f; certificates take zero for
        the lower bound."""
        starts = self._outputs()
        largest = max(abs(self._at(f)[0]) for f in starts)
        least = min(self._descended(f) for f in starts)
        require(
            least >= -BELOW * largest,
            self.name,
            needed="at least zero",
            given=Words(f"{least:.6g} at its least"),
            remedy="add a constant: certificates take 0 for its lower bound",
        )

    def _descended(self, f: np.ndarray) -> float:
        """The loss after a descent that begins at f."""
        end = optimize.minimize(
            self._at,
            f,
            jac=True,
            method="L-BFGS-B",
            options=DESCENT,
        )
        return float(end.fun)

    def check_quadratic(self) -> None:
        if not self.loss.quadratic:
            return
        factor = self.loss.factor(self.y.shape)
        for f in self._outputs():
            y = self.rng.standard_normal(f.shape)
            value = float(self.loss.function(jnp.asarray(y), jnp.asarray(f)))
            form = 0.5 * factor * float(np.sum((y - f) ** 2))
            require(
                abs(value - form) <= EXACT * (abs(value) + abs(form)),
                self.name,
                needed=f"c/2 |y - f|^2 as declared quadratic, with c = {factor:.4g}",
                given=Words(f"{value:.6g} where that is {form:.6g}"),
                remedy="leave out quadratic=True",
            )

    def _outputs(self) -> list[np.ndarray]:
        """f = y, and random ones of every size."""
        outputs = [self.y]
        for size in np.repeat(SIZES, TRIALS):
            outputs.append(size * self.rng.standard_normal(self.y.shape))
        return outputs

    def _at(self, f: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient at an output."""
        value, gradient = answered(
            lambda: self._compiled(self.y, f),
            self.name,
            needed="differentiable in f by JAX",
        )
        return float(value), np.asarray(gradient, float)
