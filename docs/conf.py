"""Sphinx builds the pages with this: make docs. Nothing is fetched from the network."""

import re
import sys
from pathlib import Path

import skinclf

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # fault_marks

project = "skinclf"
author = "The skinclf developers"
copyright = "The skinclf developers, BSD-3-Clause"
release = version = skinclf.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "fault_table",
    "measured_results",
    "quoted_results",
]
exclude_patterns = ["_build"]
if not (Path(__file__).parent / "results" / "ham10000_models.json").exists():
    exclude_patterns.append("models.rst")  # every figure of it is read from that file
templates_path = ["_templates"]
# In docstrings, `name` is a link where there is such a name, and literal where there is none.
default_role = "py:obj"

autosummary_generate = True
autodoc_typehints = "none"  # types are in the Parameters sections, with shapes and ranges
# scikit-learn makes these for metadata routing; its own guide describes them.
autodoc_default_options = {
    "exclude-members": (
        "set_fit_request, set_partial_fit_request, set_score_request, set_inverse_transform_request"
    )
}
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # the template of a class lists its methods

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    # Only plot_* run when the pages are built; the others need real data, and are shown as they are.
    "filename_pattern": r"/plot_",
    "within_subsection_order": "gallery_order.RealDataLast",
    "default_thumb_file": str(
        Path(__file__).parent / "results" / "ham10000_cross_validation_confusion_matrix.png"
    ),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["skinclf.css"]
html_title = "skinclf"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "skinclf"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["notice"],
    "show_prev_next": False,
}
_WITHOUT_SIDEBAR = ("index", "changes", "limits", "datasets", "results", "protocols", "cleaning")
html_sidebars = {page: [] for page in _WITHOUT_SIDEBAR}


def headings_to_rst(app, relative_path, docname, content):
    """Let a page include CHANGES.md, whose only Markdown that differs from reStructuredText is its headings."""
    if relative_path.suffix == ".md":
        content[0] = re.sub(
            r"^(#+) (.+)$",
            lambda found: f"{found[2]}\n{'=-'[len(found[1]) - 1] * len(found[2])}",
            content[0],
            flags=re.MULTILINE,
        )


def setup(app):
    """Connect the hook above."""
    app.connect("include-read", headings_to_rst)
