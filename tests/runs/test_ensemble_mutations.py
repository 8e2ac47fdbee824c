"""Ensembles and sweeps broken on purpose: the oracle named beside each mutation goes red."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import test_ensembles
import test_networks
import test_sweeps

from saddlery.networks import network as networks
from saddlery.rules import descent
from saddlery.runs import ensembles
from saddlery.sweeps import design, storage
from saddlery.training import driver, loop
from saddlery.units import dense


def a_step_more(self, walker, gradient, draw, horizon, most, longest, real=descent.Descent.stride):
    walker, count = real(self, walker, gradient, draw, horizon, most + 1, longest + 1)
    return walker, count - 1


def nothing_is_far(carry, step, change, resolution, real=loop._moved):
    return real(carry, step, change, resolution) * 0.1


def rounded_strides(most):
    return jax.numpy.exp2(jax.numpy.floor(jax.numpy.log2(most))).astype(jax.numpy.int32)


def keys_of_the_first(*args, seeds, real=driver.run_chunk, **options):
    return real(*args, seeds=[seeds[0]] * len(seeds), **options)


def data_of_the_first(objectives, real=ensembles._samples):
    return objectives[0].samples, True


def draws_before_grid(self, number, real=design.Sweep.point):
    seeds, draws = self.seeds, self.draws
    point, seed = divmod(number, seeds)
    grid, draw = len(self) // (seeds * draws), draws
    k, j = divmod(point, grid)  # the grid fastest
    return real(self, (j * draw + k) * seeds + seed)


def sums_of_units_alone(unit, z, u, v, real=networks.sum_of_units):
    return real(unit, z, u, jax.numpy.ones_like(v) * v.mean())


def states_of_the_end_only(run, wanted, real=test_sweeps.work.measure):
    row, kept = real(run, wanted)
    return row, {
        **kept,
        "states": np.repeat(kept["states"][-1:], len(kept["states"]), axis=0)[::-1] * 0.999,
    }


MUTATIONS = {
    "strides: one step beyond the last": (
        *(descent.Descent, "stride", a_step_more),
        lambda: test_ensembles.test_steps_of_descent_are_the_same_to_rounding(0.02),
    ),
    "strides of fifteen, by a compiled exp2": (
        *(loop, "_power_of_two", rounded_strides),
        test_ensembles.test_strides_are_powers_of_two_that_end_together,
    ),
    "long strides at large rates": (
        *(loop, "_moved", nothing_is_far),
        lambda: test_ensembles.test_plateaus_are_those_of_every_step_at_any_rate(0.5),
    ),
    "a chunk draws all batches by the first seed": (
        *(ensembles.driver, "run_chunk", keys_of_the_first),
        test_ensembles.test_batches_are_drawn_by_each_runs_own_seed,
    ),
    "a chunk trains on the data of its first run": (
        *(ensembles, "_samples", data_of_the_first),
        lambda: test_ensembles.test_a_chunk_equals_each_run_alone("relu"),
    ),
    "runs numbered with draws slower than the grid": (
        *(design.Sweep, "point", draws_before_grid),
        test_sweeps.test_runs_are_numbered_as_nested_loops,
    ),
    "outgoing weights replaced by their mean": (
        *(networks, "sum_of_units", sums_of_units_alone),
        lambda: test_networks.test_sums_of_units_by_a_loop(dense("linear"), (4,), 8),
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_ensembles_are_noticed(name, monkeypatch, fresh_programs):
    owner, attribute, broken, oracle = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, broken)
    with pytest.raises(AssertionError):
        oracle()


def test_an_index_without_its_part_is_not_done(tmp_path, monkeypatch):
    """Written in the wrong order, a process that dies between leaves a batch that counts as
    nothing, never as done."""
    sweep = test_sweeps.SMALL
    storage.create(sweep, tmp_path / "out")
    (tmp_path / "out" / "index" / f"{storage.batch_name(sweep.identity, 0)}.parquet").write_bytes(
        b""
    )
    assert not storage.is_done(tmp_path / "out", sweep, 0)


def test_states_that_are_not_those_of_the_stages_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(test_sweeps.work, "measure", states_of_the_end_only)
    folder = tmp_path / "out"
    test_sweeps.run_sweep(test_sweeps.SMALL, folder, engine=test_sweeps.Here())
    with pytest.raises(AssertionError):
        test_sweeps.test_rows_and_arrays_are_those_of_the_runs(folder)
