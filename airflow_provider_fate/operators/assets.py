"""Tables and models as Airflow assets, for DAGs that start when one arrives."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Asset, AssetAlias

TABLES = AssetAlias(name="fate_tables")
MODELS = AssetAlias(name="fate_models")


def table_asset(namespace: str, name: str) -> Asset:
    """The asset of a table; a DAG with ``schedule=[table_asset(...)]`` runs when it is uploaded."""
    return Asset(uri=f"fate://table/{quote(namespace, safe='')}/{quote(name, safe='')}")


def model_asset(model_id: str, party: str | None = None) -> Asset:
    """The asset of a model, of whatever version; each training is one event of it.

    :param party: ``role-party_id``, for the part that this party has of the model. Each party's task tells of its own,
        on the Airflow where it runs. Without it the model as a whole, of which the guest's task tells
    """
    part = f"/{quote(party, safe='')}" if party is not None else ""
    return Asset(uri=f"fate://model/{quote(model_id, safe='')}{part}")


def deployed_asset(model_id: str) -> Asset:
    """The asset of a model's deployed version. Not the model's own: a DAG that deploys what was trained would start
    itself again."""
    return Asset(uri=f"fate://deployed/{quote(model_id, safe='')}")


def is_template(*texts: Any) -> bool:
    """Whether a text is known only when the task runs."""
    return any(not isinstance(text, str) or "{{" in text or "{%" in text for text in texts)


def outlet(alias: AssetAlias, asset: Any, *texts: Any) -> list[Any]:
    """What a task declares at parsing time: the asset where its names are known by then, otherwise the alias.

    :param asset: makes the asset from the texts
    """
    return [alias] if is_template(*texts) else [asset(*texts)]


def emit(context: Any, task: Any, alias: AssetAlias, asset: Asset, extra: dict[str, Any]) -> None:
    """Record an event for ``asset`` that is sent when the task succeeds.

    A task that is mapped or has templated names could not declare the asset itself; its event goes by the alias.
    """
    events = context.get("outlet_events")
    if events is None:
        return
    dag = context.get("dag")
    declared = dag.get_task(task.task_id).outlets if dag is not None and dag.has_task(task.task_id) else []
    if asset in declared:
        events[asset].extra = extra
        return
    task.outlets = [o for o in task.outlets if o != asset and o != alias] + [alias]
    events[alias].add(asset, extra=extra)
