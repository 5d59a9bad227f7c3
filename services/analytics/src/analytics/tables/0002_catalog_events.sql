-- One row for each event of the catalog feed. Projection: projections.py.
CREATE TABLE IF NOT EXISTS catalog_events $on_cluster (
  generation Int64 COMMENT 'Generation of the feed the position belongs to',
  partition UInt16 COMMENT 'Partition of the feed',
  position UInt64 COMMENT 'Number within the partition: 1, 2, 3 … without a gap',
  id UUID COMMENT 'The event (UUIDv7), as in the ledger',
  tenant UUID COMMENT 'The customer organisation',
  type LowCardinality(String) COMMENT 'For example course-published',
  stream String COMMENT 'What it happened to, for example course/<id>',
  stream_version UInt32 COMMENT 'Number of the event within its stream',
  at DateTime64(6, 'UTC') COMMENT 'When the ledger recorded it',
  occurred_at DateTime64(6, 'UTC') COMMENT 'When it was published; `at` where the event names no other time',
  decoded LowCardinality(String) COMMENT 'yes; unknown-type: of a newer release; broken: unreadable. Else columns below are empty',
  course_id String COMMENT 'The course',
  course_version Int32 COMMENT 'Version of the course: 1, 2, 3 …',
  title String COMMENT 'Title of the course, path or package',
  slug String COMMENT 'Its name in addresses',
  certifying UInt8 COMMENT '1 when passing issues a certificate',
  language LowCardinality(String) COMMENT 'BCP 47',
  duration_minutes Int32 COMMENT 'Minutes a learner typically needs',
  module_ids Array(String) COMMENT 'Modules of the version, in order',
  module_titles Array(String) COMMENT 'Their titles, in the same order',
  module_kinds Array(LowCardinality(String)) COMMENT 'scorm12, quiz or reading, in the same order',
  path_id String COMMENT 'The learning path',
  path_version Int32 COMMENT 'Version of the path',
  path_course_ids Array(String) COMMENT 'Courses of the path, in order',
  package_id String COMMENT 'The imported package',
  format LowCardinality(String) COMMENT 'Format of the package',
  size_bytes Int64 COMMENT 'Size of the package',
  files Int32 COMMENT 'Files in the package',
  reason String COMMENT 'Why a course was deprecated'
) ENGINE = $engine
ORDER BY (tenant, course_id, stream, stream_version)
COMMENT 'Events of courses, learning paths and packages';
