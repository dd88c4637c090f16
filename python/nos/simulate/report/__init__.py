"""The report of a simulation: one HTML file that needs nothing else, neither network nor server.

data.py chooses what is shown, page.py writes the HTML around it, the scripts and the style beside them draw it in the
browser. Names from a trace are untrusted: they reach the page as JSON or escaped, never as markup.
"""

from nos.simulate.report.page import page

__all__ = ["page"]
