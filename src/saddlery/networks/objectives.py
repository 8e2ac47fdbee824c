"""An objective: the loss of a network on data, as a function of one flat parameter vector.

Where the network is polynomial in its units and the loss is squared, the data enter only through
second moments of a feature l(z). Any data with the same moments give the same loss, gradient and
Hessian, so the samples are replaced by at most dim(l) *equivalent samples* (rows of a square root
of the feature moments) plus a constant: the cost of a step no longer depends on the number of
samples, and every other routine sees ordinary samples.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

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

SMALLEST = 1e-75  # of inputs and targets: its fourth power is 1e-300
CHECK = "check `outputs`, `reads` and `readout`"
Vector = Float[Array, " P"] | Float[np.ndarray, " P"]
Samples = tuple[Array, Array, Array]  # inputs (N, ...), targets (N, ...), constant


@dataclass(frozen=True, eq=False)
class Moments(Value):
    """Second moments of a feature l and targets y: all means over samples, not centred.

    feature: the name of the lift they belong to ("input" for z itself). features: E[l l'], (M, M).
    cross: E[y l'], (O, M). target: E[|y|^2]. sway: E[|y| (|l| + sum_k |z_k dl/dz_k|)'], (O, M), to
    whose last digit `cross` is known. root: the triangular factor R (K, M + O) of samples, R'R =
    E[(l, y)(l, y)'], which holds twice the digits of its square. Both are None where the moments
    are exact.
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

    inputs: (N, *shape); targets: (N, *output shape). moments: exact second moments where the task
        knows them.
    shape: of one input. outputs: numbers a sample (the last axis of a target). loss: see `losses`.
    """

    shape: Shape
    outputs: int
    inputs: np.ndarray | None = None
    targets: np.ndarray | None = None
    moments: Moments | None = None
    loss: Loss = SQUARED

    def __post_init__(self) -> None:
        require(
            self.moments is not None or self.inputs is not None,
            "data",
            "samples or moments",
            Words("neither"),
        )
        if self.moments is not None:
            _demand_size(np.sqrt(np.abs(np.diagonal(self.moments.features))), "inputs")
            _demand_size(np.sqrt(np.abs(np.asarray(self.moments.target))), "targets")
        if self.inputs is not None and self.targets is not None:
            finite(self.inputs, "inputs")
            finite(self.targets, "targets")
            _demand_size(self.inputs, "inputs")
            _demand_size(self.targets, "targets")
            require(
                len(self.inputs) == len(self.targets),
                "inputs and targets",
                "equally many",
                f"{len(self.inputs)} and {len(self.targets)}",
            )
            if self.loss.admit is not None:
                answer = self.loss.admit(self.targets)
                require(
                    answer is None,
                    f"`admit` of loss {self.loss.name!r}",
                    "a function that returns nothing",
                    answer,
                    "raise InputError for targets that have no such loss",
                )


def _demand_size(values: np.ndarray, what: str) -> None:
    """Raise InputError for numbers whose squares of squares float64 does not hold: losses and
    curvatures are of second order in inputs and targets, and their spectra take squares again."""
    largest = float(np.max(np.abs(values), initial=0.0))
    require(
        largest == 0 or SMALLEST <= largest <= 1 / SMALLEST,
        what,
        f"of a size between {SMALLEST:.0e} and {1 / SMALLEST:.0e}",
        Words(f"numbers of up to {largest:.2g}"),
        "standardise them: subtract the mean and divide by the standard deviation",
    )


@dataclass(frozen=True)
class MeanLoss:
    """loss(theta, (inputs, targets, constant)) = mean_n loss(y_n, f(x_n; theta)) + constant.

    Hashed by value: two objectives of the same architecture share every program compiled from it.
    `reading` is `network` as it reads the given inputs.
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
        return (
            jnp.mean(jax.vmap(self.loss.function)(targets, self.predict(theta, inputs))) + constant
        )


def draw_batch(samples: Samples, key: Array, size: int) -> Samples:
    """`size` samples drawn with replacement."""
    inputs, targets, constant = samples
    chosen = jax.random.randint(key, (size,), 0, len(inputs))
    return inputs[chosen], targets[chosen], constant


_loss = jax.jit(lambda f, theta, samples: f(theta, samples), static_argnums=0)
_gradient = jax.jit(lambda f, theta, samples: jax.grad(f)(theta, samples), static_argnums=0)
_hessian_vector = jax.jit(
    lambda f, theta, d, samples: jax.jvp(lambda t: jax.grad(f)(t, samples), (theta,), (d,))[1],
    static_argnums=0,
)
_predictions = jax.jit(lambda f, theta, inputs: f.predict(theta, inputs), static_argnums=0)
_squared_gaps = jax.jit(
    lambda f, thetas, inputs, target: jax.lax.map(
        lambda t: jnp.sum((f.predict(t, inputs) - target) ** 2), thetas
    ),
    static_argnums=0,
)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _responses(f: MeanLoss, theta: Array, inputs: Array, index: int) -> Array:
    params = unflatten(f.network, theta, f.shape, f.outputs)
    square = lambda z: jnp.sum(
        f.reading.features(params, z, index).reshape(f.network.widths[index], -1) ** 2, axis=1
    )
    return jnp.sqrt(jnp.mean(jax.vmap(square)(inputs), axis=0))


def _array(theta: Any) -> Any:
    """A list of numbers as an array; arrays, JAX's own too, as they are."""
    return theta if hasattr(theta, "shape") else numbers(theta, "theta")


@dataclass(frozen=True, eq=False, repr=False)
class Objective(Result):
    """loss(theta) = mean_n loss(y_n, f(x_n; theta)) + constant, for flat theta of P numbers, with
    its derivatives.

    function: the loss as a function of weights and samples. inputs (N, ...), targets (N, ...):
    samples, or equivalent samples. exact: "samples", or the name of the feature whose moments
    replace them. power: mean |y|^2 of the targets, which equivalent samples do not show; None to
    take it from `targets`. doubt: to the last digits of which numbers equivalent targets are known,
    where these are larger than the targets themselves. All methods are compiled once an
    architecture and return JAX arrays in the precision of the context they are called in.
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
        """(inputs, targets, constant), as the compiled functions take them; kept in each precision
        they were asked for."""
        key = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
        if key not in self._kept:
            with jax.ensure_compile_time_eval():
                self._kept[key] = (
                    jnp.asarray(self.inputs),
                    jnp.asarray(self.targets),
                    jnp.asarray(self.constant),
                )
        return self._kept[key]

    @functools.cached_property
    def _kept(self) -> dict[bool, Samples]:
        return {}

    def params(self, theta: Vector) -> Params:
        """The flat vector as the network's parameters; views of it, where it is a NumPy array."""
        return unflatten(self.network, theta, self.function.shape, self.function.outputs)

    @property
    def tensors(self) -> WeightTensors:
        """The weight tensors of the network by name, in the flat vector (see `weight_tensors`)."""
        return weight_tensors(self.network, self.function.shape, self.function.outputs)

    def loss(self, theta: Vector) -> Float[Array, ""]:
        """The mean loss plus the constant; cost: one pass over the samples, as for the gradient
        (three passes)."""
        return _loss(self.function, _array(theta), self.samples)

    def gradient(self, theta: Vector) -> Float[Array, " P"]:
        """dL/dtheta of the mean loss; cost: three passes over the samples."""
        return _gradient(self.function, _array(theta), self.samples)

    def hessian_vector(self, theta: Vector, d: Vector) -> Float[Array, " P"]:
        """(d^2 L / d theta^2) d without forming the Hessian; cost: about two gradients."""
        return _hessian_vector(self.function, _array(theta), _array(d), self.samples)

    def predictions(self, theta: Vector) -> Float[Array, "N ..."]:
        """f(x_n; theta) of every (equivalent) sample."""
        return _predictions(self.function, _array(theta), self.samples[0])

    def responses(self, theta: Vector, index: int) -> Float[np.ndarray, " H"]:
        """sqrt(mean_n |phi(z_n; u_i)|^2) of every unit of a layer; cost: one pass over the
        samples."""
        return np.asarray(_responses(self.function, _array(theta), self.samples[0], index))

    def with_network(self, network: Network) -> Objective:
        """The same data read by a network of other widths, its units of the same kinds."""
        f = self.function
        made = replace(
            self, function=replace(f, network=network, reading=_reading(network, self.exact))
        )
        made.__dict__["_kept"] = self._kept  # the data are the same
        return made

    @property
    def unseen(self) -> float:
        """mean |y|^2 of what no map explains and equivalent targets do not show: the constant is
        c/2 of it (see `Loss.factor`)."""
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
        power = np.sum(self.targets**2) / len(self.targets) if self.power is None else self.power
        return float(np.sqrt(power))

    @functools.cached_property
    def scales(self) -> Scales:
        """The natural sizes of weights, gradients and curvatures of this task (see
        `natural_scales`)."""
        with precision_context("float64"):
            origin = np.asarray(self.predictions(np.zeros(self.size)))
            excess = float(self.loss(np.zeros(self.size))) - self.constant
            seen = float(np.sum((self.targets - origin) ** 2)) / len(origin)
            distance = float(np.sqrt(seen + self.unseen))
            return natural_scales(self.predictions, self.gradient, self.size, distance, excess)

    @functools.cached_property
    def units(self) -> Float[np.ndarray, " P"]:
        """The natural unit of every weight (see `natural_units`): judgements are made of theta /
        units."""
        f = self.function
        with precision_context("float64"):
            origin = np.asarray(self.predictions(np.zeros(self.size)))
            learned = np.sqrt(np.sum((self.targets - origin) ** 2) / len(origin) + self.unseen)
        return natural_units(f.network, f.shape, f.outputs, self._input_sizes(), float(learned))

    @in_float64
    def _input_sizes(self) -> Float[np.ndarray, " D"] | float:
        """The size of an input's entries, one for all but where neurons read entries in very
        different units of measure."""
        unit, rows = self.network.layers[0].unit, self.inputs.reshape(len(self.inputs), -1)
        count, size = math.prod(self.function.shape), float(np.sqrt(np.mean(self.inputs**2)))
        degree = 1
        if self.exact not in (
            "samples",
            "input",
        ):  # of a feature, of which a unit is a form of its degree
            degree = unit.symmetry.degree or 1
        size **= 1.0 / degree
        if unit.shape(self.function.shape) != (count + unit.extra,):
            return size
        if self.exact not in ("samples", "input") and unit.lift is not None:
            rows = rows @ np.asarray(jax.vmap(unit.lift.coefficients)(jnp.eye(count))).T
        sizes = column_sizes(rows) ** (1.0 / degree)
        return sizes if sizes.max() > ALIKE * sizes.min() else size

    def units_at(self, theta: np.ndarray) -> Float[np.ndarray, " P"]:
        """The natural units, balanced as the units of a state (P,) are (see `balanced_units`)."""
        params, units = self.params(np.asarray(theta, float)), self.params(self.units)
        return flatten(balanced_units(self.network, params, units)) if self.size else self.units

    def gradient_units(self, theta: np.ndarray) -> tuple[Float[np.ndarray, " P"], float]:
        """In which units of the weights gradients are measured near a state (P,), and the factor
        that keeps to the task's scale:
        |factor units dL/dtheta| is held against `scales.gradient`.

        Where natural units differ, the gradient of one kind of weight alone, and its rounding,
        would decide about all.
        """
        units = self.units_at(theta)
        if np.all(units == units[:1]):
            return np.ones_like(units), 1.0
        return units, self.scales.gradient / self.standard.gradient

    @functools.cached_property
    def standard(self) -> Scales:
        """The natural sizes of weights and derivatives in natural units, theta / units."""
        s = self.units
        with precision_context("float64"):
            origin = np.asarray(self.predictions(np.zeros(self.size)))
            seen = float(np.sum((self.targets - origin) ** 2)) / len(origin)
            excess = float(self.loss(np.zeros(self.size))) - self.constant
            gradient = lambda t: s * np.asarray(self.gradient(s * t))
            distance = float(np.sqrt(seen + self.unseen))
            return natural_scales(
                lambda t: self.predictions(s * t), gradient, self.size, distance, excess
            )

    def map_error(self, f: np.ndarray, g: np.ndarray) -> float:
        """sqrt(mean_n |f_n - g_n|^2) over `target_scale`, for two sets of predictions."""
        return float(np.sqrt(np.sum((f - g) ** 2) / len(f)) / (self.target_scale or 1.0))

    def map_errors(self, thetas: Float[np.ndarray, "T P"], target: np.ndarray) -> np.ndarray:
        """The `map_error` of each of T states to the given predictions; one compiled call, a pass
        over the samples each."""
        gaps = np.asarray(_squared_gaps(self.function, thetas, self.samples[0], target))
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
        return self.objective.with_network(
            network.with_widths([1] * len(network.layers))
        ).scales.weights


def objective(network: Network, data: Data, *, moments: bool | None = None) -> Objective:
    """The objective of a network on data.

    moments: True to demand exact moments, False to forbid them, None to use them where they apply
    and save work. Raises InputError where moments are demanded and do not apply, or where the data
    hold neither form.
    """
    feature = feature_needed(network)
    possible = feature is not None and data.loss.quadratic
    given = (
        data.moments
        if possible and data.moments is not None and data.moments.feature == feature
        else None
    )
    if moments and not possible:
        raise InputError(
            "moments were asked for, but this network is not polynomial in one feature or the"
            " loss is not"
            " quadratic; train it on samples (moments = false)"
        )
    if moments is False or not possible:
        return _from_samples(network, data)
    if given is not None:
        return _from_moments(network, data, given)
    if data.inputs is None:
        return _from_samples(network, data)
    assert feature is not None
    if not moments and feature_count(network, data.shape) >= len(data.inputs):
        return _from_samples(network, data)
    return _from_moments(network, data, sample_moments(network, data, feature))


def feature_needed(network: Network) -> str | None:
    """The feature whose second moments suffice for this network: "input", the name of a lift, or
    None."""
    if network.reads == "all" and all(layer.unit.linear_in_input for layer in network.layers):
        return "input"
    unit = network.layers[0].unit
    after = all(
        layer.unit.linear_in_input for layer in network.layers[1:]
    )  # f stays linear in the feature
    alone = after and not network.readout and not network.layers[0].residual
    return unit.lift.name if alone and unit.lift is not None else None


def feature_count(network: Network, shape: Shape) -> int:
    """M, the entries of the feature whose second moments the network needs, for inputs of a
    shape."""
    lift = network.layers[0].unit.lift
    if lift is None or feature_needed(network) == "input":
        return int(np.prod(shape))
    return int(
        np.prod(jax.eval_shape(lift.features, jax.ShapeDtypeStruct(shape, jnp.float32)).shape)
    )


@in_float64
def sample_moments(network: Network, data: Data, feature: str) -> Moments:
    """The sample moments of the feature a network needs, in float64; cost 3 N M^2, and of a lift N
    M D."""
    assert data.inputs is not None and data.targets is not None
    lift = None if feature == "input" else network.layers[0].unit.lift
    flat = data.inputs.reshape(len(data.inputs), -1)
    rows = flat if lift is None else np.asarray(jax.vmap(lift.features)(jnp.asarray(data.inputs)))
    y = data.targets.reshape(len(rows), -1)
    n = len(rows)
    sway = np.abs(y).T @ (np.abs(rows) + _sways(lift, data.inputs)) / n
    root = np.linalg.qr(np.hstack([rows, y]), mode="r") / np.sqrt(n)
    return Moments(feature, rows.T @ rows / n, y.T @ rows / n, float(np.sum(y**2) / n), sway, root)


def _sways(lift: Lift | None, inputs: np.ndarray) -> np.ndarray:
    """sum_k |z_k dl_m/dz_k| (N, M): what one last digit of the inputs moves the features by."""
    if lift is None:
        return np.abs(inputs.reshape(len(inputs), -1))
    slopes = jax.jacfwd(lift.features)

    def own(z: Array) -> Array:
        moved = jnp.abs(slopes(z) * z)
        return jnp.sum(moved.reshape(len(moved), -1), axis=-1)

    return np.asarray(jax.jit(lambda rows: jax.lax.map(own, rows))(jnp.asarray(inputs)))


def input_moments(network: Network, data: Data) -> Moments:
    """The second moments of the inputs themselves: exact where the task states them, else of its
    samples."""
    if data.moments is not None and data.moments.feature == "input":
        return data.moments
    require(
        data.inputs is not None,
        "the task",
        "one that states samples or moments of its inputs",
        Words("neither"),
    )
    return sample_moments(network, data, "input")


def equivalent_samples(moments: Moments) -> tuple[np.ndarray, np.ndarray, float]:
    """(inputs, targets, constant) with the given moments: inputs = sqrt(r) S^(1/2) of rank r,
    targets = inputs W*'.

    W* = E[y l'] E[l l']^+ is the least-squares map and constant = 1/2 (E|y|^2 - <W*, E[y l']>) what
    no map removes. Directions in which features vanish to rounding, each in its own unit of
    measure, are dropped. Raises InputError if E[l l'] is not symmetric positive semi-definite, or
    the moments belong to no data.
    """
    values, rows, targets, left = (
        _by_squares(moments) if moments.root is None else _by_root(moments, moments.root)
    )
    rounding = 64 * np.finfo(float).eps * moments.target
    size = np.sqrt(len(values))
    return (
        size * values[:, None] * rows * moments.sizes,
        size * targets,
        0.5 * left if left > rounding else 0.0,
    )


def _by_root(
    moments: Moments, root: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Singular values (r,) and right vectors (r, M) of features of size one, E[u_k y'] (r, O) of
    the left ones, and what is left of E|y|^2: from the samples' triangular factor."""
    count = len(moments.features)
    vectors, values, rows = np.linalg.svd(root[:count, :count] / moments.sizes, full_matrices=False)
    keep = values > values[0] * count * np.finfo(float).eps * 8
    require(bool(values[0] > 0), "the feature moments", "non-zero", "all zero")
    seen = vectors.T @ root[:count, count:]
    left = float(np.sum(root[count:, count:] ** 2) + np.sum(seen[~keep] ** 2))
    return values[keep], rows[keep], seen[keep], left


def _by_squares(moments: Moments) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The same from the moments alone."""
    s = np.asarray(moments.features, float)
    require(
        s.ndim == 2 and s.shape[0] == s.shape[1],
        "the feature moments",
        "a symmetric matrix",
        Words(f"shape {s.shape}"),
    )
    s = s / moments.sizes / moments.sizes[:, None]
    skew = float(np.abs(s - s.T).max())
    words = Words(f"a difference of {skew:.1e} of their size")
    require(skew <= 1e-12 * np.abs(s).max(), "the feature moments", "a symmetric matrix", words)
    values, vectors = np.linalg.eigh(s)
    floor = max(values[-1], 0) * len(s) * np.finfo(float).eps * 8
    require(
        values[0] >= -max(floor, 1e-14),
        "the feature moments",
        "positive semi-definite",
        f"a lowest eigenvalue of {values[0]:.2e}",
    )
    keep = values > floor
    require(bool(keep.any()), "the feature moments", "non-zero", "all zero")
    cross = (moments.cross / moments.sizes) @ vectors
    outside = float(np.linalg.norm(cross[:, ~keep]))
    require(
        outside <= 1e-8 * float(np.linalg.norm(cross)),
        "the cross moments E[y l']",
        "zero where the feature is",
        Words(f"a part of norm {outside:.1e} outside the range of E[l l'], features of size one"),
    )
    values = np.sqrt(values[keep])
    targets = cross[:, keep].T / values[:, None]
    left = moments.target - float(np.sum(targets**2))
    require(
        left >= -1e-8 * moments.target,
        "the target moment E[|y|^2]",
        f"at least {moments.target - left:.6g}, what the best map explains",
        moments.target,
    )
    return values, vectors[:, keep].T, targets, left


def _reading(network: Network, exact: str) -> Network:
    return (
        network
        if exact in ("samples", "input")
        else network.with_unit(0, network.layers[0].unit.lifted())
    )


def _from_moments(network: Network, data: Data, moments: Moments) -> Objective:
    inputs, targets, constant = equivalent_samples(moments)
    if moments.feature == "input":
        inputs = inputs.reshape(len(inputs), *data.shape)
    output = _output_shape(network, data)
    require(
        math.prod(output) == targets.shape[1],
        "the output of the network",
        f"of {targets.shape[1]} numbers, as the task's targets",
        f"shape {output}",
        CHECK,
    )
    targets = targets.reshape(len(targets), *output)
    function = MeanLoss(
        network, _reading(network, moments.feature), data.loss, data.shape, data.outputs
    )
    doubt = None
    if moments.sway is not None:
        root = (
            inputs.reshape(len(inputs), -1) / moments.sizes
        )  # targets = root S^+ E[l y'], root root' = diagonal
        share = np.abs(np.linalg.pinv(root)).T * len(root) / moments.sizes
        doubt = (share @ moments.sway.T).reshape(targets.shape)
    constant *= data.loss.factor(output)
    return Objective(function, inputs, targets, constant, moments.feature, moments.target, doubt)


def _from_samples(network: Network, data: Data) -> Objective:
    if data.inputs is None or data.targets is None:
        have = data.moments.feature if data.moments else "nothing"
        raise InputError(
            f"this task states moments of the feature {have!r} only, which this network does not"
            " live on;"
            " give it samples (sequences > 0 for in-context regression, noise = 0 for a linear"
            " teacher)"
        )
    output = _output_shape(network, data)
    require(
        output == data.targets.shape[1:],
        "the output of the network",
        f"of the targets' shape {data.targets.shape[1:]}",
        output,
        CHECK,
    )
    function = MeanLoss(network, network, data.loss, data.shape, data.outputs)
    return Objective(function, np.asarray(data.inputs, float), np.asarray(data.targets, float))


def _output_shape(network: Network, data: Data) -> Shape:
    return jax.eval_shape(
        network.apply,
        network.zeros(data.shape, data.outputs),
        jax.ShapeDtypeStruct(data.shape, jnp.float32),
    ).shape
