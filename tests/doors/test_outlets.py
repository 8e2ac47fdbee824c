"""What goes out to files: nothing is replaced but regular files; links, devices and pipes stay what
they are."""

from __future__ import annotations

import errno
import io
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from saddlery.basis.checks import InputError, StorageError
from saddlery.doors import outlets
from saddlery.doors.outlets import (
    check_place,
    place_of,
    placed,
    placed_folder,
    refuse_existing,
    remedy,
    write_text,
)
from saddlery.experiments import Experiment
from saddlery.runs import load_run

root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root makes devices, and ignores permissions"
)
no_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")


def mode(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    """Two links, one after the other, into another folder: the last target gets the text, beside
    itself, and keeps its mode."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "real").write_text("old")
    os.chmod(home / "real", 0o640)
    os.symlink("home/real", tmp_path / "one")
    os.symlink("one", tmp_path / "two")
    write_text(tmp_path / "two", "new")
    assert (tmp_path / "two").is_symlink() and (tmp_path / "one").is_symlink()
    assert (home / "real").read_text() == "new" and mode(home / "real") == 0o640
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["home", "one", "real", "two"]


def test_a_link_to_nothing_makes_its_target(tmp_path):
    os.symlink("later/file", tmp_path / "link")
    check_place(tmp_path / "link")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "later" / "file").read_text() == "new"


def test_links_in_circles_are_named(tmp_path):
    os.symlink("b", tmp_path / "a")
    os.symlink("a", tmp_path / "b")
    for act in (check_place, lambda path: write_text(path, "x")):
        with pytest.raises(StorageError, match="lead back to themselves"):
            act(tmp_path / "a")
    assert (tmp_path / "a").is_symlink() and (tmp_path / "b").is_symlink()


def read_from_pipe(pipe: Path, act) -> bytes:
    """What `act`, which writes into a named pipe, has written there; the pipe must be one
    afterwards."""
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    act()
    reader.join(30 if stat.S_ISFIFO(os.lstat(pipe).st_mode) else 0)
    assert stat.S_ISFIFO(os.lstat(pipe).st_mode), "the pipe was replaced"
    return got[0]


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    check_place(tmp_path / "pipe")
    assert (
        read_from_pipe(tmp_path / "pipe", lambda: write_text(tmp_path / "pipe", "é\n"))
        == "é\n".encode()
    )
    os.symlink("pipe", tmp_path / "link")
    assert read_from_pipe(tmp_path / "pipe", lambda: write_text(tmp_path / "link", "x")) == b"x"
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


@root
def test_a_device_stays_a_device(tmp_path):
    """A second /dev/null of our own: the real one is not for tests."""
    null = tmp_path / "null"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        with open(null, "wb") as handle:
            handle.write(b"x")
    except OSError:
        pytest.skip("no device can be made or used here")
    check_place(null)
    write_text(null, "gone")
    assert stat.S_ISCHR(os.lstat(null).st_mode) and os.lstat(null).st_rdev == os.makedev(1, 3)
    with pytest.raises(StorageError, match="exists already"):
        refuse_existing(null)
    with pytest.raises(StorageError, match="exists already"), placed_folder(null):
        pass
    assert stat.S_ISCHR(os.lstat(null).st_mode)


def test_a_socket_and_a_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s")
        for act in (check_place, lambda path: write_text(path, "x")):
            with pytest.raises(StorageError, match="a disk or a socket"):
                act(Path("s"))
        assert stat.S_ISSOCK(os.lstat("s").st_mode)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="it is a folder"):
        write_text(tmp_path / "folder", "x")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors have no names here")
def test_an_open_descriptor_is_written_where_it_is(tmp_path):
    """As /dev/stdout behind `> file`: replacing the file, or opening it again, would lose what was
    written before."""
    with open(tmp_path / "log", "w+b") as log:
        log.write(b"before ")
        log.flush()
        os.symlink(f"/proc/self/fd/{log.fileno()}", tmp_path / "stdout")
        write_text(tmp_path / "stdout", "within")
        log.write(b" after")
    assert (tmp_path / "log").read_bytes() == b"before within after"
    with pytest.raises(StorageError, match="Bad file descriptor"):
        check_place(Path("/proc/self/fd/999"))


def test_permissions_of_new_files_are_those_of_the_user(tmp_path):
    """Oracle (d): what `open` and `mkdir` make under the same umask."""
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "x")
        (tmp_path / "plain").write_text("x")
        with placed_folder(tmp_path / "run") as staging:
            (staging / "a").write_text("x")
        (tmp_path / "folder").mkdir()
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == mode(tmp_path / "plain") == 0o640
    assert mode(tmp_path / "run") == mode(tmp_path / "folder") == 0o750


@no_root
def test_a_write_protected_file_is_not_replaced(tmp_path):
    (tmp_path / "file").write_text("old")
    os.chmod(tmp_path / "file", 0o400)
    for act in (check_place, lambda path: write_text(path, "x")):
        with pytest.raises(StorageError, match="write-protected"):
            act(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"


def test_a_run_is_a_folder_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    os.symlink("empty", tmp_path / "link")
    os.symlink("nothing", tmp_path / "dangling")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("link", "is a link"),
        ("dangling", "is a link"),
        ("pipe", "exists already"),
    ):
        with pytest.raises(StorageError, match=words), placed_folder(tmp_path / name):
            pass
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(StorageError, match="name a new folder in it"):
        refuse_existing(Path("."))
    assert sorted(os.listdir(tmp_path)) == ["dangling", "empty", "link", "pipe"]


def test_nothing_is_left_of_what_fails(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(ZeroDivisionError), placed(tmp_path / "file") as staging:
        staging.write_text("half")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.ENOENT, "check the path"),
        (errno.EACCES, "you may write to"),
        (errno.EISDIR, "a file in that folder"),
        (errno.ENOTDIR, "is a file"),
        (errno.EROFS, "you may write to"),
        (errno.ENOSPC, "free some space"),
        (errno.ELOOP, "links"),
    ],
)
def test_every_error_of_the_system_has_its_own_remedy(number, words):
    assert words in remedy(OSError(number, os.strerror(number)))


def test_names_that_no_file_can_have(tmp_path):
    """A name of 300 letters is no question of space, and NUL is named."""
    for name, words in (
        ("x" * 300, "File name too long; .* 255 bytes"),
        ("a\0b", "'.*a\\\\x00b' cannot be written.*NUL"),
    ):
        for act in (check_place, lambda path: write_text(path, "x")):
            with pytest.raises(StorageError, match=words):
                act(tmp_path / name)
    write_text(tmp_path / ("x" * 255), "the longest name there is")
    assert os.listdir(tmp_path) == ["x" * 255]
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(InputError):
            load_run(tmp_path / name)
        with pytest.raises(InputError):
            Experiment.load(tmp_path / name)


def test_letters_that_utf8_lacks_are_spelled_out(tmp_path):
    assert write_text(tmp_path / "file", "a\udcffb").read_bytes() == b"a\\udcffb"


def test_a_writer_that_looks_at_nothing_is_seen(tmp_path, monkeypatch):
    """Broken on purpose: every place a regular file, which is how a pipe was lost."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(outlets, "place_of", lambda target: outlets.Place(target))
    with pytest.raises(AssertionError, match="the pipe was replaced"):
        read_from_pipe(tmp_path / "pipe", lambda: write_text(tmp_path / "pipe", "x"))
    assert place_of(tmp_path / "other").path == tmp_path / "other"


def test_every_writer_passes_here():
    """No module but this one renames or makes files; writing into a staging file that came from
    here is what is left."""
    import saddlery

    for path in Path(saddlery.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "outlets.py":
            assert "os.replace" not in text and ".rename(" not in text, path
            for line in io.StringIO(text):
                if line.lstrip().startswith((">>> ", "... ")):
                    continue  # an example, which writes what a user would
                writes = any(
                    words in line
                    for words in (".write_text(", "to_csv(", "to_parquet(", "savez", "to_netcdf(")
                )
                assert not writes or "staging" in line or "(file," in line or "def " in line, (
                    f"{path}: {line}"
                )
