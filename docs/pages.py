"""What the documentation site makes of links and of public names; nothing here needs Sphinx."""

import importlib
import inspect
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import probebench

DOCS = Path(__file__).parent.resolve()
ROOT = DOCS.parent

# Files outside of docs/ that the site has as pages.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/README.md": "project/measurements.md",
}
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_PUBLIC = re.compile(r"^<!-- public names of (\S+) -->$", re.MULTILINE)


def with_links(text: str, place: Path) -> str:
    """Returns the text of a file with its links as they must be on a page of the site.

    Args:
        text: Markdown.
        place: The file that the text is from.
    """

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = (place.parent / target).resolve()
        if not path.exists() or not path.is_relative_to(ROOT):
            # Left as it is, so that the build fails on it.
            return found[0]
        name = path.relative_to(ROOT).as_posix()
        if name in PAGES:
            path = DOCS / PAGES[name]
        elif not path.is_relative_to(DOCS):
            # A file of the repository which is no page: its name is all that the site can give.
            return words if f"`{name}`" in words or words == name else f"{words} (`{name}`)"
        return f"[{words}](/{path.relative_to(DOCS).as_posix()}{anchor})"

    return _LINK.sub(link, text)


def public_names(name: str) -> str:
    """Returns the directives that document every public name of a module, those that load when asked for included."""
    module = importlib.import_module(name)
    lines = ["```{eval-rst}", f".. py:currentmodule:: {name}", ""]
    for public in getattr(module, "__all__", []):
        value = getattr(module, public)
        if inspect.ismodule(value) or public.startswith("__"):
            continue
        kind = "autoclass" if inspect.isclass(value) else "autofunction" if callable(value) else "autodata"
        options = ["   :members:"] if kind == "autoclass" else []
        if name != "probebench" and public in getattr(probebench, "__all__", []):
            # The front door has it too, and one of the two can be linked to.
            options.append("   :no-index:")
        lines += [f".. {kind}:: {name}.{public}", *options, ""]
    return "\n".join([*lines, "```"])


def with_public_names(text: str) -> str:
    """Returns a page with the mark for a module's public names replaced by what documents them."""
    return _PUBLIC.sub(lambda found: public_names(found[1]), text)


class _Links(HTMLParser):
    """The links of a page, and what others can link to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects them."""
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            elif name in ("href", "src"):
                self.targets.append(value or "")


def broken_links(site: Path) -> Iterator[str]:
    """Yields every link of a built site that leads nowhere on it; links to elsewhere are not followed."""
    # The leaderboard is one file that makes its links itself.
    made = [path for path in sorted(site.rglob("*.html")) if path.parts[len(site.parts)] not in ("_static", "board")]
    pages = {path: _Links(path.read_text()) for path in made}
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = pages[path].anchors if path in pages else {"", parts.fragment}
            if not path.is_file() or unquote(parts.fragment) not in known:
                yield f"{page.relative_to(site)}: {target} leads nowhere"
