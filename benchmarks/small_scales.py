"""What small initial weights cost: the adaptive flow, alternating gradient flows and gradient
descent side by side.

From scale 1e-2 to 1e-12, to flow time (ln(1/scale) + 10) / smallest mode: the flow and AGF at the
same tolerance, for linear and ReLU units; the implicit flow and AGF for quadratic units, whose
plateaus last as 1/scale. And gradient descent whose states along the path are as near to the exact
ones as the flow's (of relative tolerance 1e-4: to be as near as one of 1e-6, descent needs a
thousand million steps).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from common import Bench

from saddlery import Experiment, Initialization
from saddlery.networks import Layer, Network, Objective, objective
from saddlery.rules import AlternatingFlow, GradientFlow, Rule
from saddlery.tasks import LinearTeacher
from saddlery.training import Stop, Trajectory
from saddlery.training.driver import run
from saddlery.units import dense

TOLERANCE = 1e-7
SCALES = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12)


def job(e: Experiment, rule: Rule, time: float) -> Callable[[], Trajectory]:
    subject = e.objective()
    loss, samples, start, bound = (
        subject.function,
        subject.samples,
        e.initial_state(),
        rule.bound(subject.parts),
    )
    return lambda: run(loss, samples, start, bound, Stop(flow_time=time))


def scales(bench: Bench, name: str, slowest: float) -> None:
    """Cost against scale where plateaus last as ln(1/scale)."""
    calls, steps = {}, []
    for scale in SCALES:
        e = Experiment.named(name).replace(initialization=Initialization(scale=scale))
        time = (np.log(1 / scale) + 10) / slowest
        for rule in (GradientFlow(TOLERANCE), AlternatingFlow(relative_tolerance=TOLERANCE)):
            call = calls[f"{name}, scale {scale:g}: {rule.kind}"] = job(e, rule, time)
            steps.append(int(call().step[-1]))
    flow, agf = np.reshape(bench.race(calls, repeats=25), (-1, 2)).T
    flow_steps, agf_steps = np.reshape(steps, (-1, 2)).T
    logs = np.log(1 / np.array(SCALES))
    growth = flow / flow[0] / (logs / logs[0])
    bench.demand(
        (
            f"{name}: the flow's cost grows no faster than ln(1/scale) (at most "
            f"{growth.max():.2f} times that)"
        ),
        growth.max() < 1.1,
    )
    spread = lambda cost: cost[1:].max() / cost[1:].min()
    bench.demand(
        f"{name}: AGF's cost does not depend on the scale below 1e-2 (largest over smallest"
        f" {spread(agf):.2f},"
        f" {spread(agf_steps):.2f} in steps; of the flow {spread(flow):.2f},"
        f" {spread(flow_steps):.2f})",
        spread(agf) < 1.3,
    )
    ratios = flow[2:] / agf[2:]
    bench.demand(
        (
            f"{name}: AGF is faster than the flow at every scale below 1e-4 ({ratios.min():.2f} "
            f"to {ratios.max():.2f} times)"
        ),
        ratios.min() > 1,
    )


def powers(bench: Bench) -> None:
    """Quadratic units: plateaus last as 1/scale, too long for an explicit solver."""
    found = []
    for scale in (1e-3, 1e-4, 1e-5):
        e = Experiment.named("quadratic").replace(initialization=Initialization(scale=scale))
        rules = {
            "flow (implicit)": GradientFlow(TOLERANCE, solver="kvaerno5"),
            "agf": AlternatingFlow(),
        }
        calls = {
            f"quadratic, scale {scale:g}: {label}": job(e, rule, 1 / scale)
            for label, rule in rules.items()
        }
        found.append(
            bench.race(calls, repeats=3, steps=[int(call().step[-1]) for call in calls.values()])
        )
    ratios = np.divide(*np.array(found).T)
    bench.demand(
        (
            f"quadratic: AGF is faster than the implicit flow ({ratios.min():.1f} to "
            f"{ratios.max():.1f} times)"
        ),
        ratios.min() > 1,
    )


def descent(bench: Bench) -> None:
    """10-50-5 linear: compiled gradient descent with so small a rate that its error along the path
    is the flow's."""
    data = LinearTeacher((2.0, 1.0, 0.5, 0.25, 0.125), inputs=10).data(0)
    subject = objective(Network((Layer(dense("linear"), 50),)), data)
    theta = Initialization(scale=1e-3).draw(subject.network, data.shape, data.outputs, 0)
    times = np.arange(2.5, 50.1, 2.5)

    def path(rule: Rule) -> np.ndarray:
        ends = (
            run(subject.function, subject.samples, theta, rule, Stop(flow_time=float(t))).states[-1]
            for t in times
        )
        return np.array(list(ends))

    exact = path(GradientFlow(1e-12, solver="dopri8"))
    rule = GradientFlow(1e-4)
    error = float(np.abs(path(rule) - exact).max())
    ours = bench.measure(
        "10-50-5 to T = 50: adaptive flow",
        lambda: run(subject.function, subject.samples, theta, rule, Stop(flow_time=50.0)),
        error=f"{error:.1e}",
    )
    per, off = (
        500,
        np.inf,
    )  # steps between two of the times; the error is of first order in the rate
    while off > error:
        per = int(per * min(4.0, 1.05 * off / error)) if np.isfinite(off) else per
        off = float(np.abs(descended(subject, theta, len(times), per) - exact).max())
    theirs = bench.measure(
        "10-50-5 to T = 50: gradient descent, compiled scan, at that error",
        lambda: descended(subject, theta, len(times), per),
        repeats=1,
        steps=per * len(times),
        error=f"{off:.1e}",
    )
    bench.demand(
        (
            "the flow is at least 20 times faster than descent at equal error "
            f"({theirs / ours:.0f} times)"
        ),
        theirs > 20 * ours,
    )


_COMPILED: dict[tuple[int, int], object] = {}


def descended(subject: Objective, theta: np.ndarray, looks: int, per: int) -> np.ndarray:
    """The states of descent at so many equal times, `per` steps between two."""
    if (looks, per) not in _COMPILED:
        rate, samples = 2.5 / per, subject.samples
        step = lambda t, _: (t - rate * jax.grad(subject.function)(t, samples), None)
        leap = lambda t, _: (jax.lax.scan(step, t, None, length=per)[0],) * 2
        _COMPILED[looks, per] = jax.jit(lambda t: jax.lax.scan(leap, t, None, length=looks)[1])
    return np.asarray(_COMPILED[looks, per](jnp.asarray(theta)))  # type: ignore[operator]


if __name__ == "__main__":
    with jax.enable_x64(True):
        bench = Bench("small_scales")
        scales(bench, "linear", 0.4)
        scales(bench, "relu", 0.35)
        powers(bench)
        descent(bench)
        bench.finish()
