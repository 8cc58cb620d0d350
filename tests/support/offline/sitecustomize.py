"""Python runs this first in every process that a test starts: it may speak to this machine alone.

`tests/conftest.py` puts the folder on PYTHONPATH. Not covered: other programs than Python, Python in isolated mode
(-I), and a process that is given a PYTHONPATH without it.
"""

import ipaddress
import sys


def refuse(event: str, arguments: tuple) -> None:
    if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return
    address = arguments[1]
    if not isinstance(address, tuple) or address[0] == "localhost":  # a unix socket, or the name of loopback
        return
    try:
        here = ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        here = False
    if not here:
        raise PermissionError(f"a test's process may not speak to {address[0]}")


sys.addaudithook(refuse)
