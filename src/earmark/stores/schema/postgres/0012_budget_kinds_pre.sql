-- Who opened a budget: `budget` for a person or a program, `run` or `session` for one that was opened
-- for itself alone. Until now the name said it; what programs of the step before make says it still.

ALTER TABLE {schema}.budget ADD COLUMN kind text;
CREATE FUNCTION {schema}.budget_kind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.kind := coalesce(
        new.kind,
        CASE WHEN new.path ~ '(^|/)run-[0-9a-f]{16}$' THEN 'run' ELSE 'budget' END
    );
    RETURN new;
END
$$;
UPDATE {schema}.budget
SET kind = CASE WHEN path ~ '(^|/)run-[0-9a-f]{16}$' THEN 'run' ELSE 'budget' END;
ALTER TABLE {schema}.budget ALTER COLUMN kind SET NOT NULL;
CREATE TRIGGER budget_kind BEFORE INSERT ON {schema}.budget
    FOR EACH ROW EXECUTE FUNCTION {schema}.budget_kind();

-- Lists leave out the thousands that runs opened, which do not write to it.
CREATE INDEX budget_listed ON {schema}.budget (path) WHERE kind = 'budget';
