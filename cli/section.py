"""What all sections of the configuration are made of."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def key(default: Any, meaning: str, example: str | None = None) -> Any:
    """A key: its default as in TOML (or what computes it), its meaning, an example if there is no default."""
    given = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**given, description=meaning, examples=[example])


class Section(BaseModel):
    """What all sections share."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)
