"""How Sphinx builds the documentation."""

from __future__ import annotations

from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

DOCS = Path(__file__).resolve().parent

project = "alchemiscale-strategist"
author = "the alchemiscale-strategist developers"
version = release = version_of(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_data"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_google_docstring = True
napoleon_numpy_docstring = False

nitpicky = True
# What is not ours has its documentation elsewhere, and an inventory of that would have to be downloaded at every build.
nitpick_ignore_regex = [
    (r"py:.*", r"(abc|builtins|collections|datetime|enum|functools|os|pathlib|re|types|typing|numpy|pytest)(\..*)?"),
    (r"py:.*", r"(.*\.)?(timedelta|datetime|Path|Mapping|Callable|Collection|Sequence|Iterable|Hashable|Any)"),
    (r"py:.*", r"(.*\.)?(Key|Event|Command|InitVar|StrEnum|Protocol|TracebackType|Rows)"),
]

# Examples inside the package's docstrings are run with its tests.
doctest_test_doctest_blocks = ""
doctest_default_flags = 0
_flags = ("NORMALIZE_WHITESPACE", "ELLIPSIS", "DONT_ACCEPT_TRUE_FOR_1")
doctest_global_setup = f"""
import os, shutil, tempfile
_before = os.getcwd()
_folder = tempfile.mkdtemp()
for _source in ({str(DOCS.parent / "examples")!r}, {str(DOCS / "_data")!r}):
    shutil.copytree(_source, _folder, dirs_exist_ok=True)
os.chdir(_folder)
"""
doctest_global_cleanup = """
os.chdir(_before)
shutil.rmtree(_folder)
"""


def resolve_short_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Let a docstring name what another module documents, as long as one thing only has that name."""
    if node.get("refdomain") != "py":
        return None
    objects = env.domains.python_domain.objects
    short = node["reftarget"].rpartition(".")[2]
    wanted = node["reftarget"].split(".")[-2:] if node.get("reftype") == "meth" else [short]
    found = {
        (entry.docname, entry.node_id)
        for name, entry in objects.items()
        if name.split(".")[-len(wanted) :] == wanted and not entry.aliased
    }
    if len(found) != 1:
        return None
    ((docname, anchor),) = found
    return make_refnode(app.builder, node["refdoc"], docname, anchor, content, short)


class PlainProperties:
    """Keep napoleon away from properties: it takes what stands before a colon in the first sentence for a type."""

    def __init__(self) -> None:
        self._kept: dict[str, list[str]] = {}

    def keep(self, _app: Sphinx, what: str, name: str, *rest: Any) -> None:  # noqa: ANN401 - object, options, lines
        *_, lines = rest
        if what in {"attribute", "data", "property"}:
            self._kept[name] = lines[:]

    def put_back(self, _app: Sphinx, _what: str, name: str, *rest: Any) -> None:  # noqa: ANN401 - as above
        *_, lines = rest
        if name in self._kept:
            lines[:] = self._kept.pop(name)


def setup(app: Sphinx) -> dict[str, Any]:
    import doctest  # noqa: PLC0415 - used here alone

    app.config.doctest_default_flags = sum(getattr(doctest, flag) for flag in _flags)
    properties = PlainProperties()
    app.connect("autodoc-process-docstring", properties.keep, priority=400)
    app.connect("autodoc-process-docstring", properties.put_back, priority=600)
    app.connect("missing-reference", resolve_short_name)
    return {"parallel_read_safe": True}
