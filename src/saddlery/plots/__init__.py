"""Pictures of what was computed: each function draws on the given axes, or on those of a new
figure, and returns them.

Nothing here simulates, and no global style is touched.

`Figure` objects are made outside pyplot, so that nothing needs a display:
`loss_curve(run).figure.savefig("loss.pdf")`.
"""

from .axes import Window, literal, new_axes, readable, units_label, window
from .comparison import comparison
from .curves import loss_curve, singular_values, unit_norms
from .figures import FIGURES, Picture, register
from .graph import graph
from .heat import heat_map
from .spectra import spectrum
from .units_of_a_layer import (
    View,
    draw_units,
    has_kinks,
    head_directions,
    is_head,
    layer_sides,
    unit_weights,
    view,
)

__all__ = [
    "FIGURES",
    "Picture",
    "View",
    "Window",
    "comparison",
    "draw_units",
    "graph",
    "has_kinks",
    "head_directions",
    "heat_map",
    "is_head",
    "layer_sides",
    "literal",
    "loss_curve",
    "new_axes",
    "readable",
    "register",
    "singular_values",
    "spectrum",
    "unit_norms",
    "unit_weights",
    "units_label",
    "view",
    "window",
]
