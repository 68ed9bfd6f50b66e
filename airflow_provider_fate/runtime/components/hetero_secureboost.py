"""HeteroSecureBoost: gradient-boosted trees over columns that several parties hold, after K. Cheng et al., SecureBoost,
arXiv:1901.08755, and W. Chen et al., SecureBoost+, arXiv:2110.10927. :mod:`.boosting.growth` says what travels.

The guest has the label, holds the secret key and finds the splits; each host has features. All have the same rows in
the same order (Intersection). The trees are those that the plain algorithm would grow on the joined columns, with
derivatives rounded to 20 bits (28 for a regression): sums are exact, and of equal gains the guest's first column and
bin counts, then those of the hosts in the order of the job.

Who learns what, in the semi-honest model:

* every party: how many rows there are and whether all have the same ids in the same order, how many rounds and trees
  there are, the job's parameters and seed.
* host: the shape of the trees above the level of its own last splits, that is, which rows are together in a node; of
  its own splits, which were chosen and which had equal gains; with run_goss, which rows are in a tree. Rows in the same
  node have similar labels, and the more so the deeper it is: ``complete_secure`` keeps the first trees, which say most,
  to the guest. Derivatives reach it encrypted only (Okamoto-Uchiyama: the p-subgroup assumption with short exponents;
  Paillier: decisional composite residuosity).
* guest: of each node and each distinct split of a host, the sums of both derivatives over the left side and its number
  of rows, without the column, the threshold or any order; and how many columns a host has. Sums of the same rows are
  the same: a split of few rows can be recognised in another node or tree. Of each node split by a host, which rows go
  left. In prediction and validation, for every node of a host, which way each row would go.
* nobody sees another party's thresholds or values, and labels leave the guest in no other form.

The guest checks that what it decrypts are sums that so many rows of the node can have, and ends the job where they are
not: under Okamoto-Uchiyama, whoever learnt the decryption of a number out of range would learn the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError
from airflow_provider_fate.job.parameters.secureboost import HeteroSecureBoostParam
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components import public_key
from airflow_provider_fate.runtime.components.alignment import ROWS, check_same_rows, rows_value
from airflow_provider_fate.runtime.components.base import Component, Outputs, rows_to_predict, rows_to_train
from airflow_provider_fate.runtime.components.boosting import scoring
from airflow_provider_fate.runtime.components.boosting.binned import BinnedRows, Missing, refuse_missing
from airflow_provider_fate.runtime.components.boosting.guest import GuestGrower
from airflow_provider_fate.runtime.components.boosting.host import HostGrower
from airflow_provider_fate.runtime.components.boosting.measured import Measured
from airflow_provider_fate.runtime.components.boosting.models import TreeModel, flat
from airflow_provider_fate.runtime.components.boosting.objectives import Objective, objective
from airflow_provider_fate.runtime.components.boosting.splits import SplitRule
from airflow_provider_fate.runtime.components.boosting.training import Boosted, GuestTraining, HostTraining
from airflow_provider_fate.runtime.components.boosting.tree import HostTree, Tree
from airflow_provider_fate.runtime.components.boosting.validation import metrics_of
from airflow_provider_fate.runtime.components.cross_validation import cross_validate
from airflow_provider_fate.runtime.components.labels import MOST_CLASSES, Classes, classes_of
from airflow_provider_fate.runtime.crypto.additive import additive, generate, public_limits
from airflow_provider_fate.runtime.data import Block, Model, Rows, Schema
from airflow_provider_fate.runtime.federation.checks import DictOf, Integer, Optional_

MOST_ROUNDS = 1 << 40

#: what a host says of its data, and of the model that it goes on from
HOST_DATA = DictOf(
    {
        "features": Integer(0, 1 << 30),
        "train": ROWS,
        "validate": Optional_(ROWS),
        "rounds": Integer(0, MOST_ROUNDS),
    }
)


class HeteroSecureBoost(Component):
    """FATE's ``HeteroSecureBoost``: classes, or a regression."""

    module = "HeteroSecureBoost"
    keeps_outputs = True
    parameters: HeteroSecureBoostParam

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """Train, and score the training rows (and ``validate_data``) at the guest.

        :param data: ``train_data`` (or ``data``) and, at all parties or at none, ``validate_data``
        :param models: ``model`` to go on from an earlier one
        """
        if self.parameters.cv_param.need_cv:
            return cross_validate(self, data, models)
        train, validate = rows_to_train(self.ctx.name, data), data.get("validate_data")
        if not train.count:
            raise DataError(f"{self.ctx.name}: there are no rows to train on; the intersection is empty")
        if self.parameters.boosting_strategy == "layered" and len(self.ctx.federation.hosts) > 1:
            raise ConfigError(f"{self.ctx.name}.boosting_strategy", "layered takes one host only")
        measured = self._measured(train, self._missing)
        checked = None if validate is None else self._measured(validate, self._missing)
        start = models.get("model")
        loaded = None if start is None else self._load(start, train.schema)
        if loaded is not None and (loaded.missing != self._missing or loaded.features != train.schema.features):
            raise DataError(
                f"{self.ctx.name}: the model to go on from has other features, or another use_missing or "
                "zero_as_missing"
            )
        if self.ctx.party.role == "guest":
            return self._fit_guest(train, measured, validate, checked, loaded)
        return self._fit_host(train, measured, validate, checked, loaded)

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """Score rows at the guest; hosts send which way each row goes at their nodes."""
        rows = rows_to_predict(self.ctx.name, data)
        loaded = self._load(model, rows.schema)
        measured = self._measured(rows, loaded.missing)
        federation = self.ctx.federation
        if self.ctx.party.role == "host":
            federation.send(federation.guest, "predict/rows", rows_value(rows, measured.ids))
            trees = [tree for _, tree in loaded.flat()]
            scoring.send_directions(self.ctx, "predict/directions", rows, trees, loaded.missing)
            return Outputs()
        own = rows_value(rows, measured.ids)
        for host in federation.hosts:
            check_same_rows(self.ctx.name, host, federation.receive(host, "predict/rows", ROWS), own, "data")
        return Outputs({"data": self._score("predict/directions", rows, loaded)})

    # --- guest ------------------------------------------------------------------------------------------------------

    def _fit_guest(
        self,
        train: Rows,
        measured: Measured,
        validate: Rows | None,
        checked: Measured | None,
        start: TreeModel | None,
    ) -> Outputs:
        own, federation = self.parameters, self.ctx.federation
        classes, y = self._labels(train)
        loss = objective(own.objective_param.objective, own.objective_param.params, len(classes))
        loss.check(y)
        model = start or TreeModel(self.module, train.schema.features, Boosted(), self._missing, loss.columns, classes)
        self._goes_on(model, classes, start)
        if start is None:
            model.start = loss.start(y)
        model.objective_name, model.objective_params = own.objective_param.objective, own.objective_param.params
        model.learning_rate, model.importance_by = own.learning_rate, own.tree_param.feature_importance_type
        most = {host: self._host_data(host, train, measured, validate, checked, model) for host in federation.hosts}
        federation.send(federation.hosts, "classes", loss.columns)
        scores = np.full((train.count, loss.columns), model.start)
        if start is not None:
            scores += self._scores("start/directions", train, model, model.boosted.rounds)
        validation = self._validation(model, loss, y, validate)

        with closing(BinnedRows(train, self._missing, own.bin_num)) as binned:

            def grower(needs_hosts: bool) -> GuestGrower:
                key = None
                if needs_hosts:
                    key = generate(own.encrypt_param.method, own.encrypt_param.key_length)
                    federation.send(federation.hosts, "public_key", key.public.public)
                return GuestGrower(self.ctx, binned, self._rule, key, most, own.task_type, own.cipher_compress)

            training = GuestTraining(
                self.ctx, own, len(train.schema.features), loss, model.boosted, grower, y, scores, validation, train
            )
            kept = training.run()
        model.boosted = training.boosted
        outputs = Outputs(model=model.stored(guest=True))
        outputs.data["data"] = scoring.as_predictions(train, kept, loss, self._schema(train.schema, model))
        if validate is not None:
            outputs.data["validate"] = self._score("validate/directions", validate, model)
        boosted = model.boosted
        outputs.metrics = {"rounds": boosted.kept, "loss": boosted.losses[boosted.kept - 1 - training.first]}
        if boosted.metrics:
            best = dict(boosted.metrics).get(boosted.kept, boosted.metrics[-1][1])
            outputs.metrics |= {f"validation_{name}": value for name, value in best.items()}
        outputs.summary = {
            "rounds": boosted.kept,
            "is_converged": boosted.converged,
            "loss_history": boosted.losses,
            "feature_importance": model.importance(),
        }
        return outputs

    def _labels(self, train: Rows) -> tuple[Classes, np.ndarray]:
        """Classes, ascending (none for a regression), and the labels of all rows, those of classes as 0, 1, ..."""
        name = train.schema.label_name
        if name is None:
            raise DataError(f"{self.ctx.name}: the guest's training data has no label; name it in DataTransform")
        y = np.concatenate(train.map(_label))
        if not np.isfinite(y).all():
            raise DataError(f"{self.ctx.name}: the label column {name!r} has missing or infinite values")
        if self.parameters.task_type == "regression":
            return (), y
        labels, codes = np.unique(y, return_inverse=True)
        classes = classes_of(self.ctx.name, name, labels.tolist(), ", or the task_type regression")
        return classes, codes.astype(float)

    def _goes_on(self, model: TreeModel, classes: Classes, start: TreeModel | None) -> None:
        """:raises DataError: the model to go on from is one of something else"""
        own = self.parameters
        if start is None:
            return
        wanted = (own.objective_param.objective, own.objective_param.params, own.learning_rate, classes)
        found = (model.objective_name, model.objective_params, model.learning_rate, model.classes)
        if wanted != found:
            raise DataError(
                f"{self.ctx.name}: the model to go on from has another objective, learning_rate or other classes: "
                f"{found}, where {wanted} is asked for"
            )

    def _host_data(
        self,
        host: Party,
        train: Rows,
        measured: Measured,
        validate: Rows | None,
        checked: Measured | None,
        model: TreeModel,
    ) -> int:
        """Check that a host has the same rows; gives how many splits a node can have there at most."""
        name = self.ctx.name
        said = self.ctx.federation.receive(host, "data", HOST_DATA)
        check_same_rows(name, host, said["train"], rows_value(train, measured.ids), "train_data")
        if (said["validate"] is None) != (validate is None):
            raise ConfigError(f"{name}.input.data.validate_data", f"the guest or {host} has one and the other has none")
        if validate is not None and checked is not None:
            check_same_rows(name, host, said["validate"], rows_value(validate, checked.ids), "validate_data")
        if said["rounds"] != len(model.boosted.rounds):
            raise DataError(
                f"{name}: the model to go on from has {len(model.boosted.rounds)} rounds at the guest and "
                f"{said['rounds']} at {host}"
            )
        return said["features"] * 2 * self.parameters.bin_num

    def _validation(self, model: TreeModel, loss: Objective, y: np.ndarray, validate: Rows | None) -> Any:
        """Metrics after some rounds, of ``validate`` where there is one, else of the training rows."""
        own, name = self.parameters, self.ctx.name
        labels, scores, done = y, np.zeros((0, 0)), 0
        if validate is not None:
            if validate.schema.label_name is None:
                raise DataError(f"{name}: validate_data has no label at the guest")
            labels = np.concatenate(validate.map(_label))
            if not np.isfinite(labels).all():
                raise DataError(f"{name}: a label of validate_data is missing or infinite")
            if model.classes:
                if not np.isin(labels, model.classes).all():
                    raise DataError(f"{name}: validate_data has labels that train_data does not have")
                labels = np.searchsorted(np.array(model.classes, float), labels).astype(float)
            scores = np.full((validate.count, loss.columns), model.start)

        def metrics(tag: str, rounds: Sequence[list[Tree]], of_training: np.ndarray) -> dict[str, float]:
            nonlocal scores, done
            current = of_training
            if validate is not None:
                scores = scores + self._scores(tag, validate, model, rounds[done:])
                done, current = len(rounds), scores
            threshold = own.predict_param.threshold
            return metrics_of(name, own.metrics, labels, loss.predict(current), len(model.classes), threshold)

        return metrics

    # --- host -------------------------------------------------------------------------------------------------------

    def _fit_host(
        self,
        train: Rows,
        measured: Measured,
        validate: Rows | None,
        checked: Measured | None,
        start: TreeModel | None,
    ) -> Outputs:
        own, federation = self.parameters, self.ctx.federation
        rounds = [] if start is None else start.boosted.rounds
        value = {
            "features": len(train.schema.features),
            "train": rows_value(train, measured.ids),
            "validate": None if validate is None or checked is None else rows_value(validate, checked.ids),
            "rounds": len(rounds),
        }
        federation.send(federation.guest, "data", value)
        classes = federation.receive(federation.guest, "classes", Integer(1, MOST_CLASSES))
        if start is not None:
            scoring.send_directions(self.ctx, "start/directions", train, _trees(rounds), self._missing)
        done = 0

        def validation(tag: str, rounds: Sequence[list[HostTree]]) -> None:
            nonlocal done
            if validate is not None:
                scoring.send_directions(self.ctx, tag, validate, _trees(rounds[done:]), self._missing)
                done = len(rounds)

        with closing(BinnedRows(train, self._missing, own.bin_num)) as binned:

            def grower(needs_hosts: bool) -> HostGrower:
                scheme = self._scheme() if needs_hosts else None
                return HostGrower(self.ctx, binned, self._rule, scheme, own.task_type, own.cipher_compress)

            training = HostTraining(
                self.ctx, own, len(train.schema.features), classes, Boosted(rounds), grower, validation
            )
            training.run()
        boosted = training.boosted
        if validate is not None:
            scoring.send_directions(self.ctx, "validate/directions", validate, _trees(boosted.best), self._missing)
        model = TreeModel(self.module, train.schema.features, boosted, self._missing, classes)
        model.importance_by = own.tree_param.feature_importance_type
        return Outputs(
            model=model.stored(guest=False),
            summary={"rounds": boosted.kept, "feature_importance": model.importance()},
        )

    def _scheme(self) -> Any:
        federation, method = self.ctx.federation, self.parameters.encrypt_param.method
        limits = public_limits(method, self.parameters.encrypt_param.key_length)
        return public_key.received(federation, federation.guest, "public_key", limits, partial(additive, method))

    # --- both -------------------------------------------------------------------------------------------------------

    @property
    def _missing(self) -> Missing:
        return Missing(self.parameters.use_missing, self.parameters.zero_as_missing)

    @property
    def _rule(self) -> SplitRule:
        tree = self.parameters.tree_param
        return SplitRule(
            tree.l2, tree.l1, tree.min_impurity_split, tree.min_sample_split, tree.min_leaf_node, tree.min_child_weight
        )

    def _measured(self, rows: Rows, missing: Missing) -> Measured:
        measured = Measured.of(rows)
        refuse_missing(self.ctx.name, rows.schema.features, measured.missing, measured.infinite, missing.used)
        return measured

    def _load(self, model: Model, schema: Schema) -> TreeModel:
        return TreeModel.load(self.ctx.name, self.module, model, schema, self.ctx.party.role == "guest")

    def _scores(self, tag: str, rows: Rows, model: TreeModel, rounds: Sequence[list[Tree]]) -> np.ndarray:
        """What some rounds add to the scores of all rows, with the directions that the hosts send under ``tag``."""
        forest = self._forest(model, flat(rounds), rows.schema)
        return scoring.scores_of(rows, forest, scoring.receive_directions(self.ctx, tag, rows, forest))

    def _score(self, tag: str, rows: Rows, model: TreeModel) -> Rows:
        """Predictions of the whole model."""
        forest = self._forest(model, model.flat(), rows.schema)
        bits = scoring.receive_directions(self.ctx, tag, rows, forest)
        schema = self._schema(rows.schema, model)
        return scoring.predicted(rows, forest, bits, model.start, model.objective, schema)

    def _forest(self, model: TreeModel, trees: Sequence[tuple[int, Tree]], schema: Schema) -> scoring.Forest:
        parties = scoring.guest_and_hosts(self.ctx)
        strange = {node.party for _, tree in trees for node in tree.nodes} - {None, *parties}
        if strange:
            raise DataError(f"{self.ctx.name}: the model has nodes of {strange.pop()}, which is not in this job")
        return scoring.Forest.of(trees, parties, schema.features, model.missing, model.learning_rate, model.per_round)

    def _schema(self, schema: Schema, model: TreeModel) -> Schema:
        classes = model.classes
        names = tuple(str(label) for label in (classes[1:] if len(classes) == 2 else classes))
        return Schema(
            schema.id_name,
            names or (schema.label_name or "label",),
            schema.label_name,
            kind="prediction",
            classes=classes,
            threshold=self.parameters.predict_param.threshold,
        )


class HeteroFastSecureBoost(HeteroSecureBoost):
    """FATE 1.5's name of the strategies ``mix`` and ``layered``."""

    module = "HeteroFastSecureBoost"


def _label(block: Block, _: Any) -> np.ndarray:
    return block.y


def _trees(rounds: Sequence[list[HostTree]]) -> list[HostTree]:
    return [tree for trees in rounds for tree in trees]
