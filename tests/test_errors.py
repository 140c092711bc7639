import errno

from probebench.errors import describe_os_error, did_you_mean, one_line


def test_nearest_names_come_first() -> None:
    known = ["efficientnet_lite0_in1k", "resnet50_a1_in1k", "digits"]
    assert did_you_mean("efficientnet_lite0", known).startswith("; did you mean efficientnet_lite0_in1k")
    assert did_you_mean("DIGITS", known) == "; did you mean digits?"
    assert did_you_mean("zzzz", known) == ""


def test_one_line_cuts_and_never_is_empty() -> None:
    assert one_line(ValueError("first\nsecond")) == "first"
    assert one_line(ValueError("")) == "ValueError"
    assert len(one_line(ValueError("x" * 1000), limit=50)) == 50


def test_os_errors_name_the_place_and_the_mend() -> None:
    full = describe_os_error(OSError(errno.ENOSPC, "No space left on device", "/data/f.h5"))
    assert "/data/f.h5" in full and "free some disk space" in full
    assert "PROBEBENCH_HOME" in describe_os_error(OSError(errno.EROFS, "Read-only file system", "/data"))
    assert "/x" in describe_os_error(FileNotFoundError(errno.ENOENT, "No such file", "/x"))
    assert describe_os_error(OSError(errno.EIO, "Input/output error", "/y")) == "Input/output error: /y"
