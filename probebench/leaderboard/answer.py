"""The page's first sentence: what the study of its results answers, or what it would take."""

from collections.abc import Mapping, Sequence
from typing import Any

from probebench.leaderboard.text import plain

# What readers come for, in this order: which data, then which method, then which checkpoint.
_ORDER = (
    *("best-source", "source-matters", "image-vs-language", "supervised-vs-contrastive", "fades", "size"),
    *("data-multiple", "label-noise", "curation", "ranking-carries-over", "ranking", "few-shot-predicts-full"),
)
# What the picture of claims calls them: a size to the right of its line speaks for it.
_SHORT = {
    "source-matters": "Sources differ",
    "best-source": "One source leads",
    "image-vs-language": "Image-image beats language-image",
    "supervised-vs-contrastive": "Supervised beats contrastive",
    "fades": "Sources differ less at full data",
    "size": "More data helps (a doubling)",
    "label-noise": "Label noise costs accuracy",
    "curation": "Curated sources are better",
    "ranking": "One checkpoint leads",
}
_LEVELS = {"few-shot": ", few labels", "full": ", full data", "zero-shot": ", zero-shot"}
_SAID = ("confirmed", "contradicted", "no effect")
# Rank correlations below it leave less than a quarter of what one data set says of the order to the next.
_AGREE = 0.5

Claim = Mapping[str, Any]


def answer(claims: Sequence[Claim]) -> dict[str, Any]:
    """Returns the leading answer in a sentence, and what stands beside it.

    Args:
        claims: Those of ``study.json``.
    """
    own = leading(claims)
    given = sorted(
        (claim for claim in own if claim["verdict"] in _SAID and claim["id"] in _ORDER),
        # An effect comes before none, few labels before many.
        key=lambda claim: (claim["verdict"] == "no effect", _ORDER.index(claim["id"]), claim["level"] == "full"),
    )
    if not given:
        missing = next((claim["missing"] for name in _ORDER[:2] for claim in own if claim["id"] == name), None)
        takes = f" It takes {missing}." if missing else ""
        sentence = "These results do not say yet which pre-training transfers best."
        return {"question": "", "sentence": sentence, "beside": takes.strip()}
    first = given[0]
    others = len(given) - 1
    more = f" {others} more of {len(own)} questions are answered." if others > 1 else ""
    return {
        "question": plain(first["question"]),
        "sentence": plain(first["sentence"]),
        "beside": plain(f"{first['verdict'].capitalize()}, of {first['group']}.") + more,
    }


def order(claims: Sequence[Claim]) -> str:
    """Says why sources that matter may look alike in the picture of means over data sets; "" where they do not."""
    own = {(claim["id"], claim["level"]): claim for claim in leading(claims)}
    matters, agree = (own.get((name, "few-shot")) for name in ("source-matters", "ranking-carries-over"))
    if not matters or matters["verdict"] != "confirmed" or not agree or not (size := agree["estimate"]):
        return ""
    if size["value"] is None or size["value"] >= _AGREE:
        return ""
    agreed = f"rank correlation {size['value']:.2f}"
    return f"Data sets agree little on the order of sources ({agreed}): their mean hides how far these lie apart."


def leading(claims: Sequence[Claim]) -> list[Claim]:
    """Returns the claims about measured results that stand in the study's first table."""
    return [claim for claim in claims if claim["leading"] and claim["provenance"] == "measured"]


def forest(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Returns what the page draws of them: those with a size in points and a closed interval."""
    drawn = []
    for claim in leading(claims):
        size = claim["estimate"]
        if size and size["unit"] == "points" and None not in (size["value"], size["low"], size["high"]):
            name = _SHORT.get(claim["id"]) or str(claim["id"])
            label = name + (_LEVELS.get(claim["level"]) or "")
            ends = {key: size[key] for key in ("value", "low", "high")}
            drawn.append({"label": plain(label), "verdict": claim["verdict"], **ends})
    return drawn
