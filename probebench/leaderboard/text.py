"""How facts are worded on the page, whoever wrote them."""

import unicodedata

from probebench.results.cells import MANY, size_text, source_samples
from probebench.results.schema import CheckpointFacts

LONGEST = 1000
_WEB = ("https://", "http://")


def plain(text: str, longest: int = LONGEST) -> str:
    """Returns a text that can only be read: one line, no control or direction marks, cut where it is too long."""
    spaced = " ".join(text[: 4 * longest].split())
    kept = "".join(letter for letter in spaced if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"


def web_link(text: str) -> str | None:
    """Returns the address that a text is, if it leads to a web page; an arXiv number is one as well."""
    address = plain(text)
    if address.lower().startswith("arxiv:"):
        number = address[6:].strip()
        return f"https://arxiv.org/abs/{number}" if all(one.isalnum() or one in "./-" for one in number) else None
    good = address.lower().startswith(_WEB) and not set(address) & set(" \"'<>\\`")
    return address if good else None


def sources_text(facts: CheckpointFacts) -> str:
    """Returns the pre-training sources with their sizes, such as "LAION-2B-en" or "ImageNet-1k (1.28M)".

    Of a mixture of many, sizes would fill the line: they are told together.
    """
    whole = source_samples(facts)
    if len(facts.sources) > MANY:
        size = "" if whole is None else f", {size_text(whole)} in all"
        return f"{len(facts.sources)} sources mixed{size}: {', '.join(sorted(source.name for source in facts.sources))}"
    parts = [
        source.name if source.samples == "unknown" else f"{source.name} ({size_text(source.samples)})"
        for source in facts.sources
    ]
    return " + ".join(parts) or "none"
