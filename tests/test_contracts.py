"""Every model has the interface that evaluation and reconstruction use; the interface needs no TensorFlow."""

import inspect
import subprocess
import sys

import pytest

from tfp_bruno import baselines
from tfp_bruno.contracts import CompletionModel
from tfp_bruno.runs import TrainedBaseline, TrainedModel

METHODS = ('predict', 'sample', 'log_prob', 'with_temperature')
PREDICTORS = (
    baselines.DeformedComponents,
    baselines.DeformedNeighbours,
    baselines.KrigedComponents,
    baselines.LinearInterpolation,
    baselines.NearestSubject,
    baselines.PrincipalComponents,
    baselines.TrainingMean,
)


def parameters(model_class, method):
    return list(inspect.signature(getattr(model_class, method)).parameters)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('model_class', [TrainedModel, TrainedBaseline])
def test_trained_models_take_the_arguments_of_the_contract(model_class, method):
    assert parameters(model_class, method) == parameters(CompletionModel, method)


@pytest.mark.parametrize('predictor', PREDICTORS)
def test_classical_baselines_predict_with_the_arguments_of_the_contract(predictor):
    assert parameters(predictor, 'predict') == parameters(CompletionModel, 'predict')


def test_contract_is_imported_without_tensorflow():
    code = 'import sys, tfp_bruno.contracts; assert "tensorflow" not in sys.modules and "nibabel" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)
