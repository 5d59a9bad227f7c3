-- What the columns of the analysts' contract mean: SHOW CREATE, system.columns and docs/data-dictionary.md tell it.
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

ALTER TABLE v1_departments_over_time $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN person_id 'The person',
  COMMENT COLUMN department 'Where they were in that time; empty after they left',
  COMMENT COLUMN valid_from 'First instant of it (UTC)',
  COMMENT COLUMN valid_to 'First instant after it (UTC); 2299-12-31 for the present one';

ALTER TABLE v1_courses $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN course_version 'The newest published version; 0 is a draft',
  COMMENT COLUMN title 'Its title, of the newest version',
  COMMENT COLUMN slug 'Its name in addresses',
  COMMENT COLUMN certifying 'Whether passing it issues a certificate',
  COMMENT COLUMN language 'BCP 47 tag, such as en or pt-BR',
  COMMENT COLUMN duration_minutes 'How long it takes, as its author says',
  COMMENT COLUMN modules 'How many modules it has',
  COMMENT COLUMN deprecated 'Whether new enrolments should not name it any more',
  COMMENT COLUMN published_at 'When the newest version was published (UTC)';

ALTER TABLE v1_modules $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN course_version 'The version of the course',
  COMMENT COLUMN number 'Place in the course, from 1',
  COMMENT COLUMN module_id 'The module; versions of a course may share it',
  COMMENT COLUMN title 'Its title',
  COMMENT COLUMN kind 'scorm12, quiz or reading';

ALTER TABLE v1_enrollments $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN enrollment_id 'The enrolment: one person, one course, one cycle',
  COMMENT COLUMN person_id 'The learner',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN course_version 'The version that was pinned when it began',
  COMMENT COLUMN cycle '1 for the first time; a recertification is the next one',
  COMMENT COLUMN mandatory 'Whether a rule, a path or an administrator demands it',
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

ALTER TABLE v1_overdue_people $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN person_id 'Who is late',
  COMMENT COLUMN department 'The person''s current department',
  COMMENT COLUMN enrollments 'How many enrolments are overdue',
  COMMENT COLUMN overdue_since 'The earliest due date that passed (UTC)';

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
