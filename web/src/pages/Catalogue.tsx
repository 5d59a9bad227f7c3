import { TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { keepPreviousData, useQuery, useSuspenseQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import type { CourseCard } from "../api/catalog";
import type { Enrollment } from "../api/enrollment";
import { Cover } from "../parts/Cover";
import { Icon } from "../parts/Icon";
import { Chip, Page } from "../parts/pieces";
import { Ask, Empty } from "../parts/States";
import { coursesQuery, enrollmentsQuery, meQuery } from "../queries";
import { language, minutes, plural } from "../words";

export function Catalogue() {
  const { q = "" } = useSearch({ from: "/in/shell/catalog" });
  const me = useSuspenseQuery(meQuery).data;
  const navigate = useNavigate({ from: "/catalog" });
  const [typed, setTyped] = useState(q);
  const seek = useDebouncedCallback(
    (text: string) => void navigate({ search: { q: text || undefined }, replace: true }),
    200,
  );
  const courses = useQuery({ ...coursesQuery(q), placeholderData: keepPreviousData });
  const mine = useQuery(enrollmentsQuery({ person_id: me.person_id })).data ?? [];
  return (
    <Page title="Catalogue" lead="Everything you may learn here. Enrol yourself in what you like.">
      <search>
        <TextInput
          size="md"
          label="Search courses"
          value={typed}
          leftSection={<Icon name="search" size={18} />}
          onChange={(event) => {
            setTyped(event.currentTarget.value);
            seek(event.currentTarget.value.trim());
          }}
        />
      </search>
      <Ask of={courses}>
        {(found) => (
          <>
            <p className="sr" role="status">
              {plural(found.length, "course")} found
            </p>
            {found.length === 0 && (
              <Empty title={q ? "No course fits" : "No course is published yet"}>
                {q
                  ? "Try another word, or fewer letters."
                  : "Authors publish courses; they appear here at once."}
              </Empty>
            )}
            <h2 className="sr">Courses</h2>
            <ul className="plain grid">
              {found.map((c) => (
                <CourseItem
                  key={c.course_id}
                  course={c}
                  mine={mine.find((e) => e.course_id === c.course_id)}
                />
              ))}
            </ul>
          </>
        )}
      </Ask>
    </Page>
  );
}

function CourseItem({ course, mine }: { course: CourseCard; mine?: Enrollment }) {
  return (
    <li className="card linkcard covered">
      <Cover of={course.slug} />
      <h3>
        <Link to="/catalog/$slug" params={{ slug: course.slug }}>
          {course.title}
        </Link>
      </h3>
      <p className="soft" style={{ flex: 1 }}>
        {course.summary}
      </p>
      <p className="soft small num facts-line">
        <span>{plural(course.modules_count, "module")}</span>
        <span>{minutes(course.duration_minutes)}</span>
        <span>{language(course.language)}</span>
      </p>
      <div className="row">
        {course.certifying && <Chip tone="accent">Certificate</Chip>}
        {mine?.state === "completed" && (
          <Chip tone="good">
            <Icon name="check" size={14} /> Completed
          </Chip>
        )}
        {mine?.state === "active" && (
          <Chip tone="plain">
            {mine.modules_done
              ? `${mine.modules_done} of ${plural(mine.modules_total, "module")} done`
              : "Enrolled"}
          </Chip>
        )}
        {course.deprecated && <Chip tone="soon">Retired</Chip>}
      </div>
    </li>
  );
}
