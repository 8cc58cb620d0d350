import io
import lzma
import tarfile

import pytest

from benchmark import archive
from benchmark.commands.check import main as check_main
from benchmark.commands.report import main as report_main
from benchmark.contracts import InputError
from runs import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "run"
    write_run(folder, {"ce": 0.6, "majority": 0.4}, tested=20)
    (folder / "cohort.csv").write_text("nodule_id\n")
    (folder / "fits" / "three" / "ce" / "fold0-seed0.safetensors").write_bytes(b"weights")
    return folder


def test_a_packed_run_unpacks_to_the_same_records_without_weights(folder, tmp_path):
    packed = tmp_path / "run.tar.xz"
    assert archive.pack(folder, packed) == 20
    with archive.opened(packed) as unpacked:
        for path in [path for path in folder.rglob("*") if path.suffix in (".json", ".csv")]:
            assert (unpacked / path.relative_to(folder)).read_bytes() == path.read_bytes()
        assert not list(unpacked.rglob("*.safetensors"))
    assert not unpacked.exists()


def test_the_same_records_pack_to_the_same_bytes(folder, tmp_path):
    for name in ("one", "two"):
        assert check_main([str(folder), "--pack", str(tmp_path / name)]) == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_report_of_a_packed_run_is_that_of_its_folder(folder, tmp_path):
    archive.pack(folder, tmp_path / "run.tar.xz")
    for run in (folder, tmp_path / "run.tar.xz"):
        assert report_main([str(run), "--out", str(tmp_path / f"{run.name}.html")]) == 0
    assert (tmp_path / "run.html").read_bytes() == (tmp_path / "run.tar.xz.html").read_bytes()


def test_a_folder_is_opened_as_it_is(folder):
    with archive.opened(folder) as opened:
        assert opened == folder


@pytest.mark.parametrize("content", [b"", b"no archive", lzma.compress(b"no tar")], ids=["empty", "text", "no tar"])
def test_what_is_no_packed_run_is_a_sentence(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match="no packed run, or a damaged one"), archive.opened(tmp_path / "x"):
        pass


def test_a_packed_run_that_was_cut_short_is_a_sentence(folder, tmp_path):
    archive.pack(folder, tmp_path / "x")
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged one"), archive.opened(tmp_path / "x"):
        pass


def entry(name: str, size: int, **changes) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def test_a_file_that_promises_too_much_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST", 1000)
    with tarfile.open(tmp_path / "x", "w") as made:
        for name in ("a", "b"):
            made.addfile(entry(name, 600), io.BytesIO(bytes(600)))
    with pytest.raises(InputError, match="unpacks to more than"), archive.opened(tmp_path / "x"):
        pass


@pytest.mark.parametrize(
    "outside", [entry("../outside", 0), entry("link", 0, type=tarfile.SYMTYPE, linkname="/etc/passwd")]
)
def test_no_name_in_a_packed_run_leads_outside_of_it(tmp_path, outside):
    with tarfile.open(tmp_path / "x", "w") as made:
        made.addfile(outside)
    with pytest.raises(InputError), archive.opened(tmp_path / "x"):
        pass
    assert not (tmp_path.parent / "outside").exists()
