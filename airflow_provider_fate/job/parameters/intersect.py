"""Intersection: which ids all parties have."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from airflow_provider_fate.job.parameters.base import Bool, Float, Int, Loc, Parameters, choice, ignored, later

_HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sm3")
_STRONG = ("sha256", "sha384", "sha512", "sm3")
_ONE_WAY = "every method is carried out as ECDH on Curve25519, with a hash of its own"
_ROLE = choice("guest", "host")


class EncodeParam(Parameters):
    """FATE 1.5's hashing of ids for the raw method."""

    salt: str = Field(default="", description="Text added to ids before hashing.", json_schema_extra=ignored(_ONE_WAY))
    encode_method: choice("none", *_HASHES) = Field(
        default="none", description="Hash function.", json_schema_extra=ignored(_ONE_WAY)
    )
    base64: Bool = Field(default=False, description="Form of the hash.", json_schema_extra=ignored(_ONE_WAY))


class RAWParam(Parameters):
    """FATE's settings of the raw method."""

    use_hash: Bool = Field(default=False, description="Whether ids are hashed.", json_schema_extra=ignored(_ONE_WAY))
    salt: str = Field(default="", description="Text added to ids before hashing.", json_schema_extra=ignored(_ONE_WAY))
    hash_method: choice("none", *_HASHES) = Field(
        default="none", description="Hash function.", json_schema_extra=ignored(_ONE_WAY)
    )
    base64: Bool = Field(default=False, description="Form of the hash.", json_schema_extra=ignored(_ONE_WAY))
    join_role: _ROLE = Field(default="guest", description="Who joins.", json_schema_extra=ignored(_ONE_WAY))


class RSAParam(Parameters):
    """FATE's settings of the rsa method."""

    salt: str = Field(default="", description="Text added to ids before hashing.", json_schema_extra=ignored(_ONE_WAY))
    hash_method: choice(*_STRONG) = Field(
        default="sha256", description="Hash function.", json_schema_extra=ignored(_ONE_WAY)
    )
    final_hash_method: choice(*_HASHES) = Field(
        default="sha256", description="Hash function of the result.", json_schema_extra=ignored(_ONE_WAY)
    )
    split_calculation: Bool = Field(
        default=False, description="Whether parties share the work.", json_schema_extra=ignored(_ONE_WAY)
    )
    random_base_fraction: Annotated[Float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Share of random numbers made anew.", json_schema_extra=ignored(_ONE_WAY)
    )
    key_length: Annotated[Int, Field(ge=1, le=16384)] = Field(
        default=2048, description="Bits of the RSA key.", json_schema_extra=ignored(_ONE_WAY)
    )
    random_bit: Annotated[Int, Field(ge=1, le=16384)] = Field(
        default=128, description="Bits of random numbers.", json_schema_extra=ignored(_ONE_WAY)
    )


class DHParam(Parameters):
    """FATE's settings of the dh method."""

    salt: str = Field(default="", description="Text added to ids before hashing.", json_schema_extra=ignored(_ONE_WAY))
    hash_method: choice("none", *_HASHES) = Field(
        default="sha256", description="Hash function.", json_schema_extra=ignored(_ONE_WAY)
    )
    key_length: Annotated[Int, Field(ge=1, le=16384)] = Field(
        default=2048, description="Bits of the prime.", json_schema_extra=ignored(_ONE_WAY)
    )


class ECDHParam(Parameters):
    """FATE's settings of the ecdh method."""

    salt: str = Field(default="", description="Public text that is mixed into the hashes of ids.")
    hash_method: choice(*_STRONG) = Field(
        default="sha256", description="Hash function.", json_schema_extra=ignored(_ONE_WAY)
    )
    curve: choice("curve25519") = Field(default="curve25519", description="The curve.")


class IntersectCacheParam(Parameters):
    """FATE's cache of hashed ids."""

    use_cache: Bool = Field(
        default=False, description="Whether to use the cache.", json_schema_extra=later("the cache of an intersection")
    )
    id_type: Any = Field(
        default="phone", description="What ids are.", json_schema_extra=ignored("there is no cache")
    )
    encrypt_type: Any = Field(
        default="sha256", description="Hash function of the cache.", json_schema_extra=ignored("there is no cache")
    )


class IntersectPreProcessParam(Parameters):
    """FATE's filter before the intersection."""

    false_positive_rate: Annotated[Float, Field(gt=0, le=0.5)] = Field(
        default=0.001, description="Of the filter.", json_schema_extra=ignored("there is no filter")
    )
    encrypt_method: choice("rsa") = Field(default="rsa", description="Of the filter.")
    hash_method: choice(*_HASHES) = Field(
        default="sha256", description="Of the filter.", json_schema_extra=ignored("there is no filter")
    )
    preprocess_method: choice(*_STRONG) = Field(
        default="sha256", description="Of the filter.", json_schema_extra=ignored("there is no filter")
    )
    preprocess_salt: str = Field(
        default="", description="Of the filter.", json_schema_extra=ignored("there is no filter")
    )
    random_state: Int | None = Field(
        default=None, description="Of the filter.", json_schema_extra=ignored("there is no filter")
    )
    filter_owner: _ROLE = Field(
        default="guest", description="Of the filter.", json_schema_extra=ignored("there is no filter")
    )


class IntersectParam(Parameters):
    """Private set intersection. Every method is carried out as elliptic curve Diffie-Hellman on Curve25519: a party
    learns which of its own ids the others have, and nothing about other ids but how many there are."""

    own: ClassVar[frozenset[str] | None] = frozenset({"only_output_key"})

    intersect_method: choice("ecdh", "rsa", "dh", "raw") = Field(
        default="ecdh",
        description="FATE's name of the method. All are carried out as ecdh: raw shows hashed ids, which can be "
        "guessed, and rsa and dh are slower at equal strength.",
    )
    random_bit: Annotated[Int, Field(ge=1, le=16384)] = Field(
        default=128, description="FATE 1.5: bits of random numbers of rsa.", json_schema_extra=ignored(_ONE_WAY)
    )
    sync_intersect_ids: Bool = Field(
        default=True, description="Whether every party learns the intersection. Later components need it."
    )
    join_role: _ROLE = Field(
        default="guest", description="Who joins with the raw method.", json_schema_extra=ignored(_ONE_WAY)
    )
    only_output_key: Bool = Field(default=False, description="Whether only the ids go on, without features and label.")
    with_encode: Bool = Field(
        default=False, description="FATE 1.5: hash ids with the raw method.", json_schema_extra=ignored(_ONE_WAY)
    )
    encode_params: EncodeParam = Field(default_factory=EncodeParam, description="FATE 1.5: how to hash them.")
    raw_params: RAWParam = Field(default_factory=RAWParam, description="Of the raw method.")
    rsa_params: RSAParam = Field(default_factory=RSAParam, description="Of the rsa method.")
    dh_params: DHParam = Field(default_factory=DHParam, description="Of the dh method.")
    ecdh_params: ECDHParam = Field(default_factory=ECDHParam, description="Of the ecdh method.")
    join_method: choice("inner_join", "left_join") = Field(
        default="inner_join",
        description="Which rows go on: those that all parties have.",
        json_schema_extra=later("the left join"),
    )
    cardinality_only: Bool = Field(
        default=False, description="Whether to learn only how many ids all parties have; no rows go on."
    )
    sync_cardinality: Bool = Field(
        default=False, description="With cardinality_only, whether the hosts learn the number as well."
    )
    cardinality_method: choice("ecdh", "dh", "rsa") = Field(
        default="ecdh", description="FATE's method for cardinality_only; carried out as ecdh, which is exact."
    )
    new_sample_id: Bool = Field(
        default=False, description="Whether rows get new ids.", json_schema_extra=later("new sample ids")
    )
    sample_id_generator: _ROLE = Field(
        default="guest", description="Who makes new ids.", json_schema_extra=ignored("no new ids are made")
    )
    with_sample_id: Bool = Field(
        default=False, description="Whether rows have ids of samples.", json_schema_extra=later("sample ids")
    )
    intersect_cache_param: IntersectCacheParam = Field(
        default_factory=IntersectCacheParam, description="FATE's cache of hashed ids."
    )
    run_cache: Bool = Field(
        default=False, description="Whether to fill a cache.", json_schema_extra=later("the cache of an intersection")
    )
    run_preprocess: Bool = Field(
        default=False, description="Whether to filter ids before.", json_schema_extra=later("the filter before it")
    )
    intersect_preprocess_params: IntersectPreProcessParam = Field(
        default_factory=IntersectPreProcessParam, description="How to filter them."
    )
    repeated_id_process: Bool = Field(
        default=False,
        description="Whether one party may have an id several times.",
        json_schema_extra=later("the intersection of repeated ids"),
    )
    repeated_id_owner: choice("guest") = Field(default="guest", description="Who has ids several times.")
    allow_info_share: Bool = Field(
        default=False,
        description="Whether a party gives the others a column.",
        json_schema_extra=later("sharing a column along with the ids"),
    )
    info_owner: _ROLE = Field(
        default="guest", description="Who gives it.", json_schema_extra=ignored("no column is shared")
    )

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        found: list[tuple[Loc, str]] = []
        if self.intersect_method != "ecdh":
            found.append(
                (("intersect_method",), f"{self.intersect_method}: is carried out as ECDH on Curve25519 (128-bit)")
            )
        if self.cardinality_only and self.cardinality_method != "ecdh":
            found.append(
                (("cardinality_method",), f"{self.cardinality_method}: is carried out as ECDH, which is exact")
            )
        if self.sync_cardinality and not self.cardinality_only:
            found.append((("sync_cardinality",), "has no effect, as cardinality_only is false"))
        return found
