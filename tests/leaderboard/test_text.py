import pytest

from probebench.leaderboard.text import plain, sources_text, web_link
from probebench.results.cells import size_text
from probebench.results.schema import CheckpointFacts
from tests.results.make import checkpoint


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("A net, 5 %", "A net, 5 %"),
        ("<b>&amp;", "<b>&amp;"),
        ("\u202eevil\u2066\u200f\u200b\ufeff", "evil"),
        ("a\x00b\x1b[31m\x85c", "ab[31m c"),
        ("  two\n\tlines ", "two lines"),
        ("Größe 网络 שלום", "Größe 网络 שלום"),
    ],
)
def test_a_text_can_only_be_read(text: str, left: str) -> None:
    assert plain(text) == left


def test_a_long_text_is_cut() -> None:
    assert plain("x" * 10_000) == "x" * 999 + "…"
    assert plain("x" * 10_000, 10) == "x" * 9 + "…"
    assert plain("x" * 1000) == "x" * 1000


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("arXiv:2302.13602", "https://arxiv.org/abs/2302.13602"),
        ("arXiv:<script>", None),
        ("javascript:alert(1)", None),
        ("\u200bjavascript:alert(1)//https://x", None),
        ("data:text/html,x", None),
        ("//example.org", None),
        ('https://x" onclick="y', None),
        ("none", None),
    ],
)
def test_only_web_pages_are_links(text: str, link: str | None) -> None:
    assert web_link(text) == link


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (1281167, "A (1.28M)"),
        (400_000_000, "A (400M)"),
        (2_320_000_000, "A (2.32B)"),
        (900, "A (900)"),
        ("unknown", "A"),
    ],
)
def test_sizes_are_short(samples: int | str, text: str) -> None:
    facts = CheckpointFacts.model_validate(checkpoint(sources=[{"name": "A", "samples": samples}]))
    assert sources_text(facts) == text
    assert sources_text(CheckpointFacts.model_validate(checkpoint(method="none", sources=[]))) == "none"
    mixed = CheckpointFacts.model_validate(checkpoint(sources=[{"name": name, "samples": samples} for name in "DBCA"]))
    size = "" if samples == "unknown" else f", {size_text(4 * int(samples))} in all"
    assert sources_text(mixed) == f"4 sources mixed{size}: A, B, C, D"
