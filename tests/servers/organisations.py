"""What tests of two organisations share: the fields of their connections to brokers."""

from __future__ import annotations

import secrets
from typing import Any

from airflow_provider_fate.runtime.federation.keys import Keys, encode_key
from tests.servers.rabbitmq import RabbitMQNode


def route(node: RabbitMQNode, vhost: str, **changes: Any) -> dict[str, Any]:
    """How a peer reaches a broker."""
    return {
        "host": node.host, "port": node.port, "vhost": vhost, "login": node.login, "password": node.password, **changes,
    }  # fmt: skip


def key_pairs(*party_ids: str) -> list[dict[str, Any]]:
    """For each party the fields of a connection by which messages are encrypted."""
    private = {party_id: secrets.token_bytes(32) for party_id in party_ids}
    public = {party_id: encode_key(Keys(key).public) for party_id, key in private.items()}
    return [
        {"private_key": encode_key(key), "peer_keys": {peer: public[peer] for peer in party_ids if peer != own}}
        for own, key in private.items()
    ]
