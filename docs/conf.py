"""The documentation site: Sphinx over the pages of this folder. `bash tools/docs.sh` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from bids_app import __version__  # noqa: E402 the checkout's own, installed or not

project = "semantoks"
author = "The semantoks developers"
copyright = f"{author}; Apache-2.0"  # noqa: A001 Sphinx's name
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "generated",
    "mathml",
    "example",
]
exclude_patterns = ["_build"]
root_doc = "index"

# Pages are read on the hosting service too: its anchors, its spelling of formulas.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
# What a code block of ours holds is shown as it stands.
highlight_language = "text"

autodoc_typehints = "description"
autodoc_member_order = "bysource"
toc_object_entries = False
napoleon_google_docstring = False
default_role = "code"

html_theme = "pydata_sphinx_theme"
html_title = f"semantoks {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
# Summaries of hits are fetched, which a browser refuses to a page opened from a file.
html_show_search_summary = False
html_math_renderer = "mathml"
html_theme_options = {
    "logo": {"text": "semantoks"},
    "header_links_before_dropdown": 8,
    "navigation_with_keys": False,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "navbar_persistent": ["search-button"],
}
html_sidebars = {"index": [], "install": [], "tutorial": [], "faq": [], "glossary": []}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
