"""The parameters of each module, under FATE's names and with FATE's defaults."""

from __future__ import annotations

from airflow_provider_fate.job.parameters.base import Parameters
from airflow_provider_fate.job.parameters.data_io import DataIOParam, DataTransformParam
from airflow_provider_fate.job.parameters.data_statistics import DataStatisticsParam
from airflow_provider_fate.job.parameters.evaluation import EvaluationParam
from airflow_provider_fate.job.parameters.feature_scale import FeatureScaleParam
from airflow_provider_fate.job.parameters.hetero_feature_binning import HeteroFeatureBinningParam
from airflow_provider_fate.job.parameters.hetero_feature_selection import HeteroFeatureSelectionParam
from airflow_provider_fate.job.parameters.hetero_linr import HeteroLinRParam
from airflow_provider_fate.job.parameters.hetero_lr import HeteroLRParam
from airflow_provider_fate.job.parameters.hetero_poisson import HeteroPoissonParam
from airflow_provider_fate.job.parameters.homo_lr import HomoLRParam
from airflow_provider_fate.job.parameters.intersect import IntersectParam
from airflow_provider_fate.job.parameters.reader import ReaderParam
from airflow_provider_fate.job.parameters.secure_add_example import SecureAddExampleParam
from airflow_provider_fate.job.parameters.secureboost import HeteroFastSecureBoostParam, HeteroSecureBoostParam

__all__ = [
    "DataIOParam",
    "DataStatisticsParam",
    "DataTransformParam",
    "EvaluationParam",
    "FeatureScaleParam",
    "HeteroFastSecureBoostParam",
    "HeteroFeatureBinningParam",
    "HeteroFeatureSelectionParam",
    "HeteroLRParam",
    "HeteroLinRParam",
    "HeteroPoissonParam",
    "HeteroSecureBoostParam",
    "HomoLRParam",
    "IntersectParam",
    "Parameters",
    "ReaderParam",
    "SecureAddExampleParam",
]
