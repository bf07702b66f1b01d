"""The deep baselines of the paper; unlike the classical ones, they import TensorFlow."""

from tfp_bruno.baselines.deep.conditional_vae import ConditionalVAE
from tfp_bruno.baselines.deep.context_model import Bound, ContextModel
from tfp_bruno.baselines.deep.generative_query_network import GenerativeQueryNetwork
from tfp_bruno.baselines.deep.settings import ConditionalVAESettings, GenerativeQueryNetworkSettings

__all__ = [
    'Bound',
    'ConditionalVAE',
    'ConditionalVAESettings',
    'ContextModel',
    'GenerativeQueryNetwork',
    'GenerativeQueryNetworkSettings',
]
