"""Federated learning with FATE's job language on Airflow, Spark, HDFS and RabbitMQ."""

__version__ = "0.1.0"
