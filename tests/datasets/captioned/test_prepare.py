import json
from dataclasses import replace
from pathlib import Path

import pytest

from probebench.datasets.captioned.open import open_drawn, open_source, record_path, source_folder
from probebench.datasets.captioned.prepare import prepare_source
from probebench.datasets.captioned.table import TABLE
from probebench.errors import DatasetError, ProbebenchWarning
from probebench.registry import Registry
from probebench.registry.source import SourceSpec
from tests.datasets.drawn.packages import emoji_set, npm_archive, npm_package, source_spec


@pytest.fixture
def spec(root: Path) -> SourceSpec:
    archive = npm_archive(root / "packages" / "iconify-json-tiny-1.0.0.tgz", emoji_set())
    return source_spec([npm_package(archive)], 7, 4)


def known(spec: SourceSpec, root: Path) -> SourceSpec:
    """The entry with what came out of it."""
    found = prepare_source(spec, root)
    drawn = spec.drawn.model_copy(update={"pixels": found.images.content()})
    return spec.model_copy(update={"fingerprint": found.fingerprint, "drawn": drawn})


def opened(spec: SourceSpec, shipped: Registry) -> Registry:
    return replace(shipped, sources={**shipped.sources, spec.id: spec})


def test_twice_the_same_fingerprint(spec: SourceSpec, root: Path, tmp_path: Path, shipped: Registry) -> None:
    first = known(spec, root)
    source = open_source("tiny", opened(first, shipped), root)
    assert source.id == "tiny" and source.fingerprint == first.fingerprint
    assert "u1f9d1-1f33e" in source.concepts[source.ids.index("images/farmer.png")]
    # In another home, from the same package.
    other = tmp_path / "other"
    archive = next((root / "packages").glob("*.tgz"))
    (other / "packages").mkdir(parents=True)
    (other / "packages" / archive.name).write_bytes(archive.read_bytes())
    assert prepare_source(first, other).fingerprint == first.fingerprint
    # What is there already is not drawn again.
    (root / "packages" / archive.name).unlink()
    assert prepare_source(first, root).fingerprint == first.fingerprint


def test_a_half_unpacked_package_is_named_and_drawn_anew_when_whole(spec: SourceSpec, root: Path) -> None:
    archive = next((root / "packages").glob("*.tgz"))
    folder = root / "packages" / "iconify-json-tiny"
    half = emoji_set()
    half["icons.json"]["icons"].popitem()
    half["icons.json"]["icons"].popitem()
    (folder / "package").mkdir(parents=True)
    for name, value in half.items():
        (folder / "package" / name).write_text(json.dumps(value))
    with pytest.raises(DatasetError) as caught:
        prepare_source(spec, root)
    line = str(caught.value)
    assert "source tiny: 6 images where the entry says 7" in line
    assert f"remove {folder}, which may be half unpacked or changed, and run the same command again" in line
    for path in (folder / "package").iterdir():
        path.unlink()
    (folder / "package").rmdir()
    folder.rmdir()
    assert archive.is_file() and len(prepare_source(spec, root)) == 7


def test_moved_pixels_are_said_where_another_version_drew(spec: SourceSpec, root: Path) -> None:
    entry = known(spec, root)
    other = entry.drawn.model_copy(update={"pixels": "0" * 64, "renderer": "resvg-py 0.4.9"})
    with pytest.warns(ProbebenchWarning, match="its pixels are not those of the entry .resvg-py .* draws here where"):
        prepare_source(entry.model_copy(update={"drawn": other}), root)


def test_moved_pixels_of_the_same_versions_are_refused(spec: SourceSpec, root: Path) -> None:
    entry = known(spec, root)
    import resvg_py

    wrong = entry.drawn.model_copy(update={"pixels": "0" * 64, "renderer": f"resvg-py {resvg_py.__version__}"})
    with pytest.raises(DatasetError, match="its pixels are not those of the entry; remove"):
        prepare_source(entry.model_copy(update={"drawn": wrong}), root)
    assert not source_folder(spec, root).exists()


def test_other_captions_than_the_entrys_are_refused(spec: SourceSpec, root: Path) -> None:
    entry = known(spec, root)
    with pytest.raises(DatasetError, match="ids, captions or labels are not those of the entry"):
        prepare_source(entry.model_copy(update={"fingerprint": "0" * 64}), root)


def test_a_source_that_changed_since_is_refused(spec: SourceSpec, root: Path, shipped: Registry) -> None:
    entry = known(spec, root)
    table = source_folder(spec, root) / TABLE
    table.write_text(table.read_text().replace("winking face", "blinking face"))
    with pytest.raises(DatasetError, match="source tiny has changed since it was prepared; restore its files, or run"):
        open_source("tiny", opened(entry, shipped), root)
    record_path(spec, root).write_text("{")
    with pytest.raises(DatasetError, match=r"prepared\.json cannot be read; run probebench sources prepare tiny"):
        open_source("tiny", opened(entry, shipped), root)
    table.unlink()
    with pytest.raises(DatasetError, match="source tiny lacks .*captions.csv; run probebench sources prepare tiny"):
        open_drawn(spec, root)
