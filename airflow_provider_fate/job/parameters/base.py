"""What the models of parameters have in common: types, and errors and notices with full paths."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    model_validator,
)

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import did_you_mean, short
from airflow_provider_fate.job.plain import has

Loc = tuple[str | int, ...]
Locate = Callable[[Loc], str]

#: more are not looked at: they are compared with each other, and a hostile conf can have any number
MOST_ERRORS = 200

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?")


def _integer(value: Any) -> Any:
    # A template in a DAG renders a number as text.
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    return value


def _boolean(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


Int = Annotated[int, Strict(), BeforeValidator(_integer)]
Float = Annotated[float, Strict(), BeforeValidator(_number)]
Bool = Annotated[bool, Strict(), BeforeValidator(_boolean)]
Positive = Annotated[Int, Field(ge=1)]


def _scalar(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{short(value)}: expected a number, text or boolean")


def _scalars(value: Any) -> Any:
    return [_scalar(item) for item in value] if isinstance(value, list) else None if value is None else _scalar(value)


# The texts say what the type is in the reference.
Scalar = Annotated[Any, AfterValidator(_scalar), "number, text or boolean"]
Scalars = Annotated[Any, AfterValidator(_scalars), "number, text or boolean, or a list of them, or null"]


def choice(*values: str, **others: str) -> Any:
    """A type that takes one of ``values``, in upper or lower case as FATE does; ``others`` are further spellings."""
    spellings = {v.lower(): v for v in values} | {k.lower(): v for k, v in others.items()}

    def spelt(value: Any) -> Any:
        return spellings.get(value.lower(), value) if isinstance(value, str) else value

    return Annotated[Literal[values], BeforeValidator(spelt)]  # type: ignore[valid-type]


def ignored(why: str) -> dict[str, Any]:
    """Marks a field that is accepted and has no effect here; setting it gives a notice."""
    return {"ignored": why}


def later(what: str) -> dict[str, Any]:
    """Marks a field that FATE has and that is not there yet; any value but the default is refused."""
    return {"later": what}


@dataclass(frozen=True)
class Need:
    """When fields count. Where they do not, a value that is given and is not the default gives a notice.

    :param fields: names; of a field in a group with a dot
    :param counts: whether they do, of the parameters
    :param why: why they do not, for "has no effect, as ..."; formatted with the parameters as ``p``
    """

    fields: Sequence[str]
    counts: Callable[[Any], bool]
    why: str


class Parameters(BaseModel):
    """Base of the parameters of a module, and of their groups.

    Values that a template rendered as text are read as the number or boolean they spell.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=False)

    #: Names that FATE's own confs give and FATE passes over: they are left out, and a notice
    #: says why they have no effect.
    passed_over: ClassVar[dict[str, str]] = {}
    #: Fields that may differ from party to party; ``None`` for all. The others must be the same at every party, as
    #: the parties would otherwise not follow the same protocol.
    own: ClassVar[frozenset[str] | None] = frozenset()
    #: Fields that only count beside a certain value of another one. Of a field's needs the first that is not met is
    #: named.
    needs: ClassVar[tuple[Need, ...]] = ()

    def remarks(self, given: dict[str, Any]) -> list[tuple[Loc, str]]:
        """What the log must say about values that were replaced or have no effect, by their place.

        :param given: the values as they stood in the conf
        """
        return []

    @model_validator(mode="before")
    @classmethod
    def _without_passed_over(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if k not in cls.passed_over} if isinstance(value, dict) else value


P = TypeVar("P", bound=BaseModel)


def validate(model: type[P], given: dict[str, Any], locate: Locate) -> tuple[P, list[str]]:
    """The parameters that ``given`` sets, and the notices that this gives.

    :param given: plain JSON
    :param locate: the full path of a value, from its keys below ``given``
    :raises ConfigError: with the full path of the first wrong value, naming the others as well
    """
    try:
        parameters = model.model_validate(given)
    except ValidationError as error:
        raise _translated(error, model, given, locate) from None
    notices: list[str] = []
    _look_through(parameters, given, (), locate, notices)
    return parameters, notices


def _look_through(model: BaseModel, given: dict[str, Any], loc: Loc, locate: Locate, notices: list[str]) -> None:
    passed_over = model.passed_over if isinstance(model, Parameters) else {}
    notices += [
        f"{locate((*loc, name))} has no effect, as in FATE: {why}" for name, why in passed_over.items() if name in given
    ]
    for name, field in type(model).model_fields.items():
        if name not in given:
            continue
        value = getattr(model, name)
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        default = field.get_default(call_default_factory=True)
        if value != default:
            if "later" in marks:
                raise ConfigError(
                    locate((*loc, name)), f"{short(given[name])}: {marks['later']} is known and not there yet"
                )
            if "ignored" in marks:
                notices.append(f"{locate((*loc, name))} has no effect here: {marks['ignored']}")
                continue
        if isinstance(value, BaseModel) and isinstance(given[name], dict):
            _look_through(value, given[name], (*loc, name), locate, notices)
    if isinstance(model, Parameters):
        notices.extend(f"{locate((*loc, *at))} has no effect, as {why}" for at, why in _unmet(model, given))
        notices.extend(f"{locate((*loc, *at))} {text}" for at, text in model.remarks(given))


def _unmet(model: Parameters, given: dict[str, Any]) -> list[tuple[Loc, str]]:
    """Fields that were given and do not count, and why. Defaults that are spelt out change nothing."""
    found: dict[Loc, str] = {}
    for need in model.needs:
        if need.counts(model):
            continue
        for name in need.fields:
            at = tuple(name.split("."))
            value, default, there = model, None, given
            for key in at:
                there = there[key] if isinstance(there, dict) and key in there else None
                default = type(value).model_fields[key].get_default(call_default_factory=True)
                value = getattr(value, key)
            if there is not None and value not in (default, []):
                found.setdefault(at, need.why.format(p=model))
    return list(found.items())


def _translated(error: ValidationError, model: type[BaseModel], given: dict[str, Any], locate: Locate) -> ConfigError:
    found: dict[str, str] = {}
    for item in error.errors(include_url=False)[:MOST_ERRORS]:
        loc = _real_loc(item["loc"], given, item["type"])
        path = locate(loc)
        text = _problem(item, loc, model)
        # A value that fits none of several types has one error for each of them.
        found[path] = f"{found[path]}, or: {text}" if path in found and text not in found[path] else text
    # Where a list fits none of several types, what is wrong inside it says more.
    telling = {p: t for p, t in found.items() if not any(o != p and o.startswith((f"{p}.", f"{p}[")) for o in found)}
    (path, problem), *others = telling.items()
    if others:
        problem += "; also " + "; ".join(f"{p}: {t}" for p, t in others[:4])
    return ConfigError(path, problem)


def _real_loc(loc: Loc, given: Any, kind: str) -> Loc:
    """``loc`` without the names of types that pydantic adds for unions."""
    real: list[str | int] = []
    value = given
    for i, step in enumerate(loc):
        if has(value, step):
            value = value[step]
        elif not (kind == "missing" and i == len(loc) - 1):
            continue
        real.append(step)
    return tuple(real)


def _problem(item: Any, loc: Loc, model: type[BaseModel]) -> str:
    kind, value = item["type"], short(item["input"])
    if kind == "extra_forbidden":
        parent = model_at(model, loc[:-1]) or model
        return f"unknown parameter; {did_you_mean(loc[-1], parent.model_fields)}"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        expected = item["ctx"]["expected"]
        words = re.findall(r"'([^']*)'", expected)
        guess = did_you_mean(item["input"], words) if words else ""
        hint = f"; {guess}" if guess.startswith("did you mean") else ""
        return f"{value}: expected {expected}{hint}"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    text = item["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{value}: expected {text}"


def model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """The model of the group of parameters at ``loc``."""
    for step in loc:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step)
        inner = None if field is None else model_in(field.annotation)
        if inner is None:
            return None
        model = inner
    return model


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside a type such as ``X | None`` or ``list[X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (typing.Union, types.UnionType, Annotated, list):
        for inner in get_args(annotation):
            if (found := model_in(inner)) is not None:
                return found
    return None
