"""The tables of a study's database, the same in SQLite and PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sql

tables = sql.MetaData()

study = sql.Table(
    "art2real_study",
    tables,
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=False),  # always 1
    sql.Column("seal", sql.String(64), nullable=False),
)

participants = sql.Table(
    "art2real_participants",
    tables,
    # Without gaps, from 0: two servers that take the same number meet here, and one of them tries again.
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("token_hash", sql.String(64), nullable=False, unique=True),
    sql.Column("language", sql.String(16), nullable=False),
    sql.Column("created", sql.String(32), nullable=False),
    sql.Column("consented", sql.String(32)),
    sql.Column("finished", sql.String(32)),
    sql.Column("pixel_ratio", sql.Float),
)

answers = sql.Table(
    "art2real_answers",
    tables,
    sql.Column("participant", sql.ForeignKey("art2real_participants.number"), primary_key=True),
    sql.Column("position", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("trial", sql.String(64), nullable=False),
    sql.Column("choice", sql.String(5), sql.CheckConstraint("choice IN ('left', 'right')"), nullable=False),
    sql.Column("chosen", sql.String(128), nullable=False),
    sql.Column("chosen_system", sql.String(256), nullable=False),
    sql.Column("other_system", sql.String(256), nullable=False),
    sql.Column("reaction_ms", sql.Integer, nullable=False),
    sql.Column("shown_percent", sql.Integer, nullable=False),
    sql.Column("received", sql.String(32), nullable=False),
)
