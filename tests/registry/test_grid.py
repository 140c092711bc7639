"""Which checkpoints the registry must have, that facts make sense, and that partners match in architecture."""

from collections import Counter
from itertools import product

import pytest

from probebench.registry import CheckpointSpec, Registry

CHECKPOINTS = dict(Registry.load(environ={}).checkpoints)
SPECS = list(CHECKPOINTS.values())

LABELS = {"captions", "human", "hashtags", "teacher", "none"}
CURATION = {
    "none", "human", "filtered", "unknown",
    "basic-filter", "text-filter", "image-filter", "laion-filter", "clip-score", "image-clip-filter", "learned-filter",
    "aesthetic-filter", "hashtag-filter", "source-selected", "search-balanced", "metadata-balanced", "retrieval",
    "teacher-ranked",
}  # fmt: skip
FILTERS = ("none", "basic", "text", "image", "laion", "clipscore")
STUDY_SOURCES = ("yfcc", "laion", "redcaps", "shutterstock", "cc3m", "cc12m", "wit")
STUDY_SIZES = (
    *(f"{source}_2.7m" for source in STUDY_SOURCES),
    *(f"laion_{size}" for size in ("1m", "5m", "7.5m", "9.6m", "15m")),
    "yfcc_0.5m",
    "yfcc_15m",
    "cc12m",
)

LANGUAGE_IMAGE = {
    *("openai_clip_rn50", "openai_clip_rn101", "yfcc15m_clip_rn50", "yfcc15m_clip_rn101", "cc12m_clip_rn50"),
    *("openai_clip_rn50x4", "openai_clip_rn50x16", "openai_clip_rn50x64"),
    *(
        f"{source}_clip_vit_{size}"
        for source in ("openai", "laion400m", "laion2b", "datacomp", "metaclip_400m", "metaclip_fullcc")
        for size in ("b_32", "b_16", "l_14")
    ),
    *(f"laion2b_clip_vit_{size}" for size in ("h_14", "g_14", "bigg_14")),
    *(f"commonpool_{pool}_{kind}_clip_vit_b_32" for pool, kind in product("sm", FILTERS)),
    *(f"commonpool_l_{kind}_clip_vit_b_16" for kind in FILTERS),
    *("datacomp_s_clip_vit_b_32", "datacomp_m_clip_vit_b_32", "datacomp_l_clip_vit_b_16"),
    *("dfn2b_clip_vit_b_16", "webli_siglip_vit_b_16", "webli_siglip_vit_so400m_14", "webli_siglip2_vit_b_16"),
    *("merged2b_evaclip_eva02_b_16", "laion400m_clip_convnext_base", "laion2b_clip_convnext_large_d"),
    *(f"{source}_{method}_vit_b_16" for source, method in product(("yfcc15m", "cc3m", "cc12m"), ("clip", "slip"))),
    *(f"yfcc15m_{method}_vit_{size}_16" for method, size in product(("clip", "slip"), "sl")),
    *(f"yfcc15m_slip_vit_{size}_16_{epochs}ep" for size, epochs in product("sbl", (50, 100))),
}
IMAGE_IMAGE = {
    *(f"yfcc15m_simclr_vit_{size}_16" for size in "sbl"),
    *(f"in1k_dino_{size}" for size in ("vit_s_16", "vit_s_8", "vit_b_16", "vit_b_8", "resnet50")),
    *(f"lvd142m_dinov2_vit_{size}_14{tail}" for size, tail in product("sblg", ("", "_reg"))),
    *(f"lvd1689m_dinov3_vit_{size}_16" for size in ("s", "b", "l", "7b")),
    *(f"lvd1689m_dinov3_convnext_{size}" for size in ("tiny", "small", "base", "large")),
    *("in1k_mae_vit_b_16", "in1k_mae_vit_l_16", "in1k_mae_vit_h_14", "in1k_ijepa_vit_h_14", "in21k_ijepa_vit_g_16"),
    *("in1k_barlowtwins_resnet50", "in1k_vicreg_resnet50", "in1k_simsiam_resnet50", "in1k_swav_resnet50_800ep"),
    *("in1k_mocov3_vit_s_16", "in1k_mocov3_vit_b_16", "in1k_mocov3_resnet50_1000ep", "in1k_mocov2_resnet50_800ep"),
    *(f"in1k_simclr_resnet50_{epochs}ep" for epochs in (100, 200, 400, 800, 1000)),
    *("in1k_ibot_vit_s_16", "in1k_fcmae_convnextv2_base", "ig1b_seer_regnety_320", "in21k_mim_eva02_base"),
}
SUPERVISED = {
    *(f"resnet50_{recipe}_in1k" for recipe in ("tv", "tv2", "a1", "a2", "a3", "b1k", "c1", "d", "ram")),
    *(f"{name}_{kind}" for name in ("resnet18", "resnet50") for kind in ("ssl_yfcc100m", "swsl_ig1b")),
    *("resnext101_32x8d_wsl_ig1b", "resnext50_32x4d_swsl_ig1b"),
    *("vit_s_16_augreg_in21k", "vit_b_16_augreg_in21k", "vit_b_32_augreg_in21k", "vit_l_16_augreg_in21k"),
    *("swin_base_in21k", "convnext_base_in21k", "bit_r50x1_in21k", "beit_base_in21k", "beitv2_base_in21k"),
    *(f"efficientnet_lite{size}_in1k" for size in (0, 1, 2)),
}
RANDOM = {
    *("resnet50_random", "clip_rn50_random", "clip_vit_b_32_random", "clip_vit_b_16_random", "clip_vit_l_14_random"),
    *("vit_s_16_random", "vit_b_16_random", "vit_l_16_random", "convnext_base_random", "swin_base_random"),
    *(f"efficientnet_lite{size}_random" for size in (0, 1, 2)),
}
USER = {
    *(f"study_{method}_rn50_{size}" for method, size in product(("clip", "simclr"), STUDY_SIZES)),
    *("study_supervised_rn50_in1k", "study_clip_rn50_in1k_captions", "study_clip_rn50_in1k_classes", "laion_clip_rn50"),
}


def name(spec: CheckpointSpec) -> str:
    return spec.id


def are_matched(ids: list[str]) -> bool:
    """Whether the entries are the same network with the same preprocessing and the same layer taken."""
    first = CHECKPOINTS[ids[0]]
    return all(
        (one.architecture, one.input, one.output) == (first.architecture, first.input, first.output)
        for one in (CHECKPOINTS[model] for model in ids)
    )


@pytest.mark.parametrize(
    ("method", "wanted"),
    [("language-image", LANGUAGE_IMAGE), ("image-image", IMAGE_IMAGE), ("supervised", SUPERVISED), ("none", RANDOM)],
)
def test_every_checkpoint_that_is_named_has_an_entry(method: str, wanted: set[str]) -> None:
    assert wanted - {spec.id for spec in SPECS if spec.pretraining.method == method} == set()


def test_the_studys_own_grid_takes_files_of_the_user() -> None:
    assert {spec.id for spec in SPECS if spec.weights.uri == "user"} == USER


def test_there_are_enough_entries_and_each_has_a_title_of_its_own() -> None:
    assert len(SPECS) >= 160
    assert [title for title, count in Counter(spec.title for spec in SPECS).items() if count > 1] == []


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_facts_are_in_the_vocabulary_and_agree_with_the_method(spec: CheckpointSpec) -> None:
    facts = spec.pretraining
    assert facts.labels in LABELS and facts.curation in CURATION
    allowed = {
        "language-image": {"captions", "human"},
        "image-image": {"none", "teacher"},
        "supervised": {"human", "hashtags"},
        "none": {"none"},
    }
    assert facts.labels in allowed[facts.method]


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_samples_seen_are_epochs_times_samples(spec: CheckpointSpec) -> None:
    facts = spec.pretraining
    if len(facts.sources) == 1 and "unknown" not in (facts.sources[0].samples, facts.samples_seen, facts.epochs):
        assert facts.samples_seen == pytest.approx(float(facts.epochs) * int(facts.sources[0].samples), rel=1e-6)


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_what_could_not_be_checked_here_is_marked(spec: CheckpointSpec) -> None:
    remote = spec.weights.scheme in ("https", "hf")
    if remote or (spec.weights.scheme == "user" and spec.weights.keys != "plain"):
        assert "weights.keys" in spec.unverified
    for key in spec.unverified:
        value: object = spec
        for part in key.split("."):
            value = getattr(value, part)
        assert value != "unknown", f"{key}: nobody can doubt what nobody knows"
    if spec.weights.scheme not in ("pkg", "recipe"):
        assert spec.weights.sha256 == ("none" if spec.weights.scheme in ("user", "random") else "unknown")


@pytest.mark.parametrize("size", "sbl")
def test_slips_authors_checkpoints_are_matched_on_yfcc15m(size: str) -> None:
    trio = [f"yfcc15m_{method}_vit_{size}_16" for method in ("clip", "simclr", "slip")]
    assert are_matched([*trio, f"vit_{size}_16_random"])
    assert len({(CHECKPOINTS[one].pretraining.sources, CHECKPOINTS[one].pretraining.epochs) for one in trio}) == 1
    assert {CHECKPOINTS[one].pretraining.method for one in trio} == {"language-image", "image-image"}


@pytest.mark.parametrize("source", ["cc3m", "cc12m"])
def test_slips_authors_checkpoints_are_matched_across_sources(source: str) -> None:
    ids = [f"{data}_{method}_vit_b_16" for data in ("yfcc15m", source) for method in ("clip", "slip")]
    assert are_matched(ids)


@pytest.mark.parametrize(("pool", "size", "seen"), [("s", "b_32", 12.8e6), ("m", "b_32", 128e6), ("l", "b_16", 1.28e9)])
def test_a_curation_ladder_differs_in_curation_alone(pool: str, size: str, seen: float) -> None:
    ids = [*(f"commonpool_{pool}_{kind}_clip_vit_{size}" for kind in FILTERS), f"datacomp_{pool}_clip_vit_{size}"]
    assert are_matched(ids)
    own = [CHECKPOINTS[one].pretraining for one in ids]
    assert {one.samples_seen for one in own} == {seen}
    assert {one.sources[0].name for one in own} == {"DataComp-CommonPool"}
    assert len({one.curation for one in own}) == len(ids)
    assert max(own, key=lambda one: int(one.sources[0].samples)).curation == "none"


@pytest.mark.parametrize("method", ["clip", "simclr"])
def test_the_studys_grid_is_matched(method: str) -> None:
    assert are_matched([f"study_{method}_rn50_{size}" for size in STUDY_SIZES])
    same_size = [CHECKPOINTS[f"study_{method}_rn50_{source}_2.7m"].pretraining for source in STUDY_SOURCES]
    assert {one.sources[0].samples for one in same_size} == {2_700_000}
    assert len({one.sources[0].name for one in same_size}) == len(STUDY_SOURCES)


def test_image_image_on_yfcc15m_is_found_by_its_source() -> None:
    found = {
        spec.id
        for spec in SPECS
        if spec.pretraining.method == "image-image" and any(one.name == "YFCC15M" for one in spec.pretraining.sources)
    }
    assert {f"yfcc15m_simclr_vit_{size}_16" for size in "sbl"} <= found
