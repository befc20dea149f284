import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "keras_sepnets"


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_text_is_never_read_or_written_in_the_encoding_of_the_locale(file):
    for call in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            name, keywords = call.func.attr, {keyword.arg for keyword in call.keywords}
            opens = name == "open" and {"r", "w", "a", "x"} & {ast.unparse(mode).strip("'") for mode in call.args}
            is_text = opens or name in ("read_text", "write_text")
            assert not is_text or "encoding" in keywords, f"{file}:{call.lineno}"
