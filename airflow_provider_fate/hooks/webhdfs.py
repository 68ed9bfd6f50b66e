"""Storage in HDFS over WebHDFS, through the ``hdfs`` client."""

from __future__ import annotations

import http.client
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any
from urllib.parse import urlsplit

import hdfs
import requests
import urllib3
from hdfs.util import HdfsError
from requests.utils import get_environ_proxies

from airflow_provider_fate.errors import StorageError
from airflow_provider_fate.hooks.network import reason
from airflow_provider_fate.hooks.webhdfs_streams import CHUNK, Download, Upload
from airflow_provider_fate.runtime.storage.base import Storage

# a line for each call is too much for a task's log
if logging.getLogger("hdfs").level == logging.NOTSET:
    logging.getLogger("hdfs").setLevel(logging.WARNING)

#: seconds after which a namenode that does not answer is passed over for the next
CONNECT_SECONDS = 10.0

_ADVICE = {
    "AccessControlException": "give the user the right in HDFS, or name another user (login) or root_path",
    "SafeModeException": "the namenode is in safe mode: wait until it left it",
    "DSQuotaExceededException": "the directory's space quota is used up",
    "NSQuotaExceededException": "the directory's quota of names is used up",
    "StandbyException": "list the active namenode as well",
    "SecurityException": "the cluster wants Kerberos: set auth to kerberos",
}


class FailoverMixin:
    """Requests that remember what each namenode said, and wait longer for data than for names.

    :param seconds: how long to wait for an answer
    :param verify: whether to check certificates, or the file of the authority
    """

    _session: requests.Session
    urls: list[str]

    def __init__(self, url: str, *, seconds: float, verify: bool | str, **kwargs: Any) -> None:
        super().__init__(url, timeout=seconds, **kwargs)
        self.seconds = seconds
        self.verify = verify
        self.failures: dict[str, str] = {}

    def _request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        parts = urlsplit(url)
        server = parts.netloc
        to_namenode = any(urlsplit(one).netloc == server for one in self.urls)
        # the first figure bounds each write to the socket as well, so data get the longer one
        connect = min(CONNECT_SECONDS, self.seconds) if kwargs.get("data") is None else self.seconds
        try:
            answer = self._session.request(
                method,
                url,
                timeout=(connect, self.seconds),
                verify=self.verify,
                headers={"content-type": "application/octet-stream"},  # HttpFS insists
                **kwargs,
            )
        except requests.RequestException as error:
            reached = urlsplit(error.request.url).netloc if error.request is not None and error.request.url else server
            if to_namenode and reached == server:
                self.failures[server] = reason(error)
            raise
        if to_namenode:
            if answer.status_code == 403 and b"StandbyException" in answer.content:
                self.failures[server] = "is a standby"
            else:
                self.failures.pop(server, None)
        return answer

    def put(self, path: str, chunks: Iterator[Any]) -> None:
        """Make or replace a file from chunks of bytes.

        Straight to the datanode where nothing but HTTP is asked for: ``requests`` would copy every chunk, which takes
        five times the processor time.
        """
        place = self._create(path, overwrite=True).headers["location"]
        if urlsplit(place).scheme == "http" and self._session.auth is None and not get_environ_proxies(place):
            status, body = self._put_plainly(place, chunks)
        else:
            answer = self._request("PUT", place, data=chunks)
            status, body = answer.status_code, answer.content
        if status >= 300:
            try:
                cause = json.loads(body)["RemoteException"]
                raise HdfsError(cause["message"], exception=cause["exception"])
            except (ValueError, KeyError, TypeError):
                raise HdfsError(f"the datanode answers {status}: {body[:200]!r}") from None

    def _put_plainly(self, place: str, chunks: Iterator[Any]) -> tuple[int, bytes]:
        parts = urlsplit(place)
        link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.seconds)
        try:
            link.putrequest("PUT", f"{parts.path}?{parts.query}")
            link.putheader("Content-Type", "application/octet-stream")
            link.putheader("Transfer-Encoding", "chunked")
            link.endheaders()
            try:
                for chunk in chunks:
                    link.send(b"%x\r\n" % len(chunk))
                    link.send(chunk)
                    link.send(b"\r\n")
                link.send(b"0\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                pass  # it stopped listening: it may have said why
            answer = link.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise requests.ConnectionError(error, request=requests.Request("PUT", place).prepare()) from error
        finally:
            link.close()


class SimpleClient(FailoverMixin, hdfs.InsecureClient):
    """Names its user and is believed: Hadoop's simple authentication."""


class WebHdfsStorage(Storage):
    """Files below a root in HDFS. Uploads and downloads stream; memory stays at a few MiB each.

    :param client: the client, with its namenodes
    :param root: absolute path in HDFS
    :param url: the root as Spark reads it, ``hdfs://...``
    :param user: for messages
    """

    def __init__(self, client: Any, root: str, url: str, user: str) -> None:
        self.client = client
        self.root = root.rstrip("/")
        self.url = url
        self.user = user

    # -- paths and errors

    def _path(self, path: str) -> str:
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise StorageError(f"{path!r} is not a path below the storage root")
        return f"{self.root}/{path}"

    @contextmanager
    def _named_errors(self, path: str, action: str) -> Iterator[None]:
        try:
            yield
        except HdfsError as error:
            raise self._refused(path, action, error) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise self._unreachable(path, action, error) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, KeyError) as error:
            raise StorageError(
                f"cannot {action} {self.root}/{path} in HDFS as {self.user}: {self._servers()} did not answer as "
                f"WebHDFS does ({type(error).__name__}); check that the port is the namenode's HTTP port and use_ssl"
            ) from error

    def _servers(self) -> str:
        return ", ".join(urlsplit(url).netloc for url in self.client.urls)

    def _refused(self, path: str, action: str, error: HdfsError) -> StorageError:
        message = error.message.decode(errors="replace") if isinstance(error.message, bytes) else str(error.message)
        first = message.strip().split("\n")[0][:300]
        if "Hadoop IPC port" in message:
            first, advice = "this is the namenode's RPC port", "give its HTTP port (dfs.namenode.http-address)"
        elif error.exception is None and "Authentication failure" in message:
            advice = "the cluster wants Kerberos: set auth to kerberos"
        else:
            advice = _ADVICE.get(error.exception or "", "")
        text = f"cannot {action} {self.root}/{path} in HDFS as {self.user} ({self._servers()}): "
        text += f"{error.exception}: {first}" if error.exception else first
        others = [f"{server}: {why}" for server, why in self.client.failures.items()]
        if error.exception in ("StandbyException", "RetriableException") and others:
            text += f" [{'; '.join(others)}]"
        return StorageError(f"{text}; {advice}" if advice else text)

    def _unreachable(self, path: str, action: str, error: requests.RequestException) -> StorageError:
        server = urlsplit(error.request.url).netloc if error.request is not None and error.request.url else ""
        if server and all(urlsplit(url).netloc != server for url in self.client.urls):
            return StorageError(
                f"cannot {action} {self.root}/{path} in HDFS as {self.user}: the namenode sends us to datanode "
                f"{server}, and there: {reason(error)} (datanodes must be reachable from here under this name)"
            )
        said = "; ".join(f"{one}: {why}" for one, why in self.client.failures.items()) or reason(error)
        return StorageError(
            f"cannot {action} {self.root}/{path} in HDFS as {self.user}: no namenode can be used: {said}"
        )

    # -- names

    def _status(self, path: str) -> dict[str, Any] | None:
        try:
            return self.client.status(self._path(path))
        except HdfsError as error:
            if error.exception == "FileNotFoundException":
                return None
            raise

    def exists(self, path: str) -> bool:
        with self._named_errors(path, "look for"):
            return self._status(path) is not None

    def list(self, path: str) -> list[str]:
        with self._named_errors(path, "list"):
            try:
                return sorted(self.client.list(self._path(path)))
            except HdfsError as error:
                if error.exception == "FileNotFoundException":
                    return []
                raise

    def size(self, path: str) -> int:
        with self._named_errors(path, "read"):
            status = self._status(path)
        if status is None or status["type"] != "FILE":
            problem = "there is no such file" if status is None else "it is a directory"
            raise StorageError(f"cannot read {self._path(path)} in HDFS ({self._servers()}): {problem}")
        return int(status["length"])

    def rename(self, source: str, target: str) -> None:
        if self.exists(target):
            raise StorageError(f"cannot move {self._path(source)} to {self._path(target)}: the target exists already")
        with self._named_errors(source, f"move to {target}:"):
            self.client.makedirs(self._path(target).rsplit("/", 1)[0])
            # with options, HDFS refuses a directory that has come up meanwhile instead of moving into it
            self._rename(source, target, "NONE")

    def replace(self, source: str, target: str) -> None:
        with self._named_errors(source, f"move to {target}:"):
            status = self._status(target)
            if status is not None and status["type"] == "DIRECTORY":
                self.client.delete(self._path(target), recursive=True)
            self._rename(source, target, "OVERWRITE")

    def _rename(self, source: str, target: str, options: str) -> None:
        answer = self.client._rename(self._path(source), destination=self._path(target), renameoptions=options)
        if answer.content and answer.json().get("boolean") is False:  # a gateway that does not know the options
            raise HdfsError("it was refused without a reason; is there such a source?")

    def delete(self, path: str) -> None:
        with self._named_errors(path, "delete"):
            self.client.delete(self._path(path), recursive=True)

    # -- content

    @contextmanager
    def open_read(self, path: str) -> Iterator[IO[bytes]]:
        with self._named_errors(path, "read"):
            stream = Download(self.client, self._path(path))
        try:
            with io.BufferedReader(stream, CHUNK) as buffered:
                yield buffered  # type: ignore[misc]
        except (HdfsError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            with self._named_errors(path, "read"):
                raise error

    @contextmanager
    def open_write(self, path: str) -> Iterator[IO[bytes]]:
        stream = Upload(self.client, self._path(path))
        try:
            yield stream  # type: ignore[misc]
        except BaseException as error:
            stream.abort()
            self._remove_part(stream, path)
            if error is stream.error:
                with self._named_errors(path, "write"):
                    raise error
            raise
        try:
            with self._named_errors(path, "write"):
                stream.close()
        except BaseException:
            self._remove_part(stream, path)
            raise

    def _remove_part(self, stream: Upload, path: str) -> None:
        if not stream.begun:
            return
        with suppress(Exception):  # what stopped the upload is the error to show
            self.client.delete(self._path(path))
