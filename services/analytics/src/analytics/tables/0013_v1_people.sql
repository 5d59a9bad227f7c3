-- The analysts' contract on people: columns are only ever added to a v1 view. What they mean is told by SHOW CREATE,
-- system.columns and docs/data-dictionary.md.

-- The erased are among them: their last event says nothing but that, so all else of them is blank. The department stays,
-- by which enrolments and results are counted; names were never here.
CREATE OR REPLACE VIEW v1_people $on_cluster AS
SELECT
  x.tenant AS tenant,
  x.person_id AS person_id,
  multiIf(
    argMax(x.type, x.stream_version) = 'user-erased', 'erased',
    argMax(x.type, x.stream_version) = 'user-deactivated', 'terminated',
    argMax(x.status, x.stream_version)
  ) AS status,
  argMaxIf(x.department, x.stream_version, x.type NOT IN ('user-deactivated', 'user-erased')) AS department,
  argMaxIf(x.location, x.stream_version, x.type != 'user-deactivated') AS location,
  argMaxIf(x.job_title, x.stream_version, x.type != 'user-deactivated') AS job_title,
  argMaxIf(x.manager_id, x.stream_version, x.type != 'user-deactivated') AS manager_id,
  argMaxIf(x.employment_type, x.stream_version, x.type != 'user-deactivated') AS employment_type,
  argMaxIf(tuple(x.hire_date), x.stream_version, x.type != 'user-deactivated').1 AS hire_date,
  min(x.occurred_at) AS first_seen_at,
  max(x.at) AS changed_at
FROM identity_events AS x
WHERE x.type IN ('user-provisioned', 'user-updated', 'user-deactivated', 'user-reactivated', 'user-erased')
  AND x.decoded = 'yes'
GROUP BY x.tenant, x.person_id
HAVING countIf(x.type != 'user-erased') > 0
COMMENT 'People as of now, one row each; names live in identity only';

ALTER TABLE v1_people $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN person_id 'The person; names live in identity only',
  COMMENT COLUMN status 'prehire, active, on_leave, terminated or erased, as HR last said',
  COMMENT COLUMN department 'As of now; of who left, the last one',
  COMMENT COLUMN location 'Place of work',
  COMMENT COLUMN job_title 'As HR writes it',
  COMMENT COLUMN manager_id 'The person whom they report to; empty for nobody',
  COMMENT COLUMN employment_type 'As HR writes it, such as employee or contractor',
  COMMENT COLUMN hire_date 'First day of the employment; NULL where HR does not say',
  COMMENT COLUMN first_seen_at 'When the first fact about the person took effect (UTC)',
  COMMENT COLUMN changed_at 'When the last one was recorded (UTC)';

-- Changes of the same instant collapse to the last one; then each lasts until the next.
CREATE OR REPLACE VIEW v1_departments_over_time $on_cluster AS
SELECT
  tenant,
  person_id,
  department,
  valid_from,
  leadInFrame(valid_from, 1, toDateTime64('2299-12-31 00:00:00', 6, 'UTC')) OVER (
    PARTITION BY tenant, person_id ORDER BY valid_from ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
  ) AS valid_to
FROM (
  SELECT
    x.tenant AS tenant,
    x.person_id AS person_id,
    argMax(if(x.type = 'user-deactivated', '', x.department), x.stream_version) AS department,
    x.occurred_at AS valid_from
  FROM identity_events AS x
  WHERE x.type IN ('user-provisioned', 'user-updated', 'user-deactivated', 'user-reactivated') AND x.decoded = 'yes'
  GROUP BY x.tenant, x.person_id, x.occurred_at
)
COMMENT 'Department by time: join on at >= valid_from AND at < valid_to. Empty after the person left';

ALTER TABLE v1_departments_over_time $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN person_id 'The person',
  COMMENT COLUMN department 'Where they were in that time; empty after they left',
  COMMENT COLUMN valid_from 'First instant of it (UTC)',
  COMMENT COLUMN valid_to 'First instant after it (UTC); 2299-12-31 for the present one';
