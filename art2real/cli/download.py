"""`art2real-cli download`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art2real.cli.common import Progress, counted, emit, json_option, progress
from art2real.errors import UsageError, UserError

if TYPE_CHECKING:
    from art2real.data.downloads.datasets import DataSet, Record


def _name(context: click.Context, parameter: click.Parameter, name: str) -> str:
    from art2real.data.downloads.datasets import NAMES

    if name not in NAMES:
        raise click.BadParameter(f"{name!r} is none of the sets: {', '.join(NAMES)}.")
    return name


def _sha256(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    if text is None:
        return None
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise click.BadParameter("a SHA-256 has 64 hexadecimal digits.")
    return text.lower()


@click.command()
@click.argument("name", callback=_name)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="datasets",
    show_default=True,
    help="Folder that the set comes to, under its name.",
)
@click.option(
    "--from", "source", metavar="URL", help="Address of another folder that has NAME.zip: a mirror."
)
@click.option("--sha256", metavar="HEX", callback=_sha256, help="SHA-256 that the archive must have.")
@click.option("--overwrite", is_flag=True, help="Accept, and record, another archive than the recorded one.")
@click.option("--keep-archive", is_flag=True, help="Keep the archive, as NAME.zip, when it is unpacked.")
@click.option("--verify", is_flag=True, help="Compare every file of the downloaded set with its checksum.")
@click.option("--dry-run", is_flag=True, help="Say what would be downloaded, without downloading.")
@json_option
def command(
    name: str,
    out: Path,
    source: str | None,
    sha256: str | None,
    overwrite: bool,
    keep_archive: bool,
    verify: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Download the public data set NAME: monet2photo, cezanne2photo, vangogh2photo or ukiyoe2photo.

    An interrupted download goes on where it was. The archive's SHA-256 is written down at the first
    download, and a later archive must have the same. With --verify the exit code is 1 if a file is missing
    or damaged.
    """
    from art2real.data.downloads.datasets import SOURCE, DataSet

    dataset = DataSet(name, out, SOURCE if source is None else source)
    if verify:
        if dry_run or overwrite:
            raise UsageError("--verify downloads nothing; leave out --dry-run and --overwrite")
        return _verify(dataset, as_json)
    if dataset.present:
        _already_there(dataset, sha256, overwrite, as_json)
    elif dry_run:
        _plan(dataset, as_json)
    else:
        record = _download(dataset, sha256, overwrite, keep_archive)
        text = f"downloaded {_facts(dataset, record)}"
        emit(_data(dataset, record, downloaded=True), as_json, text)
    return 0


def _download(dataset: DataSet, sha256: str | None, overwrite: bool, keep_archive: bool) -> Record:
    try:
        return dataset.download(_stage, sha256=sha256, overwrite=overwrite, keep_archive=keep_archive)
    except KeyboardInterrupt:
        click.echo("what has arrived is kept, and the same command goes on with it", err=True)
        raise


def _stage(unit: str) -> AbstractContextManager[Progress]:
    return progress(None, unit)


def _already_there(dataset: DataSet, sha256: str | None, overwrite: bool, as_json: bool) -> None:
    if overwrite:
        raise UserError(f"{dataset.folder}: is there already; move it away to download it anew")
    record = dataset.record()
    if sha256 is not None and (record is None or record.sha256 != sha256):
        known = "has no record" if record is None else f"comes from an archive of SHA-256 {record.sha256}"
        raise UserError(
            f"{dataset.folder}: {known}, so --sha256 is not fulfilled; move it away and try again"
        )
    facts = (
        f"{dataset.folder}, without a record of its download" if record is None else _facts(dataset, record)
    )
    emit(_data(dataset, record, downloaded=False), as_json, f"there already, nothing downloaded: {facts}")


def _plan(dataset: DataSet, as_json: bool) -> None:
    size = dataset.remote_bytes()
    of = "of a size that the server does not say now" if size is None else f"of {size:,} bytes"
    data = {**_data(dataset, None, downloaded=False), "url": dataset.url, "bytes": size}
    emit(data, as_json, f"would download {dataset.url}, {of}, and unpack it into {dataset.folder}")


def _verify(dataset: DataSet, as_json: bool) -> int:
    damaged = dataset.damaged(_stage)
    lines = ["verified: every file is as it was unpacked"]
    if damaged:
        lines = ["missing or damaged:", *(f"  {dataset.folder / path}" for path in damaged)]
        lines.append(f"move {dataset.folder} away and download it again")
    data = {**_data(dataset, dataset.record(), downloaded=False), "damaged": damaged}
    emit(data, as_json, "\n".join(lines))
    return 1 if damaged else 0


def _data(dataset: DataSet, record: Record | None, *, downloaded: bool) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "path": str(dataset.folder),
        "url": record and record.url,
        "bytes": record and record.bytes,
        "sha256": record and record.sha256,
        "files": record and len(record.files),
        "downloaded": downloaded,
    }


def _facts(dataset: DataSet, record: Record) -> str:
    return (
        f"{dataset.folder}, {counted(len(record.files), 'file')}\n"
        f"from    {record.url}, {record.bytes:,} bytes, {record.date}\n"
        f"SHA-256 {record.sha256}\n"
        f"record  {dataset.record_file}"
    )
