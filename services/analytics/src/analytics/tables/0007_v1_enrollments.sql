-- The analysts' contract on enrolments: columns are only ever added to a v1 view.
CREATE OR REPLACE VIEW v1_enrollments $on_cluster AS
SELECT
  e.tenant AS tenant,
  e.enrollment_id AS enrollment_id,
  e.person_id AS person_id,
  e.course_id AS course_id,
  e.course_version AS course_version,
  e.cycle AS cycle,
  e.mandatory AS mandatory,
  if(p.person_id = '', e.department_at_enrollment, p.department) AS department,
  e.department_at_enrollment AS department_at_enrollment,
  multiIf(e.completions > 0, 'completed', e.last_turn = 'enrollment-withdrawn', 'withdrawn', 'active') AS state,
  e.enrolled_at AS enrolled_at,
  e.due_at AS due_at,
  if(e.completions > 0, e.done_at, NULL) AS completed_at,
  if(e.completions > 0, e.on_time, NULL) AS on_time,
  if(e.completions > 0, e.assurance, '') AS assurance,
  if(e.last_turn = 'enrollment-withdrawn', e.last_turn_at, NULL) AS withdrawn_at,
  e.modules_done AS modules_done,
  ifNull(e.completions = 0 AND e.last_turn != 'enrollment-withdrawn' AND e.due_at < now64(6, 'UTC'), 0) AS overdue,
  e.changed_at AS changed_at
FROM (
  SELECT
    x.tenant AS tenant,
    x.enrollment_id AS enrollment_id,
    any(x.person_id) AS person_id,
    anyIf(x.course_id, x.type = 'learner-enrolled') AS course_id,
    anyIf(x.course_version, x.type = 'learner-enrolled') AS course_version,
    anyIf(x.cycle, x.type = 'learner-enrolled') AS cycle,
    anyIf(x.mandatory, x.type = 'learner-enrolled') AS mandatory,
    anyIf(x.department, x.type = 'learner-enrolled') AS department_at_enrollment,
    anyIf(x.occurred_at, x.type = 'learner-enrolled') AS enrolled_at,
    argMaxIf(tuple(x.due_at), x.stream_version, x.type IN ('learner-enrolled', 'due-date-changed')).1 AS due_at,
    countIf(x.type = 'course-completed') AS completions,
    maxIf(x.occurred_at, x.type = 'course-completed') AS done_at,
    maxIf(x.on_time, x.type = 'course-completed') AS on_time,
    anyIf(x.assurance, x.type = 'course-completed') AS assurance,
    argMaxIf(x.type, x.stream_version, x.type IN ('learner-enrolled', 'enrollment-withdrawn', 'enrollment-resumed')) AS last_turn,
    argMaxIf(x.occurred_at, x.stream_version, x.type IN ('learner-enrolled', 'enrollment-withdrawn', 'enrollment-resumed')) AS last_turn_at,
    max(x.modules_done) AS modules_done,
    max(x.at) AS changed_at
  FROM enrollment_events AS x
  WHERE x.enrollment_id != ''
  GROUP BY x.tenant, x.enrollment_id
  HAVING countIf(x.type = 'learner-enrolled') > 0
) AS e
LEFT JOIN v1_people AS p ON p.tenant = e.tenant AND p.person_id = e.person_id
COMMENT 'Enrolments as of now, one row each. department is the person''s current one';

CREATE OR REPLACE VIEW v1_overdue_people $on_cluster AS
SELECT
  e.tenant AS tenant,
  e.person_id AS person_id,
  any(e.department) AS department,
  count() AS enrollments,
  min(e.due_at) AS overdue_since
FROM v1_enrollments AS e
WHERE e.overdue
GROUP BY e.tenant, e.person_id
COMMENT 'Who is late, with how many enrolments and since when';
