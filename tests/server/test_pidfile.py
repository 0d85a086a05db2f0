"""The pid file: a claim while the process lives."""

import os

import pytest

from carboy.server.errors import BindError
from carboy.server.pidfile import pid_file


def test_held_while_running(tmp_path):
    """Our id while the block runs; no file after it."""
    path = tmp_path / "pid"

    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", ["4194999\n", "rubbish", ""])
def test_stale_file_is_replaced(tmp_path, left):
    """A dead process, or no process at all, claims nothing."""
    path = tmp_path / "pid"
    path.write_text(left)

    with pid_file(str(path)):
        assert int(path.read_text()) == os.getpid()


def test_living_holder_is_respected(tmp_path):
    """Another process that is alive keeps its claim, and its file."""
    path = tmp_path / "pid"
    path.write_text(str(os.getppid()))

    with pytest.raises(BindError, match="which is alive"), pid_file(str(path)):
        pass

    assert path.read_text() == str(os.getppid())


def test_file_taken_over_by_another_is_left(tmp_path):
    """Who overwrote it meanwhile has its own reasons."""
    path = tmp_path / "pid"

    with pid_file(str(path)):
        path.write_text(str(os.getppid()))

    assert path.exists()


def test_directory_that_does_not_exist_is_explained(tmp_path):
    """The error names the option."""
    with pytest.raises(BindError, match=r"--pid-file .* cannot be written"), pid_file(str(tmp_path / "no" / "pid")):
        pass
