-- The analysts' contract on enrolments: columns are only ever added to a v1 view.
-- In two: what a row says by its own events, and that with the person's department as of now. A question that does not ask
-- for departments then need not join everybody to it: half its time over a million enrolments. And dates that may be
-- missing are compared as dates, not as tuples around them: 1900 stands for none meanwhile.
CREATE OR REPLACE VIEW v1_enrollments_bare $on_cluster AS
SELECT
  e.tenant AS tenant,
  e.enrollment_id AS enrollment_id,
  e.person_id AS person_id,
  e.course_id AS course_id,
  e.course_version AS course_version,
  e.cycle AS cycle,
  e.mandatory AS mandatory,
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
    max(x.mandatory OR (x.ground_kind IN ('rule', 'path', 'manual') AND x.type IN ('ground-added', 'enrollment-resumed'))) AS mandatory,
    anyIf(x.department, x.type = 'learner-enrolled') AS department_at_enrollment,
    anyIf(x.occurred_at, x.type = 'learner-enrolled') AS enrolled_at,
    nullIf(argMaxIf(ifNull(x.due_at, toDateTime64('1900-01-01 00:00:00', 6, 'UTC')), x.stream_version, x.type IN ('learner-enrolled', 'due-date-changed')), toDateTime64('1900-01-01 00:00:00', 6, 'UTC')) AS due_at,
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
COMMENT 'As v1_enrollments without department: for questions over all of them, which then look at no people';

ALTER TABLE v1_enrollments_bare $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN enrollment_id 'The enrolment: one person, one course, one cycle',
  COMMENT COLUMN person_id 'The learner',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN course_version 'The version that was pinned when it began',
  COMMENT COLUMN cycle '1 for the first time; a recertification is the next one',
  COMMENT COLUMN mandatory 'Whether a rule, a path or an administrator demands it, or did: also when the learner had chosen it before',
  COMMENT COLUMN department_at_enrollment 'The department when it began',
  COMMENT COLUMN state 'active, completed or withdrawn',
  COMMENT COLUMN enrolled_at 'When it began (UTC)',
  COMMENT COLUMN due_at 'By when (UTC); NULL for no date',
  COMMENT COLUMN completed_at 'When the last module was done (UTC); NULL until then',
  COMMENT COLUMN on_time 'Whether that was by the due date; NULL until completed',
  COMMENT COLUMN assurance 'How far the completion can be trusted: self-reported or server-graded; empty until completed',
  COMMENT COLUMN withdrawn_at 'When the last reason for it went (UTC); NULL unless withdrawn',
  COMMENT COLUMN modules_done 'How many modules are done',
  COMMENT COLUMN overdue 'Active and past its due date, as of now',
  COMMENT COLUMN changed_at 'When the last fact about it was recorded (UTC)';

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
  e.state AS state,
  e.enrolled_at AS enrolled_at,
  e.due_at AS due_at,
  e.completed_at AS completed_at,
  e.on_time AS on_time,
  e.assurance AS assurance,
  e.withdrawn_at AS withdrawn_at,
  e.modules_done AS modules_done,
  e.overdue AS overdue,
  e.changed_at AS changed_at
FROM v1_enrollments_bare AS e
LEFT JOIN v1_people AS p ON p.tenant = e.tenant AND p.person_id = e.person_id
COMMENT 'Enrolments as of now, one row each. department is the person''s current one';

ALTER TABLE v1_enrollments $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN enrollment_id 'The enrolment: one person, one course, one cycle',
  COMMENT COLUMN person_id 'The learner',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN course_version 'The version that was pinned when it began',
  COMMENT COLUMN cycle '1 for the first time; a recertification is the next one',
  COMMENT COLUMN mandatory 'Whether a rule, a path or an administrator demands it, or did: also when the learner had chosen it before',
  COMMENT COLUMN department 'The person''s current department; of who left, the last one',
  COMMENT COLUMN department_at_enrollment 'The department when it began',
  COMMENT COLUMN state 'active, completed or withdrawn',
  COMMENT COLUMN enrolled_at 'When it began (UTC)',
  COMMENT COLUMN due_at 'By when (UTC); NULL for no date',
  COMMENT COLUMN completed_at 'When the last module was done (UTC); NULL until then',
  COMMENT COLUMN on_time 'Whether that was by the due date; NULL until completed',
  COMMENT COLUMN assurance 'How far the completion can be trusted: self-reported or server-graded; empty until completed',
  COMMENT COLUMN withdrawn_at 'When the last reason for it went (UTC); NULL unless withdrawn',
  COMMENT COLUMN modules_done 'How many modules are done',
  COMMENT COLUMN overdue 'Active and past its due date, as of now',
  COMMENT COLUMN changed_at 'When the last fact about it was recorded (UTC)';

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

ALTER TABLE v1_overdue_people $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN person_id 'Who is late',
  COMMENT COLUMN department 'The person''s current department',
  COMMENT COLUMN enrollments 'How many enrolments are overdue',
  COMMENT COLUMN overdue_since 'The earliest due date that passed (UTC)';
