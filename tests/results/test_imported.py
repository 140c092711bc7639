import datetime
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probebench.errors import ResultError, UsageError
from probebench.results.imported import import_table, write_imported
from probebench.results.mapping import TableMap, read_map, read_source, shipped_maps
from probebench.results.schema import Result
from probebench.results.store import read_result

HEADER = "loss arch us ds us_epochs us_lr us_bs us_wd ds_epochs ds_lr ds_bs ds_wd zero 1 5 10 20 full 100 200".split()
ROW = {
    "loss": "CLIP",
    "arch": "RN50",
    "us": "LAION2.7m",
    "ds": "CIFAR100",
    "us_epochs": "16",
    "us_lr": "0.001",
    "us_bs": "1024",
    "us_wd": "0.1",
    "ds_epochs": "128",
    "ds_lr": "0.0003",
    "ds_bs": "128",
    "ds_wd": "0.1",
}
SCORES = HEADER[12:]


def table(tmp_path: Path, *rows: dict[str, str], header: list[str] | None = None) -> Path:
    names = header or HEADER
    lines = ["\t".join(names), *("\t".join((ROW | row).get(name, "") for name in names) for row in rows)]
    path = tmp_path / "table.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


def imported(tmp_path: Path, *rows: dict[str, str]) -> list[Result]:
    return import_table(table(tmp_path, *rows), read_map("entezari2023"))


def test_every_figure_is_one_published_result_with_its_place(tmp_path: Path) -> None:
    (one,) = imported(tmp_path, {"5": "61.25"})
    assert (one.provenance, one.kind, one.mode, one.shots, one.selection) == (
        "published",
        "finetune",
        "full",
        5,
        "test",
    )
    assert one.mean == 0.6125 and one.n_test == 10_000 and one.trials == [] and one.predictions is None
    facts = one.checkpoint
    assert (facts.method, facts.objective, facts.architecture) == ("language-image", "clip", "open_clip/RN50")
    assert [(source.name, source.samples) for source in facts.sources] == [("LAION", 2_700_000)]
    assert facts.samples_seen == 16 * 2_700_000
    assert one.environment["settings"] == {"ds_epochs": "128", "ds_lr": "0.0003", "ds_bs": "128", "ds_wd": "0.1"}
    assert (one.environment["imported"]["line"], one.environment["imported"]["column"]) == (2, "5")


def test_every_setting_of_a_cell_is_kept(tmp_path: Path) -> None:
    made = imported(tmp_path, *({"ds_lr": rate, "full": "80"} for rate in ("0.1", "0.2", "0.3")))
    assert len(made) == 3 and len(set(write_imported(made, tmp_path / "out"))) == 3


def test_equal_rows_are_several_runs(tmp_path: Path) -> None:
    made = imported(tmp_path, {"full": "80"}, {"full": "80"})
    assert len(set(write_imported(made, tmp_path / "out"))) == 2


@pytest.mark.parametrize("text", ["0", "0.0", "0.000", "nan", "NaN", "Nan"])
def test_a_failed_run_has_no_score(tmp_path: Path, text: str) -> None:
    one, other = imported(tmp_path, {"1": text, "5": "0.01"})
    assert one.mean is None and one.environment["imported"]["failed"] == text
    assert other.mean == 0.0001


def test_zero_shot_counts_once_whatever_the_transfer(tmp_path: Path) -> None:
    made = imported(
        tmp_path, *({"ds_lr": rate, "zero": zero} for rate, zero in (("1", "20"), ("2", "20"), ("3", "21")))
    )
    assert [(one.kind, one.mode, one.shots, one.mean, one.selection) for one in made] == [
        ("zeroshot", "zeroshot", 0, 0.2, "fixed"),
        ("zeroshot", "zeroshot", 0, 0.21, "fixed"),
    ]
    assert len(set(write_imported(made, tmp_path / "out"))) == 2


def test_a_probe_in_the_column_of_zero_shot_is_passed_over(tmp_path: Path) -> None:
    (one,) = imported(tmp_path, {"loss": "CLIP_LP-FT", "zero": "60", "1": "50"})
    assert (one.mode, one.shots) == ("lp-ft", 1)


def test_scratch_is_no_pre_training(tmp_path: Path) -> None:
    (one,) = imported(tmp_path, {"us": "Scratch", "full": "50"})
    assert (one.checkpoint.method, one.checkpoint.sources) == ("none", [])


@pytest.mark.parametrize(
    ("word", "name", "samples"),
    [
        ("CC3m", "CC3M", 2_700_000),
        ("LAION2.7m", "LAION", 2_700_000),
        ("LAION2B", "LAION", 2_000_000_000),
        ("LAION400m", "LAION", 400_000_000),
        ("YFCC_0.5m", "YFCC15M", 500_000),
        ("Redcaps2.7m", "RedCaps", 2_700_000),
        ("IN1K", "ImageNet-1k", 1_281_167),
        ("IN1K-Captions", "ImageNet-Captions", "unknown"),
        ("OpenAI400m", "OpenAI-WIT", 400_000_000),
        ("wit750K", "WIT", 750_000),
    ],
)
def test_source_and_size_in_one_word(word: str, name: str, samples: object) -> None:
    read = read_source(read_map("entezari2023").sources, word)
    assert read is not None and (read[0].name, read[1]) == (name, samples)


@pytest.mark.parametrize("word", ["", "Foo", "Foo3m", "3m", "LAION3x", "2.7m LAION"])
def test_an_unknown_source_is_none(word: str) -> None:
    assert read_source(read_map("entezari2023").sources, word) is None


def test_everything_that_is_wrong_is_named_at_once_with_its_place(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        {"us": "Foo3m", "1": "x"},
        {"loss": "BYOL", "ds": "MNIST", "arch": "RN18", "5": "101"},
        {"us": "Foo3m", "us_epochs": "few", "10": "-1"},
    )
    with pytest.raises(ResultError) as caught:
        import_table(path, read_map("entezari2023"))
    text = str(caught.value)
    assert "\n" not in text and str(path) in text
    for said in (
        "line 2, column 'us': unknown source 'Foo3m'",
        "line 2, column '1': 'x' is no number",
        "line 3, column 'loss': unknown method 'BYOL'",
        "line 3, column 'ds': unknown data set 'MNIST'",
        "line 3, column 'arch': unknown architecture 'RN18'",
        "line 3, column '5': '101' is not within 0 and 100",
        "line 4, column 'us_epochs': 'few' is no number",
        "line 4, column '10': '-1' is not within",
    ):
        assert said in text
    assert text.count("Foo3m") == 1


def test_unknown_lacking_and_doubled_columns_are_named_at_once(tmp_path: Path) -> None:
    header = [name for name in HEADER if name != "ds_lr"] + ["note", "extra", "5"]
    with pytest.raises(ResultError) as caught:
        import_table(table(tmp_path, {}, header=header), read_map("entezari2023"))
    for said in (
        "'note': the map does not know",
        "'extra': the map does not",
        "'ds_lr': the table lacks",
        "'5': this heading occurs twice",
    ):
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (("\t".join(HEADER) + "\n").encode(), "no figures"),
        (("\t".join(HEADER) + "\nCLIP\tRN50\n").encode(), "line 2, column 'all': 2 cells where the heading has 20"),
    ],
)
def test_a_table_that_is_none_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=re.escape(said)):
        import_table(path, read_map("entezari2023"))


LONG: dict[str, Any] = {
    "title": "A long table",
    "scale": "fraction",
    "selection": "validation",
    "protocol": "theirs",
    "kind": "probe",
    "mode": "linear",
    "model": "{net}",
    "columns": {"source": "data", "samples": "size", "dataset": "task", "shots": "k", "score": "acc", "n_test": "n"},
    "constants": {"method": "clip", "architecture": "ViT-B/16"},
    "ignore": ["net"],
    "methods": {"clip": {"method": "language-image", "objective": "clip"}},
    "sources": {"web": {"name": "Web"}},
}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_long_table_whatever_its_delimiter(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "long.csv"
    lines = ["net,data,size,task,k,acc,n", "A b,web,1000,Flowers 102,5,0.75,300", "A b,web,1000,Flowers 102,full,,300"]
    path.write_text("\n".join(lines).replace(",", separator))
    (one,) = import_table(path, TableMap.model_validate(LONG))
    assert (one.model, one.dataset, one.shots, one.mean, one.n_test) == ("a_b", "flowers_102", 5, 0.75, 300)
    assert (one.kind, one.mode, one.selection) == ("probe", "linear", "validation")
    assert one.checkpoint.sources[0].samples == 1000 and one.checkpoint.architecture == "ViT-B/16"


def test_one_name_for_two_checkpoints_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("net,data,size,task,k,acc,n\nA,web,1,x,5,0.7,9\nA,web,2,x,5,0.7,9\n")
    with pytest.raises(ResultError, match="names two checkpoints"):
        import_table(path, TableMap.model_validate(LONG))


@given(st.dictionaries(st.sampled_from(SCORES), st.floats(0, 100).map(lambda score: round(score, 3)), min_size=1))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_what_was_read(tmp_path_factory: pytest.TempPathFactory, scores: dict[str, float]) -> None:
    folder = tmp_path_factory.mktemp("table")
    made = imported(folder, {name: repr(score) for name, score in scores.items()})
    assert len(made) == len(scores)
    for one, path in zip(made, write_imported(made, folder / "out"), strict=True):
        assert read_result(path) == one
        score = scores["zero" if one.shots == 0 else str(one.shots)]
        assert one.mean == (None if score == 0 else pytest.approx(score / 100, abs=1e-9))
    again = write_imported(made, folder / "out")
    assert len(list((folder / "out").rglob("*.json"))) == len(set(again)) == len(scores)


@given(st.text(max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_text_in_a_cell_is_a_figure_a_failure_or_a_line(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("table")
    path = folder / "table.tsv"
    cells = ROW | {"1": text, "5": "50"}
    path.write_text("\t".join(HEADER) + "\n" + "\t".join(cells.get(name, "") for name in HEADER) + "\n", "utf-8")
    try:
        made = import_table(path, read_map("entezari2023"))
    except ResultError as error:
        assert "\n" not in str(error)
    else:
        assert {one.shots for one in made} <= {1, 5}
        assert all(one.mean is None or 0 < one.mean <= 1 for one in made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"columns": {"source": "data"}}, "dataset"),
        ({"scale": "permille"}, "scale"),
        ({"surprise": 1}, "surprise"),
        (
            {"columns": {**LONG["columns"], "shots": "k"}, "methods": {"clip": {"method": "magic"}}},
            "methods.clip.method",
        ),
        ({"protocol": "../x"}, "protocol"),
        ({"strict": "no"}, "strict: "),
        ({"title": datetime.date(2024, 1, 1)}, "title: Input should be a valid string"),
        ({"a\nb\x1b[31m": 3}, r"a\nb\x1b[31m: unknown key"),
        ({"partial": 0}, "partial: "),
        ({"shots": {"s": "5"}}, "shots.s: '5' is no number (or \"full\")"),
        ({"test_images": {"digits": {"5": "899"}}}, "test_images.digits.5: "),
    ],
)
def test_a_malformed_map_is_one_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    import tomli_w

    path = tmp_path / "map.toml"
    path.write_text(tomli_w.dumps(LONG | change))
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        read_map(str(path))
    assert "\n" not in str(caught.value)


def test_shipped_maps_are_read_by_name() -> None:
    assert "entezari2023" in shipped_maps()
    assert read_map("entezari2023").paper == "arXiv:2302.13602"
    with pytest.raises(UsageError, match="neither a file nor one of"):
        read_map("nothing")


def test_the_map_in_the_documentation_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "study.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    found = TableMap.model_validate(tomllib.loads(block))
    assert found.wide and found.test_images["cifar100"]["5"] == 10_000
