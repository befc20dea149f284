"""Separable-convolution networks for Keras 3: build, train, evaluate, predict, ablate.

Names are imported on first use, so that `import keras_sepnets` does not load TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_sepnets.base.errors import SepnetsError
    from keras_sepnets.cost.counting import count_cost
    from keras_sepnets.inference.evaluation import evaluate
    from keras_sepnets.inference.prediction import predict
    from keras_sepnets.lab.ablation import ablate
    from keras_sepnets.lab.folds import cross_validate
    from keras_sepnets.models.inception_v3 import build_inception_v3
    from keras_sepnets.models.mobilenet import build_mobilenet
    from keras_sepnets.models.mobilenet_v2 import build_mobilenet_v2
    from keras_sepnets.models.xception import build_xception
    from keras_sepnets.runs.folder import Run
    from keras_sepnets.settings.files import load_config
    from keras_sepnets.settings.schema import RunConfig
    from keras_sepnets.training.trainer import train

__version__ = "0.1.0"

_HOMES = {
    "Run": "runs.folder",
    "RunConfig": "settings.schema",
    "SepnetsError": "base.errors",
    "ablate": "lab.ablation",
    "build_inception_v3": "models.inception_v3",
    "build_mobilenet": "models.mobilenet",
    "build_mobilenet_v2": "models.mobilenet_v2",
    "build_xception": "models.xception",
    "count_cost": "cost.counting",
    "cross_validate": "lab.folds",
    "evaluate": "inference.evaluation",
    "load_config": "settings.files",
    "predict": "inference.prediction",
    "train": "training.trainer",
}
_ON_TENSORFLOW = ("ablate", "cross_validate", "evaluate", "predict", "train")
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _ON_TENSORFLOW:
        from keras_sepnets.base.machine import check_backend

        check_backend()
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
