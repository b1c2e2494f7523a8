"""Stores of earlier versions, brought up to date.

Each step goes from one number of the schema to the next, within one transaction, under the store's lock. A step that
cannot tell what an outcome rests on drops the outcome: it is computed again when its scenario is run.

A new step is a function and its name at the end of `STEPS`. It says in its own SQL what it makes, so that it still
makes that when schema.py has moved on. Where it changes a table that schema 1 had, that table joins `MADE_BY_STEPS`.
"""

from collections.abc import Callable

import sqlalchemy as sa

FIRST_SCHEMA = 1
MADE_BY_STEPS = ("clean", "cells", "run_sets")


def migrate(connection: sa.Connection, tables: sa.MetaData, found: int) -> str | None:
    """Make the tables those of today.

    Args:
        connection: In a transaction.
        tables: As they are to be.
        found: The schema that they have.

    Returns:
        What was dropped, in one line for the user; None where nothing was.
    """
    remarks = [remark for step in STEPS[found - FIRST_SCHEMA :] if (remark := step(connection, tables))]
    return "; ".join(remarks) or None


def _name_clean_answers(connection: sa.Connection, tables: sa.MetaData) -> str | None:
    """Schema 2: a cell names the row of the clean predictions that it is packed against.

    Until then the row was found by victim and image set. Where the attacked images changed under their key, the cells
    of scenarios that were not run again stayed, and were read against clean predictions on the new images. A cell is
    kept if its adversarial set was made of the images that are there now, and its number of images that were right
    clean is that of the clean predictions.
    """
    _complete(connection, tables)
    for index in ("cells_by_victim", "cells_counted"):  # their names are taken otherwise
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {index}")
    for table in ("clean", "cells"):
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_1")
    tables.create_all(connection)
    connection.exec_driver_sql(
        "INSERT INTO clean (victim, image_set, correct, predictions) "
        "SELECT victim, image_set, correct, predictions FROM clean_1"
    )
    had = connection.exec_driver_sql("SELECT count(*) FROM cells_1").scalar_one()
    connection.exec_driver_sql(
        "INSERT INTO cells (adversarial_set, victim, n, k, clean, changes) "
        "SELECT c.adversarial_set, c.victim, c.n, c.k, clean.id, c.changes FROM cells_1 AS c "
        "JOIN (SELECT DISTINCT artifact, image_set FROM run_sets) AS made ON made.artifact = c.adversarial_set "
        "JOIN artifacts AS adversarial ON adversarial.id = c.adversarial_set "
        "JOIN artifacts AS images ON images.id = made.image_set "
        "JOIN clean ON clean.victim = c.victim AND clean.image_set = made.image_set AND clean.correct = c.n "
        "WHERE json_extract(adversarial.inputs, '$.images') = images.digest"
    )
    kept = connection.exec_driver_sql("SELECT count(*) FROM cells").scalar_one()
    for table in ("clean", "cells"):
        connection.exec_driver_sql(f"DROP TABLE {table}_1")
    if kept == had:
        return None
    return (
        f"of {had:,} outcomes of an earlier carom {had - kept:,} rested on images that are no longer there, or were "
        "named by no run; run their scenarios again to have them"
    )


def _say_where(connection: sa.Connection, tables: sa.MetaData) -> str | None:
    """Schema 3: an attempt says where it was made, and with what; no outcome rests on what is no longer there.

    Until then what one scenario had made from a model stayed when another one trained that model anew.
    """
    _complete(connection, tables)
    orphans = sa.text(
        "SELECT id FROM artifacts WHERE digest IS NOT NULL AND EXISTS ("
        "SELECT 1 FROM json_each(artifacts.inputs) AS input "
        # others are digests of data that are no artefacts
        "WHERE (input.key IN ('images', 'judging', 'asked', 'inner', 'victim') OR input.key GLOB 'member *' "
        "OR input.key GLOB 'model *' OR input.key GLOB 'judge *') "
        "AND input.value NOT IN (SELECT digest FROM artifacts WHERE digest IS NOT NULL))"
    )
    count = "SELECT count(*) FROM cells"
    had = connection.exec_driver_sql(count).scalar_one()
    while gone := [(row.id,) for row in connection.execute(orphans)]:
        connection.exec_driver_sql("UPDATE artifacts SET digest = NULL WHERE id = ?", gone)
        connection.exec_driver_sql("DELETE FROM cells WHERE adversarial_set = ?", gone)
        connection.exec_driver_sql("DELETE FROM cells WHERE victim = ?", gone)
        connection.exec_driver_sql("DELETE FROM clean WHERE victim = ?", gone)
    kept = connection.exec_driver_sql(count).scalar_one()
    if kept == had:
        return None
    return (
        f"of {had:,} outcomes of an earlier carom {had - kept:,} rested on models that were made anew since; run their "
        "scenarios again to have them"
    )


def _give_sets_columns(connection: sa.Connection, _: sa.MetaData) -> None:
    """Schema 4: what an adversarial set was made from stands in columns.

    Until then it was one JSON text, without what is not known or does not apply.
    """
    axes = (
        *("source", "samples", "balance", "architecture", "recipe", "n"),
        *("defense", "group", "pool", "builder", "seed"),
    )
    columns = ", ".join(f"{axis}_s TEXT" for axis in axes)
    values = ", ".join(f"json_extract(surrogate_axes, '$.{axis}')" for axis in axes)
    connection.exec_driver_sql("ALTER TABLE run_sets RENAME TO run_sets_3")
    connection.exec_driver_sql(
        "CREATE TABLE run_sets (run TEXT NOT NULL, artifact INTEGER NOT NULL, image_set INTEGER NOT NULL, "
        f"surrogate TEXT, {columns}, reads TEXT, asked TEXT, decoy BOOLEAN NOT NULL, attack TEXT NOT NULL, "
        "norm TEXT NOT NULL, eps TEXT NOT NULL, attack_seed INTEGER NOT NULL, targeted BOOLEAN NOT NULL, "
        "PRIMARY KEY (run, artifact), FOREIGN KEY (run) REFERENCES runs (id), "
        "FOREIGN KEY (artifact) REFERENCES artifacts (id), FOREIGN KEY (image_set) REFERENCES artifacts (id))"
    )
    connection.exec_driver_sql(
        f"INSERT INTO run_sets SELECT run, artifact, image_set, surrogate, {values}, "
        # the first sets did not say that surrogates were read, for there was nothing else
        "ifnull(json_extract(surrogate_axes, '$.reads'), CASE WHEN surrogate IS NOT NULL THEN 'surrogate' END), "
        "json_extract(surrogate_axes, '$.asked'), json_extract(surrogate_axes, '$.decoy') IS NOT NULL, "
        "attack, norm, eps, attack_seed, targeted FROM run_sets_3 ORDER BY run_sets_3.rowid"
    )
    connection.exec_driver_sql("DROP TABLE run_sets_3")


def _complete(connection: sa.Connection, tables: sa.MetaData) -> None:
    """Columns that may be empty are added; schema 1 got some without another number.

    Tables of what a run shows, which a run writes anew, are made anew where they lack one that may not be; those that
    a step makes are its own.
    """
    inspector = sa.inspect(connection)
    for table in tables.sorted_tables:
        if not inspector.has_table(table.name) or table.name in MADE_BY_STEPS:
            continue
        have = {column["name"] for column in inspector.get_columns(table.name)}
        lacking = [column for column in table.columns if column.name not in have]
        if all(column.nullable for column in lacking):
            for column in lacking:
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {kind}')
        elif table.name.startswith("run_"):
            connection.exec_driver_sql(f"DROP TABLE {table.name}")


STEPS: tuple[Callable[[sa.Connection, sa.MetaData], str | None], ...] = (
    _name_clean_answers,
    _say_where,
    _give_sets_columns,
)
SCHEMA = FIRST_SCHEMA + len(STEPS)  # of today's tables
