"""Common to the benchmarks: speeds of sides that took turns, and the machine that they ran on."""

from functools import cache, partial
from typing import Any

from pydantic import Field

from keras_sepnets.base.intervals import Ratio, compare_rounds
from keras_sepnets.base.machine import describe_machine
from keras_sepnets.base.results import Result


@cache
def _machine(key: str) -> Any:
    return describe_machine("tensorflow")[key]


class Speeds(Result):
    """Images per second, with the machine and versions that they depend on."""

    images_per_second: dict[str, list[float]]
    """Side -> images per second, one number per round."""
    cpu: str = Field(default_factory=partial(_machine, "cpu"))
    """Model name of the processor."""
    cpu_cores: int | None = Field(default_factory=partial(_machine, "cpu_cores"))
    """Logical cores."""
    gpus: list[str] = Field(default_factory=partial(_machine, "gpus"))
    """Names of the GPUs that TensorFlow sees."""
    python: str = Field(default_factory=partial(_machine, "python"))
    """Version of Python."""
    tensorflow: str = Field(default_factory=partial(_machine, "tensorflow"))
    """Version of TensorFlow."""

    def ratio(self, side: str, reference: str) -> Ratio:
        """Return how many times as fast a side is as the reference, round by round."""
        return compare_rounds(self.images_per_second[side], self.images_per_second[reference])
