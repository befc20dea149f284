"""The base class of results: JSON, JSON schema and documentation come from the same fields."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Result(BaseModel):
    """A result; docs/json.md prints the text under each field.

    Fields outside the JSON have `Field(exclude=True)`; derived values are `computed_field`s.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `--json` prints them."""
        return self.model_dump(mode="json")
