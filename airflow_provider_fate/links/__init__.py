"""Links from a task in Airflow's UI to what it started elsewhere."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom


class FateLink(BaseOperatorLink):
    """A link that is known while the task runs.

    Airflow's UI reads it from an XCom. Airflow writes that when the task ends; :meth:`publish` does so earlier.
    """

    name = "FATE"
    #: attribute of the operator that keeps the address until the task ends
    attribute = "fate_link"

    def publish(self, operator: Any, ti: Any, url: str) -> bool:
        """Show the link from now on; gives whether it is one that can be shown.

        :param ti: the running task instance
        :param url: the address. Some come from another party, so only web addresses are taken
        """
        if not is_web_address(url):
            return False
        setattr(operator, self.attribute, url)
        ti.xcom_push(key=self.xcom_key, value=url)
        return True

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        url = getattr(operator, self.attribute, None)
        if url is None:  # this process did not publish it; an earlier one may have
            url = XCom.get_value(ti_key=ti_key, key=self.xcom_key)
        return url if isinstance(url, str) and is_web_address(url) else ""


class SparkUILink(FateLink):
    """To the UI of the Spark application."""

    name = "Spark UI"
    attribute = "spark_ui_url"


class PeerRunLink(FateLink):
    """To the run of the same job on the Airflow of another party."""

    name = "Peer's run"
    attribute = "peer_run_url"


def is_web_address(url: str) -> bool:
    """Whether a browser may be sent there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
