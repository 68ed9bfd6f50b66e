"""A party of a federated job: a party id playing a role."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_fate.errors import ConfigError

ROLES = ("guest", "host", "arbiter")


@dataclass(frozen=True, order=True)
class Party:
    """One (role, party_id). The same party id may play several roles in one job.

    :param role: ``guest``, ``host`` or ``arbiter``
    :param party_id: FATE's party id, kept as text
    """

    role: str
    party_id: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ConfigError("role", f"{self.role!r} is not a role; expected one of {', '.join(ROLES)}")
        text = str(self.party_id)
        if not text.isalnum() or not text.isascii() or len(text) > 32:
            raise ConfigError(
                f"role.{self.role}", f"{text!r} is not a party id; expected up to 32 ASCII letters and digits"
            )
        object.__setattr__(self, "party_id", text)

    def __str__(self) -> str:
        return f"{self.role}-{self.party_id}"

    @classmethod
    def parse(cls, text: str) -> Party:
        """Read ``guest-9999``."""
        role, _, party_id = text.partition("-")
        return cls(role, party_id)
