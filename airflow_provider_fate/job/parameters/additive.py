"""How numbers are encrypted that another party adds up: the group ``encrypt_param`` of binning and trees."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from airflow_provider_fate.job.parameters.base import Int, Loc, choice
from airflow_provider_fate.job.parameters.linear import STRONG_KEY, WEAKEST_KEY, EncryptParam

_AFFINE = ("iterativeaffine", "randomiterativeaffine", "affine")


class AdditiveEncryptParam(EncryptParam):
    """How numbers are encrypted while another party adds them up."""

    method: choice("OU", "Paillier") = Field(
        default="OU",
        description="OU is Okamoto and Uchiyama's scheme, which is the faster one; Paillier is FATE's. FATE's "
        "iterativeAffine and randomIterativeAffine are broken and are replaced by OU.",
    )
    key_length: Annotated[Int, Field(ge=WEAKEST_KEY, le=8192)] = Field(
        default=STRONG_KEY,
        description="Bits of the key, a multiple of 16. FATE's old default 1024 is raised to 2048 unless "
        "allow_weak_key is set; below 1024 is refused.",
    )

    @field_validator("method", mode="before")
    @classmethod
    def _sound(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("null, no encryption, would show the labels to the hosts; expected OU or Paillier")
        return "OU" if isinstance(value, str) and value.lower() in _AFFINE else value

    @model_validator(mode="after")
    def _whole(self) -> AdditiveEncryptParam:
        # after a short one was raised: an example of FATE's has 1204
        if self.key_length % 16:
            raise ValueError(f"key_length {self.key_length}: expected a multiple of 16")
        return self

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        found: list[tuple[Loc, str]] = []
        method = given.get("method")
        if isinstance(method, str) and method.lower() in _AFFINE:
            found.append((("method",), f"{method}: this scheme is broken and is replaced by OU (Okamoto-Uchiyama)"))
        if self.key_length < STRONG_KEY:
            found.append((("key_length",), f"{self.key_length}: a weak key, as allow_weak_key asks for"))
        elif "key_length" in given and str(given["key_length"]) != str(self.key_length):
            found.append((("key_length",), f"{given['key_length']}: too weak today, raised to {self.key_length}"))
        return found
