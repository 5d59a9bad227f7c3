-- As in 0005, and with the erased: their last event says nothing but that, so all else of them is blank. The department
-- stays, by which enrolments and results are counted; names were never here.
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
