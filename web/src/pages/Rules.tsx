import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import * as catalog from "../api/catalog";
import { type Rule, rules } from "../api/enrollment";
import { Icon } from "../parts/Icon";
import { LinkButton } from "../parts/links";
import { Chip, Page, type Tone } from "../parts/pieces";
import { Ask, Empty } from "../parts/States";
import { coursesQuery } from "../queries";
import { plural } from "../words";

export const RULE_STATE: Record<Rule["state"], { tone: Tone; text: string }> = {
  draft: { tone: "soon", text: "Draft" },
  active: { tone: "good", text: "Active" },
  retired: { tone: "plain", text: "Retired" },
};

export const pathsQuery = { queryKey: ["paths"], queryFn: catalog.paths };

export function Rules() {
  const courses = useQuery(coursesQuery()).data ?? [];
  const paths = useQuery(pathsQuery).data ?? [];
  const title = (id: string) =>
    courses.find((c) => c.course_id === id)?.title ??
    paths.find((p) => p.path_id === id)?.title ??
    "something retired";
  return (
    <Page
      title="Rules"
      lead="Who gets what, in sentences. People follow the rules when HR changes their job."
      actions={
        <LinkButton
          to="/admin/rules/$rule"
          params={{ rule: "new" }}
          leftSection={<Icon name="plus" size={16} />}
        >
          New rule
        </LinkButton>
      }
    >
      <Ask of={useQuery({ queryKey: ["rules"], queryFn: rules })}>
        {(found) =>
          found.length ? (
            <>
              <h2 className="sr">All rules</h2>
              <ul className="plain stack">
                {found.map((r) => (
                  <li key={r.rule_id} className="card linkcard">
                    <div className="row between">
                      <h3>
                        <Link to="/admin/rules/$rule" params={{ rule: r.rule_id }}>
                          {r.name}
                        </Link>
                      </h3>
                      <Chip tone={RULE_STATE[r.state]?.tone}>{RULE_STATE[r.state]?.text ?? r.state}</Chip>
                    </div>
                    <p>
                      When {r.sentence}, enrol in{" "}
                      {new Intl.ListFormat("en").format([...r.course_ids, ...r.path_ids].map(title))}
                      {r.due_in_days != null && `, due in ${plural(r.due_in_days, "day")}`}.
                    </p>
                  </li>
                ))}
              </ul>
            </>
          ) : (
            <Empty title="No rule yet">Without rules people enrol themselves, or are enrolled by hand.</Empty>
          )
        }
      </Ask>
    </Page>
  );
}
