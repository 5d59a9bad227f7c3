-- A ClickHouse user for the analysts of one organisation. Again: nothing changes but the password.

-- Where a table has policies, a server may be set to show nothing to whom none of them names: analytics goes on seeing all.
$policies_of_writer;

CREATE SETTINGS PROFILE OR REPLACE lyceum_analyst $on_cluster SETTINGS
  readonly = 1,
  max_execution_time = 30,
  max_memory_usage = 2000000000,
  max_rows_to_read = 500000000,
  max_result_rows = 1000000,
  max_result_bytes = 268435456,
  max_concurrent_queries_for_user = 4;

CREATE ROLE IF NOT EXISTS $role $on_cluster;

-- Before the grants: a role that may read reads no more than this, whatever other policies it is ever given.
$policies_of_role;

ALTER ROLE $role $on_cluster SETTINGS PROFILE 'lyceum_analyst';

CREATE QUOTA OR REPLACE $role $on_cluster KEYED BY user_name
  FOR INTERVAL 1 minute MAX queries = 120,
  FOR INTERVAL 1 hour MAX queries = 1000, execution_time = 1800, read_rows = 20000000000
  TO $role;

-- By name: what a rebuild fills beside the tables has no policy and is nobody's to read.
$grants;

CREATE USER OR REPLACE $user $on_cluster IDENTIFIED WITH sha256_hash BY '$password_sha256'
  DEFAULT DATABASE $database;

GRANT $on_cluster $role TO $user;

SET DEFAULT ROLE $role TO $user;
