"""What every check has: parameters from the policy, a strength, and a sentence on what it does not mean."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Check(BaseModel):
    """Base of all checks. `strength` is theorem, exact or indicator."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: ClassVar[int]
    strength: ClassVar[str]
    does_not_mean: ClassVar[str]

    def validate_values(self) -> None:
        """Refuse values that no model can satisfy or that cannot be parsed. Raises PolicyError or StatementError."""
