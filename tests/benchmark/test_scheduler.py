"""A scheduler somewhere else: spoken to with credentials, or with a warning; and never waited for in vain."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster, Security

from benchmark import commandline
from benchmark.contracts import InputError
from benchmark.executor import execute, probe
from benchmark.scheduler import Scheduler


def double(number: int) -> int:
    return 2 * number


def credentials(folder: Path) -> tuple[Path, Path, Path]:
    """As `openssl req -x509 -nodes` makes them: one certificate that is its own authority, and its key."""
    made = Security.temporary()
    folder.mkdir(exist_ok=True)
    for name, text in {"cert.pem": made.tls_client_cert, "key.pem": made.tls_client_key}.items():
        (folder / name).write_text(text)
    return folder / "cert.pem", folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path, Path]:
    return credentials(tmp_path_factory.mktemp("tls"))


def settings(files: tuple[Path, Path, Path]) -> dict[str, str]:
    ca, cert, key = map(str, files)
    pairs = {
        f"{role}.{name}": file
        for role in ("client", "scheduler", "worker")
        for name, file in (("cert", cert), ("key", key))
    }
    return {f"distributed.comm.tls.{name}": file for name, file in (pairs | {"ca-file": ca}).items()}


@pytest.fixture(scope="module")
def encrypted(files) -> Iterator[str]:
    """The address of a scheduler with one worker that speaks TLS."""
    with dask.config.set(settings(files)):
        security = Security(require_encryption=True)
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(processes=False, protocol="tls://", security=security, **options) as cluster:
        yield cluster.scheduler_address


def test_credentials_by_option_open_a_scheduler_that_speaks_tls(encrypted, files):
    assert dict(execute(double, [1, 2], workers=0, scheduler=Scheduler(encrypted, *files))) == {1: 2, 2: 4}


def test_an_address_without_a_scheme_is_tls_where_credentials_are_given(files):
    assert str(Scheduler("node:8786", *files)) == "tls://node:8786" and Scheduler("node:8786", *files).encrypted


def test_so_do_those_of_dasks_own_configuration(encrypted, files):
    with dask.config.set(settings(files)):
        assert dict(execute(double, [1], workers=0, scheduler=Scheduler(encrypted))) == {1: 2}


def test_a_tls_address_without_credentials_is_a_sentence(encrypted):
    with pytest.raises(InputError, match=r"wants TLS credentials: give --tls-ca, --tls-cert and --tls-key, or dask's"):
        probe(Scheduler(encrypted))


def test_a_scheduler_that_refuses_our_certificate_is_a_sentence(encrypted, files, tmp_path):
    """It is trusted, and does not trust us."""
    other = credentials(tmp_path)
    with pytest.raises(InputError, match=r"no dask scheduler answers at tls://.*(TLS and ours do not go|hung up)"):
        probe(Scheduler(encrypted, files[0], other[1], other[2]))


def test_a_scheduler_whose_certificate_we_do_not_trust_is_a_sentence(encrypted, files, tmp_path):
    other = credentials(tmp_path)
    with pytest.raises(InputError, match=r"TLS and ours do not go together: CERTIFICATE_VERIFY_FAILED"):
        probe(Scheduler(encrypted, other[0], files[1], files[2]))


def test_plain_words_to_a_scheduler_that_speaks_tls_end_in_a_sentence(encrypted, monkeypatch):
    monkeypatch.setattr("benchmark.executor._PATIENCE_S", 0.5)
    with pytest.raises(InputError, match=r"nothing was said for 0\.5 s\); check whether it speaks TLS"):
        probe(Scheduler(encrypted.replace("tls://", "tcp://")))


def test_tls_words_to_a_scheduler_that_speaks_none_end_in_a_sentence(files):
    with LocalCluster(n_workers=0, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0") as cluster:
        address = cluster.scheduler_address.replace("tcp://", "tls://")
        with pytest.raises(InputError, match=r"no dask scheduler answers at tls://.*TLS and ours do not go together"):
            probe(Scheduler(address, *files))


def test_one_who_hangs_up_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        with pytest.raises(InputError, match=r"\((it hung up|.*reset by peer)\); check"):
            probe(Scheduler(f"tcp://127.0.0.1:{server.getsockname()[1]}"))


def test_files_that_are_no_credentials_are_named(files, tmp_path):
    ca, cert, key = files
    (tmp_path / "text").write_text("no certificate")
    other = credentials(tmp_path)[2]
    for wrong, why in (
        ((tmp_path / "gone", cert, key), r"authority's certificates .*gone cannot be read \(No such file"),
        ((ca, tmp_path / "gone", key), r"TLS certificate .*gone cannot be read \(No such file"),
        ((ca, cert, tmp_path), r"TLS key .* cannot be read \(Is a directory\)"),
        ((tmp_path / "text", cert, key), r"text holds no certificate in PEM form"),
        ((ca, cert, tmp_path / "text"), r"hold no certificate with its own key"),
        ((ca, cert, other), r"hold no certificate with its own key.*KEY_VALUES_MISMATCH"),
        ((ca, cert, None), r"cert\.pem hold no certificate with its own key"),
    ):
        with pytest.raises(InputError, match=why):
            Scheduler("tls://127.0.0.1:9", *wrong).security()


def test_a_key_with_a_passphrase_is_a_sentence_and_asks_nothing(files, tmp_path):
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(files[2].read_bytes(), None)
    locked = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret"))
    (tmp_path / "locked.pem").write_bytes(locked)
    with pytest.raises(InputError, match="without a passphrase"):
        Scheduler("tls://127.0.0.1:9", files[0], files[1], tmp_path / "locked.pem").security()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--tls-ca", "x"], "are for --scheduler"),
        (["--scheduler", "tls://n:1", "--tls-ca", "x"], "belong together"),
        (["--scheduler", "tls://n:1", "--tls-key", "x"], "belong together"),
        (["--scheduler", "tcp://n:1", "--tls-ca", "x", "--tls-cert", "y"], "speaks TLS, and tcp://n:1 does not"),
    ],
)
def test_options_that_do_not_go_together_are_a_sentence(given, why):
    with pytest.raises(InputError, match=why):
        commandline.parse(given)


def test_the_options_name_the_files():
    args = commandline.parse(["--scheduler", "n:1", "--tls-ca", "a", "--tls-cert", "b", "--tls-key", "c"])
    assert args.scheduler == Scheduler("tls://n:1", Path("a"), Path("b"), Path("c"))


@pytest.mark.parametrize(
    "address", ["tcp://192.0.2.1:8786", "192.0.2.1:8786", "tcp://[2001:db8::1]:8786", "ws://192.0.2.1:1"]
)
def test_whoever_may_be_overheard_is_warned(address):
    assert re.search(
        r"without encryption, so whoever reaches it .* run code .*--protocol tls", Scheduler(address).warning()
    )


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:8786", "tcp://127.9.9.9:1", "localhost:8786", "tcp://[::1]:8786", "tls://192.0.2.1:8786"],
)
def test_who_may_not_is_not(address):
    assert Scheduler(address).warning() is None


def test_a_run_prints_the_warning_before_it_begins(capsys, tmp_path, monkeypatch):
    import run_all
    from benchmark import ahead

    monkeypatch.setattr(ahead, "probe", lambda _: None)
    monkeypatch.setattr(run_all, "prepare", lambda *_: pytest.fail("as if stopped here"))
    with pytest.raises(pytest.fail.Exception):
        run_all.main(["--preset", "smoke", "--scheduler", "tcp://192.0.2.1:1", "--out", str(tmp_path)])
    assert "is spoken to without encryption" in " ".join(capsys.readouterr().err.split())


def test_nothing_of_dask_is_loaded_for_an_address():
    code = "import sys, benchmark.scheduler; sys.exit('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "no HOST:PORT"),
        ("node", "no HOST:PORT"),
        ("tcp://node:0", "no HOST:PORT"),
        ("tcp://node:65536", "no HOST:PORT"),
        ("tcp://a b:1", "no HOST:PORT"),
        ("http://node:1", "dask speaks no 'http'"),
    ],
)
def test_what_can_be_no_address_is_refused_before_anybody_is_asked(address, why):
    with pytest.raises(InputError, match=rf"--scheduler .* is no address of a dask scheduler \(.*{why}\)"):
        Scheduler(address)
    assert Scheduler("tcp://node:65535") and Scheduler("tcp://[::1]:1")
