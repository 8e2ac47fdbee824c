"""An objective: the loss of a network on data, as a function of one flat
parameter vector.

Where the network is polynomial in its units and the loss is squared, the data
enter only through second moments of a feature l(z). Any data with the same
moments give the same loss, gradient and Hessian, so the samples are replaced by
at most dim(l) *equivalent samples* (rows of a square root of the feature moments)
plus a constant: the cost of a step no longer depends on the number of samples,
and every other routine sees ordinary samples.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..basis.checks import InputError, Words, finite, numbers, require
from ..basis.precision import in_float64, precision_context
from ..basis.records import Printed, Result, plain
from ..basis.sizes import column_sizes, moment_sizes
from ..basis.values import Value
from ..units import Lift
from .declared import check_units
from .losses import SQUARED, Loss
from .network import (
    Network,
    Params,
    Shape,
    UnitWeights,
    flatten,
    unflatten,
    unit_weights,
)
from .scales import ALIKE, Scales, balanced_units, natural_scales, natural_units
from .tensors import WeightTensors, weight_tensors

# Inputs and targets are of a size between this and its inverse: its fourth power is
# 1e-300.
SMALLEST = 1e-75
CHECK = "check `outputs`, `reads` and `readout`"
Vector = Float[Array, " P"] | Float[np.ndarray, " P"]
# Inputs (N, ...), targets (N, ...), constant.
Samples = tuple[Array, Array, Array]


@dataclass(frozen=True, eq=False)
class Moments(Value):
    """Second moments of a feature l and targets y: all means over samples, not centred.

    feature: the name of the lift they belong to ("input" for z itself).
    features (M, M): E[l l'].
    cross (O, M): E[y l'].
    target: E[|y|^2], not halved.
    sway (O, M): E[|y| (|l| + sum_k |z_k dl/dz_k|)'], to whose last digit `cross`
        is known; None where the moments are exact.
    root (K, M + O): the triangular factor R of samples, R'R = E[(l, y)(l, y)'],
        which holds twice the digits of its square; None where they are exact.
    """

    feature: str
    features: Float[np.ndarray, "M M"]
    cross: Float[np.ndarray, "O M"]
    target: float
    sway: Float[np.ndarray, "O M"] | None = None
    root: Float[np.ndarray, "K _"] | None = None

    @property
    def sizes(self) -> Float[np.ndarray, " M"]:
        """Of every entry of the feature (see `moment_sizes`)."""
        return moment_sizes(self.features)


@dataclass(frozen=True, eq=False)
class Data(Value):
    """What a task hands to training: samples, or exact moments, or both.

    shape: of one input, (D,) for vectors.
    outputs: O, numbers a sample (the last axis of a target).
    inputs: (N, *shape).
    targets: (N, O), or (N, ..., O) where a network returns more than a vector.
    moments: exact second moments where the task knows them.
    loss: see `losses`.

    Samples are kept as float64. Raises InputError for neither, for inputs or targets
    alone, for inputs of another shape, for numbers that are not finite, or so large
    or small that their fourth powers are no numbers, and for targets that the loss
    does not admit.

    Example
    -------
    >>> import numpy as np
    >>> from saddlery.networks import Data, Layer, Network, objective
    >>> from saddlery.units import dense
    >>> x, y = np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]])
    >>> data = Data(shape=(1,), outputs=1, inputs=x, targets=y)
    >>> neuron = objective(Network((Layer(dense("relu"), 1),)), data)
    >>> float(neuron.loss(np.array([1.0, 1.0])))
    0.25
    """

    shape: Shape
    outputs: int
    inputs: np.ndarray | None = None
    targets: np.ndarray | None = None
    moments: Moments | None = None
    loss: Loss = SQUARED

    def __post_init__(self) -> None:
        sampled = self.inputs is not None or self.targets is not None
        require(
            self.moments is not None or sampled,
            "data",
            needed="samples or moments",
            given=Words("neither"),
        )
        if self.moments is not None:
            squares = np.diagonal(self.moments.features)
            _demand_size(np.sqrt(np.abs(squares)), "inputs")
            _demand_size(np.sqrt(np.abs(np.asarray(self.moments.target))), "targets")
        if sampled:
            self._settle_samples()

    def _settle_samples(self) -> None:
        """Keep samples as float64, in which whole numbers and float32 lose nothing and
        sums of squares are not those of a smaller type."""
        if self.inputs is None or self.targets is None:
            missing = "inputs" if self.inputs is None else "targets"
            raise InputError(f"samples must have inputs and targets, got no {missing}; give both")
        inputs = np.asarray(finite(self.inputs, "inputs"), float)
        targets = np.asarray(finite(self.targets, "targets"), float)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)

        _demand_size(inputs, "inputs")
        _demand_size(targets, "targets")
        require(
            inputs.shape[1:] == tuple(self.shape),
            "every input",
            needed=f"of the stated shape {tuple(self.shape)}",
            given=inputs.shape[1:],
        )
        require(
            len(inputs) == len(targets),
            "inputs and targets",
            needed="equally many",
            given=f"{len(inputs)} and {len(targets)}",
        )
        _demand_loss(self.loss, targets)


def _demand_loss(loss: Loss, targets: np.ndarray) -> None:
    """Raise InputError where the loss does not admit the targets."""
    if loss.admit is None:
        return
    answer = loss.admit(targets)
    # One that answers instead of raising would be taken for one that agrees.
    require(
        answer is None,
        f"`admit` of loss {loss.name!r}",
        needed="a function that returns nothing",
        given=answer,
        remedy="raise InputError for targets that have no such loss",
    )


def _demand_size(values: np.ndarray, what: str) -> None:
    """Raise InputError for numbers whose squares of squares float64 does not
    hold: losses and curvatures are of second order in inputs and targets, and
    their spectra take squares again."""
    largest = float(np.max(np.abs(values), initial=0.0))
    require(
        largest == 0 or SMALLEST <= largest <= 1 / SMALLEST,
        what,
        needed=f"of a size between {SMALLEST:.0e} and {1 / SMALLEST:.0e}",
        given=Words(f"numbers of up to {largest:.2g}"),
        remedy="standardise them: subtract the mean and divide by the standard deviation",
    )


@dataclass(frozen=True)
class MeanLoss:
    """The loss of a network on samples, as a function of theta (P,) and of these:

        mean_n loss(y_n, f(x_n; theta)) + constant.

    Hashed by value: two objectives of the same architecture share every program
    compiled from it.

    network: whose weights theta holds.
    reading: the same network as it reads the inputs that are given.
    shape, outputs: of one input, (D,) for vectors, and O of a target.
    """

    network: Network
    reading: Network
    loss: Loss
    shape: Shape
    outputs: int

    def predict(self, theta: Array, inputs: Array) -> Array:
        params = unflatten(self.network, theta, self.shape, self.outputs)
        return self.reading.outputs(params, inputs)

    def __call__(self, theta: Array, samples: Samples) -> Array:
        inputs, targets, constant = samples
        predictions = self.predict(theta, inputs)
        losses = jax.vmap(self.loss.function)(targets, predictions)
        return jnp.mean(losses) + constant


def draw_batch(samples: Samples, key: Array, size: int) -> Samples:
    """`size` of N samples, (size, ...), drawn with replacement by a JAX key."""
    inputs, targets, constant = samples
    chosen = jax.random.randint(key, (size,), 0, len(inputs))
    return inputs[chosen], targets[chosen], constant


# What an objective computes, compiled once for all of the same architecture.
@functools.partial(jax.jit, static_argnums=0)
def _loss(f: MeanLoss, theta: Array, samples: Samples) -> Array:
    return f(theta, samples)


@functools.partial(jax.jit, static_argnums=0)
def _gradient(f: MeanLoss, theta: Array, samples: Samples) -> Array:
    return jax.grad(f)(theta, samples)


@functools.partial(jax.jit, static_argnums=0)
def _hessian_vector(f: MeanLoss, theta: Array, d: Array, samples: Samples) -> Array:
    gradient = lambda t: jax.grad(f)(t, samples)
    _, along = jax.jvp(gradient, (theta,), (d,))
    return along


@functools.partial(jax.jit, static_argnums=0)
def _predictions(f: MeanLoss, theta: Array, inputs: Array) -> Array:
    return f.predict(theta, inputs)


@functools.partial(jax.jit, static_argnums=0)
def _squared_gaps(f: MeanLoss, thetas: Array, inputs: Array, target: Array) -> Array:
    gap = lambda t: jnp.sum((f.predict(t, inputs) - target) ** 2)
    return jax.lax.map(gap, thetas)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _responses(f: MeanLoss, theta: Array, inputs: Array, index: int) -> Array:
    params = unflatten(f.network, theta, f.shape, f.outputs)
    width = f.network.widths[index]

    def squares(z: Array) -> Array:
        """|phi(z; u_i)|^2 of every unit, (H,)."""
        features = f.reading.features(params, z, index)
        return jnp.sum(features.reshape(width, -1) ** 2, axis=1)

    return jnp.sqrt(jnp.mean(jax.vmap(squares)(inputs), axis=0))


def _array(theta: Any) -> Any:
    """A list of numbers as an array; arrays, JAX's own too, as they are."""
    if hasattr(theta, "shape"):
        return theta
    return numbers(theta, "theta")


@dataclass(frozen=True, eq=False, repr=False)
class Objective(Result):
    """The loss of a network on its data, with its derivatives, for flat theta (P,):

        loss(theta) = mean_n loss(y_n, f(x_n; theta)) + constant.

    function: the loss as a function of weights and samples.
    inputs (N, ...), targets (N, ...): samples, or equivalent samples.
    constant: what no map can remove.
    exact: "samples", or the name of the feature whose moments replace them.
    power: mean |y|^2 of the targets, which equivalent samples do not show; None
        to take it from `targets`.
    doubt (N, ...): to the last digits of which numbers equivalent targets are
        known, where these are larger than the targets themselves.

    All methods are compiled once an architecture and return JAX arrays in the
    precision of the context they are called in. Made by `objective`.
    """

    function: MeanLoss
    inputs: Float[np.ndarray, "N ..."]
    targets: Float[np.ndarray, "N ..."]
    constant: float = 0.0
    exact: str = "samples"
    power: float | None = None
    doubt: Float[np.ndarray, "N ..."] | None = None

    def printed(self) -> Printed:
        return Printed(("objective", ""), list(self.record().items()))

    def record(self) -> dict[str, object]:
        """JSON form, without samples."""
        kept = {
            "network": self.network.architecture,
            "loss": self.function.loss.name,
            "data": self.exact,
            "samples": len(self.inputs),
            "input shape": " x ".join(map(str, self.function.shape)),
            "outputs": self.function.outputs,
            "parameters": self.size,
            "constant": self.constant,
        }
        return plain(kept)

    @property
    def network(self) -> Network:
        return self.function.network

    @functools.cached_property
    def size(self) -> int:
        """P."""
        return self.network.count(self.function.shape, self.function.outputs)

    @property
    def samples(self) -> Samples:
        """(inputs, targets, constant), as the compiled functions take them; kept
        in each precision they were asked for."""
        double = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
        if double not in self._kept:
            with jax.ensure_compile_time_eval():
                self._kept[double] = (
                    jnp.asarray(self.inputs),
                    jnp.asarray(self.targets),
                    jnp.asarray(self.constant),
                )
        return self._kept[double]

    @functools.cached_property
    def _kept(self) -> dict[bool, Samples]:
        return {}

    def params(self, theta: Vector) -> Params:
        """The flat vector as the network's parameters; views of it, where it is a
        NumPy array."""
        f = self.function
        return unflatten(f.network, theta, f.shape, f.outputs)

    @property
    def tensors(self) -> WeightTensors:
        """The weight tensors of the network by name, in the flat vector (see
        `weight_tensors`)."""
        f = self.function
        return weight_tensors(f.network, f.shape, f.outputs)

    def loss(self, theta: Vector) -> Float[Array, ""]:
        """The mean loss plus the constant; cost: one pass over the samples."""
        return _loss(self.function, _array(theta), self.samples)

    def gradient(self, theta: Vector) -> Float[Array, " P"]:
        """dL/dtheta of the mean loss; cost: three passes over the samples."""
        return _gradient(self.function, _array(theta), self.samples)

    def hessian_vector(self, theta: Vector, d: Vector) -> Float[Array, " P"]:
        """(d^2 L / d theta^2) d without forming the Hessian; cost: about two
        gradients."""
        return _hessian_vector(self.function, _array(theta), _array(d), self.samples)

    def predictions(self, theta: Vector) -> Float[Array, "N ..."]:
        """f(x_n; theta) of every (equivalent) sample."""
        inputs, _, _ = self.samples
        return _predictions(self.function, _array(theta), inputs)

    def responses(self, theta: Vector, index: int) -> Float[np.ndarray, " H"]:
        """sqrt(mean_n |phi(z_n; u_i)|^2) of every unit of a layer; cost: one pass
        over the samples."""
        inputs, _, _ = self.samples
        return np.asarray(_responses(self.function, _array(theta), inputs, index))

    def with_network(self, network: Network) -> Objective:
        """The same data read by a network of other widths, its units of the same
        kinds."""
        reading = _reading(network, self.exact)
        function = replace(self.function, network=network, reading=reading)
        made = replace(self, function=function)
        made.__dict__["_kept"] = self._kept  # the data are the same
        return made

    @property
    def unseen(self) -> float:
        """mean |y|^2 of what no map explains and equivalent targets do not show:
        the constant is c/2 of it (see `Loss.factor`)."""
        if not self.constant:
            return 0.0
        return 2 * self.constant / self.function.loss.factor(self.targets.shape[1:])

    @property
    def parts(self) -> Parts:
        """The weights as matrices and as units."""
        return Parts(self)

    @functools.cached_property
    def target_scale(self) -> float:
        """sqrt(mean |y|^2), the size against which errors of the map are judged."""
        power = self.power
        if power is None:
            power = np.sum(self.targets**2) / len(self.targets)
        return float(np.sqrt(power))

    @functools.cached_property
    def scales(self) -> Scales:
        """The natural sizes of weights, gradients and curvatures of this task
        (see `natural_scales`)."""
        with precision_context("float64"):
            return natural_scales(
                self.predictions,
                self.gradient,
                size=self.size,
                target=self._distance_from_zero(),
                loss=self._loss_of_zero(),
            )

    def _distance_from_zero(self) -> float:
        """sqrt(mean |y - f|^2) of the map f of zero weights, what is to be learned."""
        origin = np.asarray(self.predictions(np.zeros(self.size)))
        seen = float(np.sum((self.targets - origin) ** 2)) / len(origin)
        return float(np.sqrt(seen + self.unseen))

    def _loss_of_zero(self) -> float:
        """The loss at zero weights, less what no map can remove."""
        return float(self.loss(np.zeros(self.size))) - self.irreducible

    @functools.cached_property
    def irreducible(self) -> float:
        """Of the loss, what no map can remove, as far as second moments tell: the
        constant, or what it would be if moments took the place of the samples; zero
        where these do not suffice.

        Cost: that of `sample_moments`, once, where samples could have been replaced.
        """
        f, count = self.function, len(self.inputs)
        feature = feature_needed(self.network)
        if self.exact != "samples" or feature is None or not f.loss.quadratic:
            return self.constant
        if feature_count(self.network, f.shape) >= count:
            return self.constant
        data = Data(f.shape, f.outputs, self.inputs, self.targets, loss=f.loss)
        with precision_context("float64"):
            moments = sample_moments(self.network, data, feature)
        _, _, constant = equivalent_samples(moments)
        return self.constant + constant * f.loss.factor(self.targets.shape[1:])

    @functools.cached_property
    def units(self) -> Float[np.ndarray, " P"]:
        """The natural unit of every weight (see `natural_units`): judgements are
        made of theta / units."""
        f = self.function
        with precision_context("float64"):
            learned = self._distance_from_zero()
        return natural_units(
            f.network,
            f.shape,
            f.outputs,
            inputs=self._input_sizes(),
            targets=learned,
        )

    @in_float64
    def _input_sizes(self) -> Float[np.ndarray, " D"] | float:
        """The size of an input's entries, one for all but where neurons read
        entries in very different units of measure."""
        unit = self.network.layers[0].unit
        # Of the entries of a feature, of which a unit is a form of its degree.
        of_feature = self.exact not in ("samples", "input")
        degree = 1
        if of_feature:
            degree = unit.symmetry.degree or 1
        size = float(np.sqrt(np.mean(self.inputs**2)))
        size **= 1.0 / degree

        count = math.prod(self.function.shape)
        if unit.shape(self.function.shape) != (count + unit.extra,):
            return size
        rows = self.inputs.reshape(len(self.inputs), -1)
        if of_feature and unit.lift is not None:
            of_entries = jax.vmap(unit.lift.coefficients)(jnp.eye(count))
            rows = rows @ np.asarray(of_entries).T
        sizes = column_sizes(rows) ** (1.0 / degree)
        if sizes.max() > ALIKE * sizes.min():
            return sizes
        return size

    def units_at(self, theta: np.ndarray) -> Float[np.ndarray, " P"]:
        """The natural units, balanced as the units of a state (P,) are (see
        `balanced_units`)."""
        params = self.params(np.asarray(theta, float))
        if self.size == 0:
            return self.units
        units = self.params(self.units)
        return flatten(balanced_units(self.network, params, units))

    def gradient_units(
        self,
        theta: np.ndarray,
    ) -> tuple[Float[np.ndarray, " P"], float]:
        """In which units of the weights gradients are measured near a state (P,),
        and the factor that keeps to the task's scale: |factor units dL/dtheta| is
        held against `scales.gradient`.

        Where natural units differ, the gradient of one kind of weight alone, and
        its rounding, would decide about all.
        """
        units = self.units_at(theta)
        if np.all(units == units[:1]):
            return np.ones_like(units), 1.0
        return units, self.scales.gradient / self.standard.gradient

    @functools.cached_property
    def standard(self) -> Scales:
        """The natural sizes of weights and derivatives in natural units,
        theta / units."""
        s = self.units
        with precision_context("float64"):
            return natural_scales(
                predictions=lambda t: self.predictions(s * t),
                gradient=lambda t: s * np.asarray(self.gradient(s * t)),
                size=self.size,
                target=self._distance_from_zero(),
                loss=self._loss_of_zero(),
            )

    def map_error(self, f: np.ndarray, g: np.ndarray) -> float:
        """sqrt(mean_n |f_n - g_n|^2) over `target_scale`, for two sets of
        predictions (N, ...)."""
        distance = np.sqrt(np.sum((f - g) ** 2) / len(f))
        return float(distance / (self.target_scale or 1.0))

    def map_errors(
        self,
        thetas: Float[np.ndarray, "T P"],
        target: np.ndarray,
    ) -> np.ndarray:
        """The `map_error` of each of T states to the given predictions; one
        compiled call, a pass over the samples each."""
        inputs, _, _ = self.samples
        gaps = np.asarray(_squared_gaps(self.function, thetas, inputs, target))
        return np.sqrt(gaps / len(target)) / (self.target_scale or 1.0)


@dataclass(frozen=True, eq=False)
class Parts(Value):
    """What rules may ask about the weights of an objective."""

    objective: Objective

    @property
    def matrices(self) -> WeightTensors:
        """All weights as matrices."""
        return self.objective.tensors

    @property
    def units(self) -> UnitWeights:
        """The units of a single sum (see `unit_weights`)."""
        f = self.objective.function
        return unit_weights(f.network, f.shape, f.outputs)

    @property
    def unit_size(self) -> float:
        """|theta| of one random unit whose map is as far from zero as the targets."""
        network = self.objective.network
        narrowest = network.with_widths([1] * len(network.layers))
        return self.objective.with_network(narrowest).scales.weights


def objective(
    network: Network,
    data: Data,
    *,
    moments: bool | None = None,
) -> Objective:
    """The objective of a network on data.

    moments: True to demand exact moments, False to forbid them, None to use them
        where they apply and save work.

    Raises InputError where moments are demanded and do not apply, where the data
    hold neither form, where the network does not return what targets are, or where a
    unit of one's own is not what it declares (see `check_units`).

    Example
    -------
    A linear network needs its 100 samples' second moments alone, and two samples
    that have them:

    >>> import numpy as np
    >>> from saddlery.networks import Data, Layer, Network, objective
    >>> from saddlery.units import dense
    >>> x = np.random.default_rng(0).standard_normal((100, 2))
    >>> data = Data(shape=(2,), outputs=1, inputs=x, targets=x[:, :1] ** 2)
    >>> linear = Network((Layer(dense("linear"), 3),))
    >>> fast, slow = objective(linear, data), objective(linear, data, moments=False)
    >>> len(fast.inputs), len(slow.inputs)
    (2, 100)
    >>> theta = np.ones(9)
    >>> bool(np.isclose(fast.loss(theta), slow.loss(theta), rtol=1e-5))
    True
    """
    check_units(network, data.shape, data.outputs)
    feature = feature_needed(network)
    if feature is None or not data.loss.quadratic:
        if moments:
            raise InputError(
                "moments were asked for, but this network is not polynomial in one"
                " feature or the loss is not quadratic; train it on samples"
                " (moments = false)"
            )
        return _from_samples(network, data)
    if moments is False:
        return _from_samples(network, data)
    if data.moments is not None and data.moments.feature == feature:
        return _from_moments(network, data, data.moments)
    if data.inputs is None:
        return _from_samples(network, data)
    saves_nothing = feature_count(network, data.shape) >= len(data.inputs)
    if not moments and saves_nothing:
        return _from_samples(network, data)
    return _from_moments(network, data, sample_moments(network, data, feature))


def feature_needed(network: Network) -> str | None:
    """The feature whose second moments suffice for this network: "input", the
    name of a lift, or None.

    Example
    -------
    >>> from saddlery.networks import Layer, Network
    >>> from saddlery.networks.objectives import feature_needed
    >>> from saddlery.units import dense
    >>> [feature_needed(Network((Layer(dense(name), 5),)))
    ...  for name in ("linear", "quadratic", "relu")]
    ['input', 'power 2', None]
    """
    first, *others = network.layers
    # f stays linear in what the first layer makes of the input.
    linear_after = all(layer.unit.linear_in_input for layer in others)
    if not linear_after:
        return None
    if network.reads == "all" and first.unit.linear_in_input:
        return "input"
    if network.readout or first.residual or first.unit.lift is None:
        return None
    return first.unit.lift.name


def feature_count(network: Network, shape: Shape) -> int:
    """M, the entries of the feature whose second moments the network needs, for
    inputs of a shape, (D,) for vectors."""
    lift = network.layers[0].unit.lift
    if lift is None or feature_needed(network) == "input":
        return int(np.prod(shape))
    sample = jax.ShapeDtypeStruct(shape, jnp.float32)
    return int(np.prod(jax.eval_shape(lift.features, sample).shape))


@in_float64
def sample_moments(network: Network, data: Data, feature: str) -> Moments:
    """The sample moments of the feature a network needs, in float64: means over
    its N samples.

    feature: as `feature_needed` says, of M entries.

    Raises InputError for data without samples. Cost: 3 N M^2, and of a lift N M D.
    """
    if data.inputs is None or data.targets is None:
        raise InputError("the task must state samples or moments of its inputs, got neither")
    lift = None if feature == "input" else network.layers[0].unit.lift
    if lift is None:
        rows = data.inputs.reshape(len(data.inputs), -1)
    else:
        rows = np.asarray(jax.vmap(lift.features)(jnp.asarray(data.inputs)))
    n = len(rows)
    y = data.targets.reshape(n, -1)
    sway = np.abs(y).T @ (np.abs(rows) + _sways(lift, data.inputs)) / n
    root = np.linalg.qr(np.hstack([rows, y]), mode="r") / np.sqrt(n)
    return Moments(
        feature,
        features=rows.T @ rows / n,
        cross=y.T @ rows / n,
        target=float(np.sum(y**2) / n),
        sway=sway,
        root=root,
    )


def _sways(lift: Lift | None, inputs: np.ndarray) -> np.ndarray:
    """sum_k |z_k dl_m/dz_k| (N, M): what one last digit of the inputs moves the
    features by."""
    if lift is None:
        return np.abs(inputs.reshape(len(inputs), -1))
    slopes = jax.jacfwd(lift.features)

    def own(z: Array) -> Array:
        moved = jnp.abs(slopes(z) * z)
        return jnp.sum(moved.reshape(len(moved), -1), axis=-1)

    # One sample at a time: a feature has many more entries than an input.
    every = jax.jit(lambda rows: jax.lax.map(own, rows))
    return np.asarray(every(jnp.asarray(inputs)))


def input_moments(network: Network, data: Data) -> Moments:
    """The second moments of the inputs themselves, E[z z'] (D, D) and E[y z']
    (O, D): exact where the task states them, else of its samples.

    Raises InputError for data that have neither.
    """
    if data.moments is not None and data.moments.feature == "input":
        return data.moments
    return sample_moments(network, data, "input")


def equivalent_samples(moments: Moments) -> tuple[np.ndarray, np.ndarray, float]:
    """(inputs (r, M), targets (r, O), constant) with the given moments, of which
    S = E[l l'] has rank r:

        inputs = sqrt(r) S^(1/2),    targets = inputs W*',
        constant = 1/2 (E|y|^2 - <W*, E[y l']>),

    with W* = E[y l'] S^+, the least-squares map; the constant is what no map
    removes. Directions in which features vanish to rounding, each in its own unit
    of measure, are dropped. Raises InputError if S is not symmetric positive
    semi-definite, or the moments belong to no data.

    Example
    -------
    Of E[l^2] = 4, E[y l] = 6 and E[y^2] = 11, of which W* = 3/2 explains 9:

    >>> import numpy as np
    >>> from saddlery.networks import Moments
    >>> from saddlery.networks.objectives import equivalent_samples
    >>> four, six = np.array([[4.0]]), np.array([[6.0]])
    >>> inputs, targets, constant = equivalent_samples(Moments("input", four, six, 11.0))
    >>> inputs.item() ** 2, inputs.item() * targets.item(), constant
    (4.0, 6.0, 1.0)
    """
    if moments.root is None:
        values, rows, targets, left = _by_squares(moments)
    else:
        values, rows, targets, left = _by_root(moments, moments.root)
    rounding = 64 * np.finfo(float).eps * moments.target
    constant = 0.5 * left if left > rounding else 0.0
    size = np.sqrt(len(values))
    inputs = size * values[:, None] * rows * moments.sizes
    return inputs, size * targets, constant


class _Decomposed(NamedTuple):
    """Features of size one, decomposed.

    values (r,), rows (r, M): singular values, and right singular vectors.
    targets (r, O): E[u_k y'] of the left ones.
    left: of E|y|^2, what they do not explain.
    """

    values: np.ndarray
    rows: np.ndarray
    targets: np.ndarray
    left: float


def _by_root(moments: Moments, root: np.ndarray) -> _Decomposed:
    """From the samples' triangular factor."""
    count = len(moments.features)
    features, cross = root[:count, :count], root[:count, count:]
    vectors, values, rows = np.linalg.svd(features / moments.sizes, full_matrices=False)
    keep = values > values[0] * count * np.finfo(float).eps * 8
    require(
        bool(values[0] > 0),
        "the feature moments",
        needed="non-zero",
        given="all zero",
    )
    seen = vectors.T @ cross
    left = float(np.sum(root[count:, count:] ** 2) + np.sum(seen[~keep] ** 2))
    return _Decomposed(values[keep], rows[keep], targets=seen[keep], left=left)


def _by_squares(moments: Moments) -> _Decomposed:
    """From the moments alone, which know half as many digits."""
    s = np.asarray(moments.features, float)
    require(
        s.ndim == 2 and s.shape[0] == s.shape[1],
        "the feature moments",
        needed="a symmetric matrix",
        given=Words(f"shape {s.shape}"),
    )
    s = s / moments.sizes / moments.sizes[:, None]
    skew = float(np.abs(s - s.T).max())
    require(
        skew <= 1e-12 * np.abs(s).max(),
        "the feature moments",
        needed="a symmetric matrix",
        given=Words(f"a difference of {skew:.1e} of their size"),
    )
    squares, vectors = np.linalg.eigh(s)
    floor = max(squares[-1], 0) * len(s) * np.finfo(float).eps * 8
    require(
        squares[0] >= -max(floor, 1e-14),
        "the feature moments",
        needed="positive semi-definite",
        given=f"a lowest eigenvalue of {squares[0]:.2e}",
    )
    keep = squares > floor
    require(
        bool(keep.any()),
        "the feature moments",
        needed="non-zero",
        given="all zero",
    )
    cross = (moments.cross / moments.sizes) @ vectors
    outside = float(np.linalg.norm(cross[:, ~keep]))
    where = "outside the range of E[l l'], features of size one"
    require(
        outside <= 1e-8 * float(np.linalg.norm(cross)),
        "the cross moments E[y l']",
        needed="zero where the feature is",
        given=Words(f"a part of norm {outside:.1e} {where}"),
    )
    values = np.sqrt(squares[keep])
    targets = cross[:, keep].T / values[:, None]
    left = moments.target - float(np.sum(targets**2))
    explained = moments.target - left
    require(
        left >= -1e-8 * moments.target,
        "the target moment E[|y|^2]",
        needed=f"at least {explained:.6g}, what the best map explains",
        given=moments.target,
    )
    return _Decomposed(values, vectors[:, keep].T, targets=targets, left=left)


def _reading(network: Network, exact: str) -> Network:
    """The network as it reads samples, or the feature whose moments replace them."""
    if exact in ("samples", "input"):
        return network
    return network.with_unit(0, network.layers[0].unit.lifted())


def _from_moments(network: Network, data: Data, moments: Moments) -> Objective:
    inputs, targets, constant = equivalent_samples(moments)
    if moments.feature == "input":
        inputs = inputs.reshape(len(inputs), *data.shape)
    output = _output_shape(network, data)
    require(
        math.prod(output) == targets.shape[1],
        "the output of the network",
        needed=f"of {targets.shape[1]} numbers, as the task's targets",
        given=f"shape {output}",
        remedy=CHECK,
    )
    targets = targets.reshape(len(targets), *output)
    doubt = None
    if moments.sway is not None:
        # targets = root S^+ E[l y'] with root root' diagonal.
        root = inputs.reshape(len(inputs), -1) / moments.sizes
        share = np.abs(np.linalg.pinv(root)).T * len(root) / moments.sizes
        doubt = (share @ moments.sway.T).reshape(targets.shape)
    return Objective(
        function=MeanLoss(
            network,
            _reading(network, moments.feature),
            loss=data.loss,
            shape=data.shape,
            outputs=data.outputs,
        ),
        inputs=inputs,
        targets=targets,
        constant=constant * data.loss.factor(output),
        exact=moments.feature,
        power=moments.target,
        doubt=doubt,
    )


def _from_samples(network: Network, data: Data) -> Objective:
    if data.inputs is None or data.targets is None:
        have = data.moments.feature if data.moments else "nothing"
        raise InputError(
            f"this task states moments of the feature {have!r} only, which this network"
            " does not live on; give it samples (sequences > 0 for in-context"
            " regression, noise = 0 for a linear teacher)"
        )
    output = _output_shape(network, data)
    require(
        output == data.targets.shape[1:],
        "the output of the network",
        needed=f"of the targets' shape {data.targets.shape[1:]}",
        given=output,
        remedy=CHECK,
    )
    function = MeanLoss(
        network,
        network,
        loss=data.loss,
        shape=data.shape,
        outputs=data.outputs,
    )
    return Objective(function, inputs=data.inputs, targets=data.targets)


def _output_shape(network: Network, data: Data) -> Shape:
    sample = jax.ShapeDtypeStruct(data.shape, jnp.float32)
    params = network.zeros(data.shape, data.outputs)
    return jax.eval_shape(network.apply, params, sample).shape
