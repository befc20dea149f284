"""Text that comes from files cannot control a terminal."""

import io

import pytest
from rich.table import Table

from keras_sepnets import SepnetsError
from keras_sepnets.base.text import one_line, printable, printable_text
from keras_sepnets.cli.command import print_json
from keras_sepnets.cli.console import PlainConsole

HOSTILE = "cat\x1b]0;owned\x07\x9b31m\u202edog\x7f"


def is_harmless(text):
    return all(char.isprintable() or char == "\n" for char in text)


def test_escapes_are_spelled_out_and_other_characters_stay():
    assert printable_text("a\x1b[31m\nKätzchen 猫") == "a\\x1b[31m\nKätzchen 猫"
    assert printable("two\nlines") == "two\\nlines"
    assert is_harmless(printable_text(HOSTILE))


def test_errors_and_what_they_quote_are_printable():
    assert is_harmless(str(SepnetsError(f"The class {HOSTILE} is unknown.")))
    assert one_line(ValueError(f"{HOSTILE}\nagain")).endswith("dog\\x7f again")


def test_the_console_prints_names_in_text_and_tables_without_their_escapes():
    output = io.StringIO()
    console = PlainConsole(file=output, width=100)
    table = Table("name", HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE, "x")
    console.print(table)
    console.print(f"network {HOSTILE}", markup=False)
    assert output.getvalue().count("owned") == 4
    assert is_harmless(output.getvalue())


def test_json_has_no_nan_and_no_raw_escapes(capsys):
    print_json({HOSTILE: [float("nan"), (1.5, float("inf"))], "text": "猫"})
    output = capsys.readouterr().out
    assert is_harmless(output)
    import json

    assert json.loads(output) == {HOSTILE: [None, [1.5, None]], "text": "猫"}


@pytest.mark.parametrize("by", ["variable", "file"])
def test_another_backend_gives_one_sentence_before_keras_is_imported(by, monkeypatch, tmp_path):
    import keras_sepnets

    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if by == "variable":
        monkeypatch.setenv("KERAS_BACKEND", "jax")
    else:
        (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    with pytest.raises(SepnetsError, match=r"need Keras on TensorFlow; .* to tensorflow. Received: 'jax'"):
        _ = keras_sepnets.train
    assert keras_sepnets.load_config
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert keras_sepnets.train
