"""Sphinx's settings: `make docs` builds the pages here and those at the top of the repository.

Sphinx and MyST, because MkDocs 1.x has had no release since August 2024 (seen in November 2026).
"""

project = "Toprung"
author = "The Toprung developers"
copyright = "2026, The Toprung developers"  # noqa: A001 (Sphinx's name for it)
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
html_theme = "alabaster"
html_title = "Toprung"
default_role = "code"  # `name` in a docstring
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "clusters/README.md", "examples/README.md"]
exclude_patterns = [".venv", ".uv", "docs/_build", "sweeps"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
