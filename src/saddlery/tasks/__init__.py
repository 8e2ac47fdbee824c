"""Tasks: data, or exact data statistics, and a loss. A task of one's own is a
frozen dataclass derived from `Task`.

How a network learns them is not known here.
"""

from .arrays import Arrays
from .base import TASKS, Task, make
from .digits import Digits
from .linear import ConvolutionalLinearTeacher, Hierarchy, LinearTeacher
from .regression import InContextRegression
from .relu import OrthogonalPatches, OrthogonalReLU
from .teacher import Teacher

__all__ = [
    "TASKS",
    "Arrays",
    "ConvolutionalLinearTeacher",
    "Digits",
    "Hierarchy",
    "InContextRegression",
    "LinearTeacher",
    "OrthogonalPatches",
    "OrthogonalReLU",
    "Task",
    "Teacher",
    "make",
]
