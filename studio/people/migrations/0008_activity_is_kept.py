"""Lets the database itself refuse to change or remove an entry; all it lets pass is that an entry is linked, once.

Whoever empties whole tables (TRUNCATE on PostgreSQL) or takes the triggers away can: that shows in the chain.
"""

from typing import Any

from django.db import migrations

KEPT = "The activity is only ever added to."
POSTGRESQL = (
    f"""
    CREATE OR REPLACE FUNCTION people_activity_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' AND OLD.seq IS NULL AND NEW.seq IS NOT NULL
            AND to_jsonb(NEW) - ARRAY['seq', 'hash'] = to_jsonb(OLD) - ARRAY['seq', 'hash'] THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION '{KEPT}';
    END $$
    """,
    """
    CREATE TRIGGER people_activity_is_kept BEFORE UPDATE OR DELETE ON people_activity
    FOR EACH ROW EXECUTE FUNCTION people_activity_is_kept()
    """,
)
COLUMNS = (
    "id", "workspace_id", "at", "actor_id", "actor_name", "verb", "object_kind", "object_id", "object_name", "detail",
    "way", "token", "address",
)  # fmt: skip
SQLITE = (
    f"""
    CREATE TRIGGER people_activity_is_kept BEFORE UPDATE ON people_activity
    WHEN OLD.seq IS NOT NULL OR NEW.seq IS NULL OR {" OR ".join(f'OLD."{c}" IS NOT NEW."{c}"' for c in COLUMNS)}
    BEGIN SELECT RAISE(ABORT, '{KEPT}'); END
    """,
    f"""
    CREATE TRIGGER people_activity_is_not_removed BEFORE DELETE ON people_activity
    BEGIN SELECT RAISE(ABORT, '{KEPT}'); END
    """,
)
UNDO = {
    "postgresql": (
        "DROP TRIGGER people_activity_is_kept ON people_activity",
        "DROP FUNCTION people_activity_is_kept()",
    ),
    "sqlite": ("DROP TRIGGER people_activity_is_kept", "DROP TRIGGER people_activity_is_not_removed"),
}
DO = {"postgresql": POSTGRESQL, "sqlite": SQLITE}


def keep(apps: Any, schema_editor: Any) -> None:
    for statement in DO[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def let_go(apps: Any, schema_editor: Any) -> None:
    for statement in UNDO[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("people", "0007_chain_what_is_there")]
    operations = [migrations.RunPython(keep, let_go)]
