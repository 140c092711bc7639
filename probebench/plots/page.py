"""What the pages share: colours and letters, and the line at the top that leads from one to another."""

from collections.abc import Mapping
from html import escape
from pathlib import Path


def look() -> str:
    """Returns the style that all pages begin with."""
    return Path(__file__).with_name("look.css").read_text(encoding="utf-8")


def header(here: str, pages: Mapping[str, str], more: str = "") -> str:
    """Returns the line at the top as HTML.

    Args:
        here: The name of the page that it stands on.
        pages: Names and addresses of all pages, this one among them.
        more: HTML that ends the line.
    """
    if len(pages) < 2:
        return f'<header class="site"><span class="brand">probebench</span><nav></nav>{more}</header>'
    links = "".join(
        f'<a href="{escape(address)}"{" aria-current=page" if name == here else ""}>{escape(name)}</a>'
        for name, address in pages.items()
    )
    brand = f'<a class="brand" href="{escape(next(iter(pages.values())))}">probebench</a>'
    return f'<header class="site">{brand}<nav aria-label="Pages">{links}</nav>{more}</header>'
