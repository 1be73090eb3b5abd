"""The constants of the model: what one unit of each kind of work takes, and where that was measured.

`constants.json` beside this file is what `art2real-cli plan --calibrate` wrote on the machine that it names;
`--constants FILE` puts the figures of another machine in its place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from art2real.errors import UserError

FORMAT_VERSION = 1
DEFAULT = Path(__file__).with_name("constants.json")

MEANING = {
    "photo_seconds": "core-seconds of a photo of a bank, beside its pixels",
    "source_pixel_seconds": "core-seconds of decoding and scaling one pixel of a photo's file",
    "stored_byte_seconds": "core-seconds of writing and summing one byte of a stored square",
    "row_value_seconds": "core-seconds of making one value of a patch part of a unit row, rows in order",
    "fetch_value_seconds": "core-seconds of one value of a real patch that a step compares with",
    "fetch_row_seconds": "core-seconds of each such patch, beside its values",
    "audit_query_seconds": "core-seconds of making one query of the audit",
    "draw_seconds": "core-seconds of drawing one far row from a cell",
    "distinct_share": "distinct rows among all neighbours of an image's patches, as a share",
    "product_seconds": "core-seconds of one multiply-add of comparing rows with centroids",
    "product_pair_seconds": "core-seconds of each row and centroid that are compared",
    "scanned_wide_share": "rows of the lists that a query of 768 values scans, in rows of average lists",
    "scanned_narrow_share": "the same of a query of 48 values",
    "scan_row_seconds": "core-seconds of scanning a row, beside its code",
    "scan_fp16_seconds": "core-seconds of scanning a byte of half-precision codes",
    "scan_sq8_seconds": "core-seconds of scanning a byte of 8-bit codes",
    "scan_pq_seconds": "core-seconds of scanning a byte of product codes",
    "merge_seconds": "core-seconds of putting one candidate of a query into the order of all shards'",
    "take_in_seconds": "core-seconds of coding a row and putting it into its list",
    "rotation_seconds": "core-seconds of learning the rotation of product codes (OPQ)",
    "exact_value_seconds": "core-seconds of one multiply-add of the audit's exact search, and of PCA",
    "exact_pair_seconds": "core-seconds of each query and row of the audit's exact search",
    "chance_value_seconds": "core-seconds of one multiply-add of the cells' expected shares",
    "chance_pair_seconds": "core-seconds of each patch and cell of the expected shares",
    "affinity_value_seconds": "core-seconds of a value of each pair of patch and real row, with its gradient",
    "affinity_pair_seconds": "core-seconds of each pair of patch and real row, with its gradient",
    "network_seconds": "core-seconds of one multiply-add of the networks, in the format that auto chooses",
    "worker_bytes": "bytes of a training worker beside what grows with the crop and the index",
    "worker_pixel_bytes": "bytes of a training worker for each pixel of a step's crops",
    "cluster_share": "share of all cores' time that a cluster turns into building a bank",
    "request_seconds": "seconds of a round trip to an index actor",
}
"""Every constant, and what it is."""
GPU = {
    "gpu_network_seconds": "GPU-seconds of one multiply-add of the networks",
    "gpu_affinity_seconds": "GPU-seconds of a value of each pair of patch and real row, with its gradient",
}
"""Constants that only a machine with a GPU can measure."""


class Constant(BaseModel):
    """A figure with its spread and its source."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float = Field(gt=0)
    least: float = Field(gt=0)
    greatest: float = Field(gt=0)
    source: str


class Measured(BaseModel):
    """The largest of each kind that was measured: far beyond, a plan says that it extrapolates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(gt=0)
    lists: int = Field(gt=0)
    cores: int = Field(gt=0)
    crop: int = Field(gt=0)
    source_pixels: int = Field(gt=0)


class Constants(BaseModel):
    """All constants of one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    machine: str
    date: str
    measured: Measured
    constants: dict[str, Constant]

    def __getitem__(self, name: str) -> float:
        return self.constants[name].value

    def get(self, name: str) -> float | None:
        """A constant that there may not be: of a GPU."""
        return self.constants[name].value if name in self.constants else None

    def summary(self) -> dict[str, Any]:
        """For `--json`."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        return json.dumps(self.summary(), indent=1) + "\n"


def read_constants(path: Path = DEFAULT) -> Constants:
    """The constants in a file that `--calibrate` wrote.

    Raises:
        UserError: it cannot be read, or is not such a file.
    """
    mend = "make one with plan --calibrate --out FILE"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; {mend}") from None
    except ValueError:
        raise UserError(f"{path}: is not a file of constants (no JSON); {mend}") from None
    try:
        constants = Constants.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise UserError(f"{path}: is not a file of constants ({where}: {first['msg']}); {mend}") from None
    if constants.format_version != FORMAT_VERSION:
        raise UserError(f"{path}: format version {constants.format_version} is not known; {mend}")
    odd = set(constants.constants) - set(MEANING) - set(GPU)
    lacking = set(MEANING) - set(constants.constants)
    if odd or lacking:
        word = f"{min(odd)} is not known" if odd else f"{min(lacking)} is missing"
        raise UserError(f"{path}: is not a file of constants ({word}); {mend}")
    return constants
