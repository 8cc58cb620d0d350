"""A dask scheduler that runs somewhere: its address, the credentials it is spoken to with, and who else could."""

import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.contracts import InputError

if TYPE_CHECKING:
    from distributed import Security

_ENCRYPTED = ("tls", "wss")
_SCHEMES = ("tcp", "tls", "ws", "wss", "ucx")
_OURS = "--tls-ca, --tls-cert and --tls-key, or dask's own configuration (distributed.comm.tls)"
_PERHAPS = "whether it speaks TLS, and so has a tls:// address"


@dataclass(frozen=True)
class Scheduler:
    """A scheduler's address, and files of credentials in PEM form; without these, dask's own configuration counts.

    Attributes:
        address: As `tls://HOST:PORT` or `tcp://HOST:PORT`; without a scheme it is dask's default, TLS with credentials.
        ca: Certificates, one of which must have signed the scheduler's.
        cert: This side's certificate.
        key: Its key; None where it stands in the certificate's file.

    Raises:
        InputError: The address is none, or the parts do not go together.
    """

    address: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        _refuse_malformed(self.address)
        if (self.ca is None) != (self.cert is None) or (self.key is not None and self.cert is None):
            raise InputError("--tls-ca and --tls-cert belong together, and --tls-key to these: give both, or none")
        if self.ca is None:
            return
        if "://" not in self.address:
            object.__setattr__(self, "address", f"tls://{self.address}")
        if not self.encrypted:
            raise InputError(
                f"--tls-ca and --tls-cert are for a scheduler that speaks TLS, and {self.address} does not: start it "
                "with --protocol tls and give its tls:// address, or leave the credentials out"
            )

    def __str__(self) -> str:
        return self.address

    @property
    def encrypted(self) -> bool:
        """Whether what is said goes encrypted, to a scheduler that shows a certificate."""
        return self.address.partition("://")[0] in _ENCRYPTED

    def warning(self) -> str | None:
        """Say who else may run code there; None where that is nobody, or this machine's users alone."""
        if self.encrypted or _only_here(self.address):
            return None
        return (
            f"the dask scheduler at {self} is spoken to without encryption, so whoever reaches it over the network can "
            f"read all and run code in its workers and here: start it with --protocol tls, and give {_OURS}"
        )

    def security(self) -> "Security":
        """Return the credentials as dask wants them.

        Raises:
            InputError: A file is missing, is no PEM, or the key is another certificate's or locked by a passphrase.
        """
        from distributed import Security

        given = {"tls_ca_file": self.ca, "tls_client_cert": self.cert, "tls_client_key": self.key}
        files = {name: str(path) for name, path in given.items() if path is not None}
        try:
            security = Security(**files)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise InputError(f"dask's configuration of TLS cannot be used ({error}): mend it") from error
        if self.encrypted:
            role = security.get_tls_config_for_role("client")  # type: ignore[no-untyped-call]
            if not role["ca_file"] or not role["cert"]:
                raise InputError(f"the dask scheduler at {self} wants TLS credentials: give {_OURS}")
            _check(role["ca_file"], role["cert"], role["key"])
        return security

    def greet(self, security: "Security", patience_s: float) -> None:
        """See that a scheduler speaks there and takes the credentials: dask itself would wait for ever for its word.

        Args:
            security: Of `security()`.
            patience_s: How long to wait for a first word.

        Raises:
            InputError: It does not.
        """
        from distributed.comm.addressing import parse_address, parse_host_port

        scheme, place = parse_address(self.address)
        if scheme not in ("tcp", "tls"):
            return  # of websockets and the like we know nothing
        try:
            with socket.create_connection(parse_host_port(place), timeout=patience_s) as plain:
                heard = _first_word(plain, security if scheme == "tls" else None)
        except ssl.SSLError as error:
            raise self._refusal(f"its TLS and ours do not go together: {error.reason or error}", _OURS) from error
        except TimeoutError as error:
            hint = "that it is one" if self.encrypted else _PERHAPS
            raise self._refusal(f"nothing was said for {patience_s:g} s", hint) from error
        except (OSError, ValueError) as error:  # ValueError: no address at all
            raise self._refusal(str(error)) from error
        if not heard:
            raise self._refusal("it hung up", _OURS if self.encrypted else _PERHAPS)

    def _refusal(self, why: str, hint: str = "") -> InputError:
        others = f"{hint}, and " if hint else ""
        return InputError(
            f"no dask scheduler answers at {self} ({why}); check {others}the address given with --scheduler"
        )


def _refuse_malformed(address: str) -> None:
    """Refuse what can be no scheduler's address, before anybody is asked whether it is one's.

    Raises:
        InputError: It has no host or port, or a scheme that dask does not speak.
    """
    scheme, _, place = address.rpartition("://")
    known = {*_SCHEMES, *(one.name for one in entry_points(group="distributed.comm.backends"))}
    port = re.fullmatch(r"(?:\[[^\]]+\]|[^\s:/\[\]]+):([0-9]{1,5})/?", place)
    why = f"dask speaks no {scheme!r}" if scheme and scheme not in known else ""
    if not why and (port is None or not 0 < int(port[1]) < 2**16):
        why = "it is no HOST:PORT"
    if why:
        raise InputError(
            f"--scheduler {address!r} is no address of a dask scheduler ({why}): give one such as tcp://HOST:8786"
        )


def _first_word(plain: socket.socket, security: "Security | None") -> bytes:
    """Return the first byte that a scheduler says, through TLS if there are credentials; nothing if it hangs up."""
    if security is None:
        return plain.recv(1)
    context: ssl.SSLContext = security.get_connection_args("client")["ssl_context"]  # type: ignore[no-untyped-call]
    with context.wrap_socket(plain) as encrypted:
        return encrypted.recv(1)  # where our certificate is not taken, this is what fails


def _check(ca: str, cert: str, key: str | None) -> None:
    """Refuse credentials that cannot be used.

    Raises:
        InputError: Which file, and what is wrong with it.
    """
    for name, file in (("authority's certificates", ca), ("certificate", cert), ("key", key)):
        try:
            if file is not None:
                Path(file).open("rb").close()
        except OSError as error:
            raise InputError(f"the TLS {name} {file} cannot be read ({error.strerror}): give {_OURS}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise InputError(f"{ca} holds no certificate in PEM form ({error.reason}): give {_OURS}") from error
    try:
        context.load_cert_chain(cert, key, password="")  # else a locked key would ask for it on the terminal
    except (ssl.SSLError, ValueError) as error:
        pair = f"{cert} and {key}" if key else cert
        why = getattr(error, "reason", None) or error
        raise InputError(
            f"{pair} hold no certificate with its own key, in PEM form without a passphrase ({why}): give {_OURS}"
        ) from error


def _only_here(address: str) -> bool:
    """Return whether an address is of this machine's loopback alone."""
    place = address.rpartition("://")[2]
    host = place[1:].partition("]")[0] if place.startswith("[") else place.rpartition(":")[0] or place
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
        return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found)
    except (OSError, ValueError):  # nobody of that name: connecting will say so
        return False
