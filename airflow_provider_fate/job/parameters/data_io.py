"""DataIO and its later name DataTransform: from stored columns to features and a label."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from airflow_provider_fate.job.parameters.base import (
    Bool,
    Int,
    Loc,
    Need,
    Parameters,
    Scalar,
    Scalars,
    choice,
    ignored,
    later,
)


def _listed(value: Any) -> Any:
    """FATE's own files also give a single value."""
    return [value] if isinstance(value, bool | int | float | str) else value


_TYPES = ("float64", "float", "int", "int64", "long")
FillMethod = choice("min", "max", "mean", "designated")
ImputeValues = Annotated[list[Scalar | None], BeforeValidator(_listed)]
_GIVEN = (None, "designated")


class DataIOParam(Parameters):
    """How a party's columns become features and a label: types, missing values, outliers. Fitted values (means,
    minima, ...) are part of the model and are used again in prediction."""

    passed_over: ClassVar[dict[str, str]] = {"with_value": "tag_with_value counts"}
    own: ClassVar[frozenset[str] | None] = None
    needs: ClassVar[tuple[Need, ...]] = (
        Need(("delimitor",), lambda p: p.input_format != "dense", "input_format is dense"),
        Need(
            ("tag_with_value", "tag_value_delimitor"),
            lambda p: p.input_format == "tag",
            "input_format is {p.input_format}",
        ),
        Need(("tag_value_delimitor",), lambda p: p.tag_with_value, "tag_with_value is false"),
        Need(
            ("missing_fill_method", "missing_impute", "default_value"),
            lambda p: p.missing_fill,
            "missing_fill is false",
        ),
        Need(
            ("default_value",),
            lambda p: p.missing_fill_method in _GIVEN,
            "missing_fill_method is {p.missing_fill_method}",
        ),
        Need(
            ("outlier_replace_method", "outlier_impute", "outlier_replace_value"),
            lambda p: p.outlier_replace,
            "outlier_replace is false",
        ),
        Need(
            ("outlier_replace_value",),
            lambda p: p.outlier_replace_method in _GIVEN,
            "outlier_replace_method is {p.outlier_replace_method}",
        ),
        # a bare first field of svmlight's lines is a label also without with_label
        Need(("label_name",), lambda p: p.with_label or p.input_format == "sparse", "with_label is false"),
    )

    input_format: choice("dense", "sparse", "tag", svmlight="sparse") = Field(
        default="dense",
        description="What the table holds: a column for each feature (dense), or lines of tags (tag) or of "
        "place:value (sparse, which is svmlight's), uploaded as such.",
    )
    delimitor: Annotated[str, Field(min_length=1)] = Field(
        default=",", description="What parts the fields of a line, with the formats tag and sparse."
    )
    data_type: choice(*_TYPES, "str") = Field(
        default="float64",
        description="Type of the features. Features are kept as float64, which holds whole numbers up to 2^53 exactly; "
        "text (str) is read as numbers.",
    )
    exclusive_data_type: dict[str, choice(*_TYPES, "str")] | None = Field(
        default=None,
        description="Types of single features, by name.",
        json_schema_extra=ignored("all features are kept as float64"),
    )
    tag_with_value: Bool = Field(
        default=False, description="With the format tag: whether each tag has a value, as in tag:value."
    )
    tag_value_delimitor: Annotated[str, Field(min_length=1)] = Field(
        default=":", description="What parts a tag and its value."
    )
    missing_fill: Bool = Field(default=False, description="Whether to fill in missing values.")
    default_value: Scalars = Field(
        default=0,
        description="What to fill in with the method designated: one value, or a list with one for each feature.",
    )
    missing_fill_method: FillMethod | None = Field(
        default=None,
        description="What to fill in: the feature's smallest, largest or mean value, or default_value. Without a "
        "method it is default_value.",
    )
    missing_impute: ImputeValues | None = Field(
        default=None,
        description="Values that count as missing, beside empty ones. Without a list: '', none, null, na, nan.",
    )
    outlier_replace: Bool = Field(default=False, description="Whether to replace outliers.")
    outlier_replace_method: FillMethod | None = Field(
        default=None,
        description="What replaces outliers, as missing_fill_method; designated takes outlier_replace_value.",
    )
    outlier_impute: ImputeValues | None = Field(default=None, description="Values that count as outliers.")
    outlier_replace_value: Scalars = Field(
        default=0, description="What replaces outliers with the method designated, as default_value."
    )
    with_label: Bool = Field(default=False, description="Whether the party's table has the label.")
    label_name: Annotated[str, Field(min_length=1)] = Field(default="y", description="Name of the label's column.")
    label_type: choice(*_TYPES, "str") = Field(
        default="int",
        description="Type of the label. Labels are kept as numbers; text (str) is read as numbers, so classes with "
        "names must be numbered before the upload.",
    )
    output_format: choice("dense", "sparse") = Field(
        default="dense",
        description="Form of the features that follow.",
        json_schema_extra=ignored("features are kept as dense columns; the numbers are the same"),
    )
    need_run: Bool = Field(default=True, description="Whether to run at all; if not, rows pass unchanged.")

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        found: list[tuple[Loc, str]] = []
        if self.data_type == "str":
            found.append((("data_type",), "is str: features are kept as numbers here"))
        if self.label_type == "str" and self.with_label:
            found.append((("label_type",), "is str: labels are kept as numbers here"))
        return found


class DataTransformParam(DataIOParam):
    """The same as DataIO, under the name that FATE gives it since 1.7."""

    passed_over: ClassVar[dict[str, str]] = {}

    with_match_id: Bool = Field(
        default=False,
        description="Whether the table has a column to match rows by, beside its id.",
        json_schema_extra=later("a match id beside the id"),
    )
    match_id_name: str = Field(
        default="", description="Name of that column.", json_schema_extra=ignored("rows are matched by their id")
    )
    match_id_index: Int = Field(
        default=0, description="Position of that column.", json_schema_extra=ignored("rows are matched by their id")
    )
