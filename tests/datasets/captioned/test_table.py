from pathlib import Path

import pytest

from probebench.datasets.captioned.table import TABLE, Row, read_table, write_table
from probebench.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "deep/c.png", "café.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def said(folder: Path, text: str | bytes) -> str:
    (folder / TABLE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError) as caught:
        read_table(folder)
    line = str(caught.value)
    assert line.startswith(str(folder / TABLE)) and "\n" not in line
    return line.removeprefix(str(folder / TABLE)).lstrip(": ")


def test_what_is_written_is_read(folder: Path) -> None:
    rows = [
        Row(file="a.png", caption='a "small", red\ncar', label="cars", concepts=("car", "u1f697"), split="test"),
        Row(file="deep/c.png", caption="café", label="bars"),
    ]
    write_table(folder / TABLE, rows)
    assert read_table(folder) == rows
    write_table(folder / TABLE, [Row(file="a.png", caption="a")])
    assert (folder / TABLE).read_text() == "file,caption\na.png,a\n"


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_of_spreadsheets_are_read(folder: Path, start: str, end: str) -> None:
    lines = ["label, file ,caption,notes", "x,a.png,  one ,", 'y,café.png,"two, three",n', ",,,", ""]
    (folder / TABLE).write_bytes((start + end.join(lines)).encode())
    assert [(row.file, row.caption, row.label) for row in read_table(folder)] == [
        ("a.png", "one", "x"),
        ("café.png", "two, three", "y"),
    ]


def test_labels_are_all_there_or_none(folder: Path) -> None:
    (folder / TABLE).write_text("file,caption,label\na.png,one,\nb.png,two,\n")
    assert [row.label for row in read_table(folder)] == [None, None]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("file,text\na.png,one\n", "row 1 has no column 'caption' (its columns: file, text)"),
        ("file,captions\na.png,one\n", "; did you mean captions?"),
        ("name,caption\na.png,one\n", "row 1 has no column 'file'"),
        ("file;caption\na.png;one\n", "; write commas between them"),
        ("file\tcaption\na.png\tone\n", "; write commas between them"),
        ("file,caption,caption\na.png,one,two\n", "row 1 has the column 'caption' twice"),
        ("", "row 1 has no column 'file' (its columns: none)"),
        ("file,caption\n", "names no images"),
        ("file,caption\na.png,one\nz.png,two\n", "row 3 names 'z.png', which is not there"),
        ("file,caption\ndeep,one\n", "row 2 names 'deep', which is not there"),
        ("file,caption\n../x.png,one\n", "row 2 names '../x.png', which is not below the folder"),
        ("file,caption\n/etc/passwd,one\n", "row 2 names '/etc/passwd', which is not below the folder"),
        ("file,caption\n,one\n", "row 2 names no file"),
        ("file,caption\na.png,one\n\nb.png,two\n", "row 3 has 0 fields"),
        ("file,caption\na.png,\n", "row 2 has an empty caption"),
        ("file,caption\na.png,   \n", "row 2 has an empty caption"),
        ("file,caption,label\na.png,one,x\nb.png,two,\n", "row 3 has an empty label, where others have one"),
        ("file,caption\na.png,one\na.png,two\n", "row 3 names 'a.png', as row 2 does"),
        ("file,caption\na.png,one, two\n", "row 2 has 3 fields where the first row has 2 (a comma in a caption needs"),
        ('file,caption\na.png,"one\nb.png,two\n', "is no CSV"),
        ("file,caption\na.png,one\nb.png,caf\xe9\n".encode("latin-1"), "row 3 is not UTF-8 but another encoding"),
        ("file,caption\na.png,one\n".encode("utf-16"), "row 1 is not UTF-8 but UTF-16; save it as CSV in UTF-8"),
        ("file,caption\na\0.png,one\n", "row 2 names"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_row(folder: Path, text: str | bytes, line: str) -> None:
    assert line in said(folder, text)


def test_many_faults_are_counted(folder: Path) -> None:
    line = said(folder, "file,caption\n" + "".join(f"z{number}.png,x\n" for number in range(12)))
    assert line.count("row ") == 5 and line.endswith("; and 7 more faults")


def test_a_folder_without_a_table_says_what_it_takes(folder: Path) -> None:
    with pytest.raises(DatasetError, match="is missing: a table with the columns file, caption and label"):
        read_table(folder)
