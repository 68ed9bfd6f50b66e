"""Requests to the Airflow of another organisation: tokens, bounds, and errors that say what a refusal means."""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any

import requests
from airflow.sdk.log import mask_secret

from airflow_provider_fate.errors import ConfigError, FateError, TransportError
from airflow_provider_fate.hooks.bounded_http import Answer, AnswerTooLarge, ask
from airflow_provider_fate.hooks.connections import ConnectionConfigError
from airflow_provider_fate.hooks.network import chain, reason
from airflow_provider_fate.job.plain import plain

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")
_STATE = re.compile(r"[a-z_]{1,40}")


class SiteRefusal(ConnectionConfigError):
    """The site answers, and refuses: it will again until somebody changes something, there or here.

    :param conn_id: the connection
    :param problem: what it refuses, and what to do
    :param status: HTTP status of its answer
    """

    def __init__(self, conn_id: str, problem: str, status: int) -> None:
        self.status = status
        super().__init__(f"connection {conn_id!r}", problem)


class NotThere(SiteRefusal):
    """The site's Airflow has no such DAG, run, task or XCom."""


@dataclass(frozen=True)
class Account:
    """Where a site is, and who we are there.

    :param conn_id: the connection, for errors
    :param url: address with prefix, without a slash at the end
    :param login: empty where the password is a ready-made token
    :param verify: whether to check the site's certificate, or the file of the authority
    :param cert: our certificate, or it and its key
    :param timeout: seconds for one request with its whole answer
    """

    conn_id: str
    url: str
    login: str
    password: str
    verify: bool | str
    cert: tuple[str, str] | str | None
    timeout: float

    @property
    def certificate(self) -> str | None:
        """File of our certificate."""
        return self.cert[0] if isinstance(self.cert, tuple) else self.cert

    @property
    def who(self) -> str:
        """For errors."""
        return repr(self.login) if self.login else "the owner of the token"


@dataclass(frozen=True)
class _Token:
    """A token, and the time (of the monotonic clock) from which on another one is wanted."""

    text: str
    renew_at: float


class SiteClient:
    """Speaks to one site. May be used by several threads.

    In every method, ``doing`` says for errors what is wanted, as in "it does not allow 'us' to ...".
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self._lock = threading.Lock()
        self._kept: _Token | None = None

    # -- requests

    def call(self, method: str, path: str, doing: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A request to the REST API, with a token that is renewed where the site does not take it any more.

        :returns: the JSON object that it answers, checked to be plain
        :raises TransportError: no answer, an odd one, or a status that another try may change
        :raises NotThere: its Airflow has no such thing
        :raises SiteRefusal: another refusal
        """
        token = self._token()
        answer = self._request(method, path, doing, body, token)
        if answer.status == 401 and self.account.login:
            answer = self._request(method, path, doing, body, self._token(refused=token))
        if answer.status == 401:
            raise self._refused_token()
        return self._object(answer, doing)

    def state(self, found: dict[str, Any], doing: str) -> str:
        """The state that an object names. :raises TransportError: it names none"""
        state = found.get("state")
        if not isinstance(state, str) or not _STATE.fullmatch(state):
            raise self.odd(doing, "there is no state in it")
        return state

    def odd(self, doing: str, problem: str) -> TransportError:
        """An error about an answer that Airflow does not give."""
        return TransportError(
            self._clean(f"{self.account.url}: asked to {doing}, it does not answer as Airflow does: {words(problem)}")
        )

    def _request(
        self, method: str, path: str, doing: str, body: dict[str, Any] | None = None, token: str | None = None
    ) -> Answer:
        """One request; the answer if its status is 2xx or 401."""
        account = self.account
        headers = {"Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body, allow_nan=False).encode()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            answer = ask(
                method,
                account.url + path,
                headers=headers,
                body=content,
                seconds=account.timeout,
                verify=account.verify,
                cert=account.cert,
            )
        except AnswerTooLarge as error:
            raise self.odd(doing, str(error)) from None
        except requests.RequestException as error:
            # no cause is kept: it holds the request with its token
            raise TransportError(self._clean(f"{account.url} cannot be reached: {self._reason(error)}")) from None
        if 200 <= answer.status < 300 or answer.status == 401:
            return answer
        raise self._problem(answer, doing)

    def _object(self, answer: Answer, doing: str) -> dict[str, Any]:
        try:
            value = plain(json.loads(answer.body), "answer")
        except (ValueError, RecursionError):
            raise self.odd(doing, "the answer is not JSON") from None
        except ConfigError as error:
            raise self.odd(doing, str(error)) from None
        if not isinstance(value, dict):
            raise self.odd(doing, "the answer is not a JSON object")
        return value

    # -- tokens

    def _token(self, refused: str | None = None) -> str:
        """A token to use now.

        :param refused: the one that the site did not take, so that another one is wanted
        """
        with self._lock:
            kept = self._kept
            if kept is None or kept.text == refused or time.monotonic() >= kept.renew_at:
                kept = self._kept = self._login()
            return kept.text

    def _login(self) -> _Token:
        """A token for login and password, or the ready-made one in the password field."""
        account = self.account
        place = f"connection {account.conn_id!r}: password"
        if not account.password:
            raise ConnectionConfigError(
                place, "it is empty; login and password are expected, or a ready-made token in password and no login"
            )
        if not account.login:
            if not _TOKEN.fullmatch(account.password):
                raise ConnectionConfigError(place, "without a login a ready-made token is expected here, this is none")
            return _Token(account.password, float("inf"))
        doing = f"log in as {account.login!r}"
        begin = time.monotonic()
        body = {"username": account.login, "password": account.password}
        answer = self._request("POST", "/auth/token", doing, body)
        if answer.status == 401:
            raise self._refusal(f"refuses the login {account.login!r} with its password: check both", 401)
        text = self._object(answer, doing).get("access_token")
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise self.odd(doing, "it has no access_token")
        mask_secret(text)
        lifetime = _lifetime(text)
        # a little early: the token has to live until the request has arrived
        return _Token(text, begin + lifetime - min(60.0, lifetime / 5))

    def _refused_token(self) -> SiteRefusal:
        login = self.account.login
        if login:
            problem = (
                f"refuses the token that it gave {login!r} just now: its API servers must have the same "
                "[api_auth] jwt_secret, and clocks that agree"
            )
        else:
            problem = (
                "refuses the token in the password field: it is wrong or has expired; put a new one there, or give "
                "login and password, with which tokens are renewed"
            )
        return self._refusal(problem, 401)

    # -- errors

    def _reason(self, error: BaseException) -> str:
        """Why the site could not be spoken to."""
        shown = self.account.certificate
        for one in chain(error):
            if isinstance(one, ssl.SSLCertVerificationError):
                return f"its certificate is not accepted ({one.verify_message}); check ca_file and the name in host"
            if isinstance(one, ssl.SSLError) and re.search("ALERT|HANDSHAKE_FAILURE", one.reason or ""):
                if shown:
                    return f"it does not accept the certificate {shown} ({one.reason}); check client_cert with the site"
                return f"it breaks TLS off ({one.reason}); set client_cert and client_key, if it asks for them"
            if isinstance(one, ssl.SSLError):
                return f"TLS failed ({one.reason or 'no reason given'}); check that its port speaks TLS"
        return reason(error)

    def _problem(self, answer: Answer, doing: str) -> FateError:
        """The error that an answer stands for."""
        status, said, url = answer.status, _detail(answer.body), self.account.url
        if status in (502, 503, 504):
            text = f"its nginx answers, but the Airflow behind it does not ({status}); try again later"
        elif status >= 500:
            text = f"it failed ({status}) when it was asked to {doing}; the log of its API server says why"
        elif status == 429:
            text = "it is asked too often (429); try again later, or have its limits raised"
        elif status == 404 and said not in (None, "Not Found"):  # Airflow's, not nginx's
            return NotThere(self.account.conn_id, self._clean(f"{url} cannot {doing}: {said}"), status)
        else:
            return self._refusal(self._why_not(answer, doing, f": {said}" if said else ""), status)
        return TransportError(self._clean(f"{url}: {text}"))

    def _why_not(self, answer: Answer, doing: str, because: str) -> str:
        """What the site does not do, and what to do.

        :param because: what its Airflow said, after a colon
        """
        status, shown = answer.status, self.account.certificate
        if status == 400 and b"SSL certificate" in answer.body[:4096]:  # nginx says so over HTTP
            if shown:
                return f"does not accept the client certificate {shown}: has it expired, and does the site trust it?"
            return "takes only clients that show a certificate: set client_cert and client_key"
        if 300 <= status < 400:
            return f"sends us elsewhere ({status}), which is not followed: host must be the site's own https address"
        if status in (404, 405):
            return f"does not let partners {doing} ({status}): check the prefix in host, the DAG's id, and its nginx"
        if status == 403:
            return f"does not allow {self.account.who} to {doing} (403){because}; have the account given the right"
        if status == 413:
            return f"takes no request that large to {doing} (413): have client_max_body_size raised in its nginx"
        if status in (400, 422):
            return f"does not accept the request to {doing} ({status}){because}"
        return f"refuses to {doing} ({status}){because}"

    def _refusal(self, problem: str, status: int) -> SiteRefusal:
        return SiteRefusal(self.account.conn_id, self._clean(f"{self.account.url} {problem}"), status)

    def _clean(self, text: str) -> str:
        """A text without our secrets, should the site have sent them back."""
        kept = self._kept
        for secret in filter(None, (self.account.password, kept.text if kept else "")):
            text = text.replace(secret, "***")
        return text


def words(text: str, limit: int = 300) -> str:
    """A text of somebody else's on one line, printable, and not long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _detail(body: bytes) -> str | None:
    """What Airflow says of a refusal, in one line; None where it was not Airflow that answered.

    Airflow repeats what it was sent in answers of status 422, so that only places and messages are taken of these.
    """
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if isinstance(detail, list):
        said = []
        for part in detail[:5]:
            if isinstance(part, dict):
                place = part.get("loc")
                steps = place[:10] if isinstance(place, list) else []
                said.append(f"{'.'.join(words(str(step), 80) for step in steps)}: {words(str(part.get('msg')))}")
        detail = "; ".join(said)
    elif isinstance(detail, dict):
        detail = detail.get("reason", "")
    return words(str(detail))


def _lifetime(token: str) -> float:
    """For how many seconds a token is good, as it says itself; endless where it does not say."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        # its own beginning and end: the site's clock need not agree with ours
        seconds = float(claims["exp"]) - float(claims.get("iat", time.time()))
    except (IndexError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return float("inf")
    return max(seconds, 0.0) if seconds == seconds else float("inf")
