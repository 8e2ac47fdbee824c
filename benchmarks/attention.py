"""In-context linear attention, D = 8, 9 heads of rank one, 80,000 sequences of 32 pairs, 20,000
full-batch steps: exact moments of the cubic feature beside a PyTorch loop over the sequences, timed
on a few steps. Losses are compared step by step.

usage: attention.py [SEQUENCES] [STEPS]
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import jax
import numpy as np
from common import Bench

from saddlery import Experiment, Initialization, Layer, Network, train
from saddlery.rules import GradientDescent
from saddlery.tasks import InContextRegression
from saddlery.training import Stop
from saddlery.units import make

D, HEADS, LENGTH, RATE, COMPARED, BLOCK = 8, 9, 32, 0.02, 4, 4000
VALUES = tuple(float(v) for v in 8 / np.arange(1, D + 1) / np.sum(1 / np.arange(1, D + 1)))


def experiment(sequences: int, steps: int) -> Experiment:
    return Experiment(
        InContextRegression(VALUES, length=LENGTH, sequences=sequences),
        Network((Layer(make("in_context_linear", rank=1), HEADS),)),
        Stop(steps=steps),
        Initialization(scale=0.4),
        GradientDescent(RATE),
    )


def torch_losses(
    torch: Any, prompts: np.ndarray, answers: np.ndarray, u: np.ndarray, v: np.ndarray, steps: int
) -> list[float]:
    """Full-batch descent over all sequences, blocks of them at a time, heads by their keys, queries
    and values."""
    key, query = (torch.tensor(u[:, k, :, 0].copy(), requires_grad=True) for k in (0, 1))
    value = torch.tensor(v[:, 0].copy(), requires_grad=True)
    optimizer = torch.optim.SGD([key, query, value], lr=RATE)
    blocks = [
        tuple(torch.tensor(a[k : k + BLOCK].copy()) for a in (prompts, answers))
        for k in range(0, len(prompts), BLOCK)
    ]
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for z, y in blocks:
            x, targets, asked = z[:, :-1, :-1], z[:, :-1, -1], z[:, -1, :-1]
            scores = torch.einsum("pnd,hd->phn", x, key) * (asked @ query.T)[:, :, None]
            heads = torch.einsum("phn,pn->ph", scores, targets) / x.shape[1]
            loss = 0.5 * ((y[:, 0] - heads @ value) ** 2).sum() / len(prompts)
            loss.backward()
            total += loss.item()
        losses.append(total)
        optimizer.step()
    return losses


def main() -> None:
    sequences = int(sys.argv[1]) if len(sys.argv) > 1 else 80_000
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    bench = Bench("attention")
    e = experiment(sequences, steps)
    begin = time.perf_counter()
    run = train(e)
    ours = time.perf_counter() - begin
    bench.note(
        "saddlery, sampling, moments and compiling included",
        seconds=round(ours, 2),
        steps=steps,
        data=f"moments of {run.data}",
        last_loss=run.final_loss,
    )
    begin = time.perf_counter()
    train(e)
    bench.note("saddlery, again", seconds=round(time.perf_counter() - begin, 2), steps=steps)
    try:
        import torch
    except ImportError:
        print(json.dumps({"skipped": "the PyTorch loop, since torch is not installed"}))
        bench.finish()
        return
    torch.set_num_threads(1)
    params = e.objective().params(e.initial_state())
    data = e.data
    assert data.inputs is not None and data.targets is not None
    sides = np.asarray(params[0]["u"]), np.asarray(params[0]["v"])
    torch_losses(torch, data.inputs[:BLOCK], data.targets[:BLOCK], *sides, 1)
    begin = time.perf_counter()
    losses = torch_losses(torch, data.inputs, data.targets, *sides, COMPARED)
    a_step = (time.perf_counter() - begin) / COMPARED
    bench.note(
        "PyTorch loop over the sequences",
        seconds_a_step=round(a_step, 3),
        hours_for_all=round(a_step * steps / 3600, 2),
    )
    states = train(e.replace(stop=Stop(steps=COMPARED))).trajectory
    mine = [float(states.loss[list(states.step).index(k)]) for k in range(COMPARED)]
    off = float(np.abs(np.array(mine) / np.array(losses) - 1).max())
    fell = 1 - losses[-1] / losses[0]
    words = (
        f"the same losses over {COMPARED} steps, in which they fall by {fell:.1%} "
        f"(relative difference {off:.1e})"
    )
    bench.demand(words, off < 1e-6 < fell)
    bench.demand(
        f"at least 100 times as fast ({a_step * steps / ours:.0f} times)",
        a_step * steps > 100 * ours,
    )
    bench.finish()


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
