import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from benchmark.files import code_hash, replacing, sha256, without_words, write_atomically


def test_a_file_appears_whole_and_nothing_stays_beside_it(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    write_atomically(path, "grün")
    assert path.read_bytes() == "grün".encode() and os.listdir(path.parent) == ["file.txt"]
    write_atomically(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"


def test_an_interrupted_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_two_writers_with_one_process_id_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in two containers
    path = tmp_path / "file"
    with replacing(path) as first:
        first.write(b"first")
        with replacing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["file"]


def test_the_hash_is_sha_256_of_bytes_or_of_a_text_as_utf_8():
    assert sha256("abc") == sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


CODE = '"""Says what."""\n\n\ndef double(x):\n    """Double it."""\n    return 2 * x\n'


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("Double it.", "Twice as much.", True),
        ('    """Double it."""\n', "", True),
        ('"""Says what."""\n\n\n', "# A comment.\n", True),
        ("return 2 * x", "return (2*x)  # why", True),
        ("\n", "\r\n", True),
        ("2 * x", "3 * x", False),
        ("2 * x", '"2" * x', False),
        ("def double(x)", "def double(x=1)", False),
    ],
)
def test_the_hash_of_code_follows_what_it_does_and_not_its_words(tmp_path, old, new, same):
    before, after = tmp_path / "before.py", tmp_path / "after.py"
    before.write_bytes(CODE.encode())
    after.write_bytes(CODE.replace(old, new).encode())
    assert (code_hash([before]) == code_hash([after])) is same


def test_a_string_that_is_no_docstring_counts(tmp_path):
    one, other = tmp_path / "1.py", tmp_path / "2.py"
    one.write_text("x = 1\n'a'\n")
    other.write_text("x = 1\n'b'\n")
    assert code_hash([one]) != code_hash([other])


def test_the_hash_of_several_files_depends_on_each(tmp_path):
    files = [tmp_path / f"{i}.py" for i in range(2)]
    for path in files:
        path.write_text("x = 1\n")
    before = code_hash(files)
    files[1].write_text("x = 2\n")
    assert code_hash(files) != before != code_hash(files[:1])


def _write_until_killed(folder: str, ready) -> None:
    for number in range(1_000_000):
        write_atomically(Path(folder, f"{number % 50}.json"), json.dumps(["x" * 200_000, number]))
        if number == 20:
            ready.set()


def test_a_process_killed_while_writing_leaves_only_whole_files(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_write_until_killed, args=(str(tmp_path), ready))
    process.start()
    assert ready.wait(60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    files = list(tmp_path.glob("[0-9]*.json"))
    assert len(files) >= 20
    assert all(len(json.loads(file.read_text())) == 2 for file in files)


def test_a_text_that_is_used_is_no_docstring():
    assert without_words('x = "kept"\nprint("kept too")') == "x = 'kept'\nprint('kept too')"


def test_a_body_of_words_alone_stays_code():
    assert without_words('def f():\n    """Words."""') == "def f():\n    pass"
