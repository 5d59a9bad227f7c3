/** The pages a role sees, for the menu and for Find. */
import type { Role } from "./api/identity";
import type { IconName } from "./parts/Icon";

export interface PageLink {
  to:
    | "/"
    | "/catalog"
    | "/record"
    | "/team"
    | "/admin/dashboards"
    | "/admin/people"
    | "/admin/rules"
    | "/admin/system";
  title: string;
  icon: IconName;
  for: Role[];
}

const GROUPS: { title: string; pages: PageLink[] }[] = [
  {
    title: "",
    pages: [
      { to: "/", title: "Today", icon: "today", for: [] },
      { to: "/catalog", title: "Catalogue", icon: "catalog", for: [] },
      { to: "/record", title: "My record", icon: "record", for: [] },
    ],
  },
  { title: "People you lead", pages: [{ to: "/team", title: "Team", icon: "team", for: ["manager"] }] },
  {
    title: "Administration",
    pages: [
      { to: "/admin/dashboards", title: "Dashboards", icon: "chart", for: ["admin", "manager", "author"] },
      { to: "/admin/people", title: "People", icon: "people", for: ["admin"] },
      { to: "/admin/rules", title: "Rules", icon: "rules", for: ["admin"] },
      { to: "/admin/system", title: "System", icon: "system", for: ["admin", "operator"] },
    ],
  },
];

export function pagesFor(roles: Role[]) {
  return GROUPS.map((group) => ({
    ...group,
    pages: group.pages.filter(
      (page) => page.for.length === 0 || page.for.some((role) => roles.includes(role)),
    ),
  })).filter((group) => group.pages.length > 0);
}
