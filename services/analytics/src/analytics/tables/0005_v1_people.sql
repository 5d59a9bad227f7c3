-- The analysts' contract on people: columns are only ever added to a v1 view.
CREATE OR REPLACE VIEW v1_people $on_cluster AS
SELECT
  x.tenant AS tenant,
  x.person_id AS person_id,
  if(argMax(x.type, x.stream_version) = 'user-deactivated', 'terminated', argMax(x.status, x.stream_version)) AS status,
  argMaxIf(x.department, x.stream_version, x.type != 'user-deactivated') AS department,
  argMaxIf(x.location, x.stream_version, x.type != 'user-deactivated') AS location,
  argMaxIf(x.job_title, x.stream_version, x.type != 'user-deactivated') AS job_title,
  argMaxIf(x.manager_id, x.stream_version, x.type != 'user-deactivated') AS manager_id,
  argMaxIf(x.employment_type, x.stream_version, x.type != 'user-deactivated') AS employment_type,
  argMaxIf(tuple(x.hire_date), x.stream_version, x.type != 'user-deactivated').1 AS hire_date,
  min(x.occurred_at) AS first_seen_at,
  max(x.at) AS changed_at
FROM identity_events AS x
WHERE x.type IN ('user-provisioned', 'user-updated', 'user-deactivated', 'user-reactivated') AND x.decoded = 'yes'
GROUP BY x.tenant, x.person_id
COMMENT 'People as of now, one row each; names live in identity only';

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
