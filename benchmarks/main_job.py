"""The main job's speeds at 750 parameters (10-50-5), each beside a plain loop in the same run.

Dense Hessian by the structure of a sum of units against jax.hessian and against a loop of
Hessian-vector products; a whole certificate; the adaptive flow to T = 50 against gradient descent
with a Python loop and with a compiled scan.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from common import Bench

from saddlery import Experiment, Initialization, certify, train
from saddlery.networks import Layer, Network, draw_batch, hessian, objective
from saddlery.rules import GradientFlow
from saddlery.saddles import certify_state
from saddlery.tasks import LinearTeacher, Teacher
from saddlery.training import Stop, Trajectory
from saddlery.training.driver import run
from saddlery.units import dense


def hessians(bench: Bench, name: str) -> None:
    task = Teacher(name, 3, (10,), outputs=5, samples=200)
    subject = objective(Network((Layer(dense(name), 50),)), task.data(0), moments=False)
    theta = jnp.asarray(Initialization(scale=0.3).draw(subject.network, (10,), 5, 0))
    ours = bench.measure(
        f"{name}: sum-of-units Hessian",
        lambda: hessian(subject, theta),
        parameters=750,
        samples=200,
    )
    plain = jax.jit(lambda t: jax.hessian(subject.function)(t, subject.samples))
    theirs = bench.measure(f"{name}: jax.hessian", lambda: plain(theta).block_until_ready())
    columns = np.eye(750)
    loop = bench.measure(
        f"{name}: loop of Hessian-vector products",
        lambda: [np.asarray(subject.hessian_vector(theta, d)) for d in columns],
        repeats=1,
    )
    error = np.abs(np.asarray(plain(theta)) - hessian(subject, theta)).max()
    bench.demand(
        f"{name}: dense Hessian of 750 parameters under 50 ms ({1e3 * ours:.1f} ms)", ours < 0.05
    )
    bench.demand(
        (
            f"{name}: faster than jax.hessian ({theirs / ours:.1f} times) and the loop "
            f"({loop / ours:.0f} times)"
        ),
        ours < min(theirs, loop),
    )
    bench.demand(f"{name}: the same matrix (largest difference {error:.1e})", error < 1e-12)


def certificate(bench: Bench) -> None:
    task = LinearTeacher((2.0, 1.0, 0.5, 0.25, 0.125), inputs=10)
    e = Experiment.named("linear").replace(
        task=task, initialization=Initialization(scale=1e-9), stop=Stop(flow_time=800.0)
    )
    found = certify(train(e))
    subject, stage = e.objective(), found[2]
    state = np.asarray(found.run.trajectory.states[stage.index])
    seconds = bench.measure(
        "certificate, 750 parameters",
        lambda: certify_state(subject, state, tolerance=stage.tolerance),
        repeats=3,
    )
    bench.demand(f"a certificate under 1 s ({seconds:.2f} s)", seconds < 1.0)


def flows(bench: Bench) -> None:
    task = LinearTeacher((2.0, 1.0, 0.5, 0.25, 0.125), inputs=10)
    data = task.data(0)
    subject = objective(Network((Layer(dense("linear"), 50),)), data)
    theta = Initialization(scale=1e-3).draw(subject.network, data.shape, data.outputs, 0)

    def final(rule: GradientFlow, time: float = 50.0) -> Trajectory:
        return run(
            subject.function, subject.samples, theta, rule, Stop(flow_time=time), batch=draw_batch
        )

    exact = GradientFlow(relative_tolerance=1e-12, solver="dopri8")
    trajectory, truth = final(GradientFlow(relative_tolerance=1e-7)), final(exact).states[-1]
    # along the whole path: every fifth saved point against a tight solve that ends exactly there
    error = max(
        float(
            np.abs(
                trajectory.states[k] - final(exact, float(trajectory.flow_time[k])).states[-1]
            ).max()
        )
        for k in range(5, len(trajectory.loss), 5)
    )
    ours = bench.measure(
        "adaptive flow to T = 50",
        lambda: final(GradientFlow(relative_tolerance=1e-7)),
        steps=int(trajectory.step[-1]),
        error=f"{error:.1e}",
    )
    steps = 10_000
    gradient = jax.grad(subject.function)
    step = jax.jit(lambda t: t - 50.0 / steps * gradient(t, subject.samples))
    scan = jax.jit(lambda t: jax.lax.scan(lambda s, _: (step(s), None), t, None, length=steps)[0])
    off = float(np.abs(np.asarray(scan(jnp.asarray(theta))) - truth).max())

    def loop() -> jax.Array:
        t = jnp.asarray(theta)
        for _ in range(steps):
            t = step(t)
        return t.block_until_ready()

    plain = bench.measure(
        "gradient descent, Python loop", loop, repeats=1, steps=steps, error=f"{off:.1e}"
    )
    compiled = bench.measure(
        "gradient descent, compiled scan",
        lambda: scan(jnp.asarray(theta)).block_until_ready(),
        repeats=3,
        steps=steps,
        error=f"{off:.1e}",
    )
    bench.demand(
        f"trajectory error below 1e-6 ({error:.1e}; gradient descent {off:.1e})", error < 1e-6
    )
    bench.demand(f"flow to T = 50 in under 0.1 s ({ours:.3f} s)", ours < 0.1)
    bench.demand(
        (
            f"faster than the compiled scan ({compiled / ours:.1f} times) and the Python loop "
            f"({plain / ours:.0f} times)"
        ),
        ours < compiled < plain,
    )


if __name__ == "__main__":
    with jax.enable_x64(True):
        bench = Bench("main_job")
        for unit in ("linear", "tanh", "relu"):
            hessians(bench, unit)
        certificate(bench)
        flows(bench)
        bench.finish()
