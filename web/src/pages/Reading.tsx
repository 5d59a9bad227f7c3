import { Button } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { markRead } from "../api/assessment";
import { Focus } from "../parts/Focus";
import { Icon } from "../parts/Icon";
import { LinkButton } from "../parts/links";
import { Markdown } from "../parts/Markdown";
import { Ask, Failure } from "../parts/States";
import { courseQuery, learningChanged, patient } from "../queries";
import type { ModuleProps } from "./Learn";

export function Reading({ enrollment, module }: ModuleProps) {
  const course = useQuery(courseQuery(enrollment.course_id, enrollment.course_version));
  const read = useMutation({
    ...patient,
    mutationFn: () => markRead(enrollment.enrollment_id, module.module_id),
    onSuccess: learningChanged,
  });
  const done = module.done || read.isSuccess;
  const at = enrollment.modules.findIndex((m) => m.module_id === module.module_id);
  const next = enrollment.modules.slice(at + 1).find((m) => !m.done);
  return (
    <Focus of={enrollment} title={module.title}>
      <article className="prose">
        {/* Nobody marks as read what is not there yet; and nothing under the focus moves when it comes. */}
        <Ask of={course} rows={4}>
          {(c) => (
            <>
              <Markdown
                text={
                  c.modules.find((m) => m.module_id === module.module_id)?.text ?? "*This page has no text.*"
                }
              />
              <div className="card stack" style={{ marginTop: 40, fontSize: "1rem" }}>
                {read.isError && <Failure error={read.error} retry={() => read.mutate()} />}
                <div role="status">
                  {done && (
                    <div className="notice good">
                      <Icon name="check" /> Marked as read. It counts towards the course.
                    </div>
                  )}
                </div>
                {!done && (
                  <>
                    <p className="soft">It is done when you say so: no timer decides for you.</p>
                    <div>
                      <Button size="md" loading={read.isPending} onClick={() => read.mutate()}>
                        Mark as read
                      </Button>
                    </div>
                  </>
                )}
                {done && next && (
                  <div>
                    <LinkButton
                      to="/learn/$enrollment/$module"
                      params={{ enrollment: enrollment.enrollment_id, module: next.module_id }}
                      rightSection={<Icon name="arrow" size={18} />}
                    >
                      Next: {next.title}
                    </LinkButton>
                  </div>
                )}
              </div>
            </>
          )}
        </Ask>
      </article>
    </Focus>
  );
}
