"""Ensembles of one job, beside what people write by hand: a 10-50-5 network on 200 samples,
full-batch descent at rate 0.005, the loss of every seed every 10 steps.

Of the same kind are compared: passes over the data (PyTorch one seed at a time, torch.func vmap,
JAX scan under vmap and in chunks under lax.map, NumPy), and sufficient statistics (NumPy and JAX),
for linear units; passes over the data for tanh. All in float64, from weights of the same law, CPU
seconds in turns on one thread. Peers that pass over the data are timed on fewer steps (a step of
theirs always costs the same), the PyTorch loop on a few seeds too; saddlery takes all of its steps,
on fewer seeds for tanh. The peers keep the losses; saddlery keeps losses, gradient norms and states
where the run moves.

usage: ensembles.py [SEEDS] [--peer-steps N] [--steps N] [--repeats N]
"""

from __future__ import annotations

import os

os.environ.pop("OPENBLAS_CORETYPE", None)  # where set, it slows the NumPy peers
import argparse
import gc
import json
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import Bench

from saddlery import Experiment, Initialization, Layer, Network
from saddlery.engines.base import answer_at_once
from saddlery.networks import Data
from saddlery.plateaus import stages
from saddlery.rules import GradientDescent
from saddlery.runs import train_many
from saddlery.runs.run import prepare
from saddlery.tasks import Task
from saddlery.training import Stop
from saddlery.units import dense

INPUTS, WIDTH, OUTPUTS, SAMPLES = 10, 50, 5, 200
RATE, EVERY = 0.005, 10


@dataclass(frozen=True)
class Job(Task):
    """White inputs and a linear teacher of five modes, the same for all seeds."""

    kind = "ensemble_job"
    seeded = False

    def data(self, seed: int) -> Data:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((SAMPLES, INPUTS))
        x = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / SAMPLES)).T
        q, r = (
            np.linalg.qr(rng.standard_normal((n, n)))[0][:, :OUTPUTS] for n in (OUTPUTS, INPUTS)
        )
        return Data((INPUTS,), OUTPUTS, x, x @ (r * (2.0, 1.0, 0.5, 0.25, 0.125)) @ q.T)


def experiments(unit: str, seeds: int, steps: int, moments: bool) -> list[Experiment]:
    base = Experiment(
        Job(),
        Network((Layer(dense(unit), WIDTH),)),
        Stop(steps=steps),
        Initialization(scale=1e-3),
        GradientDescent(RATE),
        moments=None if moments else False,
    )
    return [base.replace(seed=seed) for seed in range(seeds)]


def ours(unit: str, seeds: int, steps: int, moments: bool, looks: bool = False) -> np.ndarray:
    """The last loss of every seed. looks: with observables and stages."""
    return last_losses(experiments(unit, seeds, steps, moments), looks)


def last_losses(made: list[Experiment], looks: bool) -> np.ndarray:
    last = np.zeros(len(made))
    for k, run in train_many(made, observables=looks):
        last[k] = run.final_loss  # type: ignore[union-attr]
        if looks:
            stages(run)  # type: ignore[arg-type]
    return last


# ------------------------------------------------------------------------ the peers
def given(seeds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets, and the weights u (S, H, D) and v (S, H, O) of the same seeds."""
    data = Job().data(0)
    assert data.inputs is not None and data.targets is not None
    states = np.array([prepare(e).start for e in experiments("linear", seeds, 1, False)])
    u, v = states[:, : WIDTH * INPUTS], states[:, WIDTH * INPUTS :]
    return (
        data.inputs,
        data.targets,
        u.reshape(seeds, WIDTH, INPUTS),
        v.reshape(seeds, WIDTH, OUTPUTS),
    )


def numpy_data(
    x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, steps: int
) -> np.ndarray:
    """Analytic gradients over the samples, all seeds by np.matmul."""
    xt, yt, w = x.T.copy(), y.T.copy(), v.transpose(0, 2, 1).copy()
    losses = np.empty((len(u), steps // EVERY))
    for t in range(steps):
        h = u @ xt
        e = w @ h - yt
        if t % EVERY == 0:
            losses[:, t // EVERY] = 0.5 * (e * e).sum((1, 2)) / SAMPLES
        step = e @ h.transpose(0, 2, 1), (w.transpose(0, 2, 1) @ e) @ x
        w, u = w - (RATE / SAMPLES) * step[0], u - (RATE / SAMPLES) * step[1]
    return 0.5 * ((w @ (u @ xt) - yt) ** 2).sum((1, 2)) / SAMPLES


def numpy_statistics(
    x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, steps: int
) -> np.ndarray:
    """E[x x'] and E[y x'] in place of the samples."""
    w, xx, yx, yy = (
        v.transpose(0, 2, 1).copy(),
        x.T @ x / SAMPLES,
        y.T @ x / SAMPLES,
        float((y * y).sum() / SAMPLES),
    )
    loss = lambda m: 0.5 * (yy - 2 * (m * yx).sum((1, 2)) + ((m @ xx) * m).sum((1, 2)))
    losses = np.empty((len(u), steps // EVERY))
    for t in range(steps):
        m = w @ u
        if t % EVERY == 0:
            losses[:, t // EVERY] = loss(m)
        e = m @ xx - yx
        step = e @ u.transpose(0, 2, 1), w.transpose(0, 2, 1) @ e
        w, u = w - RATE * step[0], u - RATE * step[1]
    return loss(w @ u)


def jax_job(
    x: np.ndarray, y: np.ndarray, tanh: bool, statistics_: bool, steps: int
) -> Callable[[Any], Any]:
    """One seed's training as a scan; samples as columns, the faster layout."""
    xt, yt = jnp.asarray(x.T), jnp.asarray(y.T)
    if statistics_:
        xx, yx, yy = xt @ xt.T / SAMPLES, yt @ xt.T / SAMPLES, jnp.sum(yt * yt) / SAMPLES

        def loss(p: Any) -> Any:
            m = p[1] @ p[0]
            return 0.5 * (yy - 2 * jnp.sum(m * yx) + jnp.sum((m @ xx) * m))
    else:
        act = jnp.tanh if tanh else lambda a: a
        loss = lambda p: 0.5 * jnp.sum((p[1] @ act(p[0] @ xt) - yt) ** 2) / SAMPLES
    step = lambda p, _: (jax.tree.map(lambda w, g: w - RATE * g, p, jax.grad(loss)(p)), None)
    leap = lambda p, _: (jax.lax.scan(step, p, None, length=EVERY)[0], loss(p))

    def train(p: Any) -> Any:
        p, curve = jax.lax.scan(leap, p, None, length=steps // EVERY)
        return curve, loss(p)

    return train


def jax_vmap(job: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return jax.jit(jax.vmap(job))


def jax_chunks(job: Callable[[Any], Any], size: int) -> Callable[[Any], Any]:
    return jax.jit(lambda p: jax.lax.map(job, p, batch_size=size))


def torch_loop(
    torch: Any, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, steps: int, tanh: bool
) -> np.ndarray:
    """What most people write: modules and an optimizer, seed by seed."""
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    act = torch.tanh if tanh else (lambda a: a)
    last = []
    for one, other in zip(u, v, strict=True):
        first = torch.nn.Linear(INPUTS, WIDTH, bias=False, dtype=tx.dtype)
        second = torch.nn.Linear(WIDTH, OUTPUTS, bias=False, dtype=tx.dtype)
        with torch.no_grad():
            first.weight.copy_(torch.from_numpy(one))
            second.weight.copy_(torch.from_numpy(other.T.copy()))
        optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=RATE)
        losses = []
        for t in range(steps):
            optimizer.zero_grad()
            loss = 0.5 * ((second(act(first(tx))) - ty) ** 2).sum() / SAMPLES
            if t % EVERY == 0:
                losses.append(loss.item())
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            last.append(float(0.5 * ((second(act(first(tx))) - ty) ** 2).sum() / SAMPLES))
    return np.array(last)


def torch_vmap(
    torch: Any, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, steps: int, tanh: bool
) -> np.ndarray:
    """torch.func: all seeds in one vmapped gradient."""
    xt, yt = torch.from_numpy(x.T.copy()), torch.from_numpy(y.T.copy())
    act = torch.tanh if tanh else (lambda a: a)
    loss = lambda p: 0.5 * ((p[1] @ act(p[0] @ xt) - yt) ** 2).sum() / SAMPLES
    both = torch.func.vmap(torch.func.grad_and_value(loss))
    p = torch.from_numpy(u.copy()), torch.from_numpy(v.transpose(0, 2, 1).copy())
    losses = []
    with torch.no_grad():
        for t in range(steps):
            slopes, values = both(p)
            if t % EVERY == 0:
                losses.append(values.numpy())
            p = tuple(w - RATE * g for w, g in zip(p, slopes, strict=True))
        return both(p)[1].numpy()


# ------------------------------------------------------------------------ the race
@dataclass(frozen=True)
class Entry:
    """A method: call(seeds, steps) -> last losses; how many of both it is timed on."""

    call: Callable[[int, int], Any]
    seeds: int
    steps: int


def race(bench: Bench, kind: str, entries: Mapping[str, Entry], repeats: int) -> dict[str, float]:
    """Median CPU microseconds a seed and step, in turns."""
    for entry in entries.values():
        entry.call(entry.seeds, entry.steps)
    seconds: dict[str, list[float]] = {name: [] for name in entries}
    for _ in range(repeats):
        for name, entry in entries.items():
            gc.collect()
            begin = time.process_time()
            entry.call(entry.seeds, entry.steps)
            seconds[name].append(1e6 * (time.process_time() - begin) / (entry.seeds * entry.steps))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, entry in entries.items():
        bench.note(
            f"{kind}: {name}",
            us_a_seed_and_step=round(medians[name], 3),
            best=round(min(seconds[name]), 3),
            seeds=entry.seeds,
            steps=entry.steps,
        )
    return medians


def peers_on_data(torch: Any, seeds: int, steps: int, tanh: bool) -> dict[str, Entry]:
    x, y, u, v = given(seeds)
    p = jnp.asarray(u), jnp.asarray(v.transpose(0, 2, 1))
    job = jax_job(x, y, tanh, False, steps)
    compiled = lambda function: Entry(lambda s, t: np.asarray(function(p)[1]), seeds, steps)
    entries = {
        "JAX scan under vmap": compiled(jax_vmap(job)),
        "JAX lax.map, chunks of 1": compiled(jax_chunks(job, 1)),
        "JAX lax.map, chunks of 8": compiled(jax_chunks(job, 8)),
    }
    if not tanh:
        entries["NumPy, all seeds"] = Entry(lambda s, t: numpy_data(x, y, u, v, t), seeds, steps)
    if torch is not None:
        few, short = min(2, seeds), min(steps, 500)
        entries["PyTorch loop"] = Entry(
            lambda s, t: torch_loop(torch, x, y, u[:s], v[:s], t, tanh), few, short
        )
        entries["torch.func vmap"] = Entry(
            lambda s, t: torch_vmap(torch, x, y, u, v, t, tanh), seeds, 100
        )
    return entries


def peers_on_statistics(seeds: int, steps: int) -> dict[str, Entry]:
    x, y, u, v = given(seeds)
    p = jnp.asarray(u), jnp.asarray(v.transpose(0, 2, 1))
    job = jax_job(x, y, False, True, steps)
    compiled = lambda function: Entry(lambda s, t: np.asarray(function(p)[1]), seeds, steps)
    return {
        "NumPy, all seeds": Entry(lambda s, t: numpy_statistics(x, y, u, v, t), seeds, steps),
        "JAX scan under vmap": compiled(jax_vmap(job)),
        "JAX lax.map, chunks of 8": compiled(jax_chunks(job, 8)),
        "JAX lax.map, chunks of 32": compiled(jax_chunks(job, 32)),
    }


def compare(
    bench: Bench, kind: str, found: Mapping[str, float], loop: float | None, times: float
) -> None:
    """Our time against the best peer of the kind, and against the PyTorch loop."""
    peers = {k: v for k, v in found.items() if not k.startswith("saddlery") and k != "PyTorch loop"}
    best = min(peers, key=lambda name: peers[name])
    ratio = found["saddlery"] / peers[best]
    bench.demand(
        (
            f"{kind}: not slower than the best peer by hand, {best} (saddlery takes "
            f"{ratio:.2f} of its time)"
        ),
        ratio <= 1.1,
    )
    if loop is not None and times:
        bench.demand(
            (
                f"{kind}: at least {times:g} times as fast as the PyTorch loop "
                f"({loop / found['saddlery']:.0f} times)"
            ),
            loop >= times * found["saddlery"],
        )
    elif loop is not None:
        bench.note(f"{kind}: PyTorch loop over saddlery", times=round(loop / found["saddlery"], 1))


def agree(bench: Bench, seeds: int, steps: int) -> None:
    """The losses of ours are those of the NumPy peers from the same weights."""
    x, y, u, v = given(seeds)
    for moments, peer in ((False, numpy_data), (True, numpy_statistics)):
        off = np.abs(ours("linear", seeds, steps, moments) / peer(x, y, u, v, steps) - 1).max()
        bench.demand(
            f"{peer.__name__}: the same losses after {steps} steps (relative difference {off:.1e})",
            off < 1e-8,
        )


def flat(bench: Bench, most: int) -> None:
    """Cost a run and memory against the number of runs, 1,000 steps, each number's program compiled
    before. On statistics fewer runs than a chunk holds share the cost of a step among fewer, which
    is printed."""
    counts = [n for n in (8, 64, 512, 10_000) if n <= most]
    for moments in (False, True):
        costs, memory = [], []
        for count in counts:
            ours("linear", min(count, 64), 1000, moments)
            rounds = max(1, 256 // count)
            begin = time.process_time()
            for _ in range(rounds):
                ours("linear", count, 1000, moments)
            costs.append(1e3 * (time.process_time() - begin) / (rounds * count))
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            kind = "statistics" if moments else "data"
            bench.note(
                f"{kind}, {count} runs", cpu_ms_a_run=round(costs[-1], 3), peak_mb=round(memory[-1])
            )
        spread = max(costs) / min(costs)
        words = (
            f"cost a run from {counts[0]} to {counts[-1]} runs: largest over smallest {spread:.2f}"
        )
        if moments:
            bench.note(f"statistics: {words}")
        else:
            bench.demand(f"data: {words}, flat within 20%", spread < 1.2)
            words = (
                f"memory is flat: {memory[1]:.0f} MB with 64 runs, "
                f"{memory[-1]:.0f} with {counts[-1]}"
            )
            bench.demand(words, memory[-1] < 1.2 * memory[1] + 20)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seeds", type=int, nargs="?", default=512)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--data-steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--runs", type=int, default=10_000, help="of the largest ensemble of the test of flatness"
    )
    options = parser.parse_args()
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        torch = None
        print(json.dumps({"skipped": "PyTorch peers, since torch is not installed"}))
    seeds, steps, short, repeats = options.seeds, options.steps, options.data_steps, options.repeats
    bench = Bench("ensembles")
    flat(bench, options.runs)  # first, while the largest memory so far is its own
    agree(bench, min(seeds, 32), 2000)
    entry = lambda unit, s, t, moments, **more: Entry(
        lambda n, m: ours(unit, n, m, moments, **more), s, t
    )
    loops = {}
    for unit in ("linear", "tanh"):
        entries = peers_on_data(torch, seeds, short, unit == "tanh")
        entries["saddlery"] = entry(
            unit, seeds if unit == "linear" else min(seeds, 64), steps, False
        )
        found = race(bench, f"{unit}, data", entries, repeats)
        loops[unit] = found.get("PyTorch loop")
        compare(bench, f"{unit}, data", found, loops[unit], 10 if unit == "linear" else 0)
    entries = {**peers_on_statistics(seeds, steps), "saddlery": entry("linear", seeds, steps, True)}
    found = race(bench, "linear, statistics", entries, repeats)
    compare(bench, "linear, statistics", found, loops["linear"], 100)
    few = min(seeds, 64)
    for unit, moments in (("tanh", False), ("linear", False), ("linear", True)):
        pair = {
            name: entry(unit, few, steps, moments, looks=name == "saddlery with looks")
            for name in ("saddlery", "saddlery with looks")
        }
        kind = f"{unit}, {'statistics' if moments else 'data'}"
        plain, looked = race(bench, kind, pair, 1 if unit == "tanh" else repeats).values()
        more = looked / plain - 1
        words = (
            f"{kind}: stages and observables cost {100 * more:.0f}% more, "
            f"{1e-3 * (looked - plain) * steps:.1f} ms a run"
        )
        if moments:
            bench.note(words)
        else:
            bench.demand(words, more < 0.15)
    bench.finish()


if __name__ == "__main__":
    answer_at_once()  # as in the workers of a sweep; it is the same for the peers
    with jax.enable_x64(True):
        main()
