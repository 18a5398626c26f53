"""A study: questions, answers, annotators, ratings, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("rubric", sa.Text(), nullable=False),
        sa.Column("rubric_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_study_single"),
        sa.CheckConstraint("state IN ('draft', 'open', 'locked', 'unblinded')", name="ck_study_state"),
        sa.PrimaryKeyConstraint("id", name="pk_study"),
    )
    op.create_table(
        "questions",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("language", sa.String(16), nullable=False),
        sa.Column("task", sa.String(32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("history", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_questions"),
        sa.UniqueConstraint("source_id", name="uq_questions_source_id"),
    )
    op.create_table(
        "items",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("training", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["question_id"], ["questions.id"], name="fk_items_question_id"),
        sa.PrimaryKeyConstraint("id", name="pk_items"),
    )
    op.create_table(
        "sealed",
        sa.Column("item_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_sealed_item_id"),
        sa.PrimaryKeyConstraint("item_id", name="pk_sealed"),
    )
    op.create_table(
        "annotators",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotators"),
        sa.UniqueConstraint("name", name="uq_annotators_name"),
    )
    for name in ("invitations", "sessions"):
        op.create_table(
            name,
            sa.Column("token_sha256", sa.String(64), nullable=False),
            sa.Column("annotator_id", sa.Integer(), nullable=True),
            sa.Column("expires_at", sa.String(32), nullable=False),
            *([sa.Column("used_at", sa.String(32), nullable=True)] if name == "invitations" else []),
            sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name=f"fk_{name}_annotator_id"),
            sa.PrimaryKeyConstraint("token_sha256", name=f"pk_{name}"),
        )
    op.create_table(
        "assignments",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.CheckConstraint("kind IN ('training', 'rating', 'repeat')", name="ck_assignments_kind"),
        sa.CheckConstraint("status IN ('open', 'draft', 'done', 'skipped')", name="ck_assignments_status"),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name="fk_assignments_annotator_id"),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name="fk_assignments_item_id"),
        sa.PrimaryKeyConstraint("id", name="pk_assignments"),
        sa.UniqueConstraint("annotator_id", "position", name="uq_assignments_annotator_id"),
    )
    op.create_index("ix_assignments_annotator_id", "assignments", ["annotator_id"])
    op.create_table(
        "revisions",
        sa.Column("assignment_id", sa.String(24), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("rating", sa.Text(), nullable=False),
        sa.Column("saved_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignments.id"], name="fk_revisions_assignment_id"),
        sa.PrimaryKeyConstraint("assignment_id", "version", name="pk_revisions"),
        sa.UniqueConstraint("request_id", name="uq_revisions_request_id"),
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
