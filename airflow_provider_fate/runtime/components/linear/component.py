"""What the linear models have in common at guest, hosts and arbiter: checks of the rows, training, scoring, storing.

:mod:`..hetero_lr` says who learns what; :mod:`.exchange` how gradients are computed.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import ClassVar

import numpy as np

from airflow_provider_fate.errors import ConfigError, DataError, ProtocolError
from airflow_provider_fate.job.party import Party
from airflow_provider_fate.runtime.components import public_key
from airflow_provider_fate.runtime.components.alignment import MOST_ROWS, ROWS, check_same_rows, rows_value
from airflow_provider_fate.runtime.components.base import Component, Outputs, arbiter_of, rows_to_predict, rows_to_train
from airflow_provider_fate.runtime.components.cross_validation import cross_validate
from airflow_provider_fate.runtime.components.labels import MOST_CLASSES, Classes
from airflow_provider_fate.runtime.components.linear.batches import Batches
from airflow_provider_fate.runtime.components.linear.exchange import (
    MOST_COLUMNS,
    Exchange,
    GuestExchange,
    HostExchange,
)
from airflow_provider_fate.runtime.components.linear.extent import Extent
from airflow_provider_fate.runtime.components.linear.links import Link
from airflow_provider_fate.runtime.components.linear.predictions import (
    Linear,
    Response,
    labels_and_sums,
    receive_sums,
    scored,
    send_sums,
)
from airflow_provider_fate.runtime.components.linear.stored import (
    Targets,
    continued,
    history,
    last_numbers,
    loaded,
    of_weights,
    prediction_schema,
    stored,
)
from airflow_provider_fate.runtime.components.linear.training import Training, arbitrate, own_seed, starting_weights
from airflow_provider_fate.runtime.crypto.scheme import VectorScheme, generate, public_limits, scheme
from airflow_provider_fate.runtime.data import Model, Rows, Schema
from airflow_provider_fate.runtime.federation.checks import DictOf, Integer, ListOf, Optional_

#: bits after the point where ``floating_point_precision`` is null: as many as there is room for
MOST_PRECISION = 52

HOST_DATA = DictOf({"features": Integer(0, MOST_COLUMNS), "train": ROWS, "validate": Optional_(ROWS)})
NUMBERS = {"models": Integer(1, MOST_CLASSES), "batches": Integer(1, MOST_ROWS)}
PLAN = DictOf(NUMBERS)


class HeteroLinear(Component):
    """A linear model over columns of several parties. Subclasses say what tells it apart."""

    keeps_outputs = True
    #: of models whose residual is a sum of shares
    link: ClassVar[type[Link] | None] = None
    #: makes scores of weighted sums
    response: ClassVar[Response]
    guest_exchange: ClassVar[type[Exchange]] = GuestExchange
    host_exchange: ClassVar[type[Exchange]] = HostExchange

    def targets(self, train: Rows, extent: Extent) -> Targets:
        """At the guest. :raises DataError: the labels are not what the model needs."""
        raise NotImplementedError

    def share_bound(self, extent: Extent) -> int:
        """What the numbers that travel stay within; the same at guest and hosts, who may agree on it."""
        raise NotImplementedError

    def validated(self, y: np.ndarray, sums: np.ndarray, label: float | None) -> dict[str, float]:
        """Metrics of a validation during training, at the guest.

        :param y: labels, shape (rows,)
        :param sums: of all parties, shape (rows,)
        :param label: of the model, as in :class:`Targets`
        """
        raise NotImplementedError

    def other_sums(self, tag: str, rows: Rows, models: int) -> list[np.ndarray]:
        """At the guest, of each partition what is added to its own weighted sums; each of shape (rows, models)."""
        return receive_sums(self.ctx, tag, rows, models)

    def fit(self, data: dict[str, Rows], models: dict[str, Model]) -> Outputs:
        """Train, then score the training rows (and ``validate_data``) at the guest.

        :param data: ``train_data`` (or ``data``) and, at all parties or at none, ``validate_data``
        :param models: ``model`` to go on from an earlier one
        """
        if self.parameters.cv_param.need_cv:
            return cross_validate(self, data, models)
        if self.ctx.party.role == "arbiter":
            return self._arbitrate()
        train, validate = rows_to_train(self.ctx.name, data), data.get("validate_data")
        extent = Extent.of(self.ctx.name, train)
        checked = None if validate is None else Extent.of(self.ctx.name, validate)
        if self.ctx.party.role == "guest":
            return self._fit_guest(train, extent, validate, checked, models.get("model"))
        return self._fit_host(train, extent, validate, checked, models.get("model"))

    def predict(self, data: dict[str, Rows], model: Model) -> Outputs:
        """Score rows at the guest; hosts send their weighted sums, the arbiter does nothing."""
        if self.ctx.party.role == "arbiter":
            return Outputs()
        rows = rows_to_predict(self.ctx.name, data)
        linear = loaded(self.module, self.ctx.name, model, rows.schema)
        extent = Extent.of(self.ctx.name, rows)
        federation = self.ctx.federation
        if self.ctx.party.role == "host":
            federation.send(federation.guest, "predict/rows", rows_value(rows, extent.ids))
            send_sums(self.ctx, "predict/sums", rows, linear)
            return Outputs()
        own = rows_value(rows, extent.ids)
        for host in federation.hosts:
            check_same_rows(self.ctx.name, host, federation.receive(host, "predict/rows", ROWS), own, "data")
        return Outputs({"data": self._score("predict/sums", rows, linear, tuple(model.meta.get("classes", ())))})

    # --- arbiter ----------------------------------------------------------------------------------------------------

    def _arbitrate(self) -> Outputs:
        federation, encryption = self.ctx.federation, self.parameters.encrypt_param
        key = generate(encryption.method, encryption.key_length)
        federation.send([federation.guest, *federation.hosts], "public_key", key.public.public)
        columns = ListOf(Integer(0, MOST_COLUMNS), length=1 + len(federation.hosts))
        plan = federation.receive(federation.guest, "plan", DictOf({**NUMBERS, "columns": columns}))
        loss_share = self.link is not None and len(federation.hosts) == 1
        iterations = arbitrate(
            self.ctx, self.parameters, key, plan["models"], plan["batches"], plan["columns"], loss_share
        )
        return Outputs(summary={"iterations": iterations})

    # --- guest ------------------------------------------------------------------------------------------------------

    def _fit_guest(
        self, train: Rows, extent: Extent, validate: Rows | None, checked: Extent | None, start: Model | None
    ) -> Outputs:
        federation = self.ctx.federation
        if train.schema.label_name is None:
            raise DataError(f"{self.ctx.name}: the guest's training data has no label; name it in DataTransform")
        targets = self.targets(train, extent)
        if validate is not None and validate.schema.label_name is None:
            raise DataError(f"{self.ctx.name}: validate_data has no label at the guest")
        batches = self._batches(train)
        intercept = self.parameters.init_param.fit_intercept
        # what the arbiter may decrypt for each party in a batch: with one host, the loss besides
        columns = [len(train.schema.features) + intercept + (len(federation.hosts) == 1)]
        for host in federation.hosts:
            said = federation.receive(host, "data", HOST_DATA)
            check_same_rows(self.ctx.name, host, said["train"], rows_value(train, extent.ids), "train_data")
            if (said["validate"] is None) != (validate is None):
                raise ConfigError(
                    f"{self.ctx.name}.input.data.validate_data", f"the guest or {host} has one and the other has none"
                )
            if validate is not None and checked is not None:
                own = rows_value(validate, checked.ids)
                check_same_rows(self.ctx.name, host, said["validate"], own, "validate_data")
            self._private_enough(host, said["features"], batches)
            columns.append(said["features"])
        labels = targets.labels
        plan = {"models": len(labels), "batches": batches.number}
        federation.send(federation.hosts, "plan", plan)
        federation.send(federation.arbiter, "plan", {**plan, "columns": columns})
        exchange = self._exchange(self.guest_exchange, train, extent, intercept)
        starts = self._starts(train, len(labels), intercept, start)

        def validation(tag: str, number: int, weights: np.ndarray) -> dict[str, float]:
            rows = train if validate is None else validate
            others = self.other_sums(f"{tag}/validation", rows, 1)
            y, sums = labels_and_sums(rows, of_weights([weights], intercept), others)
            return self.validated(y, sums[:, 0], labels[number])

        with closing(exchange):
            fitted = Training(self.ctx, self.parameters, exchange, batches, starts, labels, validation).run()
        linear = of_weights([one.weights for one in fitted], intercept)
        outputs = Outputs(model=stored(self.module, train.schema, fitted, intercept, targets.classes))
        outputs.data["data"] = self._score("scores/train", train, linear, targets.classes)
        if validate is not None:
            outputs.data["validate"] = self._score("scores/validate", validate, linear, targets.classes)
        outputs.metrics = last_numbers(fitted)
        outputs.summary = history(fitted)
        return outputs

    def _private_enough(self, host: Party, features: int, batches: Batches) -> None:
        """With as many equations as unknowns a host could compute each row's residual, and so its label."""
        if batches.smallest <= features:
            raise ConfigError(
                f"{self.ctx.name}.batch_size",
                f"a batch has {batches.smallest} rows, and {host} has {features} features: its gradients would tell it "
                "each row's label; use larger batches, or fewer features",
            )

    # --- host -------------------------------------------------------------------------------------------------------

    def _fit_host(
        self, train: Rows, extent: Extent, validate: Rows | None, checked: Extent | None, start: Model | None
    ) -> Outputs:
        federation = self.ctx.federation
        value = {
            "features": len(train.schema.features),
            "train": rows_value(train, extent.ids),
            "validate": None if validate is None or checked is None else rows_value(validate, checked.ids),
        }
        federation.send(federation.guest, "data", value)
        plan = federation.receive(federation.guest, "plan", PLAN)
        batches = self._batches(train)
        if plan["batches"] != batches.number:
            raise ProtocolError(
                str(federation.guest),
                f"{federation.guest} has {plan['batches']} batches an iteration, here are {batches.number}",
            )
        exchange = self._exchange(self.host_exchange, train, extent, intercept=False)
        starts = self._starts(train, plan["models"], False, start)

        def validation(tag: str, number: int, weights: np.ndarray) -> dict[str, float]:
            rows = train if validate is None else validate
            send_sums(self.ctx, f"{tag}/validation", rows, of_weights([weights], False))
            return {}

        labels = [None] * plan["models"]
        with closing(exchange):
            fitted = Training(self.ctx, self.parameters, exchange, batches, starts, labels, validation).run()
        linear = of_weights([one.weights for one in fitted], False)
        send_sums(self.ctx, "scores/train", train, linear)
        if validate is not None:
            send_sums(self.ctx, "scores/validate", validate, linear)
        return Outputs(
            model=stored(self.module, train.schema, fitted, False, ()),
            summary={
                "iterations": [one.iterations for one in fitted],
                "converged": [one.converged for one in fitted],
            },
        )

    # --- both -------------------------------------------------------------------------------------------------------

    def _batches(self, rows: Rows) -> Batches:
        own = self.parameters
        if not rows.count:
            raise DataError(f"{self.ctx.name}: there are no rows to train on; the intersection is empty")
        return Batches(
            rows.counts, own.batch_size, shuffle=own.shuffle, strategy=own.batch_strategy, seed=self.ctx.seed
        )

    def _exchange(self, kind: type[Exchange], rows: Rows, extent: Extent, intercept: bool) -> Exchange:
        hosts = len(self.ctx.federation.hosts)
        if hosts > 1 and self.parameters.early_stop != "weight_diff":
            self.ctx.log(f"{hosts} hosts: early_stop is weight_diff, as the loss is computed with one host only")
        precision = self.parameters.floating_point_precision
        return kind(
            self.ctx,
            self._cipher(),
            self.link,
            rows,
            extent,
            intercept=intercept,
            precision=MOST_PRECISION if precision is None else precision,
            with_loss=hosts == 1,
            share_bound=self.share_bound(extent),
        )

    def _cipher(self) -> VectorScheme:
        method, length = self.parameters.encrypt_param.method, self.parameters.encrypt_param.key_length
        arbiter, limits = arbiter_of(self.ctx), public_limits(method, length)
        return public_key.received(self.ctx.federation, arbiter, "public_key", limits, partial(scheme, method))

    def _starts(self, rows: Rows, models: int, intercept: bool, start: Model | None) -> list[np.ndarray]:
        features = len(rows.schema.features)
        if start is None:
            return [
                starting_weights(self.parameters, features, intercept, own_seed(self.ctx, self.parameters, number))
                for number in range(models)
            ]
        before = loaded(self.module, self.ctx.name, start, rows.schema)
        return continued(self.ctx.name, before, models, intercept)

    def _score(self, tag: str, rows: Rows, linear: Linear, classes: Classes) -> Rows:
        """Predictions, at the guest."""
        models = linear.weights.shape[1]
        if classes:
            schema = prediction_schema(rows.schema, classes, self.parameters.predict_param.threshold)
        else:
            schema = Schema(rows.schema.id_name, ("label",), rows.schema.label_name, "prediction")
        return scored(rows, linear, self.other_sums(tag, rows, models), schema, self.response)
