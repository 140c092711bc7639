"""How a problem of N rows, D features and K classes is solved, and in how much memory: plain numbers, without torch."""

from typing import Literal

# Rows (R, N, r) of at most this many entries are kept in float64 beside float32; larger ones in float32 alone.
SMALL = 1 << 23
# On a CPU, draws are solved side by side while their scores have at most this many entries; beyond that, one draw
# alone keeps the cores busy and does not wait for slower ones.
SIDE_BY_SIDE = 1 << 16
# Multiplications of one Newton step of all draws of a shape up to which whole systems pay. torch's solver takes the
# draws side by side and strengths after one another for little more, and its time goes into calls.
MOST = 5e7
# One fit alone, which need not turn its rows first, counts as so many an entry of rows and classes.
ALONE = 5

# Elementwise work on scores goes in chunks of this many entries: what stays in a core's cache, or what fills a GPU,
# where each operation costs some microseconds however little it does.
CHUNK, GPU_CHUNK = 1 << 16, 1 << 26
# Rows that must be cast or read first go through products in blocks of this many entries, for the same reasons.
BLOCK, GPU_BLOCK = 1 << 20, 1 << 24
# Of what is free and not worked in, rows may take this share: a CPU's memory serves others too.
SHARE, GPU_SHARE = 0.5, 0.9


def way(count: int, width: int) -> Literal["reduced", "dense", "large"]:
    """Returns how torch's solver lays out a draw of N rows of D features (rows.py)."""
    if count <= width:
        return "reduced"
    return "dense" if count * width <= SMALL else "large"


def pays(draws: int, strengths: int, count: int, width: int, classes: int) -> bool:
    """Says whether draws of N rows of D features in K classes, each at some strengths, are solved by direct.py."""
    unknowns = (classes - 1) * (min(count, width) + 1)
    cost = ALONE * count * unknowns if draws * strengths == 1 else draws * whole_cost(count, unknowns)
    return cost <= MOST


def whole_cost(count: int, unknowns: int) -> float:
    """Returns the multiplications of forming and factorising a Hessian."""
    return count * unknowns**2 + unknowns**3 / 3


def side_by_side(count: int, classes: int) -> int:
    """Returns how many small draws of a shape are solved at once on a CPU."""
    return max(1, SIDE_BY_SIDE // (count * classes))


def working_bytes(count: int, width: int, classes: int, gpu: bool) -> int:
    """Returns the bytes that the solver works in beside the rows (N, D) of one large draw.

    That is, over N K scores: probabilities and scores in float32, scores in float64, and probabilities too where
    directions are in float64; four temporary copies of a chunk, two of a block of rows, and the preconditioner's.
    """
    scores = count * classes * (4 + 4 + 8 + 8)
    chunks = 4 * 8 * min(GPU_CHUNK if gpu else CHUNK, count * classes)
    blocks = 2 * 8 * min(GPU_BLOCK if gpu else BLOCK, count * width)
    preconditioner = 3 * 4 * classes * width**2 if classes * width <= count else 0
    return scores + chunks + blocks + preconditioner
