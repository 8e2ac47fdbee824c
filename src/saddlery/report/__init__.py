"""Self-contained HTML pages for a run and for a tour: styles and figures are inside, and no request leaves the page.

Everything that a user can name is escaped. The figures are SVG with text as text; their colours become variables of the
page's style, so that they follow a light or a dark setting. The same stages give the same bytes.
"""

from .pages import run_page, tour_page, write_report

__all__ = ["run_page", "tour_page", "write_report"]
