-- The analysts' contract on the catalogue: columns are only ever added to a v1 view.
CREATE OR REPLACE VIEW v1_courses $on_cluster AS
SELECT
  x.tenant AS tenant,
  x.course_id AS course_id,
  argMaxIf(x.course_version, x.stream_version, x.type = 'course-published') AS course_version,
  argMaxIf(x.title, x.stream_version, x.type IN ('course-created', 'course-published')) AS title,
  argMaxIf(x.slug, x.stream_version, x.type IN ('course-created', 'course-published')) AS slug,
  argMaxIf(x.certifying, x.stream_version, x.type = 'course-published') AS certifying,
  argMaxIf(x.language, x.stream_version, x.type = 'course-published') AS language,
  argMaxIf(x.duration_minutes, x.stream_version, x.type = 'course-published') AS duration_minutes,
  argMaxIf(length(x.module_ids), x.stream_version, x.type = 'course-published') AS modules,
  argMax(x.type, x.stream_version) = 'course-deprecated' AS deprecated,
  maxIf(x.occurred_at, x.type = 'course-published') AS published_at
FROM catalog_events AS x
WHERE x.course_id != ''
GROUP BY x.tenant, x.course_id
COMMENT 'Courses, one row each, as of the newest version; course_version 0 is a draft';

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

CREATE OR REPLACE VIEW v1_modules $on_cluster AS
SELECT
  x.tenant AS tenant,
  x.course_id AS course_id,
  x.course_version AS course_version,
  number,
  x.module_ids[number] AS module_id,
  x.module_titles[number] AS title,
  x.module_kinds[number] AS kind
FROM catalog_events AS x
ARRAY JOIN arrayEnumerate(x.module_ids) AS number
WHERE x.type = 'course-published'
COMMENT 'Modules of every published version of a course; number is the place in it';

ALTER TABLE v1_modules $on_cluster
  COMMENT COLUMN tenant 'The organisation',
  COMMENT COLUMN course_id 'The course',
  COMMENT COLUMN course_version 'The version of the course',
  COMMENT COLUMN number 'Place in the course, from 1',
  COMMENT COLUMN module_id 'The module; versions of a course may share it',
  COMMENT COLUMN title 'Its title',
  COMMENT COLUMN kind 'scorm12, quiz or reading';
