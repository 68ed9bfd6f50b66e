"""How numbers are encrypted that another party adds up: the group ``encrypt_param`` of binning and trees."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from airflow_provider_fate.job.parameters.base import Int, choice
from airflow_provider_fate.job.parameters.linear import STRONG_KEY, WEAKEST_KEY, EncryptParam


class AdditiveEncryptParam(EncryptParam):
    """How numbers are encrypted while another party adds them up."""

    sound: ClassVar[tuple[str, str]] = ("OU", "OU (Okamoto-Uchiyama)")
    seen_by: ClassVar[str] = "the hosts"

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

    @model_validator(mode="after")
    def _whole(self) -> AdditiveEncryptParam:
        # after a short one was raised: an example of FATE's has 1204
        if self.key_length % 16:
            raise ValueError(f"key_length {self.key_length}: expected a multiple of 16")
        return self
