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
    links = "".join(
        f'<a href="{escape(address)}"{" aria-current=page" if name == here else ""}>{escape(name)}</a>'
        for name, address in pages.items()
    )
    brand = escape(next(iter(pages.values())))
    nav = f'<nav aria-label="Pages">{links}</nav>' if len(pages) > 1 else "<nav></nav>"
    return f'<header class="site"><a class="brand" href="{brand}">probebench</a>{nav}{more}</header>'
