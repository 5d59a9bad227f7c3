-- The analysts' contract on results: columns are only ever added to a v1 view.
-- In two, as enrolments are.
CREATE OR REPLACE VIEW v1_assessments_bare $on_cluster AS
SELECT
  x.tenant AS tenant,
  x.attempt_id AS attempt_id,
  x.enrollment_id AS enrollment_id,
  x.person_id AS person_id,
  x.course_id AS course_id,
  x.module_id AS module_id,
  x.number AS number,
  x.type = 'assessment-passed' AS passed,
  x.score AS score,
  x.passing_score AS passing_score,
  x.occurred_at AS graded_at
FROM assessment_events AS x
WHERE x.type IN ('assessment-passed', 'assessment-failed')
COMMENT 'As v1_assessments without department';

ALTER TABLE v1_assessments_bare $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN attempt_id 'The attempt',
  COMMENT COLUMN enrollment_id 'The enrolment it belongs to',
  COMMENT COLUMN person_id 'The learner',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN module_id 'The quiz in it',
  COMMENT COLUMN number '1 for the first attempt',
  COMMENT COLUMN passed 'Whether the score reached passing_score',
  COMMENT COLUMN score 'In percent, 0 to 100, as the server graded it',
  COMMENT COLUMN passing_score 'In percent, of the quiz as it was then',
  COMMENT COLUMN graded_at 'When it was graded (UTC)';

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
  x.passed AS passed,
  x.score AS score,
  x.passing_score AS passing_score,
  x.graded_at AS graded_at
FROM v1_assessments_bare AS x
LEFT JOIN v1_people AS p ON p.tenant = x.tenant AND p.person_id = x.person_id
LEFT JOIN (
  SELECT tenant, enrollment_id, any(department) AS department_at_enrollment
  FROM enrollment_events WHERE type = 'learner-enrolled' GROUP BY tenant, enrollment_id
) AS e ON e.tenant = x.tenant AND e.enrollment_id = x.enrollment_id
COMMENT 'Attempts graded by the server, one row each';

ALTER TABLE v1_assessments $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN attempt_id 'The attempt',
  COMMENT COLUMN enrollment_id 'The enrolment it belongs to',
  COMMENT COLUMN person_id 'The learner',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN module_id 'The quiz in it',
  COMMENT COLUMN department 'The person''s current department',
  COMMENT COLUMN number '1 for the first attempt',
  COMMENT COLUMN passed 'Whether the score reached passing_score',
  COMMENT COLUMN score 'In percent, 0 to 100, as the server graded it',
  COMMENT COLUMN passing_score 'In percent, of the quiz as it was then',
  COMMENT COLUMN graded_at 'When it was graded (UTC)';

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

ALTER TABLE v1_module_progress $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN enrollment_id 'The enrolment',
  COMMENT COLUMN person_id 'The learner',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN module_id 'The module',
  COMMENT COLUMN started_at 'When it was first opened (UTC)',
  COMMENT COLUMN completed_at 'When it was first completed (UTC); NULL until then',
  COMMENT COLUMN score 'In percent, of the last completion; NULL where none was reported',
  COMMENT COLUMN attempts 'How many attempts there were';

CREATE OR REPLACE VIEW v1_certificates_bare $on_cluster AS
SELECT
  c.tenant AS tenant,
  c.certificate_id AS certificate_id,
  c.person_id AS person_id,
  c.enrollment_id AS enrollment_id,
  c.course_id AS course_id,
  c.course_version AS course_version,
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
COMMENT 'As v1_certificates without department';

ALTER TABLE v1_certificates_bare $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN certificate_id 'The number on the certificate',
  COMMENT COLUMN person_id 'Whose it is',
  COMMENT COLUMN enrollment_id 'The enrolment it was earned in',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN course_version 'Its version then',
  COMMENT COLUMN score 'In percent',
  COMMENT COLUMN issued_at 'When it was issued (UTC)',
  COMMENT COLUMN revoked_at 'When it was revoked (UTC); NULL while it is valid',
  COMMENT COLUMN valid 'Whether it is not revoked';

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
  c.valid AS valid
FROM v1_certificates_bare AS c
LEFT JOIN v1_people AS p ON p.tenant = c.tenant AND p.person_id = c.person_id
LEFT JOIN (
  SELECT tenant, enrollment_id, any(department) AS department_at_enrollment
  FROM enrollment_events WHERE type = 'learner-enrolled' GROUP BY tenant, enrollment_id
) AS e ON e.tenant = c.tenant AND e.enrollment_id = c.enrollment_id
COMMENT 'Certificates, one row each';

ALTER TABLE v1_certificates $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN certificate_id 'The number on the certificate',
  COMMENT COLUMN person_id 'Whose it is',
  COMMENT COLUMN enrollment_id 'The enrolment it was earned in',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN course_version 'Its version then',
  COMMENT COLUMN department 'The person''s current department',
  COMMENT COLUMN score 'In percent',
  COMMENT COLUMN issued_at 'When it was issued (UTC)',
  COMMENT COLUMN revoked_at 'When it was revoked (UTC); NULL while it is valid',
  COMMENT COLUMN valid 'Whether it is not revoked';
