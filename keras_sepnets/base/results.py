"""What every result is made of: its JSON, its JSON schema and its documentation come from the same fields."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Result(BaseModel):
    """A result; the text under a field is its meaning, as docs/json.md prints it.

    What is not part of the JSON has `Field(exclude=True)`, what follows from other fields is a `computed_field`.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `--json` prints them."""
        return self.model_dump(mode="json")
