import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "tensorflow_datasets", "sklearn", "scipy", "matplotlib", "numpy", "pydantic")


@pytest.mark.parametrize(
    "code",
    [
        "import keras_sepnets",
        "from keras_sepnets.cli import main; main(['--help'], standalone_mode=False)",
        "from keras_sepnets.cli import main; main(['train', '--help'], standalone_mode=False)",
    ],
)
def test_package_and_help_load_nothing_heavy(code):
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = answer.stdout.splitlines()[-1]
    assert loaded in ("[]", "['pydantic']")  # a config class costs 0.1 s, once


def test_public_names_are_what_they_say():
    import keras_sepnets

    for name in keras_sepnets.__all__:
        assert getattr(keras_sepnets, name).__name__ == name
        assert name in dir(keras_sepnets)
    with pytest.raises(AttributeError, match="build_vgg"):
        _ = keras_sepnets.build_vgg
