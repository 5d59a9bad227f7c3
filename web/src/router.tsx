import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { Problem } from "./api/client";
import { Shell } from "./parts/Shell";
import { NotFound, PageFailure, PageLoading } from "./parts/States";
import { meQuery, onSignedOut, queryClient } from "./queries";

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound, errorComponent: PageFailure });

const text = (value: unknown): string | undefined => (typeof value === "string" && value ? value : undefined);

/** Only a path of this origin may be returned to. */
export const safeReturn = (value: string | undefined): string =>
  value && /^\/(?![/\\])/.test(value) && !value.startsWith("/sign-in") ? value : "/";

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  validateSearch: (search): { return?: string; find?: string } => ({
    return: text(search.return),
    find: text(search.find),
  }),
  component: lazyRouteComponent(() => import("./pages/SignIn"), "SignIn"),
});

const signedIn = createRoute({
  getParentRoute: () => root,
  id: "in",
  component: Outlet,
  beforeLoad: async ({ location }) => {
    try {
      await queryClient.ensureQueryData(meQuery);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        throw redirect({ to: "/sign-in", search: { return: safeReturn(location.href) }, replace: true });
      }
      throw error;
    }
  },
});

const shell = createRoute({ getParentRoute: () => signedIn, id: "shell", component: Shell });

const today = createRoute({
  getParentRoute: () => shell,
  path: "/",
  component: lazyRouteComponent(() => import("./pages/Today"), "Today"),
});
const catalogue = createRoute({
  getParentRoute: () => shell,
  path: "/catalog",
  validateSearch: (search): { q?: string } => ({ q: text(search.q) }),
  component: lazyRouteComponent(() => import("./pages/Catalogue"), "Catalogue"),
});
const course = createRoute({
  getParentRoute: () => shell,
  path: "/catalog/$slug",
  component: lazyRouteComponent(() => import("./pages/Course"), "CoursePage"),
});
const record = createRoute({
  getParentRoute: () => shell,
  path: "/record",
  component: lazyRouteComponent(() => import("./pages/Record"), "Record"),
});
const team = createRoute({
  getParentRoute: () => shell,
  path: "/team",
  component: lazyRouteComponent(() => import("./pages/Team"), "Team"),
});
const dashboards = createRoute({
  getParentRoute: () => shell,
  path: "/admin/dashboards",
  validateSearch: (search): { department?: string; course?: string } => ({
    department: text(search.department),
    course: text(search.course),
  }),
  component: lazyRouteComponent(() => import("./pages/Dashboards"), "Dashboards"),
});
const people = createRoute({
  getParentRoute: () => shell,
  path: "/admin/people",
  validateSearch: (search): { q?: string; department?: string; left?: boolean } => ({
    q: text(search.q),
    department: text(search.department),
    left: search.left === true || undefined,
  }),
  component: lazyRouteComponent(() => import("./pages/People"), "People"),
});
const person = createRoute({
  getParentRoute: () => shell,
  path: "/admin/people/$person",
  component: lazyRouteComponent(() => import("./pages/Person"), "PersonPage"),
});
const rules = createRoute({
  getParentRoute: () => shell,
  path: "/admin/rules",
  component: lazyRouteComponent(() => import("./pages/Rules"), "Rules"),
});
const rule = createRoute({
  getParentRoute: () => shell,
  path: "/admin/rules/$rule",
  component: lazyRouteComponent(() => import("./pages/RuleEdit"), "RuleEdit"),
});
const system = createRoute({
  getParentRoute: () => shell,
  path: "/admin/system",
  component: lazyRouteComponent(() => import("./pages/System"), "System"),
});
const learn = createRoute({
  getParentRoute: () => signedIn,
  path: "/learn/$enrollment/$module",
  component: lazyRouteComponent(() => import("./pages/Learn"), "Learn"),
});
const quiz = createRoute({
  getParentRoute: () => signedIn,
  path: "/quiz/$enrollment/$module",
  component: lazyRouteComponent(() => import("./pages/Quiz"), "QuizPage"),
});

export const router = createRouter({
  routeTree: root.addChildren([
    signIn,
    signedIn.addChildren([
      shell.addChildren([
        today,
        catalogue,
        course,
        record,
        team,
        dashboards,
        people,
        person,
        rules,
        rule,
        system,
      ]),
      learn,
      quiz,
    ]),
  ]),
  defaultPreload: "intent",
  defaultPendingComponent: PageLoading,
  defaultErrorComponent: PageFailure,
  scrollRestoration: true,
});

onSignedOut(() => {
  const here = router.state.location;
  if (here.pathname === "/sign-in") return;
  queryClient.removeQueries({ queryKey: ["me"] });
  void router.navigate({ to: "/sign-in", search: { return: safeReturn(here.href) } });
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
