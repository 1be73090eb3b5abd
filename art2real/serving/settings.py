"""What the HTTP service lets in."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

TOKEN_VARIABLE = "ART2REAL_TOKEN"
"""Environment variable with the bearer token."""

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+")


class ServiceSettings(BaseModel):
    """Limits and access.

    A request holds its body, the painting and the translation: at most `max_bytes` and 6 bytes a pixel, and
    `max_waiting` of them are held at a time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    max_bytes: int = Field(32 * 2**20, ge=1, description="largest image file, bytes")
    max_pixels: int = Field(2**24, ge=1, description="largest image, width times height")
    max_waiting: int = Field(
        64, ge=1, description="requests admitted at a time; one more is answered 503 at once"
    )
    body_seconds: float = Field(30.0, gt=0, description="time for a request's body to arrive")
    timeout_seconds: float = Field(
        60.0, gt=0, description="time from admission to the answer, and again for the client to take it"
    )
    probe_seconds: float = Field(5.0, gt=0, description="time the model has to show that it is ready")
    threads: int = Field(4, ge=1, description="threads that decode and encode images")
    token: SecretStr | None = Field(None, description="bearer token that /v1/* asks for; None: no token")
    cors_origins: tuple[str, ...] = Field(
        (), description="origins whose pages may use the service, as https://host[:port], or *"
    )
    access_log: Path | None = Field(None, description="file for one JSON line a request; None: no log")

    @field_validator("token")
    @classmethod
    def _no_empty_token(cls, token: SecretStr | None) -> SecretStr | None:
        text = "no token" if token is None else token.get_secret_value()
        if not text.strip():
            raise ValueError("an empty token protects nothing; leave it out, or give one")
        if not text.isascii() or text != text.strip():
            raise ValueError("a token is plain ASCII without blanks around it: it travels in a header")
        return token

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin; write it as https://host or https://host:port")
        return origins
