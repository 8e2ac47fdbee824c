"""Self-contained HTML pages for runs, tours, predictions beside a run and saddle graphs.

Nothing here computes, and no request leaves a page.

Styles and figures are inside. Text is escaped as it enters a page, by its type (`markup`). The
figures are SVG with text as text; their colours become variables of the page's style, so that they
follow a light or a dark setting. The same stages give the same bytes.
"""

from .comparisons import comparisons_page
from .graphs import graph_page
from .pages import run_page, tour_page, write_report

__all__ = [
    "comparisons_page",
    "graph_page",
    "run_page",
    "tour_page",
    "write_report",
]
