"""What symmetry makes: embedded fixed points, their reduction, effective units,
and silent units that wait to be born.

Whether a state is a fixed point, and of which kind, is for `saddles` to say.
"""

from .effective import EffectiveUnits, effective_units
from .embedding import (
    CONSTRUCTIONS,
    Embedding,
    applies,
    duplicate,
    embed,
    embed_near,
    ray,
    silent,
    span,
)
from .manifolds import (
    Manifold,
    Nearest,
    Relation,
    combination,
    equal,
    nearest_of_width,
    proportional,
    silent_unit,
    widths_distances,
)
from .nearest import nearest_embedding
from .reduction import Reduction, reduce
from .utility import (
    Utility,
    best_silent_unit,
    leading_tensor,
    silent_coordinates,
    silent_direction,
    silent_units,
    utility_maxima,
)

__all__ = [
    "CONSTRUCTIONS",
    "EffectiveUnits",
    "Embedding",
    "Manifold",
    "Nearest",
    "Reduction",
    "Relation",
    "Utility",
    "applies",
    "best_silent_unit",
    "combination",
    "duplicate",
    "effective_units",
    "embed",
    "embed_near",
    "equal",
    "leading_tensor",
    "nearest_embedding",
    "nearest_of_width",
    "proportional",
    "ray",
    "reduce",
    "silent",
    "silent_coordinates",
    "silent_direction",
    "silent_unit",
    "silent_units",
    "span",
    "utility_maxima",
    "widths_distances",
]
