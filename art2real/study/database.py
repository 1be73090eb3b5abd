"""Opens a study's database, a file or a server's, and holds it to that study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError, ProgrammingError

from art2real.errors import UserError
from art2real.study.design import DESIGN, SEAL, read_design
from art2real.study.tables import study, tables

DATABASE = "answers.sqlite"
"""File in the study's folder; used where no other database is named."""
_BUSY_SECONDS = 30.0
_CONNECTIONS = 10


def open_database(folder: Path, database: str | None) -> Engine:
    """The database of the study in a folder, with its tables.

    Args:
        folder: the study.
        database: a URL; None: `DATABASE` in the folder.

    Raises:
        UserError: the database cannot be opened, or holds another study.
    """
    read_design(folder)  # which holds the seal to be right
    seal = json.loads((folder / DESIGN).read_text(encoding="utf-8"))[SEAL]
    engine = _engine(folder, database)
    where = engine.url.render_as_string(hide_password=True)
    try:
        _prepare(engine, seal, where)
    except (DatabaseError, OSError, UserError) as error:
        engine.dispose()
        if isinstance(error, UserError):
            raise
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise UserError(f"{where}: the database cannot be used: {' '.join(reason)}") from None
    return engine


def _engine(folder: Path, database: str | None) -> Engine:
    if database is None:
        return _sqlite(sql.URL.create("sqlite", database=str(folder / DATABASE)))
    try:
        url = make_url(database)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            return _sqlite(url)
        if url.get_backend_name() != "postgresql":
            raise ArgumentError
        return sql.create_engine(
            url, pool_pre_ping=True, pool_size=_CONNECTIONS, max_overflow=0, isolation_level="READ COMMITTED"
        )
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise UserError(
            "the database's URL cannot be used; write it as postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    except ImportError as error:
        raise UserError(
            f"this kind of database needs a package that is not installed ({error.name}); "
            "for PostgreSQL: pip install 'art2real[postgres]'"
        ) from None


def _sqlite(url: sql.URL) -> Engine:
    engine = sql.create_engine(
        url, pool_size=_CONNECTIONS, max_overflow=0, connect_args={"timeout": _BUSY_SECONDS}
    )

    @sql.event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `begun` says, not where Python guesses
        for setting in (
            "journal_mode=WAL",
            "synchronous=FULL",  # a commit is on the disk when it returns, whatever ends the machine
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {setting}")

    @sql.event.listens_for(engine, "begin")
    def begun(connection: sql.Connection) -> None:
        # A reader that turned into a writer would fail if another one had written meanwhile.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _prepare(engine: sql.Engine, seal: str, where: str) -> None:
    """Makes the tables, and holds the database to one study."""
    try:
        tables.create_all(engine)
    except (ProgrammingError, IntegrityError):
        tables.create_all(engine)  # another server made them at the same moment
    look = sql.select(study.c.seal)
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            if connection.scalar(look) is None:
                connection.execute(study.insert().values(id=1, seal=seal))
    except IntegrityError:
        pass  # the other server again
    with engine.connect() as connection:
        if connection.scalar(look) != seal:
            raise UserError(
                f"{where}: this database holds the answers to another study, or to another version of this "
                "one's design; give each study its own database"
            )
