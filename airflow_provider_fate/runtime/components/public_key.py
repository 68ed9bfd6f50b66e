"""The public key that another party made, under which this one computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from airflow_provider_fate.errors import CryptoError, ProtocolError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.federation.base import Federation
from airflow_provider_fate.runtime.federation.checks import Bytes

S = TypeVar("S")


def received(
    federation: Federation, sender: Party, tag: str, limits: tuple[int, int], scheme: Callable[[bytes], S]
) -> S:
    """The scheme of a public key that ``sender`` sends.

    :param limits: bytes that a key has at least and at most
    :param scheme: makes it of the key
    :raises ProtocolError: the key is shorter or longer than was agreed on, or is none
    """
    fewest, most = limits
    public = federation.receive(sender, tag, Bytes(max_length=most))
    try:
        if len(public) < fewest:
            raise CryptoError(f"expected a public key of {fewest} bytes, got {len(public)}")
        return scheme(public)
    except CryptoError as error:
        raise ProtocolError(str(sender), f"the public key of {sender} is refused: {error}") from None
