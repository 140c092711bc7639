"""The documentation site: ``make site``. Pages are those of docs/ as they are, and the API from the docstrings."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

from pages import broken_links, with_links, with_public_names  # noqa: E402
from pygments.lexers.special import TextLexer  # noqa: E402
from sphinx.util import logging  # noqa: E402
from sphinx.util.nodes import make_refnode  # noqa: E402

import probebench  # noqa: E402

project = "probebench"
author = "The probebench authors"
copyright = "The probebench authors, Apache-2.0"
version = release = probebench.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"probebench {release}"
html_copy_source = False
html_show_sourcelink = False

myst_enable_extensions = ["fieldlist"]
myst_heading_anchors = 4
highlight_language = "text"

napoleon_numpy_docstring = False
# A class tells its attributes once, in its own docstring.
napoleon_use_ivar = True
# Names such as coef_ are names, not links.
strip_signature_backslash = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False

nitpicky = True
# Types of annotations that the reference has no page for: aliases, and classes of the inside.
nitpick_ignore = [("py:class", name) for name in ("FeatureGroup", "ModelLike", "ProbeFacts", "Study", "Transform")]


def read_page(app: Any, docname: str, source: list[str]) -> None:
    """Prepares a page of docs/."""
    page = Path(app.env.doc2path(docname))
    text = with_public_names(source[0])
    if docname == "index" and not (DOCS / "python.md").exists():
        text = text.replace("\npython\n", "\n")
    source[0] = with_links(text, page)


def read_included(app: Any, path: Path, docname: str, source: list[str]) -> None:
    """Prepares a file from outside of docs/ which a page consists of."""
    source[0] = with_links(source[0], (DOCS / path).resolve())


_FIELD = re.compile(r"^(\s*\**\w+( \(.*?\))?:)(?=\s)")
_MARK = re.compile(r"([|*\\]|(?<=\w)_(?!\w))")
_CODE = re.compile(r"(``.+?``)")


def plain(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Takes docstrings for what they are, plain words with code in double backticks: ||W|| and coef_ are no markup."""
    for number, line in enumerate(lines):
        head = found[0] if (found := _FIELD.match(line)) else ""
        parts = _CODE.split(line[len(head) :])
        lines[number] = head + "".join(part if part.startswith("``") else _MARK.sub(r"\\\1", part) for part in parts)


def signature(app: Any, what: str, name: str, value: Any, options: Any, given: str | None, returned: str | None) -> Any:
    """Writes a default that is a function as three dots."""
    return re.sub(r"<function .*?>+", "...", given) if given else given, returned


def skip(app: Any, what: str, name: str, value: Any, skipped: bool, options: Any) -> bool | None:
    """Leaves out what a class has from a library, such as scikit-learn's routing of metadata."""
    module = getattr(value, "__module__", None) or "probebench"
    return None if module.split(".")[0] == "probebench" else True


def resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Finds what a name of Python stands for: a page of ours under another name, or something real that has no page.

    A name that stands for nothing stays a warning, and so fails the build.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    meant = _object(target, node.get("py:module"))
    if meant is None:
        return None
    for name, entry in env.domains.python_domain.objects.items():
        if name.rpartition(".")[2] == target.rpartition(".")[2] and _object(name) is meant:
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)
    return contnode


_SHORT = {"np": "numpy", "npt": "numpy.typing", "pd": "pandas"}


def _object(name: str, module: str | None = None) -> Any:
    """Returns what a name stands for, or None.

    Annotations that only a type checker imports come as they are written: a bare name is looked for in all of ours.
    """
    first, dot, rest = name.partition(".")
    starts = [f"{_SHORT.get(first, first)}{dot}{rest}", f"{module}.{name}"]
    ours = sorted(one for one in sys.modules if one.split(".")[0] == "probebench") if not dot else []
    for start in (*starts, *(f"{one}.{name}" for one in ours)):
        parts = start.split(".")
        for count in range(len(parts), 0, -1):
            try:
                value: Any = importlib.import_module(".".join(parts[:count]))
                for part in parts[count:]:
                    value = getattr(value, part)
            except (ImportError, AttributeError, ValueError):
                continue
            return value
    return None


def check_links(app: Any, failure: Exception | None) -> None:
    """Warns of broken links, and so fails a strict build."""
    if failure is None and app.builder.name == "html":
        for line in broken_links(Path(app.outdir).resolve()):
            logging.getLogger(__name__).warning(line)


def setup(app: Any) -> None:
    """Connects the above."""
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    app.connect("autodoc-process-docstring", plain, priority=100)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", resolve)
    app.connect("build-finished", check_links)
    # A diagram is shown as its text, which reads well enough: no page loads anything from elsewhere.
    app.add_lexer("mermaid", TextLexer)
