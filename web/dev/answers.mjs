/** Made-up answers in the shapes of the services' APIs. */
const day = (n) => new Date(Date.now() + n * 86_400_000).toISOString();
const list = (items) => ({ body: { items, next: null } });

const PEOPLE = [
  ["ada", "Ada Lovelace", "Engineering", "Engineer", ["learner"], "New here, started today"],
  [
    "grace",
    "Grace Hopper",
    "Engineering",
    "Head of Engineering",
    ["learner", "manager"],
    "Leads a team of four",
  ],
  ["yama", "山田 花子", "Sales", "Account manager", ["learner"], null],
  [
    "lukasz",
    "Łukasz Wiśniewski",
    "Engineering",
    "Site reliability engineer",
    ["learner"],
    "Late with two courses",
  ],
  ["noor", "Noor van der Meer-Oosterhuis", "Operations", "Warehouse lead", ["learner"], null],
  [
    "admin",
    "Ruth Okafor",
    "People",
    "Learning operations",
    ["learner", "manager", "author", "admin"],
    "Sees everything",
  ],
  ["tom", "Tomás Pérez", "People", "Learning designer", ["learner", "author"], null],
  ...Array.from({ length: 14 }, (_, i) => [
    `p${i}`,
    `Sample Person ${i + 1}`,
    "Support",
    "Support agent",
    ["learner"],
    null,
  ]),
].map(([person_id, display_name, department, job_title, roles, note]) => ({
  person_id,
  display_name,
  department,
  job_title,
  roles,
  note,
  tenant_id: "t",
  tenant_slug: "acme",
  location: "Berlin",
  status: person_id === "p3" ? "prehire" : "active",
  manager_id: person_id === "grace" ? null : "grace",
}));

const READING =
  "## Why this matters\n\nMost incidents begin with **one** message that looked normal.\n\n1. Look at the sender.\n2. Look at the link.\n3. Ask, when in doubt.\n\n> Nobody was ever dismissed for asking once too often.\n\n| Sign | Meaning |\n|---|---|\n| Hurry | Somebody wants you not to think |\n\n<script>alert(1)</script>";
const MODULES = [
  { module_id: "m1", title: "Spot the message", kind: "scorm12" },
  { module_id: "m2", title: "What to do next", kind: "reading", text: READING },
  { module_id: "m3", title: "Final quiz", kind: "quiz", quiz_id: "q" },
];
const COURSES = [
  [
    "sec",
    "Security Protocols 101",
    "Recognise, refuse and report: the protocols everyone here follows.",
    35,
    true,
  ],
  ["onb", "How Engineering works", "From a ticket to production, and who to ask.", 50, false],
  [
    "data",
    "Data protection in practice",
    "What counts as personal data and what you may do with it.",
    25,
    true,
  ],
  ["fire", "Fire safety", "Ways out, extinguishers and the meeting point.", 15, false],
].map(([id, title, summary, minutes, certifying]) => ({
  course_id: id,
  course_version: 2,
  title,
  slug: id,
  summary,
  language: "en",
  duration_minutes: minutes,
  modules_count: 3,
  certifying,
  deprecated: false,
  modules: MODULES,
}));

const read = new Set();
const confirmed = new Set();
function enrollment(id, course, extra = {}) {
  const c = COURSES.find((x) => x.course_id === course);
  const done = extra.modules_done ?? 0;
  return {
    enrollment_id: id,
    person_id: "ada",
    course_id: course,
    course_version: 2,
    course_title: c.title,
    course_slug: c.slug,
    cycle: 1,
    state: "active",
    overdue: false,
    locked: false,
    locked_by: [],
    mandatory: true,
    due_at: day(20),
    due_date: day(20).slice(0, 10),
    enrolled_at: day(-3),
    completed_at: null,
    modules_done: done,
    modules_total: 3,
    next_module_id: MODULES[done]?.module_id ?? null,
    grounds: [{ kind: "rule", ground_id: "r", reason: "department is Engineering", via: null }],
    why: ["The rule “Engineering basics” enrols everyone whose department is Engineering."],
    ...extra,
  };
}
const MINE = [
  enrollment("e1", "sec", { modules_done: 1, due_at: day(3), due_date: day(3).slice(0, 10) }),
  enrollment("e2", "data", { overdue: true, due_at: day(-4), due_date: day(-4).slice(0, 10) }),
  enrollment("e3", "onb", {
    locked: true,
    locked_by: ["sec"],
    why: [
      "It is part of the path Engineering Onboarding.",
      "The rule “Engineering basics” assigns that path.",
    ],
  }),
  enrollment("e4", "fire", {
    state: "completed",
    modules_done: 3,
    completed_at: day(-9),
    due_at: null,
    due_date: null,
  }),
];

const QUESTIONS = [
  {
    question_id: "a",
    type: "multiple_choice",
    text: "A colleague asks for your password in chat. What do you do?",
    options: [
      { id: "1", text: "Send it, they are a colleague" },
      { id: "2", text: "Refuse and report it" },
    ],
    answer: null,
  },
  {
    question_id: "b",
    type: "multiple_response",
    text: "Which are signs of a forged message?",
    options: [
      { id: "1", text: "It hurries you" },
      { id: "2", text: "The sender’s domain is misspelt" },
      { id: "3", text: "It greets you by name" },
    ],
    answer: [],
  },
  {
    question_id: "c",
    type: "numeric",
    text: "How many minutes may pass before you report an incident?",
    options: [],
    answer: null,
  },
  { question_id: "d", type: "short_text", text: "Which team do you report to?", options: [], answer: null },
];
const CERTIFICATES = [
  {
    certificate_id: "c1",
    course_id: "fire",
    course_title: "Fire safety",
    issued_at: day(-9),
    revoked_at: null,
    score: 92.5,
    verify_url: "/verify/c1",
    pdf_url: "/api/assessment/certificates/c1.pdf",
    badge_url: "/api/assessment/certificates/c1.jwt",
  },
  {
    certificate_id: "c2",
    course_id: "data",
    course_title: "Data protection in practice",
    issued_at: day(-400),
    revoked_at: day(-30),
    score: 80,
    verify_url: "/verify/c2",
    pdf_url: "/x.pdf",
    badge_url: "/x.jwt",
  },
];
const RECORDS = [
  {
    attempt_id: "a1",
    enrollment_id: "e4",
    course_id: "fire",
    module_id: "m3",
    state: "passed",
    score: 92.5,
    assurance: "server-graded",
    started_at: day(-9),
    completed_at: day(-9),
  },
  {
    attempt_id: "a2",
    enrollment_id: "e1",
    course_id: "sec",
    module_id: "m1",
    state: "completed",
    score: null,
    assurance: "self-reported",
    started_at: day(-2),
    completed_at: day(-2),
  },
  {
    attempt_id: "a3",
    enrollment_id: "e1",
    course_id: "sec",
    module_id: "m3",
    state: "failed",
    score: 55,
    assurance: "server-graded",
    started_at: day(-1),
    completed_at: day(-1),
  },
];
const RULE = {
  rule_id: "r",
  rule_version: 3,
  name: "Engineering basics",
  state: "active",
  sentence: "department is Engineering and (location is Berlin or location is Paris)",
  condition: {
    all: [
      { attribute: "department", operator: "is", value: "Engineering" },
      {
        any: [
          { attribute: "location", operator: "is", value: "Berlin" },
          { attribute: "location", operator: "is", value: "Paris" },
        ],
      },
    ],
  },
  course_ids: ["sec"],
  path_ids: ["path"],
  due_in_days: 30,
  on_ground_lost: "withdraw_if_incomplete",
};
const row = (key, value) => ({
  key,
  label: COURSES.find((c) => c.course_id === key)?.title ?? key,
  value,
  numerator: 31,
  denominator: 40,
});
const feeds = (service) => ({
  service,
  relay: { active: true, error: "", outbox: service === "identity" ? 3 : 0, oldest_age_s: 0.2 },
  feeds: [],
  consumers: ["lyceum.identity", "lyceum.catalog"].flatMap((feed) =>
    Array.from({ length: 12 }, (_, partition) => ({
      consumer: service,
      feed,
      partition,
      next: 41,
      head: 40,
      lag: 0,
      healed: partition === 2 ? 1 : 0,
      alarm: "",
    })),
  ),
  parked:
    service === "enrollment"
      ? [
          {
            n: 1,
            feed: "lyceum.catalog",
            key: "course/0199",
            type: "lyceum.catalog.v1.CoursePublished",
            reason: "The course has no module",
            position: 17,
            parked_at: day(-0.1),
          },
        ]
      : [],
  timers: { pending: 12, late: 0, failed: 0 },
});

export function answer(method, { pathname, searchParams: q }, body, headers, port) {
  const path = pathname.replace("/api/", "");
  const on = (m, pattern) => method === m && new RegExp(`^${pattern}$`).exec(path);
  const id = path.split("/").at(-1);
  if (on("GET", "identity/personas")) return list(PEOPLE);
  if (on("POST", "identity/sessions"))
    return { status: 204, cookie: `who=${body.person_id}; HttpOnly; SameSite=Lax; Path=/` };
  if (on("DELETE", "identity/sessions")) return { status: 204, cookie: "who=; Max-Age=0; Path=/" };
  const who = /who=(\w+)/.exec(headers.cookie ?? "")?.[1] ?? null;
  if (!who)
    return {
      status: 401,
      body: { type: "urn:lyceum:problem:unauthenticated", title: "Not signed in", status: 401 },
    };
  if (on("POST", "identity/token")) return { body: { access_token: "mock", expires_in: 300 } };
  const me = PEOPLE.find((p) => p.person_id === who);
  if (on("GET", "identity/me"))
    return {
      body: {
        ...me,
        tenant_name: "Acme",
        email: `${who}@acme.example`,
        locale: "en",
        time_zone: "Europe/Berlin",
        manager: null,
      },
    };
  if (on("GET", "identity/me/team")) return list(PEOPLE.slice(0, 5).filter((p) => p.person_id !== "grace"));
  if (on("GET", "identity/people"))
    return list(
      PEOPLE.filter((p) => p.display_name.toLowerCase().includes((q.get("search") ?? "").toLowerCase())),
    );
  if (on("GET", "identity/people/.*")) return { body: PEOPLE.find((p) => p.person_id === id) };
  if (on("GET", "identity/org-units"))
    return list(
      ["Engineering", "Sales", "Quantum Gardening"].map((code, i) => ({
        org_unit_id: code,
        code,
        mapped: i < 2 || confirmed.has(code),
        parent_id: null,
        head_id: null,
        people: 40,
      })),
    );
  if (on("PUT", "identity/org-units/.*/mapping"))
    return confirmed.add(decodeURIComponent(path.split("/")[2])) && { body: {} };
  if (on("GET", "catalog/courses"))
    return list(COURSES.filter((c) => c.title.toLowerCase().includes((q.get("search") ?? "").toLowerCase())));
  const course = on("GET", "catalog/courses/.*") && COURSES.find((c) => c.slug === id);
  if (course) return { body: course };
  if (on("GET", "catalog/paths"))
    return list([{ path_id: "path", title: "Engineering Onboarding", slug: "onboarding", summary: "" }]);
  if (on("GET", "enrollment/today"))
    return { body: { resume: MINE[0], due: MINE.slice(0, 3), completed_recently: [MINE[3]] } };
  if (on("GET", "enrollment/enrollments"))
    return list(MINE.filter((e) => !q.get("course_id") || e.course_id === q.get("course_id")));
  if (on("POST", "enrollment/enrollments")) return { status: 201, body: MINE[0] };
  const mine = on("GET", "enrollment/enrollments/.*") && MINE.find((e) => e.enrollment_id === id);
  if (mine)
    return {
      body: {
        ...mine,
        modules: MODULES.map((m, i) => ({
          ...m,
          done: i < mine.modules_done || read.has(m.module_id),
          score: null,
        })),
      },
    };
  if (on("GET", "enrollment/team")) {
    return list([
      { person_id: "ada", active: 3, overdue: 0, completed: 1, next_due_at: day(3), items: [MINE[0]] },
      {
        person_id: "lukasz",
        active: 2,
        overdue: 2,
        completed: 0,
        next_due_at: day(-4),
        items: [MINE[1], MINE[0]],
      },
    ]);
  }
  if (on("GET", "enrollment/rules/attributes"))
    return list([
      { attribute: "department", label: "department", operators: ["in", "is", "is_not", "not_in"] },
      { attribute: "location", label: "location", operators: ["in", "is", "is_not", "not_in"] },
      { attribute: "hire_date", label: "hire date", operators: ["after", "before", "is", "on_or_after"] },
    ]);
  if (on("GET", "enrollment/rules"))
    return list([
      RULE,
      {
        ...RULE,
        rule_id: "r2",
        name: "Everyone: fire safety",
        state: "draft",
        course_ids: ["fire"],
        path_ids: [],
        due_in_days: null,
      },
    ]);
  if (on("POST", "enrollment/rules/preview"))
    return {
      body: {
        sentence: RULE.sentence,
        enroll: { count: 3, people: PEOPLE.slice(0, 3) },
        withdraw: { count: 0, people: [] },
      },
    };
  if (path.startsWith("enrollment/rules")) return { body: RULE };
  if (on("POST", "assessment/launches"))
    return {
      status: 201,
      body: { attempt_id: "a", url: `http://package.localhost:${port}/__lms/run#token` },
    };
  if (on("POST", "assessment/readings"))
    return read.add(body.module_id) && { status: 201, body: { state: "completed" } };
  if (on("GET", "assessment/quizzes/.*/rules"))
    return {
      body: {
        quiz_id: "q",
        title: "Final quiz",
        passing_score: 80,
        questions: 4,
        time_limit_seconds: 1200,
        max_attempts: 3,
      },
    };
  if (on("POST", "assessment/attempts"))
    return {
      status: 201,
      body: {
        attempt_id: "x",
        number: 2,
        state: "started",
        started_at: day(0),
        deadline_at: day(0.0034),
        saved_sequence: 0,
        questions: QUESTIONS,
        attempts_left: 1,
        passing_score: 80,
      },
    };
  if (on("PUT", "assessment/attempts/.*")) return { body: { saved_sequence: body.sequence } };
  if (on("POST", "assessment/attempts/x/submit")) {
    const result = (question_id, points, feedback) => ({
      question_id,
      points,
      max_points: 1,
      correct: points === 1,
      feedback,
    });
    return {
      body: {
        state: "passed",
        score: 87.5,
        passing_score: 80,
        results: [
          result("a", 1, "Right: nobody here will ever ask for it."),
          result("b", 0.5, "A greeting by name proves nothing."),
          result("c", 1, ""),
          result("d", 0, "It is the security desk."),
        ],
        certificate_id: null,
        attempts_left: 1,
      },
    };
  }
  if (on("GET", "assessment/records")) return list(RECORDS);
  if (on("GET", "assessment/certificates")) return list(CERTIFICATES);
  if (on("GET", "analytics/overview"))
    return {
      body: {
        enrolled: 1284,
        completed: 861,
        withdrawn: 37,
        overdue: 58,
        pass_rate: 0.83,
        average_score: 84.2,
        compliance: 0.914,
        certificates: 402,
        as_of: day(0),
      },
    };
  if (on("GET", "analytics/metrics/.*")) {
    const rows =
      q.get("by") === "department"
        ? [row("Engineering", 0.94), row("Sales", 0.71), row("Operations", 0.88), row("People", 1)]
        : COURSES.map((c, i) => row(c.course_id, id === "average_score" ? 70 + i * 8 : 0.6 + i * 0.11));
    return {
      body: {
        metric: id,
        definition: "Obligations that are met, of all that are due by now.",
        dimension: q.get("by"),
        rows,
      },
    };
  }
  if (on("GET", "analytics/courses/.*"))
    return {
      body: {
        enrolled: 320,
        modules: MODULES.map((m, i) => ({ ...m, started: 300 - i * 60, completed: 280 - i * 75 })),
      },
    };
  if (on("GET", "analytics/trend"))
    return {
      body: Array.from({ length: 90 }, (_, i) => ({
        day: day(i - 90).slice(0, 10),
        enrolled: Math.round(12 + 9 * Math.sin(i / 6) + (i % 7)),
        completed: Math.round(6 + i / 14 + 4 * Math.cos(i / 5)),
      })),
    };
  if (on("GET", ".*/readyz"))
    return path.startsWith("analytics")
      ? { status: 503, body: { title: "Not ready", red: { clickhouse: "no answer in 2 s" } } }
      : { body: { status: "ready" } };
  if (on("GET", ".*/system/feeds")) return { body: feeds(path.split("/")[0]) };
  if (path.includes("/system/parked/")) return { body: { handled: 1 } };
  return {
    status: 404,
    body: {
      type: "urn:lyceum:problem:not-found",
      title: "Not found",
      status: 404,
      detail: "There is nothing at this address.",
    },
  };
}
