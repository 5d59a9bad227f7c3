-- One row for each event of the identity feed. Projection: projections.py.
CREATE TABLE IF NOT EXISTS identity_events $on_cluster (
  generation Int64 COMMENT 'Generation of the feed the position belongs to',
  partition UInt16 COMMENT 'Partition of the feed',
  position UInt64 COMMENT 'Number within the partition: 1, 2, 3 … without a gap',
  id UUID COMMENT 'The event (UUIDv7), as in the ledger',
  tenant UUID COMMENT 'The customer organisation',
  type LowCardinality(String) COMMENT 'For example user-provisioned',
  stream String COMMENT 'What it happened to, for example person/<id>',
  stream_version UInt32 COMMENT 'Number of the event within its stream',
  at DateTime64(6, 'UTC') COMMENT 'When the ledger recorded it',
  occurred_at DateTime64(6, 'UTC') COMMENT 'When it took effect; `at` where the event names no other time',
  decoded LowCardinality(String) COMMENT 'yes; unknown-type: of a newer release; broken: unreadable. Else columns below are empty',
  person_id String COMMENT 'The person it is about',
  status LowCardinality(String) COMMENT 'prehire, active, on_leave or terminated',
  department LowCardinality(String) COMMENT 'Department as HR spells it, whole new state',
  org_unit_id String COMMENT 'The org unit behind the department',
  location LowCardinality(String) COMMENT 'Place of work',
  job_title LowCardinality(String) COMMENT 'Job title',
  manager_id String COMMENT 'Person id of the manager; empty for none',
  hire_date Nullable(Date32) COMMENT 'Civil date of hire',
  time_zone LowCardinality(String) COMMENT 'IANA time zone of the person',
  employment_type LowCardinality(String) COMMENT 'employee, contractor …',
  source LowCardinality(String) COMMENT 'Which system provisioned the person',
  reason String COMMENT 'Why the person was deactivated',
  changed Array(LowCardinality(String)) COMMENT 'Names of the fields that changed',
  roles Array(LowCardinality(String)) COMMENT 'Roles after roles-changed',
  code LowCardinality(String) COMMENT 'Code of an org unit',
  mapped UInt8 COMMENT '1 when an administrator knew the org unit',
  parent_id String COMMENT 'Parent of an org unit',
  head_id String COMMENT 'Head of an org unit'
) ENGINE = $engine
ORDER BY (tenant, person_id, stream_version)
COMMENT 'Events of people, org units and tenants';
