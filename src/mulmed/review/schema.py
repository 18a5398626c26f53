"""The database: one schema for SQLite and PostgreSQL. Times are UTC in ISO 8601, documents are canonical JSON text.

One database holds one study. ``revisions`` and ``audit`` are only ever added to. Which model gave an answer stands in
``sealed`` alone, which is copied and hashed, but told only by :func:`mulmed.review.study.unsealed`.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_STAMP = String(32)
_TOKEN = String(64)

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("settings", Text, nullable=False),
    Column("rubric", Text, nullable=False),
    Column("rubric_sha256", _TOKEN, nullable=False),
    Column("created_at", _STAMP, nullable=False),
    # One study a database.
    CheckConstraint("id = 1", name="single"),
    CheckConstraint("state IN ('draft', 'open', 'locked', 'unblinded')", name="state"),
)
questions = Table(
    "questions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("source_id", Text, nullable=False, unique=True),
    Column("language", String(16), nullable=False),
    Column("task", String(32), nullable=False),
    Column("text", Text, nullable=False),
    Column("history", Text, nullable=False),
)
items = Table(
    "items",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("question_id", ForeignKey("questions.id"), nullable=False),
    Column("answer", Text, nullable=False),
    # Training items only: the scores they should get and why.
    Column("training", Text),
)
sealed = Table(
    "sealed",
    metadata,
    Column("item_id", ForeignKey("items.id"), primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
)
annotators = Table(
    "annotators",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
)
invitations = Table(
    "invitations",
    metadata,
    Column("token_sha256", _TOKEN, primary_key=True),
    # No annotator: the administrator.
    Column("annotator_id", ForeignKey("annotators.id")),
    Column("expires_at", _STAMP, nullable=False),
    Column("used_at", _STAMP),
)
sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", _TOKEN, primary_key=True),
    Column("annotator_id", ForeignKey("annotators.id")),
    Column("expires_at", _STAMP, nullable=False),
)
assignments = Table(
    "assignments",
    metadata,
    # Random, so that it tells nothing of question, model or other annotators.
    Column("id", String(24), primary_key=True),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False, index=True),
    Column("item_id", ForeignKey("items.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    # The latest revision's, kept here so that a change compares and sets one row.
    Column("version", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    UniqueConstraint("annotator_id", "position"),
    CheckConstraint("kind IN ('training', 'rating', 'repeat')", name="kind"),
    CheckConstraint("status IN ('open', 'draft', 'done', 'skipped')", name="status"),
)
revisions = Table(
    "revisions",
    metadata,
    Column("assignment_id", ForeignKey("assignments.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("request_id", _TOKEN, nullable=False, unique=True),
    Column("status", String(16), nullable=False),
    Column("rating", Text, nullable=False),
    Column("saved_at", _STAMP, nullable=False),
)
audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", _STAMP, nullable=False),
    Column("actor", Text, nullable=False),
    Column("event", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", _TOKEN, nullable=False),
    Column("hash", _TOKEN, nullable=False),
)
