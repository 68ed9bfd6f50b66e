"""What Airflow shows and loads of this package. Imports nothing: every Airflow process reads it."""

from __future__ import annotations

from typing import Any


def _field(label: str, description: str, kind: str = "string", **schema: Any) -> dict[str, Any]:
    """A field of a connection's form, which may be left empty."""
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


def _flag(label: str, description: str, default: bool) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["boolean", "null"], "default": default}}


def _certificates() -> dict[str, dict[str, Any]]:
    return {
        "verify": _flag("Verify certificate", "Check the server's certificate and host name (with TLS).", True),
        "ca_file": _field(
            "CA file", "PEM file of the authorities to trust, where it is not one that the system knows."
        ),
        "client_cert": _field("Client certificate", "PEM file of the certificate to show, where the server asks."),
        "client_key": _field("Client key file", "PEM file of its private key; empty where it is in the same file."),
    }


def _tls() -> dict[str, dict[str, Any]]:
    return {"use_ssl": _flag("Use TLS", "Connect with TLS.", False), **_certificates()}


_HDFS = {
    "hook-class-name": "airflow_provider_fate.hooks.hdfs.FateHdfsHook",
    "hook-name": "FATE HDFS",
    "connection-type": "fate_hdfs",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "password", "extra"],
        "relabeling": {"host": "Namenodes", "port": "WebHDFS port", "login": "User"},
        "placeholders": {
            "host": "namenode-1, namenode-2",
            "port": "9870 (9871 with TLS)",
            "login": "the account that Airflow runs under",
            "hdfs_url": "hdfs://namenode-1:8020",
            "root_path": "/fate",
        },
    },
    "conn-fields": {
        "hdfs_url": _field("Address for Spark", "The file system as Spark names it (fs.defaultFS), without a path."),
        "root_path": _field("Root path", "Directory below which tables, models and jobs lie.", default="/fate"),
        "auth": _field(
            "Authentication",
            "simple names the user; kerberos uses the ticket of the account that Airflow runs under.",
            enum=["simple", "kerberos"],
            default="simple",
        ),
        **_tls(),
        "timeout": _field(
            "Timeout", "Seconds to wait for an answer; 60 where empty.", "number", minimum=1, maximum=3600
        ),
    },
}

_RABBITMQ = {
    "hook-class-name": "airflow_provider_fate.hooks.rabbitmq.FateRabbitMQHook",
    "hook-name": "FATE RabbitMQ",
    "connection-type": "fate_rabbitmq",
    "ui-field-behaviour": {
        "hidden-fields": ["extra"],
        "relabeling": {"host": "Hosts", "port": "AMQP port", "schema": "Virtual host"},
        "placeholders": {
            "host": "rabbit-1, rabbit-2",
            "port": "5672 (5671 with TLS)",
            "schema": "/",
            "routes": '{"10000": "broker_of_10000"}',
            "upstreams": '{"10000": "broker_of_10000"}',
            "peer_keys": '{"10000": "<44 characters>"}',
        },
    },
    "conn-fields": {
        "routes": _field(
            "Routes to peers",
            "JSON: for a party id, the id of the connection to the broker that takes messages for it. "
            "Parties without a route are reached through this broker.",
            format="multiline",
        ),
        "upstreams": _field(
            "Upstreams",
            "JSON: for a party id, the id of the connection to the broker from which this broker fetches what "
            "that party sends (RabbitMQ federation; set up for each job). CA and certificate files of such a "
            "connection are paths on this broker's machine.",
            format="multiline",
        ),
        "private_key": _field(
            "Private key",
            "Encrypts messages from party to party: the private key that python -m airflow_provider_fate.keys prints. "
            "All parties have one, or none has.",
            format="password",
        ),
        "peer_keys": _field(
            "Public keys of peers",
            "JSON: for a party id, the public key that its owner has told you.",
            format="multiline",
        ),
        "max_message_size": _field(
            "Message size",
            "Largest message, in bytes; 1048576 where empty. No more than the broker's max_message_size.",
            "integer",
            minimum=1 << 12,
            maximum=1 << 27,
        ),
        "management_port": _field(
            "Management port",
            "Port of the management API; 15672 (15671 with https) where empty, 0 to do without it.",
            "integer",
            minimum=0,
            maximum=65535,
        ),
        "management_scheme": _field(
            "Management scheme", "http or https; where empty, https with TLS and http without.", enum=["http", "https"]
        ),
        **_tls(),
        "connection_timeout": _field(
            "Connection timeout", "Seconds to try to connect; 10 where empty.", "number", minimum=1, maximum=600
        ),
        "reconnect_timeout": _field(
            "Reconnection timeout",
            "Seconds that a running job waits for a broker to come back; 300 where empty.",
            "number",
            minimum=1,
            maximum=86400,
        ),
    },
}

_SPARK = {
    "hook-class-name": "airflow_provider_fate.hooks.spark.FateSparkHook",
    "hook-name": "FATE Spark",
    "connection-type": "fate_spark",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "login", "password", "extra"],
        "relabeling": {"host": "Master"},
        "placeholders": {
            "host": "local[*], spark://host:7077, yarn, or k8s://https://host:port",
            # left empty, Airflow's Test button compares its own 0 with the stored nothing and refuses to test
            "port": "0 where the master above has its port or needs none",
            "keytab": "<base64 encoded keytab>",
        },
    },
    "conn-fields": {
        "deploy-mode": _field(
            "Deploy mode",
            "Where the driver runs: client on Airflow's worker, cluster on YARN or Kubernetes.",
            enum=["client", "cluster"],
        ),
        "queue": _field("YARN queue", "Queue of YARN."),
        "spark-binary": _field(
            "Spark binary",
            "Looked for on PATH, in SPARK_HOME and beside Airflow's Python; spark-submit where empty.",
            enum=["spark-submit", "spark2-submit", "spark3-submit"],
        ),
        "namespace": _field("Kubernetes namespace", "Namespace of the pods."),
        "principal": _field("Kerberos principal", "Principal of the keytab."),
        "keytab": _field("Kerberos keytab", "Output of base64 FILE.", format="password"),
        "rest-scheme": _field(
            "REST scheme", "Scheme of the standalone master's REST API; http where empty.", enum=["http", "https"]
        ),
        "rest-port": _field(
            "REST port",
            "Port of the standalone master's REST API (spark.master.rest.port); 6066 where empty.",
            "integer",
            minimum=1,
            maximum=65535,
        ),
        "yarn_resourcemanager_webapp_address": _field(
            "YARN ResourceManager",
            "Address of YARN's web interface, such as http://rm:8088; needed to watch applications in cluster mode.",
        ),
    },
}

_SITE = {
    "hook-class-name": "airflow_provider_fate.hooks.site.FateSiteHook",
    "hook-name": "FATE Site",
    "connection-type": "fate_site",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "extra"],
        "relabeling": {"host": "Address", "password": "Password or token"},
        "placeholders": {
            "host": "https://fl.partner.example/airflow",
            "port": "443; 0 where the address above has its port",  # as for Spark's
            "login": "the account that the site gave; empty with a ready-made token",
            "dag_id": "fate_invited",
        },
    },
    "conn-fields": {
        "dag_id": _field("Invited DAG", "The DAG there that takes invitations; fate_invited where empty."),
        **_certificates(),
        "timeout": _field(
            "Timeout", "Seconds to wait for a whole answer; 30 where empty.", "number", minimum=1, maximum=600
        ),
    },
}


def get_provider_info() -> dict[str, Any]:
    """The provider, its connection types with their forms, and its links."""
    name = "FATE"
    return {
        "package-name": "airflow-provider-fate",
        "name": name,
        "description": "Federated learning with FATE's job language on Airflow, Spark, HDFS and RabbitMQ.",
        "integrations": [
            {"integration-name": name, "external-doc-url": "https://fate.readthedocs.io/", "tags": ["software"]}
        ],
        "operators": [
            {
                "integration-name": name,
                "python-modules": [
                    f"airflow_provider_fate.operators.{module}"
                    for module in ("upload", "train", "predict", "deploy", "invite", "invited")
                ],
            }
        ],
        "hooks": [
            {
                "integration-name": name,
                "python-modules": [
                    f"airflow_provider_fate.hooks.{module}" for module in ("hdfs", "rabbitmq", "site", "spark")
                ],
            }
        ],
        "connection-types": [_HDFS, _RABBITMQ, _SPARK, _SITE],
        "extra-links": [
            f"airflow_provider_fate.links.{link}"
            for link in ("SparkUILink", "GuestRunLink", "HostRunLink", "ArbiterRunLink")
        ],
    }
