"""Heads: linear attention with merged or separate key and query, and softmax attention.

Two readings of a head. *Token heads* act on a sequence of tokens Z (N, D) and
return one vector a token. *In-context heads* act on the regression prompt of
Zhang et al. (2025) and return the scalar prediction for the query: the prompt has
rows (x_n, y_n), n = 1..N, and a last row (x_q, 0); key and query see x only and
the value is y.
"""

from __future__ import annotations

import functools
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..basis.checks import known, whole
from .base import Lift, Shape, Symmetry, Unit
from .dense import LINEAR
from .tensors import Shapes

BILINEAR = Symmetry(silent=True, degree=2, parity="even")
SOFTMAX = Symmetry(parity="even")  # even, since key and query enter as a product
KINDS = ("merged", "linear", "softmax")


def symmetry_of(kind: str) -> Symmetry:
    """What is true of a head of this kind: merged key-query is linear in u,
    separate ones bilinear, softmax neither."""
    return {"merged": LINEAR, "linear": BILINEAR, "softmax": SOFTMAX}[kind]


def key_query(u: Array, kind: str) -> Array:
    """K Q' (D, D) from u = (K, Q) of shape (2, D, R), or u itself when merged."""
    if kind == "merged":
        return u
    key, query = u[0], u[1]
    return key @ query.T


def shape_of_head(kind: str, dimension: int, rank: int) -> Shape:
    """The shape of u for vectors of this dimension D: (2, D, R), or (D, D) when
    merged."""
    if kind == "merged":
        return dimension, dimension
    return 2, dimension, rank


def tensors_of_head(kind: str, dimension: int, rank: int) -> Shapes:
    """Key and query (D, R), one after the other in u, or the D x D product when
    merged."""
    if kind == "merged":
        return {"key_query": (dimension, dimension)}
    return {"key": (dimension, rank), "query": (dimension, rank)}


def _kind_and_rank(kind: str, rank: int) -> tuple[str, int]:
    """What was asked for, checked; 1 for the rank that a merged head does not have."""
    known(kind, KINDS, "kind of attention")
    rank = whole(rank, "rank")
    return (kind, 1) if kind == "merged" else (kind, rank)


def options_of(kind: str, rank: int) -> MappingProxyType:
    """By which options a head is named; a merged one has none."""
    if kind == "merged":
        return MappingProxyType({})
    return MappingProxyType({"rank": rank})


def attention(kind: str = "linear", rank: int = 1) -> Unit:
    """A head on tokens Z (N, D), with the value v (D, O):

        phi(Z; K, Q) = A Z,    A = Z Q K' Z' / N,
    or A the softmax of each row of Z Q K' Z', without the 1/N.

    kind: "linear" (K and Q of shape (D, R)), "merged" (one matrix K Q' (D, D), in
        which phi is linear) or "softmax" (K and Q).
    rank: R, at least 1; a merged head has none.

    phi has shape (N, D), of which v contracts the last axis. Raises InputError
    for another kind, or a rank that is no whole number of at least 1.

    Source: Zhang, Saxe & Latham (2026), Section 2.

    Example
    -------
    >>> from saddlery.units import attention
    >>> attention("linear", rank=2).shape((8, 3))
    (2, 3, 2)
    """
    return _attention(*_kind_and_rank(kind, rank))


@functools.cache
def _attention(kind: str, rank: int) -> Unit:
    def phi(z: Array, u: Array) -> Array:
        scores = z @ key_query(u, kind).T @ z.T
        if kind == "softmax":
            return jax.nn.softmax(scores, axis=-1) @ z
        return (scores / z.shape[0]) @ z

    return Unit(
        name=f"attention_{kind}",
        phi=phi,
        shape=lambda shape: shape_of_head(kind, shape[-1], rank),
        symmetry=symmetry_of(kind),
        mixed=1,
        tensors=lambda shape: tensors_of_head(kind, shape[-1], rank),
        outgoing=lambda shape: {"value": (shape[-1],)},
        own_matrices=True,
        example=(5, 3),
        options=options_of(kind, rank),
    )


def in_context(kind: str = "linear", rank: int = 1) -> Unit:
    """A head on a regression prompt z of N pairs x_n (D,), y_n and a query x_q (D,):

        phi(z; K, Q) = b' K Q' x_q,    b = (1/N) sum_n y_n x_n,
    or sum_n p_n y_n with p = softmax_n(x_n' K Q' x_q).

    kind, rank: as for `attention`, with D the dimension of x.

    z is (N + 1, D + 1), phi a scalar, and v a number an output. The linear kinds
    depend on the prompt only through the cubic feature vec(b x_q'), so population
    moments suffice to train them.

    Source: Zhang, Singh, Latham & Saxe (2025), eqs 7 and 13 (merged and separate
    key and query).

    Example
    -------
    Of x = 1 and 2 with y = 3 and 4 the prompt knows b = (3 + 8)/2:

    >>> import jax.numpy as jnp
    >>> from saddlery.units import in_context
    >>> prompt = jnp.array([[1.0, 3.0], [2.0, 4.0], [10.0, 0.0]])
    >>> float(in_context("merged").phi(prompt, jnp.ones((1, 1))))
    55.0
    """
    return _in_context(*_kind_and_rank(kind, rank))


@functools.cache
def _in_context(kind: str, rank: int) -> Unit:
    def phi(z: Array, u: Array) -> Array:
        x, y, query = prompt_of(z)
        if kind == "softmax":
            return jax.nn.softmax(x @ key_query(u, kind) @ query) @ y
        return correlation(x, y) @ key_query(u, kind) @ query

    lift = None
    if kind != "softmax":
        lift = Lift("in-context", cubic_feature, lambda u: key_query(u, kind).ravel())
    return Unit(
        name=f"in_context_{kind}",
        phi=phi,
        shape=lambda shape: shape_of_head(kind, shape[-1] - 1, rank),
        symmetry=symmetry_of(kind),
        lift=lift,
        tensors=lambda shape: tensors_of_head(kind, shape[-1] - 1, rank),
        outgoing=lambda _: {"value": ()},
        own_matrices=True,
        example=(6, 4),
        options=options_of(kind, rank),
    )


def prompt_of(z: Array) -> tuple[Array, Array, Array]:
    """x (N, D), y (N,) and the query x_q (D,) of one prompt (N + 1, D + 1)."""
    examples, query = z[:-1], z[-1]
    return examples[:, :-1], examples[:, -1], query[:-1]


def correlation(x: Array, y: Array) -> Array:
    """b = (1/N) sum_n y_n x_n, (D,), of x (N, D) and y (N,)."""
    return y @ x / x.shape[0]


def cubic_feature(z: Array) -> Array:
    """vec(b x_q'), b = (1/N) sum_n y_n x_n, of one prompt (N + 1, D + 1).

    The D^2 numbers are cubic in the prompt: x_n, y_n and x_q once each.

    Example
    -------
    >>> import jax.numpy as jnp
    >>> from saddlery.units.attention import cubic_feature
    >>> cubic_feature(jnp.array([[1.0, 3.0], [2.0, 4.0], [10.0, 0.0]])).tolist()
    [55.0]
    """
    x, y, query = prompt_of(z)
    return jnp.outer(correlation(x, y), query).ravel()
