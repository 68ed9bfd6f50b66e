"""Where tests look for it; one copy, for users as well."""

from airflow_provider_fate.testing import run_parties

__all__ = ["run_parties"]
