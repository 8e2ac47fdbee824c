"""Each oracle has been seen to fail: the code is broken on purpose and the named test must go red.

A mutation replaces one function by a version with a wrong sign, factor, axis or count; the test it
names, which passes in its own file, must fail.
"""

from __future__ import annotations

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_curvature
import test_driver
import test_initializations
import test_networks
import test_objectives
import test_rules
import test_steepest
import test_tasks
import test_units

from saddlery import tasks
from saddlery.initializations import base as starts
from saddlery.initializations import unit_relations
from saddlery.networks import curvature, losses, objectives, tensors
from saddlery.networks import network as networks
from saddlery.rules import descent, flow
from saddlery.tasks import linear, regression
from saddlery.training import driver, loop
from saddlery.units import attention, base, convolution, in_context

LINEAR, QUADRATIC = "linear", "quadratic"


def wrong_phi(maker, phi):
    """The maker, returning the same unit with another phi."""
    return lambda *args, **kwargs: dataclasses.replace(maker(*args, **kwargs), phi=phi)


def conv_flipped(z, u):
    return convolution("linear", (2,)).phi(z, u[:, ::-1])


def attention_without_mean(z, u):
    return attention("linear").phi(z, u) * z.shape[0]


def in_context_reads_the_query(z, u):
    return (z[:, -1] @ z[:, :-1] / len(z)) @ (u[0] @ u[1].T) @ z[-1, :-1]


def blocks_without_identity(gram, v, features, incoming, real=curvature._blocks):
    vv, vu, uu = real(gram, v, features, incoming)
    return vv, -vu, uu


def moments_without_constant(moments, real=objectives.equivalent_samples):
    inputs, targets, _ = real(moments)
    return inputs, targets, 0.0


def samples_without_count(moments, real=objectives.equivalent_samples):
    inputs, targets, constant = real(moments)
    return inputs / np.sqrt(len(inputs)), targets / np.sqrt(len(inputs)), constant


def gram_of_sums(phi, slope, real=curvature._gram):
    return real(phi, slope) * phi.shape[1]


def mix_mean(features, v, mixed, real=networks.mix):
    return real(features, v, mixed) / len(v)


def channels_last(self, params, index):
    after = params[index + 1]["u"]
    extra, width = self.layers[index + 1].unit.extra, self.layers[index].width
    flat = after.reshape(len(after), -1)
    tied = flat.shape[1] - extra
    return jnp.moveaxis(flat[:, :tied].reshape(len(after), -1, width), 2, 1), flat[:, tied:]


def moment_without_trace(covariance, length):
    return covariance @ covariance + covariance @ covariance / length


def draw_unpaired(samples, key, size):
    inputs, targets, constant = samples
    chosen = jax.random.randint(key, (size,), 0, len(inputs))
    return inputs[chosen], targets[chosen[::-1]], constant


def balanced_on_squares(params):
    u, v = unit_relations._sides(params)
    ratio = np.sum(u**2, axis=1) / np.sum(v**2, axis=1)
    return {**params, "v": (v * ratio[:, None]).reshape(params["v"].shape)}


def uphill(gradient, key):
    import diffrax

    return diffrax.ODETerm(lambda _, theta, __: 0.99 * -gradient(theta, key))


def one_step_late(self, walker, gradient, *rest, real=descent.Descent.stride):
    moved, kept = real(self, walker, gradient, *rest)
    return moved._replace(theta=moved.theta - 1e-3 * self.learning_rate * walker.gradient), kept


def stop_late(carry, limits, real=loop.finished):
    return real({**carry, "loss": 2 * carry["loss"]}, limits)


def whitened_by_n_minus_one(rng, samples, dimension, real=tasks.base.whitened):
    return real(rng, samples, dimension) * np.sqrt(samples / max(samples - 1, 1))


def heads_side_by_side(block, shapes, *, own, real=tensors._incoming):
    return real(block, shapes, own=False)


def features_of_a_unit_in_a_row(block, shapes, outputs, *, own, real=tensors._outgoing):
    for tensor in real(block, shapes, outputs, own=own):
        matrices, inputs, columns = tensor.stack
        stack = (matrices, block.rows, inputs * columns // block.rows)
        yield dataclasses.replace(tensor, stack=stack)


MUTATIONS = {
    "matrices: keys and queries of heads side by side": (
        tensors,
        "_incoming",
        heads_side_by_side,
        lambda: test_steepest.test_a_step_of_spectral_descent_by_a_loop_over_tensors("own heads"),
    ),
    "matrices: the features of a kernel in a row": (
        tensors,
        "_outgoing",
        features_of_a_unit_in_a_row,
        lambda: test_steepest.test_a_step_of_spectral_descent_by_a_loop_over_tensors("kernels"),
    ),
    "squared loss without its half": (
        losses.LOSSES["squared"],
        "function",
        lambda y, f: jnp.sum((y - f) ** 2),
        lambda: test_objectives.test_losses_by_loops("squared"),
    ),
    "cross-entropy of the wrong sign": (
        losses.LOSSES["cross_entropy"],
        "function",
        lambda y, f: jnp.sum(y * jax.nn.log_softmax(f)),
        lambda: test_objectives.test_losses_by_loops("cross_entropy"),
    ),
    "moments: constant dropped": (
        objectives,
        "equivalent_samples",
        moments_without_constant,
        lambda: test_objectives.test_moments_equal_their_samples(LINEAR),
    ),
    "moments: sum for mean": (
        objectives,
        "equivalent_samples",
        samples_without_count,
        lambda: test_objectives.test_moments_equal_their_samples(QUADRATIC),
    ),
    "in context: trace dropped": (
        regression,
        "second_moment_of_covariance",
        moment_without_trace,
        test_objectives.test_population_moments_by_simulation,
    ),
    "batches: targets of other samples": (
        test_objectives,
        "draw_batch",
        draw_unpaired,
        test_objectives.test_batches_are_drawn_from_the_samples,
    ),
    "convolution: kernel flipped": (
        test_units,
        "convolution",
        wrong_phi(convolution, conv_flipped),
        lambda: test_units.test_convolution("linear", (1, 5), (2,), 1),
    ),
    "attention: mean dropped": (
        test_units,
        "attention",
        wrong_phi(attention, attention_without_mean),
        lambda: test_units.test_attention("linear", 1),
    ),
    "in context: query among the pairs": (
        test_units,
        "in_context",
        wrong_phi(in_context, in_context_reads_the_query),
        lambda: test_units.test_in_context("linear", 1),
    ),
    "leading form: factorial dropped": (
        base,
        "_derivative",
        lambda function, divisor: lambda e: jax.jvp(function, (e,), (jnp.ones_like(e),))[1],
        lambda: test_units.test_leading_form_by_finite_differences(QUADRATIC, {}),
    ),
    "dense: leak of the wrong slope": (
        importlib.import_module("saddlery.units.dense"),
        "LEAK",
        0.2,
        lambda: test_units.test_dense("leaky_relu", False),
    ),
    "network: mean over units": (
        networks,
        "mix",
        mix_mean,
        lambda: test_networks.test_apply_by_loops("dense"),
    ),
    "network: channels on the wrong axis": (
        networks.Network,
        "_channels",
        channels_last,
        test_networks.test_outgoing_of_a_chained_layer_in_closed_form,
    ),
    "Hessian: sign of the mixed block": (
        curvature,
        "_blocks",
        blocks_without_identity,
        lambda: test_curvature.test_single_layers("tanh bias"),
    ),
    "Hessian: sum for mean": (
        curvature,
        "_gram",
        gram_of_sums,
        lambda: test_curvature.test_single_layers("conv relu"),
    ),
    "initialization: squares balanced": (
        starts,
        "balanced",
        balanced_on_squares,
        lambda: test_initializations.test_balanced(test_networks.NETWORKS["conv 1-D"][0], (2, 5)),
    ),
    "task: inputs whitened by N - 1": (
        test_tasks,
        "whitened",
        whitened_by_n_minus_one,
        lambda: test_tasks.test_whitened(17, 3),
    ),
    "task: teacher transposed": (
        linear,
        "orthogonal",
        lambda rng, rows, columns: np.ones((rows, columns)) / rows,
        lambda: test_tasks.test_singular_values_as_asked((1.0, 0.4), 2, 2, True),
    ),
    "flow: one percent slow": (
        flow,
        "_descent_field",
        uphill,
        lambda: test_rules.test_exponential_decay("tsit5"),
    ),
    "descent: a little momentum": (
        descent.Descent,
        "stride",
        one_step_late,
        test_rules.test_gradient_descent,
    ),
    "stop: loss compared with twice the limit": (
        loop,
        "finished",
        stop_late,
        lambda: test_driver.test_stops(
            test_driver.STEPS, driver.Stop(flow_time=100.0, loss=1e-2), "asked 0.01"
        ),
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_code_is_noticed(name, monkeypatch, fresh_programs):
    owner, attribute, broken, oracle = MUTATIONS[name]
    if dataclasses.is_dataclass(owner) and not isinstance(owner, type):  # frozen
        before = getattr(owner, attribute)
        object.__setattr__(owner, attribute, broken)
        try:
            with pytest.raises(AssertionError):
                oracle()
        finally:
            object.__setattr__(owner, attribute, before)
        return
    monkeypatch.setattr(owner, attribute, broken)
    with pytest.raises(AssertionError):
        oracle()
