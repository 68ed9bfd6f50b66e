"""HomoLR: logistic regression over rows that several parties hold, by federated averaging (McMahan et al. 2017).

Guest and hosts have the same features, in the same order, of rows of their own, and the label each. All start with the
same weights. In each iteration a party goes through its own batches by itself: the gradient of the mean logistic loss,
and a step of the optimizer, whose state stays with the party, as in FATE. After every ``aggregate_iters`` iterations,
and after the last one, the weights are averaged by numbers of rows, and so is the loss at the average over all rows;
the arbiter then says whether training ends. With ``use_proximal`` each gradient has ``mu * (w - last average)`` beside
it (T. Li et al., Federated optimization in heterogeneous networks, 2020).

Averages are taken under pairwise masks: see :mod:`..crypto.secure_aggregation`. They are exact up to 2^-41 a party.
Guest and hosts compare with each other what the arbiter gave them, before they send what follows from it.

Who learns what, in the semi-honest model:

* guest and hosts: the average of the weights each time, the mean loss over all rows, the number of all rows, and the
  labels that occur at any party. With one host, the guest can compute the host's weights and loss from the average and
  its own, and the host the guest's: no aggregation of two parties hides one from the other.
* arbiter: the same averages and losses, the names' digest and number of the features, which labels each party has, and
  nothing of one party's weights. The arbiter together with all parties but one learns that one's weights.
* all, where ``validation_freqs`` is set: at each validation whether the guest's own first metric is the best until
  then; with ``early_stopping_rounds`` also, by when training ends, whether its metrics got better.
* nobody sees a row or a gradient of another party. What a model says about the rows that it was trained on, weights
  say; masks do not change that.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Any

import numpy as np

from airflow_provider_fate.errors import DataError, ProtocolError
from airflow_provider_fate.job.parameters.homo_lr import HomoLRParam
from airflow_provider_fate.runtime.components.base import Component, Outputs, arbiter_of, rows_to_predict, rows_to_train
from airflow_provider_fate.runtime.components.cross_validation import cross_validate
from airflow_provider_fate.runtime.components.homo.aggregation import Summand
from airflow_provider_fate.runtime.components.homo.training import HomoTraining, arbitrate
from airflow_provider_fate.runtime.components.labels import MOST_CLASSES, Classes
from airflow_provider_fate.runtime.components.linear.batches import Batches
from airflow_provider_fate.runtime.components.linear.extent import Extent
from airflow_provider_fate.runtime.components.linear.predictions import Linear, logistic
from airflow_provider_fate.runtime.components.linear.stored import (
    FORMAT,
    class_targets,
    continued,
    history,
    last_numbers,
    loaded,
    of_weights,
    prediction_schema,
    stored,
)
from airflow_provider_fate.runtime.components.linear.training import starting_weights
from airflow_provider_fate.runtime.components.linear.validation import class_metrics
from airflow_provider_fate.runtime.data import Block, Model, Rows, Schema
from airflow_provider_fate.runtime.federation.checks import Array, Bytes, DictOf, Integer, ListOf, Text

PARTY_DATA = DictOf(
    {
        "features": Bytes(length=32),
        "count": Integer(1, 1 << 20),
        "labels": Array("float64", (None,), max_items=MOST_CLASSES + 1),
    }
)
PLAN = DictOf(
    {"other": ListOf(Text(), max_length=10_000), "labels": Array("float64", (None,), max_items=MOST_CLASSES + 1)}
)


class HomoLR(Component):
    """FATE's ``HomoLR``: binary, or one model a class against the rest."""

    module = "HomoLR"
    keeps_outputs = True
    parameters: HomoLRParam

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """Train, then score the party's own training rows (and ``validate_data``).

        :param data: at guest and hosts ``train_data`` (or ``data``) and, at each as it likes, ``validate_data``
        :param models: ``model`` to go on from an earlier one, at guest and hosts
        :raises DataError: a party has other features, or no label; a value is missing
        """
        own = self.parameters
        if own.cv_param.need_cv:
            return cross_validate(self, data, models)
        if self.ctx.party.role == "arbiter":
            return self._arbitrate()
        train, validate = rows_to_train(self.ctx.name, data), data.get("validate_data")
        for rows, name in ((train, "train_data"), (validate, "validate_data")):
            if rows is not None and rows.schema.label_name is None:
                raise DataError(f"{self.ctx.name}: {name} of {self.ctx.party} has no label; name it in DataTransform")
        if not train.count:
            raise DataError(f"{self.ctx.name}: there are no rows to train on at {self.ctx.party}")
        batches = Batches(
            train.counts, own.batch_size, shuffle=own.shuffle, strategy=own.batch_strategy, seed=self.ctx.seed
        )
        labels = self._agreed(train.schema, Extent.of(self.ctx.name, train).labels)
        if validate is not None:
            Extent.of(self.ctx.name, validate)
        targets = class_targets(self.ctx.name, train.schema.label_name, labels)
        intercept = own.init_param.fit_intercept
        starts = self._starts(train.schema, len(targets.labels), models.get("model"))

        checked = train if validate is None else validate

        def validation(number: int, weights: np.ndarray) -> dict[str, float]:
            found = checked.map(_labels_and_sums, [of_weights([weights], intercept)] * checked.partitions)
            y, sums = (np.concatenate([part[at] for part in found]) for at in (0, 1))
            threshold = own.predict_param.threshold
            ours = y == targets.labels[number]
            return class_metrics(self.ctx.name, own.metrics, ours, logistic(sums[:, 0]), threshold)

        summand = Summand(self.ctx)
        summand.note(labels)
        fitted = HomoTraining(self.ctx, own, summand, train, batches, starts, targets.labels, validation).run()
        linear = of_weights([one.weights for one in fitted], intercept)
        outputs = Outputs(model=stored(self.module, train.schema, fitted, intercept, targets.classes))
        outputs.data["data"] = self._scored(train, linear, targets.classes)
        if validate is not None:
            outputs.data["validate"] = self._scored(validate, linear, targets.classes)
        outputs.metrics, outputs.summary = last_numbers(fitted), history(fitted)
        return outputs

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """Score rows by the party's own copy of the model; nothing is sent.

        :raises DataError: a feature of the model is not there, or a value is missing
        """
        if self.ctx.party.role == "arbiter":
            return Outputs()
        rows = rows_to_predict(self.ctx.name, data)
        linear = loaded(self.module, self.ctx.name, model, rows.schema)
        Extent.of(self.ctx.name, rows)
        return Outputs({"data": self._scored(rows, linear, tuple(model.meta["classes"]))})

    # --- arbiter ----------------------------------------------------------------------------------------------------

    def _arbitrate(self) -> Outputs:
        federation = self.ctx.federation
        parties = [federation.guest, *federation.hosts]
        said = {party: federation.receive(party, "data", PARTY_DATA) for party in parties}
        first = said[federation.guest]
        other = [str(party) for party in parties if said[party]["features"] != first["features"]]
        labels = np.unique(np.concatenate([one["labels"] for one in said.values()]))[: MOST_CLASSES + 1]
        federation.send(parties, "plan", {"other": other, "labels": labels})
        if other:
            raise DataError(
                f"{self.ctx.name}: {', '.join(other)} and the guest have different features, or in another order"
            )
        if not 2 <= len(labels) <= MOST_CLASSES:
            raise DataError(
                f"{self.ctx.name}: the labels have {len(labels)} distinct values; expected 2 to {MOST_CLASSES} classes"
            )
        models = 1 if len(labels) == 2 else len(labels)
        length = first["count"] + self.parameters.init_param.fit_intercept
        fitted = arbitrate(self.ctx, self.parameters, models, length)
        return Outputs(
            model=Model({"format": FORMAT, "module": self.module, "iterations": [one.iterations for one in fitted]}),
            metrics=last_numbers(fitted),
            summary=history(fitted),
        )

    # --- guest and hosts --------------------------------------------------------------------------------------------

    def _agreed(self, schema: Schema, labels: np.ndarray) -> np.ndarray:
        """The labels of all parties, which have the same features."""
        federation, arbiter = self.ctx.federation, arbiter_of(self.ctx)
        digest = hashlib.sha256(json.dumps(list(schema.features)).encode()).digest()
        value = {"features": digest, "count": len(schema.features), "labels": labels[: MOST_CLASSES + 1].astype(float)}
        federation.send(arbiter, "data", value)
        plan = federation.receive(arbiter, "plan", PLAN)
        if plan["other"]:
            # the names as they are known here, not the arbiter's text
            others = ", ".join(str(host) for host in federation.hosts if str(host) in plan["other"]) or "some parties"
            raise DataError(
                f"{self.ctx.name}: {others} and {federation.guest} have different features, or in another order; "
                f"{self.ctx.party} has {len(schema.features)}: {', '.join(schema.features[:20])}"
            )
        found = plan["labels"]
        if len(found) <= MOST_CLASSES and ((found[1:] <= found[:-1]).any() or not np.isin(labels, found).all()):
            raise ProtocolError(
                str(arbiter),
                f"{arbiter} sent labels that are not those of all parties in ascending order; those here are "
                f"{', '.join(f'{label:g}' for label in labels[:20])}",
            )
        return found

    def _starts(self, schema: Schema, models: int, start: Model | None) -> list[np.ndarray]:
        """Of each model; the same at every party."""
        settings = self.parameters.init_param
        if start is not None:
            linear = loaded(self.module, self.ctx.name, start, schema)
            return continued(self.ctx.name, linear, models, settings.fit_intercept)
        seed = abs(self.ctx.seed if settings.random_seed is None else settings.random_seed)
        count = len(schema.features)
        return [
            starting_weights(self.parameters, count, settings.fit_intercept, [seed, number]) for number in range(models)
        ]

    def _scored(self, rows: Rows, linear: Linear, classes: Classes) -> Rows:
        schema = prediction_schema(rows.schema, classes, self.parameters.predict_param.threshold)
        return rows.transform(partial(_score, linear), schema)


def _score(linear: Linear, block: Block, _: Any) -> Block:
    return Block(block.ids, logistic(linear.sums(block.x)), block.y)


def _labels_and_sums(block: Block, linear: Linear) -> tuple[np.ndarray, np.ndarray]:
    assert block.y is not None
    return block.y, linear.sums(block.x)
