"""Writes the reference of the job conf from the models: ``python -m airflow_provider_fate.job.reference``."""

from __future__ import annotations

import argparse
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from airflow_provider_fate.job import names
from airflow_provider_fate.job.job_parameters import SHARED, JobParameters
from airflow_provider_fate.job.modules import KNOWN_LATER, MODULES, ModuleSpec
from airflow_provider_fate.job.parameters.base import Parameters, model_in
from airflow_provider_fate.job.party import ROLES
from airflow_provider_fate.job.spark_run import FLAGS

TARGET = Path(__file__).resolve().parents[2] / "docs" / "job-conf.md"

_HEAD = f"""# The job conf

This page is written from the code by `python -m airflow_provider_fate.job.reference`; change the models, not the page.

A job is a runtime conf and a DSL, as FATE 1.5 to 1.11 have them, of version 1 or 2, as dicts or JSON. Everything is
checked before anything is submitted. An unknown key, component, module, parameter or role is refused with its full
path and the nearest known name. What has no effect here is accepted, and the task's log says so; so are parameters of
components that the DSL lacks, as one conf often serves several DSLs, unless the name can only be a slip. What FATE has
and is not there yet is refused, and the message says so.

## Runtime conf

| key | version | meaning |
|---|---|---|
| `dsl_version` | 1, 2 | 2 for version 2; 1 without it |
| `initiator` | 1, 2 | `role` and `party_id` of the party that FATE would submit from; one of those under `role` |
| `role` | 1, 2 | party ids by role: one `guest`, any number of `host`, at most one `arbiter`; numbers or text |
| `job_parameters` | 1 | flat, see below |
| `job_parameters` | 2 | `common`, and `role.<role>.<index>` for what may differ |
| `algorithm_parameters` | 1 | by component, the same for every party |
| `role_parameters` | 1 | by role and component; every value is a list with one entry for each party of the role |
| `role_parameters.<role>.args.data` | 1 | `train_data`, `eval_data`: tables; each becomes a Reader `reader_<data>_0` |
| `component_parameters.common` | 2 | by component, the same for every party |
| `component_parameters.role` | 2 | by role, index (`"0"`, `"0\\|2"`, or `"all"`) and component; over `common` |
| `provider` | 2 | accepted, no effect: there is one implementation of every module |

A number or boolean may also be given as the text that spells it, as a template renders it.

## DSL

`{{"components": {{"<name>": {{"module": ..., "input": ..., "output": ...}}}}}}`. A component's name is
up to 100 ASCII letters, digits and underscores. Inputs are lists of `component.output` under `input.data` (`data`,
`train_data`, `validate_data`, `test_data`; version 1 also `eval_data`, which is `validate_data` beside
`train_data` and `test_data` otherwise) and under `input.model`. Outputs get their names in `output.data` and
`output.model`, by position.
Components run one after the other, sources first, and by name where the DSL leaves it open.

## Prediction

A predict job has `job_type` `predict`, a `model_id` and, unless the deployed version is meant, a `model_version`. Its
DSL may be left out: then it is the train job's, with the same components and parameters. `train_data` becomes
`test_data`; branches that only served validation fall away; components that fitted apply the stored model of their
name; Evaluation stays. Parameters in the predict conf are laid over those of training. Readers read only the tables
that the predict conf gives. The guest and hosts must be those of training; the arbiter may be left out.

## Names

Names of tables, namespaces, models, versions and jobs become parts of paths. They are up to {names.MAX_LENGTH}
{names.SAFE_WORDS}.

"""


def text() -> str:
    """The whole page."""
    parts = [_HEAD, "## Job parameters\n\n", _prose(JobParameters), "\n\n"]
    parts.append(f"The same for all parties: {', '.join(f'`{key}`' for key in SHARED)}.\n\n")
    parts += [_table(JobParameters), "\n", _spark_run(), "\n## Modules\n\n"]
    parts.append(
        "| module | who takes part | in prediction | data inputs | data outputs | model |\n|---|---|---|---|---|---|\n"
    )
    parts += [_module_row(spec) for spec in MODULES.values()]
    parts.append(
        "\nKnown and not there yet: " + ", ".join(sorted(KNOWN_LATER, key=lambda name: (name.lower(), name))) + ".\n"
    )
    for spec in MODULES.values():
        parts += _section(spec)
    return "".join(parts)


def _module_row(spec: ModuleSpec) -> str:
    def listed(items: Any) -> str:
        return ", ".join(items) or "-"

    roles, predict = ([r for r in ROLES if r in group] for group in (spec.roles, spec.predict_roles))
    columns = [spec.name, listed(roles), listed(predict), listed(spec.inputs), listed(spec.outputs)]
    return f"| {' | '.join(columns)} | {'yes' if spec.fitted else '-'} |\n"


def _section(spec: ModuleSpec) -> list[str]:
    model = spec.parameters
    parts = [f"\n## {spec.name}\n\n", _prose(model), "\n\n"]
    own = getattr(model, "own", frozenset())
    if own is None:
        parts.append("Every parameter may differ from party to party.\n\n")
    elif own:
        parts.append(f"May differ from party to party: {', '.join(f'`{key}`' for key in sorted(own))}.\n\n")
    else:
        parts.append("Every parameter must be the same at all parties.\n\n")
    parts.append(_table(model))
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is not None:
            parts += [f"\n### {spec.name}: {name}\n\n", _prose(inner), "\n\n", _table(inner)]
    return parts


def _prose(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _table(model: type[BaseModel]) -> str:
    rows = ["| parameter | type | default | meaning |\n|---|---|---|---|\n"]
    for name, field in model.model_fields.items():
        rows.append(
            f"| `{name}` | {_escaped(type_text(field))} | {_escaped(_default(field))} | {_escaped(_meaning(field))} |\n"
        )
    passed_over = model.passed_over if issubclass(model, Parameters) else {}
    if passed_over:
        rows.append("\nIn FATE's older confs, without effect there and here: ")
        rows.append(", ".join(f"`{name}` ({why})" for name, why in passed_over.items()) + ".\n")
    return "".join(rows)


def _escaped(value: str) -> str:
    return value.replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    shown = (
        {None: "null", True: "true", False: "false"}.get(value) if value is None or isinstance(value, bool) else None
    )
    return f"`{shown or (value if not isinstance(value, str) else repr(value))}`"


def _meaning(field: FieldInfo) -> str:
    marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    said = field.description or ""
    if "ignored" in marks:
        said += f" *No effect: {marks['ignored']}.*"
    if "later" in marks:
        said += f" *Not there yet: {marks['later']}; only the default is taken.*"
    return said


def type_text(field: FieldInfo) -> str:
    """What a person calls the type of a field."""
    bounds = _bounds(field.metadata)
    said = next((m for m in field.metadata if isinstance(m, str)), None) or _named(field.annotation)
    return f"{said} {bounds}".strip()


def _named(annotation: Any) -> str:
    if annotation is Any:
        return "any"
    if annotation is type(None):
        return "null"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        said = next((m for m in arguments[1:] if isinstance(m, str)), None) or _named(arguments[0])
        return f"{said} {_bounds(arguments[1:])}".strip()
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_named(argument) for argument in arguments)
    if origin is list:
        return f"list of {_named(arguments[0])}"
    if origin is dict:
        return f"dict of {_named(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "group"
    return {"int": "integer", "float": "number", "bool": "boolean", "str": "text"}.get(
        annotation.__name__, annotation.__name__
    )


def _bounds(metadata: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found: list[str] = []
    for item in metadata:
        inner = item.metadata if isinstance(item, FieldInfo) else [item]
        found += [f"{sign} {getattr(m, key)}" for m in inner for key, sign in signs.items() if hasattr(m, key)]
    return ", ".join(found)


def _spark_run() -> str:
    rows = [
        "### spark_run\n\nFlags of spark-submit by their names (`executor-memory`, or `executor_memory`). They "
        "override the Spark connection; what neither sets is for spark-defaults.conf to say. `conf` holds Spark "
        "properties: a dict, a list of `k=v`, or text with one `k=v` a line or `--conf` before each. "
        "In text and lists, a value with another property in it, as in `spark.a=1 spark.b=2`, is refused; a dict takes "
        "any value. A flag and a property that say the same must agree.\n\n"
        "| flag | value | the same as | meaning |\n|---|---|---|---|\n"
    ]
    kinds = {"text": "text", "memory": "such as 512m, 4g", "count": "integer ≥ 1", "yes": "boolean"}
    for name, flag in FLAGS.items():
        rows.append(f"| `{name}` | {kinds[flag.kind]} | {f'`{flag.conf}`' if flag.conf else '-'} | {flag.meaning} |\n")
    return "".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_fate.job.reference", description="Write the reference of the job conf."
    )
    parser.add_argument("target", nargs="?", type=Path, default=TARGET, help="the file to write; %(default)s otherwise")
    target = parser.parse_args(arguments).target
    target.write_text(text(), encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
