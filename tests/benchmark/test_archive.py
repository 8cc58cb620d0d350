import io
import lzma
import random
import tarfile
import tempfile
import tracemalloc
import zlib

import pytest

from benchmark import archive
from benchmark.commands.check import main as check_main
from benchmark.commands.compare import main as compare_main
from benchmark.commands.predict import main as predict_main
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


def test_a_folder_for_a_packed_run_is_made(folder, tmp_path):
    archive.pack(folder, tmp_path / "new" / "run.tar.xz")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run.tar.xz"]


def test_the_same_records_pack_to_the_same_bytes(folder, tmp_path):
    for name in ("one", "two"):
        assert check_main([str(folder), "--pack", str(tmp_path / name)]) == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_report_of_a_packed_run_is_that_of_its_folder(folder, tmp_path):
    archive.pack(folder, tmp_path / "run.tar.xz")
    for run in (folder, tmp_path / "run.tar.xz"):
        assert report_main([str(run), "--out", str(tmp_path / f"{run.name}.html")]) == 0
    assert (tmp_path / "run.html").read_bytes() == (tmp_path / "run.tar.xz.html").read_bytes()


def test_a_packed_run_is_checked_and_compared_as_its_folder_is(folder, tmp_path, capsys):
    packed, results = tmp_path / "run.tar.xz", ["--results", str(tmp_path / "results")]
    archive.pack(folder, packed)
    assert check_main([str(folder), *results, "--accept", "the first"]) == 0 == check_main([str(packed), *results])
    assert "PASS: all " in capsys.readouterr().out
    assert compare_main([str(folder), str(packed)]) == 0
    assert str(packed) in capsys.readouterr().out


def test_a_packed_run_predicts_nothing_and_the_folder_is_asked_for(folder, tmp_path, capsys):
    packed = tmp_path / "run.tar.xz"
    archive.pack(folder, packed)
    assert predict_main([str(packed), "ce", "--input", str(tmp_path)]) == 2
    said = f"{packed} is a file, and a packed run has no weights: give the folder of the run\n"
    assert capsys.readouterr().err.endswith(said)


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


def members(packed: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(packed))) as archive:
        return [(one.name, archive.extractfile(one).read()) for one in archive]


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members:
            archive.addfile(entry(name, len(content)), io.BytesIO(content))
    return made.getvalue()


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("whole") / "run.tar.xz"
    archive.pack(folder, file)
    return file.read_bytes()


def read(path, content: bytes) -> list[str]:
    path.write_bytes(content)
    with archive.opened(path) as unpacked:
        return sorted(one.relative_to(unpacked).as_posix() for one in unpacked.rglob("*.json"))


def test_a_plain_tar_of_a_run_is_read_as_its_packed_run_is(packed, tmp_path):
    assert read(tmp_path / "x", packed) == read(tmp_path / "x", lzma.decompress(packed))


def test_a_packed_run_of_an_earlier_version_has_no_list_and_is_read_as_xz_alone(packed, tmp_path):
    old = tar_of(members(packed)[1:])
    assert len(read(tmp_path / "x", lzma.compress(old))) == 21
    with pytest.raises(InputError, match=r"a plain tar without packed\.json"):
        read(tmp_path / "x", old)


@pytest.mark.parametrize("is_packed", [True, False], ids=["xz", "plain"])
@pytest.mark.parametrize("without_list", [True, False], ids=["old", "new"])
def test_a_tar_cut_between_two_members_is_no_run_of_fewer_fits(packed, tmp_path, is_packed, without_list):
    whole = members(packed)[without_list:]
    tar = tar_of(whole)
    cut = tar[: tar.rindex(whole[-1][0].encode() + b"\0")]
    assert len(cut) % 512 == 0
    for content in (cut, cut + bytes(512), cut + bytes(1024) + tar[len(cut) :]):
        with pytest.raises(InputError, match="damaged one"):
            read(tmp_path / "x", lzma.compress(content) if is_packed else content)


def test_a_damaged_header_of_a_member_is_not_taken_for_the_end(packed, tmp_path):
    tar = bytearray(tar_of(members(packed)[1:]))
    tar[tar.index(b"fits/two/majority/fold3")] ^= 1
    with pytest.raises(InputError, match="damaged one"):
        read(tmp_path / "x", lzma.compress(tar))


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole[:-1],
        lambda whole: [*whole, ("fits/three/ce/fold9-seed0.json", b"{}")],
        lambda whole: [*whole[:-1], (whole[-1][0], whole[-2][1])],
        lambda whole: [*whole[:-1], ("fits/three/ce/fold9-seed0.json", whole[-1][1])],
    ],
    ids=["one less", "one more", "another's content", "another name"],
)
def test_a_packed_run_holds_what_its_list_says(packed, tmp_path, change):
    for content in (tar_of(change(members(packed))), lzma.compress(tar_of(change(members(packed))))):
        with pytest.raises(InputError, match="is not what was packed"):
            read(tmp_path / "x", content)


def test_an_edited_list_is_not_believed(packed, tmp_path):
    (name, listed), *rest = members(packed)
    for content in (listed.replace(b"cohort.csv", b"cohort.csw"), listed.replace(b'"sha256"', b'"sha257"'), b"{}"):
        with pytest.raises(InputError, match="its own hash"):
            read(tmp_path / "x", tar_of([(name, content), *rest]))


def test_a_packed_run_without_its_last_byte_is_cut_short(packed, tmp_path):
    with pytest.raises(InputError, match="cut short"):
        read(tmp_path / "x", packed[:-1])


def test_nothing_may_follow_a_packed_run(packed, tmp_path):
    for more in (b"x", packed):
        with pytest.raises(InputError, match="something follows its end"):
            read(tmp_path / "x", packed + more)


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


def test_an_xz_of_far_too_much_is_refused_before_it_takes_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST", 2**22)
    zeros = lzma.compress(bytes(2**26), preset=0)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="unpacks to more than 4 MiB"):
            read(tmp_path / "x", zeros)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_an_xz_that_is_far_smaller_than_what_it_holds_is_read_to_its_end(packed, tmp_path):
    tar = tar_of([*members(packed)[1:], ("fits/large.json", bytes(2**24))])
    assert "fits/large.json" in read(tmp_path / "x", lzma.compress(tar, preset=0))


def test_nothing_may_follow_a_packed_run_that_ends_where_a_part_that_is_read_does(tmp_path):
    noise = random.Random(0).randbytes(2**16)
    whole = next(made for less in range(60, 120) if len(made := lzma.compress(noise[less:], preset=0)) == 2**16)
    with pytest.raises(InputError, match="something follows its end"):
        read(tmp_path / "x", whole + b"x")


@pytest.mark.parametrize(("size", "why"), [(50_000, "without packed"), (50_001, "unpacks to more than")])
def test_files_of_holes_count_as_what_they_say_that_they_unpack_to(tmp_path, monkeypatch, size, why):
    monkeypatch.setattr(archive, "MOST", 100_000)
    with tarfile.open(tmp_path / "x", "w") as made:
        for name in ("a", "b"):
            says = {"major": "1", "minor": "0", "name": name, "realsize": str(size)}
            headers = {f"GNU.sparse.{key}": value for key, value in says.items()}
            made.addfile(entry(name, 512, pax_headers=headers), io.BytesIO(b"0\n".ljust(512, b"\0")))  # no data at all
    with pytest.raises(InputError, match=why), archive.opened(tmp_path / "x"):
        pass


def test_names_that_are_only_followed_by_names_are_a_sentence(tmp_path):
    long_name = entry("a", 1, type=tarfile.GNUTYPE_LONGNAME).tobuf() + b"a".ljust(512, b"\0")
    with pytest.raises(InputError, match="damaged one"):
        read(tmp_path / "x", long_name * 2000)


def test_a_header_alone_is_enough_to_refuse_what_promises_more_than_a_gibibyte(tmp_path):
    (tmp_path / "x").write_bytes(entry("a", 2**30 + 1).tobuf())
    with (
        pytest.raises(InputError, match="unpacks to more than 1,024 MiB, which no run has"),
        archive.opened(tmp_path / "x"),
    ):
        pass


def test_an_xz_that_wants_256_mib_to_be_unpacked_is_refused(packed, tmp_path):
    header = bytearray(packed[12:24])  # of the only block: its size, flags, filter, size of properties, dictionary
    assert header[:4] == b"\x02\x00\x21\x01"
    header[4] = 32  # 2**28 bytes
    header[8:] = zlib.crc32(header[:8]).to_bytes(4, "little")
    with pytest.raises(InputError, match=r"damaged one.*[Mm]emory"):
        read(tmp_path / "x", packed[:12] + header + packed[24:])


@pytest.mark.parametrize(
    "outside", [entry("../outside", 0), entry("link", 0, type=tarfile.SYMTYPE, linkname="/etc/passwd")]
)
def test_no_name_in_a_packed_run_leads_outside_of_it(tmp_path, monkeypatch, outside):
    (tmp_path / "inside").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "inside"))
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(outside)
    with pytest.raises(InputError, match="damaged one"):
        read(tmp_path / "x", lzma.compress(made.getvalue()))  # which needs no list
    assert not (tmp_path / "inside" / "outside").exists()
