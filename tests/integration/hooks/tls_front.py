"""A TLS front for a plain TCP server, as a reverse proxy is one."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

from tests.servers.certificates import Authority, Certificate


@contextlib.contextmanager
def tls_front(port: int, authority: Authority, certificate: Certificate, *, ask: bool = False) -> Iterator[int]:
    """Accept TLS on a free loopback port and pass the bytes on to ``port``; gives the free port.

    :param ask: insist on a certificate of the client
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    context.load_cert_chain(certificate.certificate, certificate.key)
    context.verify_mode = ssl.CERT_REQUIRED if ask else ssl.CERT_NONE
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def serve(plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(plain, server_side=True) as outside,
            socket.create_connection(("127.0.0.1", port)) as inside,
        ):
            back = threading.Thread(target=copy, args=(inside, outside), daemon=True)
            back.start()
            copy(outside, inside)
            back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listener:
        yield listener.getsockname()[1]
