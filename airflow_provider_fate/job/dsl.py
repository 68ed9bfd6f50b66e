"""The DSL: components, what goes into them and comes out, and the order in which they run."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.modules import MODULES, ModuleSpec, module
from airflow_provider_fate.job.names import check_component, did_you_mean, short
from airflow_provider_fate.job.plain import as_dict, join, only_keys

DATA_INPUTS = ("data", "train_data", "validate_data", "eval_data", "test_data")
MODEL_INPUTS = ("model", "isometric_model")
_OUTPUT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,99}")
ROOT = "dsl.components"


@dataclass(frozen=True)
class ComponentSpec:
    """One component of a DSL.

    :param name: such as ``hetero_lr_0``
    :param module: FATE's module name
    :param inputs: by input name, what it takes, as ``component.output``; ``model`` among them
    :param outputs: names that this DSL gives to outputs, under ``data`` and ``model``; the first data output is the
        first of the module's own, and so on
    :param mode: ``fit``, or ``predict`` where a fitted model is applied
    :param model_of: in mode ``predict``, the component whose model is applied
    """

    name: str
    module: str
    inputs: dict[str, list[str]] = field(default_factory=dict)
    outputs: dict[str, list[str]] = field(default_factory=dict)
    mode: str = "fit"
    model_of: str | None = None

    @property
    def spec(self) -> ModuleSpec:
        """What its module is."""
        return MODULES[self.module]

    @property
    def roles(self) -> frozenset[str]:
        """The roles that take part in it."""
        return self.spec.predict_roles if self.mode == "predict" else self.spec.roles

    @property
    def data_inputs(self) -> dict[str, list[str]]:
        """Its inputs without models."""
        return {name: refs for name, refs in self.inputs.items() if name not in MODEL_INPUTS}

    def output(self, name: str) -> str:
        """The module's own name of the data output that the DSL calls ``name``."""
        return self.spec.outputs[self.outputs["data"].index(name)]

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a DSL of version 2."""
        models = {name: refs for name, refs in self.inputs.items() if name in MODEL_INPUTS}
        inputs = {**({"data": self.data_inputs} if self.data_inputs else {}), **models}
        return {
            "module": self.module,
            **({"input": inputs} if inputs else {}),
            **({"output": self.outputs} if self.outputs else {}),
        }


def parse(dsl: dict[str, Any], job_type: str, notices: list[str]) -> dict[str, ComponentSpec]:
    """The components of a DSL of version 2, in the order in which they run.

    The order follows from the graph and the names alone, so it is the same at every party.

    :param dsl: plain JSON, ``{"components": {...}}``
    :param notices: takes what the log must say
    :raises ConfigError: with the full path of what is unknown, missing, doubled or circular
    """
    raw = components_of(dsl, notices)
    parsed = {name: _component(name, entry, job_type, notices) for name, entry in raw.items()}
    for component in parsed.values():
        _check_references(component, parsed, job_type)
    return _ordered(parsed)


def components_of(dsl: dict[str, Any], notices: list[str]) -> dict[str, dict[str, Any]]:
    """The entries under ``components``, with only their outermost shape checked."""
    dsl = as_dict(dsl, "dsl")
    only_keys(dsl, ("components", "provider"), "dsl", dict.fromkeys(dsl, "components belong under the key components"))
    if "provider" in dsl:
        notices.append("dsl.provider has no effect here: there is one implementation of every module")
    components = as_dict(dsl.get("components"), ROOT)
    if not components:
        raise ConfigError(ROOT, "is missing or empty; expected at least one component")
    for name, entry in components.items():
        check_component(name, join(ROOT, name))
        if not isinstance(entry, dict):
            raise ConfigError(join(ROOT, name), f"expected a dict with a module, got {short(entry)}")
    return components


def _component(name: str, entry: dict[str, Any], job_type: str, notices: list[str]) -> ComponentSpec:
    path = join(ROOT, name)
    only_keys(entry, ("module", "input", "output", "need_deploy", "need_run", "provider", "CodePath"), path)
    if "module" not in entry:
        raise ConfigError(join(path, "module"), "is missing; expected the name of a module, such as HeteroLR")
    spec = module(entry["module"], join(path, "module"))
    if "need_deploy" in entry:
        if not isinstance(entry["need_deploy"], bool):
            raise ConfigError(join(path, "need_deploy"), f"expected true or false, got {short(entry['need_deploy'])}")
        notices.append(f"{path}.need_deploy has no effect here: prediction takes every component that it needs")
    if "need_run" in entry:
        notices.append(f"{path}.need_run has no effect here, as in FATE: need_run is a parameter of the component")
    notices.extend(
        f"{path}.{key} has no effect here: there is one implementation of every module"
        for key in ("provider", "CodePath")
        if key in entry
    )
    inputs = _inputs(entry.get("input"), join(path, "input"), spec)
    outputs = _outputs(entry.get("output"), join(path, "output"), spec, notices)
    if job_type == "predict" and "train_data" in inputs and "test_data" not in inputs:
        notices.append(f"{join(path, 'input.data.train_data')} is taken as test_data, as the job predicts")
        inputs = {"test_data" if k == "train_data" else k: v for k, v in inputs.items() if k != "validate_data"}
    mode, model_of = "fit", None
    if spec.fitted and (job_type == "predict" or ("model" in inputs and "train_data" not in inputs)):
        mode = "predict"
        model_of = inputs["model"][0].removeprefix("pipeline.").partition(".")[0] if "model" in inputs else name
    _check_inputs(inputs, spec, mode, path)
    return ComponentSpec(name, spec.name, inputs, outputs, mode, model_of)


def _inputs(value: Any, path: str, spec: ModuleSpec) -> dict[str, list[str]]:
    given = as_dict(value, path)
    only_keys(given, ("data", *MODEL_INPUTS, "cache"), path, dict.fromkeys(DATA_INPUTS, "it belongs under input.data"))
    if "cache" in given:
        raise ConfigError(join(path, "cache"), "caches are known and not there yet")
    inputs: dict[str, list[str]] = {}
    data = as_dict(given.get("data"), join(path, "data"))
    only_keys(data, DATA_INPUTS, join(path, "data"))
    for name, refs in data.items():
        at = join(path, f"data.{name}")
        known = _input_name(name, data, spec)
        if known is None:
            takes = f"takes {', '.join(spec.inputs)}" if spec.inputs else "takes no data"
            raise ConfigError(at, f"{spec.name} {takes}")
        if known in inputs:
            raise ConfigError(at, f"says the same as {known}; keep one of them")
        inputs[known] = _references(refs, at)
        if len(refs) > 1 and not spec.many:
            instead = _instead(name, known, refs, spec)
            raise ConfigError(at, f"{spec.name} takes one data here, got {len(refs)}; {instead}")
    for name in MODEL_INPUTS:
        # FATE's own files leave an empty list where there is no model
        if given.get(name, []) != []:
            at = join(path, name)
            if not (spec.isometric if name == "isometric_model" else spec.fitted):
                raise ConfigError(at, f"{spec.name} takes no {name}")
            inputs[name] = _references(given[name], at)
            if len(inputs[name]) > 1 and name == "model":
                raise ConfigError(at, f"expected one model, got {len(inputs[name])}")
    return inputs


def _input_name(name: str, data: dict[str, Any], spec: ModuleSpec) -> str | None:
    """The module's name of an input, or ``None``. FATE's v1 says eval_data both for validate_data and test_data."""
    if name == "eval_data":
        name = "validate_data" if "train_data" in data else "test_data"
        if name not in spec.inputs:
            name = "data"
    return name if name in spec.inputs else None


def _instead(name: str, known: str, refs: list[str], spec: ModuleSpec) -> str:
    """What to write where an input that takes one data is given several."""
    if name == "data":
        return "the module Union, which makes one of several, is not there yet"
    said = f"FATE would take the last one, {short(refs[-1])}, and say nothing of the others: keep one"
    if known == "train_data":
        return said
    return f"{said}, and predict the others by a {spec.name} of their own, with this one's model as its input.model"


def _references(value: Any, path: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ConfigError(path, f'expected a list such as ["reader_0.data"], got {short(value)}')
    for i, item in enumerate(value):
        if not isinstance(item, str):
            raise ConfigError(f"{path}[{i}]", f"expected text such as reader_0.data, got {short(item)}")
        if item in value[:i]:
            raise ConfigError(f"{path}[{i}]", f"{short(item)} is given twice")
    return list(value)


def _outputs(value: Any, path: str, spec: ModuleSpec, notices: list[str]) -> dict[str, list[str]]:
    given = as_dict(value, path)
    only_keys(given, ("data", "model", "cache"), path)
    for kind in ("cache", "data", "model"):
        if kind in given and kind in spec.idle_outputs:
            notices.append(f"{join(path, kind)} has no effect: {spec.name} gives no {kind}")
            given = {key: names for key, names in given.items() if key != kind}
    if "cache" in given:
        raise ConfigError(join(path, "cache"), f"{spec.name} has no cache output")
    outputs: dict[str, list[str]] = {}
    taken: dict[str, str] = {}
    for kind, most in (("data", len(spec.outputs)), ("model", int(spec.fitted))):
        if kind not in given:
            continue
        names, at = given[kind], join(path, kind)
        if not isinstance(names, list):
            raise ConfigError(at, f"expected a list of names, got {short(names)}")
        for i, name in enumerate(names):
            where = f"{at}[{i}]"
            if not isinstance(name, str) or not _OUTPUT.fullmatch(name):
                raise ConfigError(where, f"{short(name)} is not a name of letters, digits and underscores")
            if name in taken and taken[name] == kind:
                raise ConfigError(where, f"{name} is given twice")
            taken[name] = kind
        if len(names) > most:
            has = f"has {most} {kind} output{'s' if most > 1 else ''}" if most else f"has no {kind} output"
            raise ConfigError(f"{at}[{most}]", f"{spec.name} {has}, got {len(names)} names")
        if names:
            outputs[kind] = list(names)
    return outputs


def _check_inputs(inputs: dict[str, list[str]], spec: ModuleSpec, mode: str, path: str) -> None:
    data = [name for name in inputs if name not in MODEL_INPUTS]
    at = join(path, "input.data")
    if spec.inputs and not data:
        raise ConfigError(at, f"is missing; {spec.name} needs {' or '.join(spec.inputs)}, from a Reader in the end")
    if "train_data" not in spec.inputs:
        return
    if mode == "predict" and "test_data" not in inputs:
        raise ConfigError(at, f"applying a fitted {spec.name} needs test_data")
    if mode == "fit" and "train_data" not in inputs:
        raise ConfigError(at, f"{spec.name} needs train_data to fit, or test_data together with a model")
    if mode == "fit" and "test_data" in inputs:
        raise ConfigError(join(at, "test_data"), "cannot stand beside train_data; a component of its own predicts")
    if mode == "predict" and "validate_data" in inputs:
        raise ConfigError(join(at, "validate_data"), "goes with train_data only")


def _check_references(component: ComponentSpec, known: dict[str, ComponentSpec], job_type: str) -> None:
    path = join(ROOT, f"{component.name}.input")
    for name, refs in component.inputs.items():
        kind = "model" if name in MODEL_INPUTS else "data"
        for i, ref in enumerate(refs):
            at = join(path, f"{'' if kind == 'model' else 'data.'}{name}[{i}]")
            if name == "model" and ref.startswith("pipeline."):
                _check_stored(component, ref, at, job_type)
                continue
            source, dot, output = ref.partition(".")
            if source == "args":
                raise ConfigError(
                    at, f"{short(ref)} is of DSL version 1; in version 2 a Reader component gives the data"
                )
            if not dot or not output:
                raise ConfigError(at, f"{short(ref)}: expected component.output, such as reader_0.data")
            if source not in known:
                raise ConfigError(at, f"there is no component {short(source)}; {did_you_mean(source, known)}")
            outputs = known[source].outputs.get(kind, [])
            if output not in outputs:
                raise ConfigError(at, f"{source} has no {kind} output {short(output)}; {did_you_mean(output, outputs)}")
            takes = component.spec.isometric if name == "isometric_model" else (component.module,)
            if kind == "model" and known[source].module not in takes:
                raise ConfigError(
                    at,
                    f"{source} is a {known[source].module}; its model cannot go into a {component.module}, which "
                    f"takes that of a {' or '.join(takes)} as {name}",
                )


def _check_stored(component: ComponentSpec, ref: str, path: str, job_type: str) -> None:
    if job_type != "predict":
        raise ConfigError(path, f"{short(ref)}: a stored model is for predict jobs only")
    if component.model_of != component.name:
        raise ConfigError(
            path, f"{short(ref)}: a component applies the stored model of its own name, pipeline.{component.name}.*"
        )


def _ordered(components: dict[str, ComponentSpec]) -> dict[str, ComponentSpec]:
    """Kahn's algorithm; among those that could come next, the first by name."""
    waits = {
        name: {s for refs in c.inputs.values() for s in (r.partition(".")[0] for r in refs) if s in components}
        for name, c in components.items()
    }
    ready = [(natural(name), name) for name, sources in waits.items() if not sources]
    heapq.heapify(ready)
    order: dict[str, ComponentSpec] = {}
    while ready:
        _, name = heapq.heappop(ready)
        order[name] = components[name]
        for other, sources in waits.items():
            if name in sources:
                sources.discard(name)
                if not sources:
                    heapq.heappush(ready, (natural(other), other))
    if len(order) < len(components):
        circle = _circle({name: sources for name, sources in waits.items() if name not in order})
        raise ConfigError(join(ROOT, f"{circle[0]}.input"), f"goes in a circle: {' needs '.join(circle)}")
    return order


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts ``x_2`` before ``x_10``."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", name)]


def _circle(waits: dict[str, set[str]]) -> list[str]:
    seen: list[str] = []
    name = min(waits, key=natural)
    while name not in seen:
        seen.append(name)
        name = min((s for s in waits[name] if s in waits), key=natural)
    return [*seen[seen.index(name) :], name]
