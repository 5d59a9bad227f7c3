"""Tables every service has, written by its first migration. Called from Alembic migrations only.

Feed tables (outbox, numbers, progress, parked, timers) stand outside row-level security: relay and consumers
work for all tenants at once. `events` is under it, and readable across tenants by `<role>_relay` alone, a role
that the relay's own connection takes on with SET ROLE.
"""

from alembic import context, op


def app_role() -> str:
    """The role the service connects as; the migration runner sets it."""
    role = context.config.attributes["app_role"]
    assert isinstance(role, str)
    return role


def tenant_table(
    name: str, *, privileges: str = "SELECT, INSERT, UPDATE, DELETE", role: str | None = None
) -> None:
    """Put `name` under forced row-level security and let the service use it. Its `tenant` column decides."""
    role = role or app_role()
    op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    # The sub-select makes PostgreSQL ask once per statement, not once per row.
    op.execute(
        f'CREATE POLICY tenant ON {name} TO "{role}" USING (tenant = (SELECT lyceum_tenant())) '
        f"WITH CHECK (tenant = (SELECT lyceum_tenant()))"
    )
    op.execute(f'GRANT {privileges} ON {name} TO "{role}"')


def shared_table(
    name: str, *, privileges: str = "SELECT, INSERT, UPDATE, DELETE", role: str | None = None
) -> None:
    """A table that is nobody's in particular, such as a directory that finds the tenant of a public id."""
    op.execute(f'GRANT {privileges} ON {name} TO "{role or app_role()}"')


def ledger_tables(role: str | None = None) -> None:
    """events, outbox, feed numbering, progress, parked events and timers."""
    role = role or app_role()
    relay = f"{role}_relay"
    # A missing tenant raises: an empty list passed off as truth would be worse than an error.
    op.execute("""
        CREATE FUNCTION lyceum_tenant() RETURNS uuid LANGUAGE plpgsql STABLE AS $$
        DECLARE tenant text := current_setting('lyceum.tenant', true);
        BEGIN
          IF tenant IS NULL OR tenant = '' THEN
            RAISE EXCEPTION 'no tenant is set on this transaction' USING ERRCODE = 'insufficient_privilege';
          END IF;
          RETURN tenant::uuid;
        END $$""")
    op.execute("""
        CREATE TABLE events (
          tenant uuid NOT NULL, stream text NOT NULL, version int NOT NULL, id uuid NOT NULL UNIQUE,
          type text NOT NULL, key text NOT NULL, at timestamptz NOT NULL, actor text NOT NULL, data bytea NOT NULL,
          correlation_id text NOT NULL, causation_id text NOT NULL, traceparent text NOT NULL,
          PRIMARY KEY (tenant, stream, version))""")
    op.execute("""
        CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'insufficient_privilege'; END $$""")
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only()""")
    tenant_table("events", privileges="SELECT, INSERT", role=role)
    op.execute(f'CREATE POLICY relay ON events FOR SELECT TO "{relay}" USING (true)')
    op.execute(f'GRANT SELECT ON events TO "{relay}"')

    # CACHE 1: a cached sequence would hand a late connection low numbers and misorder its streams.
    op.execute("CREATE SEQUENCE outbox_seq CACHE 1")
    op.execute("""
        CREATE TABLE outbox (
          seq bigint PRIMARY KEY DEFAULT nextval('outbox_seq'), feed text NOT NULL, partition smallint NOT NULL,
          id uuid NOT NULL, queued_at timestamptz NOT NULL DEFAULT now())""")
    op.execute("""
        CREATE TABLE feed_head (
          feed text NOT NULL, partition smallint NOT NULL, head bigint NOT NULL DEFAULT 0,
          sent bigint NOT NULL DEFAULT 0, PRIMARY KEY (feed, partition), CHECK (sent <= head))""")
    op.execute("""
        CREATE TABLE feed_position (
          feed text NOT NULL, partition smallint NOT NULL, position bigint NOT NULL, id uuid NOT NULL,
          PRIMARY KEY (feed, partition, position))""")
    op.execute("""
        CREATE TABLE feed_generation (
          feed text NOT NULL, generation bigint NOT NULL, partition smallint NOT NULL, start bigint NOT NULL,
          PRIMARY KEY (feed, generation, partition))""")
    op.execute("""
        CREATE TABLE progress (
          consumer text NOT NULL, feed text NOT NULL, partition smallint NOT NULL, generation bigint NOT NULL DEFAULT 0,
          next bigint NOT NULL DEFAULT 1, last_id text NOT NULL DEFAULT '', tries int NOT NULL DEFAULT 0,
          healed bigint NOT NULL DEFAULT 0, alarm text NOT NULL DEFAULT '', PRIMARY KEY (consumer, feed, partition))""")
    op.execute("""
        CREATE TABLE parked (
          n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, consumer text NOT NULL, feed text NOT NULL,
          partition smallint NOT NULL, position bigint NOT NULL, generation bigint NOT NULL, kind text NOT NULL,
          tenant text NOT NULL, key text NOT NULL, event_id text NOT NULL, type text NOT NULL,
          header_names text[] NOT NULL, header_values bytea[] NOT NULL, body bytea NOT NULL,
          reason text NOT NULL, tries int NOT NULL, parked_at timestamptz NOT NULL DEFAULT now(),
          settled text, settled_at timestamptz, settled_by text, settled_why text)""")
    op.execute("CREATE INDEX parked_open ON parked (consumer, feed, key, n) WHERE settled IS NULL")
    op.execute("""
        CREATE TABLE timers (
          tenant uuid NOT NULL, kind text NOT NULL, key text NOT NULL, due_at timestamptz NOT NULL,
          payload jsonb NOT NULL, tries int NOT NULL DEFAULT 0, next_at timestamptz NOT NULL, error text NOT NULL DEFAULT '',
          PRIMARY KEY (tenant, kind, key))""")
    op.execute("CREATE INDEX timers_due ON timers (next_at)")

    both = f'"{role}", "{relay}"'
    op.execute(f"GRANT USAGE ON SEQUENCE outbox_seq TO {both}")
    for table in ("outbox", "feed_head", "feed_position", "feed_generation"):
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {both}")
    for table in ("progress", "parked", "timers"):
        shared_table(table, role=role)
    traces(role)


def traces(role: str | None = None) -> None:
    """What finds and mends a restored database (restored.py, reconcile.py). A ledger that was made before these tables
    gets them by a later migration, hence IF NOT EXISTS."""
    role = role or app_role()
    op.execute("ALTER TABLE feed_generation ADD COLUMN IF NOT EXISTS why text NOT NULL DEFAULT ''")
    # The server and the tables as the relay last saw them; one row.
    op.execute("""
        CREATE TABLE IF NOT EXISTS ledger_seen (
          one boolean PRIMARY KEY DEFAULT true CHECK (one), incarnation text NOT NULL, at timestamptz NOT NULL)""")
    op.execute(f'GRANT SELECT, INSERT, UPDATE ON ledger_seen TO "{role}_relay"')
    # Which events a consumer had at positions first, first + 1, …: a row for each run it handled.
    op.execute("""
        CREATE TABLE IF NOT EXISTS handled (
          consumer text NOT NULL, feed text NOT NULL, partition smallint NOT NULL, first bigint NOT NULL,
          ids uuid[] NOT NULL, at timestamptz NOT NULL DEFAULT now())""")
    op.execute("CREATE INDEX IF NOT EXISTS handled_by_position ON handled (consumer, feed, partition, first)")
    op.execute("CREATE INDEX IF NOT EXISTS handled_by_age ON handled USING brin (at)")
    # Events that had their effect here and then were not the producer's any more. `returned_at`: it has them again.
    op.execute("""
        CREATE TABLE IF NOT EXISTS superseded (
          consumer text NOT NULL, event_id uuid NOT NULL, feed text NOT NULL, partition smallint NOT NULL,
          position bigint NOT NULL, superseded_at timestamptz NOT NULL DEFAULT now(), superseded_by text NOT NULL,
          returned_at timestamptz, PRIMARY KEY (consumer, event_id))""")
    # Below it, what comes may be a superseded event that comes again.
    op.execute("ALTER TABLE progress ADD COLUMN IF NOT EXISTS had_until bigint NOT NULL DEFAULT 0")
    for table in ("handled", "superseded"):
        shared_table(table, role=role)
