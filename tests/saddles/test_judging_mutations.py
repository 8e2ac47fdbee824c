"""What judges a state has been seen to fail: each part is broken on purpose, and the named test
must go red."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
import test_balanced
import test_behind
import test_blow_up
import test_certificates
import test_descent
import test_diagonal
import test_embedding
import test_kinks
import test_manifolds
import test_modes
import test_objectives
import test_orders
import test_paper
import test_plateaus
import test_reduction
import test_rest
import test_rounding
import test_saddles
import test_spectra
import test_studies
import test_utility
import test_verdicts
from scipy.spatial.distance import cdist

from saddlery import certify, train
from saddlery.networks import objectives, rounding, scales
from saddlery.plateaus import plateau as plateaus
from saddlery.plateaus import rest, seeding, stage, visits
from saddlery.saddles import (
    behind,
    certificates,
    deep_linear,
    fixed_points,
    judging,
    kinks,
    orders,
    zero_modes,
)
from saddlery.solvers import higher_order, spectra
from saddlery.studies import intervals
from saddlery.symmetry import effective, embedding, manifolds, reduction, utility
from saddlery.theory import balanced, blow_ups, diagonal, modes, saddles
from slowly import slowly

REAL = {
    "kernel": higher_order._Landscape.relaxed,
    "span": embedding.span,
    "spectrum": spectra._spectrum,
    "tolerance": stage.map_tolerance,
    "low_rank": reduction.low_rank,
    "gains": balanced._gains,
    "visit": visits.Visit,
    "scales": objectives.natural_scales,
    "null": zero_modes._null,
    "saddle": saddles.LinearSaddle,
    "chain": deep_linear._chain,
}


def in_a_folder(test):
    with tempfile.TemporaryDirectory() as folder:
        test(Path(folder))


def linear():
    return certify(train("linear"))


def replaced(name, change):
    """The real thing, its result changed."""
    return lambda *a, **k: change(REAL[name](*a, **k))


def renamed(name, **changes):
    """The real class, some fields changed by functions of the value."""
    return lambda *a, **k: dataclasses.replace(
        made := REAL[name](*a, **k),
        **{field: change(getattr(made, field)) for field, change in changes.items()},
    )


# name: (where, what, broken, the test that must fail)
MUTATIONS = {
    "descent: stiff directions left alone": (
        higher_order._Landscape,
        "relaxed",
        lambda self, displacement: (
            self.point + displacement,
            float(self.loss(self.point + displacement)),
        ),
        test_descent.test_a_curved_valley_is_followed,
    ),
    "descent: a rise on a smaller sphere does not matter": (
        higher_order,
        "measured",
        lambda path, radius, noise: (
            higher_order.DescentDirection(np.ones(1), 3, 3.0, 1.0, -path(radius)[2], radius)
            if path(radius)[2] < 0
            else None
        ),
        test_descent.test_a_fall_at_a_distance_is_no_descent,
    ),
    "descent: an order that has settled holds for ever": (
        higher_order._Spheres,
        "next_radii",
        lambda self: (),
        lambda: test_descent.test_falls_along_a_path(
            lambda r: -(max(r - 1e-3, 0.0) ** 3), type(None), None
        ),
    ),
    "utility: searched in the weights as they are": (
        utility,
        "_frames",
        lambda objective, theta, layer, rng: [np.eye(2)],
        lambda: test_utility.test_kinks_between_samples_far_from_the_origin(300.0),
    ),
    "fixed points: units that no sample turns on are made silent": (
        fixed_points,
        "unseen_coordinates",
        lambda objective, state: np.zeros(objective.size, bool),
        lambda: test_kinks.test_units_that_no_sample_turns_on_stay_where_the_run_still_moves(0.2),
    ),
    "fixed points: a unit that grows may be silenced by refinement": (
        fixed_points,
        "_keeps_small_units",
        lambda objective, theta, own, silenced, units: True,
        lambda: test_paper.test_sensible_variants_of_the_six("relu, more inputs"),
    ),
    "fixed points: no state has a fixed point of its own": (
        certificates,
        "own_fixed_point",
        lambda *arguments, **options: None,
        lambda: test_kinks.test_a_small_unit_that_is_off_where_the_error_is_stays(1e-3, 1e-7),
    ),
    "fixed points: what is left of a unit is one of its own": (
        fixed_points,
        "LEFT_OVER",
        0.0,
        lambda: test_rounding.test_weights_that_are_hardly_any_are_the_origin(1e-6),
    ),
    "fixed points: as large as the state, however small that is": (
        fixed_points.FixedPointTolerances,
        "now",
        lambda: fixed_points.FixedPointTolerances(silent=1e-9),
        lambda: test_rounding.test_weights_that_are_hardly_any_are_the_origin(1e-6),
    ),
    "spectra: the blur is forgotten": (
        spectra.SpectrumTolerances,
        "now",
        lambda: spectra.SpectrumTolerances(rounding=1e-9),
        lambda: test_verdicts.test_a_hessian_that_is_rounding_has_no_negative_eigenvalue(False),
    ),
    "spectra: zero counts as negative": (
        spectra.Spectrum,
        "index",
        property(lambda self: int(np.sum(self.eigenvalues <= self.tolerance))),
        test_spectra.test_diagonal_in_closed_form,
    ),
    "fixed points: a state at rest is reduced": (
        fixed_points,
        "_at_rest",
        lambda subject, theta, scale: fixed_points._through_narrow(
            subject, theta, fixed_points.reduce(subject, theta, tolerance=0.02), scale
        ),
        test_verdicts.test_a_state_at_rest_is_its_own_fixed_point,
    ),
    "fixed points: the first is the nearest": (
        fixed_points,
        "_others",
        lambda subject, theta, scale, tolerance, first: iter(()),
        test_verdicts.test_a_state_at_rest_is_its_own_fixed_point,
    ),
    "fixed points: no basin": (
        fixed_points.FixedPointTolerances,
        "now",
        lambda: fixed_points.FixedPointTolerances(basin=1e6),
        test_verdicts.test_a_fixed_point_beyond_the_basin_is_not_the_one_behind_the_state,
    ),
    "fixed points: no basin for the origin": (
        fixed_points.FixedPointTolerances,
        "now",
        lambda: fixed_points.FixedPointTolerances(basin=1e6),
        test_verdicts.test_an_origin_too_far_away_is_not_behind_the_state,
    ),
    "fixed points: units that fell silent are kept": (
        fixed_points.FixedPointTolerances,
        "now",
        lambda: fixed_points.FixedPointTolerances(same_map=1e-300),
        test_verdicts.test_units_that_a_refinement_silences_are_silent,
    ),
    "behind: far is near": (
        behind.BehindTolerances,
        "now",
        lambda: behind.BehindTolerances(weights=1e6),
        test_behind.test_far_fixed_points_are_none,
    ),
    "behind: any loss will do": (
        behind,
        "_loss",
        lambda *a: behind.Margin("loss", 0.0, 1.0, ""),
        test_behind.test_a_fixed_point_of_another_loss_is_not_behind,
    ),
    "behind: drops do not bound the loss": (
        behind.BehindTolerances,
        "now",
        lambda: behind.BehindTolerances(drop=1.0),
        test_behind.test_a_drop_bounds_the_loss,
    ),
    "behind: the gradient is that at the fixed point": (
        behind,
        "_slowing",
        lambda *a: behind.Margin("slowing", 0.0, 1.0, ""),
        test_behind.test_margins_near_a_saddle_in_closed_form,
    ),
    "certificates: the largest utility wins": (
        judging,
        "min",
        lambda helpful, key: max(helpful, key=lambda u: u.value),
        test_verdicts.test_the_lowest_order_of_several_layers_wins,
    ),
    "certificates: flat directions are not searched": (
        orders,
        "find_descent",
        lambda *a, **k: None,
        lambda: test_verdicts.test_a_unit_with_no_incoming_but_some_outgoing_weights(),
    ),
    "certificates: the theorem of deep linear networks forgotten": (
        judging,
        "least_loss",
        lambda objective: None,
        lambda: theorem_without_a_search(),
    ),
    "orders: units do not cancel": (
        orders,
        "_cancelling",
        lambda nodes, degrees, q: (np.ones(nodes), np.ones(nodes)),
        lambda: test_orders.test_a_saddle_of_order_six(),
    ),
    "deep linear: the residual's sign": (
        deep_linear,
        "_chain",
        lambda *a: None if (c := REAL["chain"](*a)) is None else c._replace(value=-c.value),
        lambda: test_orders.test_a_deep_linear_network_has_no_minimum_above_its_least("iii"),
    ),
    "rounding: no bound": (
        rounding,
        "EPS",
        0.0,
        lambda: test_rounding.test_a_correlation_of_some_last_digits(30, "undecided"),
    ),
    "rescaled units are not balanced": (
        objectives,
        "balanced_units",
        lambda network, params, units: units,
        lambda: test_rounding.test_verdicts_commute_with_units_of_measure("quadratic, ii"),
    ),
    "certificates: an underflown gradient is a fixed point": (
        certificates,
        "_vanished",
        lambda *a: False,
        test_verdicts.test_an_infimum_at_infinity_is_no_fixed_point_however_small_the_gradient,
    ),
    "scales: of the map, not of its change": (
        objectives,
        "natural_scales",
        lambda predictions, gradient, size, target, loss: REAL["scales"](
            lambda t: np.asarray(predictions(t)) + (10.0 if np.any(t) else 0.0),
            gradient,
            size,
            target,
            loss,
        ),
        test_verdicts.test_a_residual_network_does_not_start_at_zero,
    ),
    "zero modes: everything is symmetry": (
        zero_modes,
        "_null",
        lambda matrix, tolerance=1e-7: np.eye(matrix.shape[1])[:, :1],
        test_certificates.test_directions_the_data_do_not_see,
    ),
    "stages: the root of two dropped": (
        stage,
        "map_tolerance",
        replaced("tolerance", lambda t: t / np.sqrt(2)),
        lambda: test_verdicts.test_tolerances_of_stages_in_closed_form(linear()),
    ),
    "visits: the loss of the fixed point doubled": (
        visits,
        "Visit",
        renamed("visit", loss=lambda v: 2 * v),
        lambda: test_verdicts.test_a_visit_again_by_hand(linear()),
    ),
    "visits: always at the start": (
        visits,
        "Visit",
        renamed("visit", flow_time=lambda v: 0.0),
        lambda: test_verdicts.test_a_visit_again_by_hand(linear()),
    ),
    "embedding: (iv) without its correction": (
        embedding,
        "span",
        lambda u, v, a, b: (np.vstack([u, a @ u]), np.vstack([v, b @ v])),
        lambda: test_embedding.test_embed_to_any_width("linear", 5),
    ),
    "reduction: singular values not split": (
        reduction,
        "low_rank",
        replaced("low_rank", lambda fewer: lambda count: (fewer(count)[0], 2 * fewer(count)[1])),
        lambda: test_reduction.test_reduce_inverts_embed("linear", "iv", 0),
    ),
    "reduction: mirror images are other units": (
        reduction,
        "gaps",
        lambda rows, others, flip: embedding.gaps(rows, others, None),
        lambda: test_reduction.test_mirror_images_are_no_further_units("tanh"),
    ),
    "embedding: mirror images forgotten": (
        embedding,
        "gaps",
        lambda rows, others, flip: (cdist(rows, others), np.ones((len(rows), len(others)))),
        lambda: test_reduction.test_mirror_images_are_no_further_units("quadratic"),
    ),
    "reduction: units are weighed one by one": (
        reduction,
        "LIKE",
        (),
        lambda: test_reduction.test_what_cancels_is_no_unit("tanh"),
    ),
    "manifolds: no unit has a mirror image": (
        manifolds,
        "_mirrors",
        lambda incoming, outgoing, flip: np.ones((1, incoming + outgoing)),
        lambda: test_manifolds.test_mirror_images_are_one_point("tanh"),
    ),
    "effective: rays on both sides are one": (
        effective,
        "count_rays",
        lambda u, both, angle=0.1: 1,
        test_reduction.test_effective_units_of_a_planted_state,
    ),
    "utility: the split of the weights forgotten": (
        utility,
        "_record",
        lambda u, gain, degree, layer: utility.Utility(
            float(np.linalg.norm(gain, axis=1).max()),
            degree + 1,
            None,
            u[0].ravel(),
            gain[0].ravel(),
            layer,
            0.0,
        ),
        test_utility.test_linear_utility_is_half_the_largest_singular_value,
    ),
    "plateaus: random speed is taken for structure": (
        plateaus._Road,
        "chance",
        lambda *a: 0.0,
        lambda: test_plateaus.test_random_speed_makes_no_plateaus_and_hides_none(1),
    ),
    "plateaus: coarse samples are taken for random speed": (
        plateaus._Road,
        "_jitter",
        lambda self, first, last: float(
            np.sqrt(max(0.0, -np.median(self._bends[0][first : max(last - 2, first + 1)])) / 0.327)
        ),
        lambda: test_plateaus.test_few_samples_at_any_times_are_not_taken_for_noise("log", 120),
    ),
    "plateaus: digits are taken for levels": (
        plateaus,
        "last_digits",
        lambda loss: np.zeros(len(loss)),
        lambda: test_plateaus.test_rounded_losses_have_the_plateaus_of_exact_ones("3 digits", 4001),
    ),
    "plateaus: the way onto the initial one is a drop": (
        plateaus,
        "_settles",
        lambda *a: False,
        lambda: test_plateaus.test_settling_onto_the_initial_plateau_is_no_drop(1e-4),
    ),
    "rest: what does not fall rests": (
        rest,
        "_oscillation",
        lambda *a: None,
        lambda: test_rest.test_descent_beyond_the_edge_of_stability_is_not_at_rest(
            1.2, 0.0763, 400
        ),
    ),
    "rest: a slow fall is a rest": (
        rest._Tail,
        "unfinished",
        False,
        lambda: test_rest.test_ways_to_end(
            train(test_rest.SCALAR), lambda t: 1 / (1 + t), 1e3, "still falling"
        ),
    ),
    "rest: a run that has not moved rests": (
        rest,
        "_unmoved",
        lambda run: False,
        lambda: in_a_folder(test_rest.test_a_run_whose_loss_has_not_moved),
    ),
    "spectra: rows of a basis are rounded to the largest": (
        spectra,
        "orthonormal",
        lambda columns: np.linalg.svd(columns, full_matrices=False)[0],
        lambda: test_spectra.test_a_basis_keeps_the_digits_of_small_rows(spectra.orthonormal),
    ),
    "scales: all columns of inputs have one unit": (
        objectives,
        "column_sizes",
        lambda inputs: np.full(inputs.shape[1:], np.sqrt(np.mean(inputs**2))),
        lambda: test_rounding.test_verdicts_commute_with_units_of_each_feature("tanh, ii"),
    ),
    "moments: all features have one unit": (
        objectives,
        "moment_sizes",
        lambda moments: np.full(len(moments), np.sqrt(np.trace(moments) / len(moments))),
        test_objectives.test_stated_moments_in_units_of_their_own,
    ),
    "kinks: slopes in plain units": (
        objectives.Objective,
        "gradient_units",
        lambda self, theta: (np.ones(self.size), 1.0),
        lambda: test_rounding.test_verdicts_commute_with_units_of_measure("relu, ii"),
    ),
    "kinks: what third order makes over a step is a slope": (
        kinks.states.Assembly,
        "_really_falls",
        lambda self, direction, slope: True,
        lambda: test_kinks.test_units_above_a_kink_may_be_unbalanced(1e5),
    ),
    "kinks: a fall beyond a ridge": (
        kinks,
        "lowers",
        lambda objective, state, direction, fall, order: any(
            float(objective.loss(state) - objective.loss(state + t * direction))
            > 0.5 * fall * t**order
            for t in (1e-5, 1e-4, 1e-3, 1e-2)
        ),
        lambda: test_kinks.test_what_rises_first_does_not_fall(1e-3, False),
    ),
    "behind: all valleys are straight": (
        behind._Here,
        "relaxed",
        lambda self: (),
        lambda: test_behind.test_a_valley_that_bends_is_followed(0.01),
    ),
    "behind: half-way is anywhere": (
        behind._Here,
        "_is_half_way",
        lambda self, theta: True,
        test_behind.test_between_two_valleys_of_unlike_width,
    ),
    "behind: half-way from the fixed point alone": (
        behind._Here,
        "_is_half_way",
        lambda self, theta: (
            abs(np.linalg.norm((theta - self.point) / self.units) / self.distance - 0.5) <= 0.01
        ),
        test_behind.test_half_way_is_so_from_both_ends,
    ),
    "behind: ridges are slow": (
        behind._Here,
        "above",
        float("inf"),
        test_behind.test_a_ridge_half_way_is_no_valley,
    ),
    "scales: a side of zeros has a size": (
        scales,
        "SEEN",
        0.0,
        lambda: test_rounding.test_a_half_silent_unit_is_judged_as_it_is(),
    ),
    "rounding: inputs are exact": (
        objectives,
        "_sways",
        lambda lift, inputs: 0.0,
        test_rounding.test_moments_know_how_exact_they_are,
    ),
    "rounding: every start is apart from every manifold": (
        seeding,
        "ROUNDINGS",
        0.0,
        lambda: test_rest.test_a_start_exactly_on_a_manifold_is_left_by_rounding(0.0, True),
    ),
    "studies: counts that agree leave no interval": (
        intervals.Count,
        "interval",
        lambda self, values: (values.mean(), values.mean()),
        lambda: test_studies.test_counts_that_agree_are_judged_alike_whatever_they_are(2.0),
    ),
    "plateaus: strength by speed, not its logarithm": (
        plateaus,
        "_strength",
        lambda road, before, here, after: 10.0,
        test_plateaus.test_strength_is_log_ratio_of_speeds_by_a_second_route,
    ),
    "manifolds: any unit keeps any relation": (
        manifolds,
        "holds_for",
        lambda relation, unit: True,
        lambda: test_manifolds.test_theorem_3("tanh"),
    ),
    "manifolds: projected twice as far": (
        manifolds.Manifold,
        "project",
        lambda self, stacked: stacked - 2 * np.linalg.pinv(self.matrix) @ (self.matrix @ stacked),
        lambda: test_manifolds.test_theorem_3("linear"),
    ),
    "modes: the exponent of depth": (
        modes,
        "_rate",
        lambda s, layers, variance: layers * s,
        lambda: test_modes.test_the_whole_path(3, 0.4, 2.0, 1e-3),
    ),
    "balanced: the pull of decaying modes": (
        balanced,
        "_gains",
        replaced("gains", lambda found: (found[0], found[1] * 1.001)),
        lambda: test_balanced.test_the_whole_path(test_balanced.CASES[0]),
    ),
    "saddles: exchanges not counted": (
        saddles,
        "combinations",
        lambda modes, count: [],
        lambda: test_saddles_are_all_there(),
    ),
    "saddles: the index without exchanges": (
        saddles,
        "LinearSaddle",
        lambda index, **rest: REAL["saddle"](index=0, **rest),
        test_saddles.test_a_full_width_leaves_exchanges_only,
    ),
    "diagonal: a coordinate is never taken back": (
        diagonal,
        "_constrained",
        lambda root, target, s: np.where(
            np.abs(s) == 1, np.linalg.lstsq(root * (np.abs(s) == 1), target, rcond=None)[0], 0.0
        ),
        test_diagonal.test_a_coordinate_that_is_taken_back,
    ),
    "blow-up: the turn is ignored": (
        blow_ups._Path,
        "between",
        lambda self, turn: 0.0,
        lambda: [test_blow_up.test_time_sign_and_direction(seed) for seed in range(12)],
    ),
}


def theorem_without_a_search():
    with pytest.MonkeyPatch.context() as patch:
        test_orders.test_the_theorem_stands_where_no_search_finds_a_way(patch)


def test_saddles_are_all_there():
    assert len(list(saddles.linear_saddles(np.eye(2), np.diag([1.0, 0.4]), 1.16, 5))) == 4


AT_LENGTH = (
    "orders: units do not cancel",
    "certificates: the largest utility wins",
    "fixed points: a unit that grows may be silenced by refinement",
    "rescaled units are not balanced",
)


@pytest.mark.parametrize("name", slowly(MUTATIONS, *AT_LENGTH))
def test_broken_code_is_noticed(name, monkeypatch, fresh_programs):
    owner, attribute, broken, oracle = MUTATIONS[name]
    monkeypatch.setattr(
        owner, attribute, broken, raising=attribute != "min"
    )  # judging uses the builtin
    with pytest.raises((AssertionError, pytest.fail.Exception, AttributeError)) as seen:
        oracle()
    if isinstance(seen.value, AttributeError):  # a number that only a fixed point has
        assert str(seen.value).startswith("a refusal has no")
