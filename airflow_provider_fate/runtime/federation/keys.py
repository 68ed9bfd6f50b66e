"""The long-term keys of the parties, and what is derived from them for one job.

A party has one X25519 key pair (RFC 7748) for all its jobs, and pins the public key of each peer by party id. For a
job, two parties derive:

* for *offers* and *notes*, which can be made before the peer was heard of, keys that rest on the long-term pairs;
* for everything else one key a direction, from all four Diffie-Hellman products of a long-term and an ephemeral pair
  each (``ee, es, se, ss``, as the pattern KK of the Noise protocol framework, revision 34, section 7.5, has them).

Keys are bound to the job, the direction and the public keys with HKDF-SHA-256 (RFC 5869).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.party import Party

#: bytes of a public or private key
SIZE = 32
#: bytes that name a pair of ephemeral keys
KEY_ID = 8

_LABEL = b"airflow-provider-fate messages 1 "


def encode_key(raw: bytes) -> str:
    """A key as connections hold it: base64."""
    return base64.b64encode(raw).decode()


def decode_key(text: Any, place: str, *, secret: bool = False) -> bytes:
    """The 32 bytes of a key.

    :param secret: the value is not repeated in the error
    :raises ConfigError: it is no key
    """
    try:
        raw = base64.b64decode(str(text).strip().encode(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != SIZE:
        got = "" if secret else f", got {str(text)[:60]!r}"
        made = "python -m airflow_provider_fate.keys"
        raise ConfigError(place, f"expected a key of 44 characters, as {made} prints{got}")
    return raw


def fingerprint(public: bytes) -> str:
    """A few characters by which two people can compare a public key."""
    digest = hashlib.sha256(public).hexdigest()[:32]
    return ":".join(digest[at : at + 4] for at in range(0, 32, 4))


@dataclass(frozen=True)
class Keys:
    """A party's own long-term key, and those of its peers.

    :param private: 32 bytes
    :param peers: party id -> public key, 32 bytes
    """

    private: bytes = field(repr=False)
    peers: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def parse(cls, private: Any, peers: Any, place: str = "") -> Keys:
        """From base64, as connections hold them. :raises ConfigError: something is no key"""
        if not isinstance(peers or {}, Mapping):
            raise ConfigError(f"{place}peer_keys", "expected an object of public keys by party id")
        found = {}
        for party_id, text in (peers or {}).items():
            try:
                Party("host", party_id)
            except ConfigError as error:
                raise ConfigError(f"{place}peer_keys", error.problem) from None
            found[str(party_id)] = decode_key(text, f"{place}peer_keys.{party_id}")
        return cls(decode_key(private, f"{place}private_key", secret=True), found)

    def as_config(self) -> dict[str, Any]:
        """As the job file has them, see :func:`.config.transport_from_config`."""
        peers = {party_id: encode_key(public) for party_id, public in self.peers.items()}
        return {"private_key": encode_key(self.private), "peer_keys": peers}

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return X25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()

    def of(self, peer: Party, me: Party) -> bytes:
        """The public key that is pinned for a peer; another role of the own party has the own one.

        :raises ConfigError: none is
        """
        if peer.party_id not in self.peers:
            if peer.party_id == me.party_id:
                return self.public
            raise ConfigError(
                "peer_keys",
                f"no public key is pinned for party {peer.party_id}; ask its owner for the one that python -m "
                "airflow_provider_fate.keys printed, and add it to peer_keys of the connection for messages",
            )
        return self.peers[peer.party_id]


@dataclass(frozen=True)
class Pair:
    """The long-term secrets of two parties in one job, as the one of them sees them.

    :param me: this party
    :param peer: the other
    """

    job_id: str
    me: Party
    peer: Party
    own: X25519PrivateKey = field(repr=False)
    own_public: bytes
    peer_public: bytes
    shared: bytes = field(repr=False)

    @classmethod
    def of(cls, keys: Keys, job_id: str, me: Party, peer: Party) -> Pair:
        """:raises ConfigError: the peer's key is not pinned, or is none."""
        own, public = X25519PrivateKey.from_private_bytes(keys.private), keys.of(peer, me)
        try:
            shared = _product(own, public)
        except ValueError as error:
            raise ConfigError(f"peer_keys.{peer.party_id}", f"this is no public key: {error}") from None
        return cls(job_id, me, peer, own, keys.public, public, shared)

    def offer_key(self, *, mine: bool) -> bytes:
        """The key that authenticates offers, of this party or of the peer; 32 bytes."""
        return self._derive(b"offer", self.shared, 32, mine=mine)

    def note_cipher(self, ephemeral: X25519PrivateKey | bytes) -> AESGCM:
        """The cipher of a single note, from its sender's ephemeral pair, or its public half from the peer.

        :raises ValueError: the public key is of low order
        """
        if isinstance(ephemeral, bytes):
            secret = _product(self.own, ephemeral)
            return AESGCM(self._derive(b"note", secret + self.shared, 32, ephemeral, mine=False))
        secret = _product(ephemeral, self.peer_public)
        public = ephemeral.public_key().public_bytes_raw()
        return AESGCM(self._derive(b"note", secret + self.shared, 32, public, mine=True))

    def session(self, mine: X25519PrivateKey, theirs: bytes) -> tuple[bytes, AESGCM, AESGCM]:
        """What belongs to a pair of ephemeral keys: its name, the cipher for sending, the cipher for receiving.

        :raises ValueError: the peer's ephemeral key is of low order
        """
        public = mine.public_key().public_bytes_raw()
        crossed = [_product(mine, self.peer_public), _product(self.own, theirs)]
        ephemerals = [public, theirs]
        first = self._first
        if not first:
            crossed.reverse()
            ephemerals.reverse()
        secret = b"".join([_product(mine, theirs), *crossed, self.shared])
        raw = self._derive(b"session", secret, 64 + KEY_ID, *ephemerals, mine=first)
        one, other, name = raw[:32], raw[32:64], raw[64:]
        return (name, AESGCM(one), AESGCM(other)) if first else (name, AESGCM(other), AESGCM(one))

    @property
    def _first(self) -> bool:
        return str(self.me) < str(self.peer)

    def _derive(self, purpose: bytes, secret: bytes, length: int, *publics: bytes, mine: bool) -> bytes:
        """:param mine: whether the names of this party stand first, as those of a sender do"""
        names = [str(self.me), self.own_public, str(self.peer), self.peer_public]
        context = msgspec.msgpack.encode([self.job_id, *(names if mine else names[2:] + names[:2]), *publics])
        return HKDF(hashes.SHA256(), length, None, _LABEL + purpose + b"\0" + context).derive(secret)


def _product(private: X25519PrivateKey, public: bytes) -> bytes:
    return private.exchange(X25519PublicKey.from_public_bytes(public))
