"""No test speaks to anything but this machine, nor does a process that it starts."""

import socket
import subprocess
import sys

import pytest

ELSEWHERE = ("192.0.2.1", 9)  # set aside for examples (RFC 5737): nobody's
KNOCK = f"import socket; socket.create_connection({ELSEWHERE}, timeout=5)"


def test_a_socket_to_elsewhere_is_refused():
    with pytest.raises((UserWarning, RuntimeError), match=r"with host \"192\.0\.2\.1\" \(allowed: "):
        socket.create_connection(ELSEWHERE, timeout=5)


def test_a_socket_to_this_machine_is_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@pytest.mark.parametrize("code", [KNOCK, f"import socket; socket.socket(type=2).sendto(b'x', {ELSEWHERE})"])
def test_a_python_process_of_a_test_is_refused_too(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "may not speak to 192.0.2.1" in done.stderr


def test_so_is_a_process_of_multiprocessing():
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(PermissionError, match=r"may not speak to 192\.0\.2\.1"):
            pool.apply(socket.create_connection, (ELSEWHERE, 5))
