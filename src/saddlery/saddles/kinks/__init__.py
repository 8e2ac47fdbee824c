"""Kinks: what is true of a loss where samples lie on the kinks of its units, decided by
one-sided slopes alone.

A sample n lies on a kink of unit i where phi(z_n; .) has another slope on either side
of u_i. With K these (sample, unit, feature) triples, a_k the direction across the kink,
J_k the jump of the slope of phi and g the gradient of the side -a,

    L'(theta; d) = lim (L(theta + t d) - L(theta)) / t
                 = g.d + sum_{k in K} gamma_k max(a_k.d, 0),   gamma_k = dL/dphi_k J_k

for the own weights of the units of one layer. theta is *B-stationary* where L'(theta;
d) >= 0 for every d, which is more than a zero among the subgradients: a kink that bends
downwards (gamma_k < 0) leaves no stationary point where it is crossed. Since -|gamma|
max(x, 0) = min(0, -|gamma| x), L' is the least, over the subsets S of the kinks that
bend downwards, of convex functions, each with a nearest point of its subdifferential,

    r_S = argmin |r|,   r = g + sum_S gamma_k a_k + sum_up lambda_k a_k,
                        0 <= lambda_k <= gamma_k                      (least squares)

so that the steepest descent is -r_S of the largest |r_S|, at slope -|r_S|, and theta is
B-stationary exactly where all r_S are zero. No value that automatic differentiation
gives *at* a kink is used: slopes are taken beside it, on both sides.

*Several layers.* A kink is also crossed by the weights of the layers below, which move
what the unit reads: where a sample gives z = 0, phi(z; u) has no kink in u, and one in
z. Such kinks are found by moving all weights at random and looking whether the slope d
phi/dz takes several values however near. Kinks of several layers are composed, and
their L' is no longer the sum above: it is looked at along random directions, where it
is linear if all of them see the same gradient, and descended from the best.

*Second order.* On the subspace that crosses no kink, {d : a_k.d = 0 for all k}, the
loss is smooth and has a Hessian. Where every live kink costs first order on both sides
(`strict`), nothing else needs looking at; silent units are decided by their utility;
what is left (kinks with a slope of zero) is searched by one-sided curvature and
otherwise called open.

Sources: Rockafellar and Wets (1998), "Variational Analysis", for one-sided derivatives;
Shapiro (1990), "On concepts of directional differentiability", for their chain rule;
Pang, Razaviyayn and Alvarado (2017) for B-stationarity of differences of convex
functions, of which the subsets S are theirs.
"""

from __future__ import annotations

from .across import Across, Fall, fall_across, look_across, lowers
from .base import KinkTolerances
from .layers import Probed, crossed_from_below, directional, probe
from .records import (
    Crossing,
    Kink,
    Kinks,
    Place,
    lifted,
    padded,
    restricted,
    spread,
    with_silent,
)
from .slopes import Steepest, steepest
from .states import kinks_at

__all__ = [
    "Across",
    "Crossing",
    "Fall",
    "Kink",
    "KinkTolerances",
    "Kinks",
    "Place",
    "Probed",
    "Steepest",
    "crossed_from_below",
    "directional",
    "fall_across",
    "kinks_at",
    "lifted",
    "look_across",
    "lowers",
    "padded",
    "probe",
    "restricted",
    "spread",
    "steepest",
    "with_silent",
]
