"""Sphinx settings of the documentation site (`make docs`)."""

from importlib.metadata import version as _version

project = "Headwater"
author = "The Headwater authors"
copyright = "The Headwater authors"  # noqa: A001  # Sphinx reads this name
release = _version("headwater")
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "generate.py"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Headwater"
html_static_path: list[str] = []
