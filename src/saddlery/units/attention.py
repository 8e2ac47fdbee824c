"""Heads: linear attention with merged or separate key and query, and softmax attention.

Two readings of a head. *Token heads* act on a sequence of tokens Z (N, D) and return one vector a
token. *In-context heads* act on the regression prompt of Zhang et al. (2025) and return the scalar
prediction for the query: the prompt has rows (x_n, y_n), n = 1..N, and a last row (x_q, 0); key and
query see x only and the value is y.
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
SOFTMAX = Symmetry(parity="even")  # key and query enter as a product
KINDS = ("merged", "linear", "softmax")


def symmetry_of(kind: str) -> Symmetry:
    """What is true of a head of this kind: merged key-query is linear in u, separate ones bilinear,
    softmax neither."""
    return {"merged": LINEAR, "linear": BILINEAR, "softmax": SOFTMAX}[kind]


def key_query(u: Array, kind: str) -> Array:
    """K Q' (D, D) from u = (K, Q) of shape (2, D, R), or u itself when merged."""
    return u if kind == "merged" else u[0] @ u[1].T


def tensors_of_head(kind: str, dimension: int, rank: int) -> Shapes:
    """Key and query (D, R), one after the other in u, or the D x D product when merged."""
    if kind == "merged":
        return {"key_query": (dimension, dimension)}
    return {"key": (dimension, rank), "query": (dimension, rank)}


def options_of(kind: str, rank: int) -> MappingProxyType:
    return MappingProxyType({} if kind == "merged" else {"rank": rank})


@functools.cache
def attention(kind: str = "linear", rank: int = 1) -> Unit:
    """A head on tokens: phi(Z; K, Q) = A Z with A = Z Q K' Z' / N, or its row softmax (without the
    1/N); v is (D, O).

    kind: "merged" (one D x D matrix K Q', linear in u), "linear" (K and Q of shape D x rank),
    "softmax". phi has shape (N, D), of which v contracts the last axis. Source: Zhang, Saxe &
    Latham (2026), Section 2.

    Example
    -------
    >>> from saddlery.units import attention
    >>> attention("linear", rank=2).shape((8, 3))
    (2, 3, 2)
    """
    known(kind, KINDS, "kind of attention")
    rank = whole(rank, "rank")

    def phi(z: Array, u: Array) -> Array:
        scores = z @ key_query(u, kind).T @ z.T
        weights = jax.nn.softmax(scores, axis=-1) if kind == "softmax" else scores / z.shape[0]
        return weights @ z

    return Unit(
        name=f"attention_{kind}",
        phi=phi,
        shape=lambda shape: (shape[-1], shape[-1]) if kind == "merged" else (2, shape[-1], rank),
        symmetry=symmetry_of(kind),
        mixed=1,
        tensors=lambda shape: tensors_of_head(kind, shape[-1], rank),
        outgoing=lambda shape: {"value": (shape[-1],)},
        own_matrices=True,
        example=(5, 3),
        options=options_of(kind, rank),
    )


@functools.cache
def in_context(kind: str = "linear", rank: int = 1) -> Unit:
    """A head on a regression prompt: phi = b' K Q' x_q with b = (1/N) sum_n y_n x_n; softmax weighs
    the y_n instead.

    kind and u as for `attention`, with D the dimension of x. phi is a scalar and v has one entry an
    output. The linear kinds depend on the prompt only through the cubic feature vec(b x_q'), so
    population moments suffice to train them.

    Source: Zhang, Singh, Latham & Saxe (2025), eqs 7 and 13 (merged and separate key and query).

    Example
    -------
    >>> from saddlery.units import in_context
    >>> in_context("linear").shape((32, 5))
    (2, 4, 1)
    """
    known(kind, KINDS, "kind of attention")
    rank = whole(rank, "rank")

    def shape(z_shape: Shape) -> Shape:
        d = z_shape[-1] - 1
        return (d, d) if kind == "merged" else (2, d, rank)

    def phi(z: Array, u: Array) -> Array:
        x, y, query = z[:-1, :-1], z[:-1, -1], z[-1, :-1]
        if kind == "softmax":
            return jax.nn.softmax(x @ key_query(u, kind) @ query) @ y
        return (y @ x / x.shape[0]) @ key_query(u, kind) @ query

    lift = Lift("in-context", cubic_feature, lambda u: key_query(u, kind).ravel())
    return Unit(
        name=f"in_context_{kind}",
        phi=phi,
        shape=shape,
        symmetry=symmetry_of(kind),
        lift=None if kind == "softmax" else lift,
        tensors=lambda shape: tensors_of_head(kind, shape[-1] - 1, rank),
        outgoing=lambda _: {"value": ()},
        own_matrices=True,
        example=(6, 4),
        options=options_of(kind, rank),
    )


def cubic_feature(z: Array) -> Array:
    """vec(b x_q'), b = (1/N) sum_n y_n x_n, of one prompt (N + 1, D + 1)."""
    x, y, query = z[:-1, :-1], z[:-1, -1], z[-1, :-1]
    return jnp.outer(y @ x / x.shape[0], query).ravel()
