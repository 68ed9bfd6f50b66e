"""The predict job that belongs to a train job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.conf_v1 import reader_of
from airflow_provider_fate.job.dsl import ComponentSpec
from airflow_provider_fate.job.names import short
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.job.plain import as_dict, join, merged, only_keys, without
from airflow_provider_fate.job.resolve import indexed
from airflow_provider_fate.job.tables import placed

if TYPE_CHECKING:
    from airflow_provider_fate.job.conf import Job


def complete(predict: Job, trained: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """Conf and DSL of the whole predict job.

    :raises ConfigError: when they do not belong together
    """
    if predict.job_type != "predict":
        raise ConfigError("job_parameters.job_type", "expected predict")
    if trained.job_type != "train":
        raise ConfigError("stored", "the job that is kept with the model is not a train job")
    if predict.model_id != trained.model_id:
        raise ConfigError(
            "job_parameters.model_id",
            f"{short(predict.model_id)}: the job that is kept with the model made {trained.model_id}",
        )
    _check_parties(predict, trained)
    components = predict.components or deduced(trained.components)
    _check_components(components, trained)
    readers = [name for name, c in components.items() if c.module == "Reader"]
    conf = {**predict._conf, "component_parameters": _parameters(predict, trained, set(components), readers)}
    if not any("arbiter" in component.roles for component in components.values()):
        conf = _without_arbiter(conf)
    return conf, {"components": {name: c.to_dict() for name, c in components.items()}}


def _without_arbiter(conf: dict[str, Any]) -> dict[str, Any]:
    """FATE's predict confs name the arbiter, who has no part in applying a model: nobody is to wait for it."""
    role = {name: ids for name, ids in conf["role"].items() if name != "arbiter"}
    conf = {**conf, "role": role}
    if conf["initiator"]["role"] == "arbiter":
        conf["initiator"] = {"role": "guest", "party_id": role["guest"][0]}
    for section in ("job_parameters", "component_parameters"):
        own = {name: blocks for name, blocks in conf[section].get("role", {}).items() if name != "arbiter"}
        conf[section] = {**conf[section], "role": own}
    return conf


def _check_parties(predict: Job, trained: Job) -> None:
    for role in ("guest", "host", "arbiter"):
        now = {p.party_id for p in predict.parties if p.role == role}
        then = {p.party_id for p in trained.parties if p.role == role}
        if now != then and (role != "arbiter" or now):
            raise ConfigError(
                f"role.{role}",
                f"the model is of {role} {', '.join(sorted(then)) or 'none'}; "
                f"this conf has {', '.join(sorted(now)) or 'none'}",
            )


def _check_components(components: dict[str, ComponentSpec], trained: Job) -> None:
    for name, component in components.items():
        if component.spec.fitted:
            before = trained.components.get(name)
            if before is None or before.module != component.module:
                raise ConfigError(
                    f"dsl.components.{name}", f"the model has no {component.module} of this name to apply"
                )


def deduced(trained: dict[str, ComponentSpec]) -> dict[str, ComponentSpec]:
    """The components that prediction takes over from training, with their inputs changed.

    Branches that apply a model fitted in the same job, or only feed validate_data, fall away, and so do components
    that gave others their model only, as statistics do to a selection.

    :param trained: in the order in which they run
    """
    kept: dict[str, ComponentSpec] = {}
    for name, component in trained.items():
        if component.mode == "predict":
            continue
        inputs: dict[str, list[str]] = {}
        for key, refs in component.data_inputs.items():
            left = [ref for ref in refs if ref.partition(".")[0] in kept]
            if key != "validate_data" and left:
                inputs["test_data" if key == "train_data" else key] = left
        if component.spec.inputs and not inputs:
            continue
        mode, model_of = ("predict", name) if component.spec.fitted else ("fit", None)
        kept[name] = ComponentSpec(name, component.module, inputs, component.outputs, mode, model_of)
    models = {ref.partition(".")[0] for c in trained.values() for ref in c.inputs.get("isometric_model", ())}
    before = _feeding(trained) | {name for name in models if "train_data" not in trained[name].spec.inputs}
    while idle := [name for name in kept if name in before and name not in _feeding(kept)]:
        for name in idle:
            del kept[name]
    return kept


def _feeding(components: dict[str, ComponentSpec]) -> set[str]:
    """The components whose data goes into another."""
    return {ref.partition(".")[0] for c in components.values() for refs in c.data_inputs.values() for ref in refs}


def _parameters(predict: Job, trained: Job, components: set[str], readers: list[str]) -> dict[str, Any]:
    """Stored parameters, and laid over them those of the predict conf; tables are those of the predict conf only."""
    stored, given = (trained._conf["component_parameters"], predict._conf["component_parameters"])

    def of(job: Job, section: dict[str, Any], party: Party) -> dict[str, Any]:
        index = [p for p in job.parties if p.role == party.role].index(party) if party in job.parties else -1
        return section["role"].get(party.role, {}).get(str(index), {})

    def known(section: dict[str, Any]) -> dict[str, Any]:
        return {name: values for name, values in section.items() if name in components and name not in readers}

    over = given["common"]
    own: dict[Party, dict[str, Any]] = {}
    for party in predict.parties:
        mine = dict(of(predict, given, party))
        tables = _tables(mine.pop("args", None), party, readers)
        before = without(known(of(trained, stored, party)), over)
        own[party] = merged(before, merged(tables, mine))
    return {"common": merged(known(stored["common"]), over), "role": indexed(predict.parties, own)}


def _tables(args: Any, party: Party, readers: list[str]) -> dict[str, Any]:
    """``args.data`` of a predict conf, for the Readers of the train job."""
    path = f"role_parameters.{party.role}.args"
    only_keys(as_dict(args, path), ("data",), path)
    data = as_dict(as_dict(args, path).get("data"), join(path, "data"))
    found: dict[str, Any] = {}
    for name, table in data.items():
        at = join(path, f"data.{name}")
        # The one Reader takes whatever the data is called; of several, the one that stood for the same name.
        reader = reader_of(name) if reader_of(name) in readers and len(readers) > 1 else None
        component, parameters = placed(table, reader, at, readers)
        if component in found and found[component] != parameters:
            raise ConfigError(at, f"{party} has another table for {component} already")
        found[component] = parameters
    return found
