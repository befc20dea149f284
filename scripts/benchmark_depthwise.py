"""Time depthwise convolutions in several forms next to a 1x1 convolution, on a GPU with Keras on JAX.

Usage: KERAS_BACKEND=jax python scripts/benchmark_depthwise.py results.json [--batch-size N] [--sizes HxC ...]

The sizes are those of MobileNet (arXiv:1704.04861, Table 1). Each form is timed forward, and as the gradient for
its input and for its kernel. The results also name the library calls that XLA compiled each to.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from keras import layers, ops
from rich.console import Console
from rich.table import Table

from keras_sepnets.base.files import to_json_bytes, write_file

SIZES = ((112, 32), (56, 128), (28, 256), (14, 512), (7, 1024))  # (height and width, channels)
PASSES = ("forward", "input gradient", "kernel gradient")


def shifted_depthwise(x: Any, kernel: Any, strides: tuple[int, int] = (1, 1), padding: str = "same") -> Any:
    """Return a depthwise convolution as a sum of shifted feature maps, each times its entry of the kernel.

    Args:
        x: (N, H, W, C).
        kernel: (height, width, C, 1).
        strides: In height and width.
        padding: "same" or "valid".
    """
    sizes, kernel_sizes = x.shape[1:3], kernel.shape[:2]
    if padding == "same":
        missing = [
            max((-(-size // stride) - 1) * stride + window - size, 0)
            for size, stride, window in zip(sizes, strides, kernel_sizes, strict=True)
        ]
        x = ops.pad(x, ((0, 0), *((total // 2, total - total // 2) for total in missing), (0, 0)))
        sizes = x.shape[1:3]
    # The last position of the window in each direction, plus 1.
    ends = [
        (size - window) // stride * stride + 1
        for size, stride, window in zip(sizes, strides, kernel_sizes, strict=True)
    ]
    terms = [
        x[:, row : row + ends[0] : strides[0], column : column + ends[1] : strides[1]] * kernel[row, column, :, 0]
        for row in range(kernel_sizes[0])
        for column in range(kernel_sizes[1])
    ]
    return sum(terms[1:], start=terms[0])


@keras.saving.register_keras_serializable("keras_sepnets")
class ShiftedDepthwise(layers.DepthwiseConv2D):
    """Keras' layer without bias, computed by `shifted_depthwise`."""

    def call(self, inputs: Any) -> Any:
        return self.activation(shifted_depthwise(inputs, self.kernel, self.strides, self.padding))


def with_shifted(model: keras.Model) -> keras.Model:
    """Return a copy of a network whose depthwise convolutions are sums of shifted feature maps."""

    def copy(layer: Any) -> Any:
        kind = ShiftedDepthwise if type(layer) is layers.DepthwiseConv2D else type(layer)
        return kind.from_config(layer.get_config())

    shifted = keras.models.clone_model(model, clone_function=copy)
    shifted.set_weights(model.get_weights())
    return shifted


def channels_first(x: Any, kernel: Any) -> Any:
    """Return a depthwise convolution of (N, C, H, W)."""
    return ops.depthwise_conv(x, kernel, padding="same", data_format="channels_first")


FORMS: dict[str, Callable[[Any, Any], Any]] = {
    "depthwise": lambda x, kernel: ops.depthwise_conv(x, kernel, padding="same", data_format="channels_last"),
    "depthwise, channels first": channels_first,
    "shifted": shifted_depthwise,
    "1x1": lambda x, kernel: ops.conv(x, kernel, padding="same", data_format="channels_last"),
}


def passes_of(form: Callable[[Any, Any], Any]) -> dict[str, Callable[..., Any]]:
    """Return functions of (x, kernel, gradient of the output), one for each pass."""
    return {
        "forward": lambda x, kernel, _: form(x, kernel),
        "input gradient": lambda x, kernel, gradient: jax.vjp(lambda x: form(x, kernel), x)[1](gradient)[0],
        "kernel gradient": lambda x, kernel, gradient: jax.vjp(lambda k: form(x, k), kernel)[1](gradient)[0],
    }


def time_calls(function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> list[float]:
    """Return milliseconds per call, in five rounds of many calls that fill `seconds` together."""

    def timed(calls: int) -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            result = function(*arguments)
        jax.block_until_ready(result)
        return (time.perf_counter() - begin) / calls

    timed(2)
    calls = max(1, round(seconds / 5 / timed(5)))
    return [1000 * timed(calls) for _ in range(5)]


def library_calls(compiled: Any) -> str:
    """Return what XLA compiled a function to: library calls with their layouts and groups, and transpositions."""
    text = compiled.as_text()
    pattern = (
        r'custom_call_target="[^"]+"|dim_labels=[^,\s]+|(?:feature|batch)_group_count=\d+|kind=k\w+| transpose\('
    )
    return " ".join(found.strip() for found in re.findall(pattern, text))


def measure(size: int, channels: int, dtype: str, batch_size: int, seconds: float) -> list[dict[str, Any]]:
    """Return the times of all forms and passes at one size."""
    random = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return ops.cast(random.standard_normal(shape, dtype=np.float32), dtype)

    results = []
    for name, form in FORMS.items():
        kernel = draw(1, 1, channels, channels) if name == "1x1" else draw(3, 3, channels, 1)
        shape = (channels, size, size) if form is channels_first else (size, size, channels)
        arguments = (draw(batch_size, *shape), kernel, draw(batch_size, *shape))
        for step, function in passes_of(form).items():
            compiled = jax.jit(function).lower(*arguments).compile()
            times = time_calls(compiled, arguments, seconds)
            results.append(
                {
                    "size": size,
                    "channels": channels,
                    "dtype": dtype,
                    "form": name,
                    "pass": step,
                    "milliseconds": statistics.median(times),
                    "lowest": min(times),
                    "highest": max(times),
                    "compiled_to": library_calls(compiled),
                }
            )
    return results


def rows_of(results: list[dict[str, Any]]) -> list[list[str]]:
    """Return the table's rows: size, precision, pass, and the milliseconds of each form."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for found in results:
        size = f"{found['size']}x{found['size']}x{found['channels']}"
        rows.setdefault((size, found["dtype"], found["pass"]), []).append(f"{found['milliseconds']:.3f}")
    return [[*key, *values] for key, values in rows.items()]


def main() -> None:
    """Time all forms, write the results after each size, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?", default=Path("depthwise.json"))
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--sizes", nargs="+", default=[f"{size}x{channels}" for size, channels in SIZES])
    parser.add_argument("--seconds", type=float, default=0.2, help="per form and pass")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    device = jax.devices()[0].device_kind
    for size, channels in (map(int, given.split("x")) for given in options.sizes):
        for dtype in ("float32", "bfloat16"):
            results += measure(size, channels, dtype, options.batch_size, options.seconds)
        content = {"device": device, "jax": jax.__version__, "batch_size": options.batch_size, "layers": results}
        write_file(options.results, to_json_bytes(content))
    table = Table("height x width x channels", "precision", "ms for", *FORMS, box=None)
    for row in rows_of(results):
        table.add_row(*row)
    print(f"{device}, JAX {jax.__version__}, {options.batch_size} pictures")
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
