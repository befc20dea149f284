"""Shared by all commands: plain error messages, `--debug`, a quiet TensorFlow, JSON output."""

import contextlib
import io
import json
import logging
import math
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import click

from keras_sepnets.base.errors import InterruptedRunError, SepnetsError
from keras_sepnets.base.machine import check_backend
from keras_sepnets.base.temporary import temporary_files_apart
from keras_sepnets.base.text import one_line, printable_text

FAILED = 1
INTERRUPTED = 130
TEMPORARY = f"{__name__}.temporary"  # in a context's meta: whether it has its own temporary folder
OTHER_NAMES = {  # what other tools call our options
    "--arch": "--model",
    "--network": "--model",
    "--width": "--alpha",
    "--size": "--image-size",
    "--img-size": "--image-size",
    "--imgsz": "--image-size",
    "--resolution": "--image-size",
    "--data": "--dataset",
    "--data-dir": "--dataset",
    "--augmentation": "--augment",
    "--pretrained": "--weights",
    "--lr": "--learning-rate",
    "--bs": "--batch-size",
    "--batch": "--batch-size",
    "--early-stopping": "--patience",
    "--out": "--output",
    "--output-dir": "--output",
    "--topk": "--top",
    "--k": "--top",
}
SILENT = "3"  # TensorFlow's log level that hides everything


class Command(click.Command):
    """A command that turns exceptions into one sentence and an exit code; `--debug` shows the traceback."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Add `--debug` to the command's own options."""
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(["--debug"], is_flag=True, help="Show tracebacks and TensorFlow's own messages.")
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; for an option of another tool, suggest ours."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            ours = OTHER_NAMES.get(error.option_name)
            if ours and any(ours in parameter.opts for parameter in self.params):
                sentence = f"No such option {error.option_name!r}. Did you mean {ours!r}?"
                raise click.NoSuchOption(error.option_name, sentence, ctx=error.ctx) from None
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit with 2 for a user's mistake, 1 for a failure, 130 for Ctrl-C."""
        debug = ctx.params.pop("debug")
        # Otherwise TensorFlow takes all of a GPU's memory, also from the processes that measure batch sizes.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a locale without some letters is no reason to fail
                stream.reconfigure(errors="backslashreplace")
        if not debug:
            _silence_libraries()
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise
        except (KeyboardInterrupt, Exception) as error:
            message, exit_code = _explain(error)
            if debug:
                traceback.print_exc()
        click.echo(message, err=True)
        ctx.exit(exit_code)


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the sentence and the exit code for an exception; what the user stopped is not an error."""
    if isinstance(error, InterruptedRunError):
        return str(error), error.exit_code
    if isinstance(error, SepnetsError):
        return f"Error: {error}", error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted.", INTERRUPTED
    return f"Error: {type(error).__name__}: {one_line(error)} (--debug shows where)", FAILED


def print_json(content: Any) -> None:
    """Print a result as JSON: null in place of NaN, which JSON lacks, and escapes that no terminal interprets."""
    text = json.dumps(_with_nulls(content), indent=2, ensure_ascii=False)
    click.echo("".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text))


def _with_nulls(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _with_nulls(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [*map(_with_nulls, content)]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _silence_libraries() -> None:
    """Hide the logs of TensorFlow and TFDS; errors still arrive as exceptions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", SILENT)
    for name in ("absl", "tensorflow", "urllib3", "matplotlib", "keras_sepnets"):  # commands print what ours logs
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    warnings.filterwarnings("default", module="keras_sepnets")  # once each
    warnings.showwarning = lambda message, *_: click.echo(f"Warning: {printable_text(str(message))}", err=True)


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Hide what libraries write to file descriptor 2 while they are imported, unless an import fails.

    TensorFlow 2.21 logs before it reads its log level, so the environment variable cannot hide these lines. From
    here to the end of the command, temporary files lie in a folder that goes with the process.
    """
    check_backend()
    context = click.get_current_context(silent=True)
    if context and not context.meta.get(TEMPORARY):
        context.meta[TEMPORARY] = True
        context.with_resource(temporary_files_apart())
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != SILENT:
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(terminal, held_back.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
