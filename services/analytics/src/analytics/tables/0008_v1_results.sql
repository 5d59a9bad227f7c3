-- The analysts' contract on results: columns are only ever added to a v1 view.
CREATE OR REPLACE VIEW v1_assessments $on_cluster AS
SELECT
  x.tenant AS tenant,
  x.attempt_id AS attempt_id,
  x.enrollment_id AS enrollment_id,
  x.person_id AS person_id,
  x.course_id AS course_id,
  x.module_id AS module_id,
  if(p.person_id = '', e.department_at_enrollment, p.department) AS department,
  x.number AS number,
  x.type = 'assessment-passed' AS passed,
  x.score AS score,
  x.passing_score AS passing_score,
  x.occurred_at AS graded_at
FROM assessment_events AS x
LEFT JOIN v1_people AS p ON p.tenant = x.tenant AND p.person_id = x.person_id
LEFT JOIN (
  SELECT tenant, enrollment_id, any(department) AS department_at_enrollment
  FROM enrollment_events WHERE type = 'learner-enrolled' GROUP BY tenant, enrollment_id
) AS e ON e.tenant = x.tenant AND e.enrollment_id = x.enrollment_id
WHERE x.type IN ('assessment-passed', 'assessment-failed')
COMMENT 'Attempts graded by the server, one row each';

CREATE OR REPLACE VIEW v1_module_progress $on_cluster AS
SELECT
  x.tenant AS tenant,
  x.enrollment_id AS enrollment_id,
  any(x.person_id) AS person_id,
  any(x.course_id) AS course_id,
  x.module_id AS module_id,
  min(x.occurred_at) AS started_at,
  minOrNullIf(x.occurred_at, x.type = 'module-completed') AS completed_at,
  argMaxIf(tuple(x.score), x.occurred_at, x.type = 'module-completed').1 AS score,
  uniqExact(x.attempt_id) AS attempts
FROM assessment_events AS x
WHERE x.module_id != '' AND x.enrollment_id != ''
GROUP BY x.tenant, x.enrollment_id, x.module_id
COMMENT 'Modules that learners started, one row for each enrolment and module; score of the last completion';

CREATE OR REPLACE VIEW v1_certificates $on_cluster AS
SELECT
  c.tenant AS tenant,
  c.certificate_id AS certificate_id,
  c.person_id AS person_id,
  c.enrollment_id AS enrollment_id,
  c.course_id AS course_id,
  c.course_version AS course_version,
  if(p.person_id = '', e.department_at_enrollment, p.department) AS department,
  c.score AS score,
  c.issued_at AS issued_at,
  c.revoked_at AS revoked_at,
  isNull(c.revoked_at) AS valid
FROM (
  SELECT
    x.tenant AS tenant,
    x.certificate_id AS certificate_id,
    any(x.person_id) AS person_id,
    anyIf(x.enrollment_id, x.type = 'certificate-issued') AS enrollment_id,
    anyIf(x.course_id, x.type = 'certificate-issued') AS course_id,
    anyIf(x.course_version, x.type = 'certificate-issued') AS course_version,
    anyIf(x.score, x.type = 'certificate-issued') AS score,
    minIf(x.occurred_at, x.type = 'certificate-issued') AS issued_at,
    minOrNullIf(x.occurred_at, x.type = 'certificate-revoked') AS revoked_at
  FROM assessment_events AS x
  WHERE x.certificate_id != ''
  GROUP BY x.tenant, x.certificate_id
  HAVING countIf(x.type = 'certificate-issued') > 0
) AS c
LEFT JOIN v1_people AS p ON p.tenant = c.tenant AND p.person_id = c.person_id
LEFT JOIN (
  SELECT tenant, enrollment_id, any(department) AS department_at_enrollment
  FROM enrollment_events WHERE type = 'learner-enrolled' GROUP BY tenant, enrollment_id
) AS e ON e.tenant = c.tenant AND e.enrollment_id = c.enrollment_id
COMMENT 'Certificates, one row each';
