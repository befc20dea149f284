"""Processes that start with TensorFlow imported: forked from a server that has done nothing else.

Importing TensorFlow takes longer than most of what tests run in processes. Where a test needs a process that can
be killed, has settings of its own or a fresh state, but not a fresh interpreter, it starts one here. They are real
processes: signals, exit codes, files and pipes are those of any other.
"""

import contextlib
import multiprocessing
import os
import runpy
import sys
import time
from pathlib import Path
from subprocess import PIPE, CompletedProcess

from short_networks import are_short, short_networks

PRELOADED = ["tensorflow", "keras", "keras_sepnets.cli", "keras_sepnets.training.trainer"]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(PRELOADED)


class WarmProcess:
    """A started process with the interface of `subprocess.Popen` in text mode, as far as tests need it."""

    def __init__(self, target, arguments, *, cwd=None, env=None):
        """Start `target(*arguments)`, a function that the child can import."""
        (out, child_out), (err, child_err) = (CONTEXT.Pipe(duplex=False) for _ in range(2))
        place, environment = str(cwd or Path.cwd()), dict(os.environ if env is None else env)
        self._process = CONTEXT.Process(
            target=_run,
            daemon=True,
            args=(child_out, child_err, place, environment, target, arguments),
        )
        self._process.start()
        child_out.close()
        child_err.close()
        self.pid = self._process.pid
        self.stdout, self.stderr = (os.fdopen(os.dup(pipe.fileno()), "r") for pipe in (out, err))

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def communicate(self, timeout=120):
        """Return what is left of stdout and stderr; neither may be more than a pipe holds (64 kB)."""
        deadline = time.monotonic() + timeout
        self.wait(timeout)
        if self.returncode is None or time.monotonic() > deadline:
            self.kill()
            raise TimeoutError(f"the process did not end in {timeout} s")
        return self.stdout.read(), self.stderr.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stdout.close()
        self.stderr.close()
        self.wait()


class WarmModule(WarmProcess):
    """`python -m MODULE` with pipes for stdin and stdout and a file for stderr, as trials start their workers.

    Its networks are short if those of this process are.
    """

    def __init__(self, program, *, stdin, stdout, stderr, env, text, errors, start_new_session):
        assert (program[:2], stdin, stdout) == ((sys.executable, "-m"), PIPE, PIPE)
        child_in, own_in = CONTEXT.Pipe(duplex=False)
        super().__init__(
            _module, (are_short(), program[2], child_in, f"/proc/{os.getpid()}/fd/{stderr.fileno()}"), env=env
        )
        child_in.close()
        self.stdin = os.fdopen(os.dup(own_in.fileno()), "w")
        own_in.close()

    def communicate(self):
        for pipe in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.wait()


def start_sepnets(*arguments, quick=False, **options):
    """Start the command line; if `quick`, networks are short (see short_networks.py) and no picture is drawn."""
    return WarmProcess(_sepnets, (quick, *map(str, arguments)), **options)


def start_code(code, *arguments, **options):
    """Start a program, as `python -c CODE ARGUMENTS` would."""
    return WarmProcess(_code, (code, *map(str, arguments)), **options)


def run_code(code, *arguments, **options):
    """Run a program to its end."""
    with start_code(code, *arguments, **options) as process:
        out, err = process.communicate()
        return CompletedProcess(["-c"], process.returncode, out, err)


def _run(out, err, cwd, environment, target, arguments):
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    # As the interpreter opens them, with descriptors that outlive these objects.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)
    sys.stdout.flush()


def _sepnets(quick, *arguments):
    from keras_sepnets import Run
    from keras_sepnets.cli import main

    sys.argv = ["sepnets", *arguments]
    if quick:
        Run.write_picture = lambda *_: None
    with short_networks() if quick else contextlib.nullcontext():
        main(list(arguments), prog_name="sepnets")


def _module(short, name, stdin, stderr):
    os.dup2(stdin.fileno(), 0)
    os.dup2(os.open(stderr, os.O_WRONLY), 2)
    with short_networks() if short else contextlib.nullcontext():
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def _code(code, *arguments):
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
