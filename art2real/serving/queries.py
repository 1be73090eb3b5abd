"""The parameters of the service's addresses; others are refused, so that a slip of the pen is noticed."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        None, max_length=200, description="name of a model, as GET /v1/models tells them; default: the first"
    )


class TranslateQuery(_Query):
    format: Literal["png", "jpeg", "webp"] = Field("png", description="of the answer")
    quality: int | None = Field(
        None, ge=1, le=100, description="of jpeg and webp, 95 unless told; png is lossless and looks at none"
    )


class ExplainQuery(_Query):
    pictures: bool = Field(True, description="with the patches and photos as pictures")


class NoQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
