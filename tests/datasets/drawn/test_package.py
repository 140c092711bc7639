import tarfile
from pathlib import Path

import pytest

from probebench.datasets.drawn import package as packages
from probebench.datasets.drawn.package import PackageError, obtain, other_version, package_folder
from probebench.registry.drawn import Package
from tests.datasets.drawn.packages import emoji_set, npm_archive, npm_package, picture, program

CLIPART = Package(manager="apt", name="tiny-clipart", version="1:0.1-2", sha256="0" * 64)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty path, for programs of the test's own beside those that scripts need."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(packages, "SYSTEM", tmp_path / "system")
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return npm_archive(tmp_path / "made" / "iconify-json-tiny-1.0.0.tgz", emoji_set())


def said(package: Package, root: Path) -> str:
    with pytest.raises(PackageError) as caught:
        obtain(package, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_npm_fetches_what_is_not_there_and_once(root: Path, tools: Path, archive: Path) -> None:
    program(tools, "npm", f'[ "$1 $2 $3" = "pack --silent @iconify-json/tiny@1.0.0" ] && /bin/cp {archive} .')
    folder = obtain(npm_package(archive), root)
    assert folder == root / "packages" / "iconify-json-tiny" and (folder / "package" / "icons.json").is_file()
    (tools / "npm").unlink()
    assert obtain(npm_package(archive), root) == folder
    assert [path.name for path in (root / "packages").iterdir() if path.is_dir()] == ["iconify-json-tiny"]


def test_without_npm_the_line_says_what_to_place_where(root: Path, tools: Path, archive: Path) -> None:
    line = said(npm_package(archive), root)
    assert "needs npm, which is not on this machine" in line
    assert f"place the .tgz of `npm pack @iconify-json/tiny@1.0.0`, run on any machine, in {root / 'packages'}" in line
    (root / "packages" / archive.name).write_bytes(archive.read_bytes())
    assert obtain(npm_package(archive), root).is_dir()


def test_a_program_that_fails_is_one_line_with_its_reason(root: Path, tools: Path, archive: Path) -> None:
    program(tools, "npm", "echo 'npm error code E404' >&2; exit 1")
    assert "npm failed with @iconify-json/tiny (npm error code E404); place" in said(npm_package(archive), root)
    program(tools, "npm", "exit 0")
    assert "npm fetched no archive" in said(npm_package(archive), root)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_another_archive_than_the_entry_knows_is_refused(root: Path, tools: Path, archive: Path, damage: str) -> None:
    package = npm_package(archive)
    content = archive.read_bytes()
    place = root / "packages" / archive.name
    place.parent.mkdir(parents=True)
    place.write_bytes(content[:-40] if damage == "cut" else content + b"\0")
    assert f"{place} is not @iconify-json/tiny 1.0.0 as the entry knows it" in said(package, root)
    assert not package_folder(package, root).exists()


def test_an_archive_of_another_version_is_opened_and_told_apart(root: Path, tools: Path, archive: Path) -> None:
    package = npm_package(archive, version="0.9.0")
    (root / "packages").mkdir(parents=True)
    (root / "packages" / archive.name).write_bytes(archive.read_bytes())
    obtain(package, root)
    assert other_version(package, root) == "1.0.0"
    assert other_version(npm_package(archive), root) is None


def test_an_archive_that_leaves_its_folder_is_refused(root: Path, tools: Path, tmp_path: Path) -> None:
    evil = tmp_path / "iconify-json-tiny-1.0.0.tgz"
    with tarfile.open(evil, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../outside"))
    (root / "packages").mkdir(parents=True)
    (root / "packages" / evil.name).write_bytes(evil.read_bytes())
    assert "cannot be unpacked" in said(npm_package(evil), root)


def test_apt_fetches_and_dpkg_unpacks(root: Path, tools: Path, tmp_path: Path) -> None:
    made = tmp_path / "made" / "usr" / "share" / "openclipart" / "png" / "a.png"
    picture(made, 0)
    deb = tmp_path / "tiny-clipart_1%3a0.2-1_all.deb"
    (tmp_path / "made" / "DEBIAN").mkdir()
    (tmp_path / "made" / "DEBIAN" / "control").write_text("Package: tiny-clipart\nVersion: 1:0.2-1\n")
    with tarfile.open(deb, "w") as tar:
        tar.add(tmp_path / "made", ".")
    program(tools, "apt-get", f'[ "$1 $3" = "download tiny-clipart" ] && /bin/cp {deb} .')
    program(tools, "dpkg-deb", '[ "$1" = --raw-extract ] && /bin/tar --extract --file "$2" --directory "$3"')
    folder = obtain(CLIPART, root)
    assert (folder / made.relative_to(tmp_path / "made")).is_file()
    # Another version than the entry's is told apart by what it says of itself.
    assert other_version(CLIPART, root) == "1:0.2-1"
    (tools / "apt-get").unlink()
    assert "apt-get download other" in said(CLIPART.model_copy(update={"name": "other"}), root)


def test_what_debian_installed_is_taken_if_all_of_it_is_there(root: Path, tools: Path, tmp_path: Path) -> None:
    system = tmp_path / "system"
    files = ["usr/share/openclipart/png/a.png", "usr/share/openclipart/png/b.png"]
    for number, name in enumerate(files):
        picture(system / name, number)
    (system / files[0]).with_name("link.png").symlink_to("a.png")
    listing = system / "var" / "lib" / "dpkg" / "info" / "tiny-clipart.list"
    listing.parent.mkdir(parents=True)
    named = [*files, "usr/share/openclipart/png/link.png", "usr/share/doc/tiny-clipart/copyright"]
    listing.write_text("/.\n/usr\n" + "".join(f"/{name}\n" for name in named))
    # A package whose name begins alike is another.
    listing.with_name("tiny-clipart-extra.list").write_text("/usr/share/none.png\n")
    folder = obtain(CLIPART, root)
    assert sorted(path.name for path in folder.rglob("*.png")) == ["a.png", "b.png", "link.png"]
    assert (folder / "usr/share/openclipart/png/link.png").is_symlink()

    (system / files[1]).unlink()
    package = CLIPART.model_copy(update={"name": "tiny-clipart"})
    folder.rename(tmp_path / "away")
    assert "needs apt-get" in said(package, root)
