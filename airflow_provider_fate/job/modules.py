"""The modules that a DSL can name. A new one is one line below; users' own come from :mod:`.extensions`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from pydantic import BaseModel

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job import extensions
from airflow_provider_fate.job.names import did_you_mean, short
from airflow_provider_fate.job.parameters import (
    DataIOParam,
    DataStatisticsParam,
    DataTransformParam,
    EvaluationParam,
    FeatureScaleParam,
    HeteroFastSecureBoostParam,
    HeteroFeatureBinningParam,
    HeteroFeatureSelectionParam,
    HeteroLinRParam,
    HeteroLRParam,
    HeteroPoissonParam,
    HeteroSecureBoostParam,
    HomoLRParam,
    IntersectParam,
    ReaderParam,
    SecureAddExampleParam,
)
from airflow_provider_fate.job.parameters.base import Parameters

_LETTERS = {"G": "guest", "H": "host", "A": "arbiter"}


@dataclass(frozen=True)
class ModuleSpec:
    """What the DSL may do with a module.

    :param name: FATE's module name
    :param parameters: the model of its parameters
    :param roles: who takes part when it fits or processes
    :param predict_roles: who takes part when a fitted one is applied to new rows
    :param needs: roles that must be in the job
    :param inputs: data inputs that it knows
    :param many: whether an input may name several data
    :param outputs: data outputs that it has, in order; the DSL gives them names of its own by position
    :param idle_outputs: kinds of outputs that FATE's DSLs name although nothing comes out
    :param fitted: whether it learns a model
    :param isometric: modules whose models it takes as ``isometric_model``, any number of them
    :param most_hosts: hosts at most, ``None`` for any number
    :param component: of a user's own module, where its class is: ``package.module:Class``; imported when a job runs
    """

    name: str
    parameters: type[BaseModel]
    roles: frozenset[str]
    predict_roles: frozenset[str]
    needs: frozenset[str] = frozenset()
    inputs: tuple[str, ...] = ("data",)
    many: bool = False
    outputs: tuple[str, ...] = ("data",)
    idle_outputs: tuple[str, ...] = ()
    fitted: bool = False
    isometric: tuple[str, ...] = ()
    most_hosts: int | None = None
    component: str | None = None


MODULES: dict[str, ModuleSpec] = {}


def register(spec: ModuleSpec) -> None:
    """Make a module known to the DSL.

    :raises ConfigError: when another module has the name
    """
    if MODULES.get(spec.name, spec) != spec:
        raise ConfigError(f"module {spec.name}", "is registered twice")
    MODULES[spec.name] = spec


def module_spec(
    name: str, parameters: type[BaseModel], roles: str, predict_roles: str | None = None, needs: str = "", **more: Any
) -> ModuleSpec:
    """A module's description, with roles by their first letters, as in FATE's lists: ``GHA``.

    :param predict_roles: by default as ``roles``
    :param more: the other fields of :class:`ModuleSpec`
    """
    sets = [frozenset(_LETTERS[r] for r in letters) for letters in (roles, predict_roles or roles, needs)]
    return ModuleSpec(name, parameters, *sets, **more)


def _module(*arguments, **more) -> None:  # type: ignore[no-untyped-def]
    register(module_spec(*arguments, **more))


_SUPERVISED = ("train_data", "validate_data", "test_data")
_SELECTED_BY = ("HeteroFeatureBinning", "DataStatistics", "HeteroSecureBoost", "HeteroFastSecureBoost")
# fmt: off
_module("Reader", ReaderParam, "GH", inputs=())
_module("DataIO", DataIOParam, "GH", fitted=True)
_module("DataTransform", DataTransformParam, "GH", fitted=True)
_module("FeatureScale", FeatureScaleParam, "GH", fitted=True)
_module("DataStatistics", DataStatisticsParam, "GH", fitted=True)
_module("Intersection", IntersectParam, "GH", needs="GH", idle_outputs=("cache", "model"))
_module("HeteroFeatureBinning", HeteroFeatureBinningParam, "GH", fitted=True)
_module("HeteroFeatureSelection", HeteroFeatureSelectionParam, "GH", fitted=True, isometric=_SELECTED_BY)
_module("HeteroLR", HeteroLRParam, "GHA", "GH", needs="GHA", inputs=_SUPERVISED, fitted=True)
_module("HeteroLinR", HeteroLinRParam, "GHA", "GH", needs="GHA", inputs=_SUPERVISED, fitted=True)
_module(
    "HeteroPoisson", HeteroPoissonParam, "GHA", "GH", needs="GHA", inputs=_SUPERVISED, fitted=True, most_hosts=1
)
_module("HeteroSecureBoost", HeteroSecureBoostParam, "GH", needs="GH", inputs=_SUPERVISED, fitted=True)
_module("HeteroFastSecureBoost", HeteroFastSecureBoostParam, "GH", needs="GH", inputs=_SUPERVISED, fitted=True)
_module("HomoLR", HomoLRParam, "GHA", "GH", needs="GHA", inputs=_SUPERVISED, fitted=True)
_module("Evaluation", EvaluationParam, "GH", many=True, outputs=(), idle_outputs=("data",))
_module("SecureAddExample", SecureAddExampleParam, "GH", needs="GH", inputs=(), outputs=(), most_hosts=1)
# fmt: on

_FATES = """
    ApiReader CacheLoader ColumnExpand CustNN DataStatistics Download FTL FeatureImputation FeatureScale
    FederatedSample FeldmanVerifiableSum HeteroDataSplit HeteroFastSecureBoost HeteroFeatureBinning
    HeteroFeatureSelection HeteroKmeans HeteroLinR HeteroNN HeteroPearson HeteroPoisson HeteroSSHELR HeteroSSHELinR
    HeteroSSHEPoisson HeteroSecureBoost HomoDataSplit HomoFeatureBinning HomoLR HomoNN HomoOneHotEncoder
    HomoSecureBoost HomoSecureboost LabelTransform LocalBaseline ModelLoader ModelRestore ModelStore OneHotEncoder
    PSI PositiveUnlabeled SBTFeatureTransformer SPDZTest SampleWeight Scorecard SecureInformationRetrieval Union
    Upload Writer
"""
#: Modules of FATE 1.5 to 1.11 that are not there yet.
KNOWN_LATER = frozenset(_FATES.split()) - set(MODULES)


def module(name: object, path: str) -> ModuleSpec:
    """The module of that name.

    :param path: where the name stands, for the error
    :raises ConfigError: when it is unknown or not there yet
    """
    # as FATE, whose own files have HomoSecureBoost and HomoSecureboost
    spelt = {known.lower(): known for known in (*KNOWN_LATER, *MODULES)}
    name = spelt.get(name.lower(), name) if isinstance(name, str) else name
    if isinstance(name, str) and name in MODULES:
        return MODULES[name]
    if isinstance(name, str) and (found := extensions.entry(name)) is not None:
        return _users_own(found, path)
    if isinstance(name, str) and name in KNOWN_LATER:
        raise ConfigError(path, f"the module {name} is known and not there yet; there are {', '.join(MODULES)}")
    known = [*MODULES, *extensions.names(), *sorted(KNOWN_LATER)]
    raise ConfigError(path, f"{short(name)} is not a module; {did_you_mean(name, known)}")


def _users_own(found: EntryPoint, path: str) -> ModuleSpec:
    """Register the module of a user's package.

    :raises ConfigError: it cannot be loaded, or is no description of a module
    """
    where = f"the entry point {found.name} = {found.value!r} of {found.dist.name if found.dist else 'a package'}"
    try:
        spec = found.load()
    except Exception as error:
        raise ConfigError(path, f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(spec, ModuleSpec):
        raise ConfigError(path, f"{where} is a {type(spec).__name__}; expected a ModuleSpec, from module_spec(...)")
    if spec.name != found.name:
        raise ConfigError(path, f"{where} describes a module {spec.name}; expected the same name")
    if not issubclass(spec.parameters, Parameters):
        raise ConfigError(path, f"{where}: its parameters are no subclass of Parameters (job/parameters/base.py)")
    if not spec.component or not all(spec.component.partition(":")):
        raise ConfigError(path, f"{where}: component is {short(spec.component)}; expected 'package.module:Class'")
    register(spec)
    return spec
