"""The five services in the simulation: their own pure cores, between an in-memory transaction and the scheduler."""

from collections.abc import Mapping
from datetime import UTC
from uuid import UUID

from analytics.projections import columns
from assessment import certificate, scorm_attempt
from assessment.certificate import Certificate, Issue
from assessment.scorm_attempt import Commit, Launch, ScormAttempt
from assessment.scorm_cmi import Reported
from catalog import course as courses
from catalog.course import Course, CreateCourse, PublishCourse
from enrollment import assignment
from enrollment.assignment import Catalog, Held, Person, Versioned
from enrollment.enrollment import RecordModule, decide
from enrollment.handlers import person_of
from enrollment.rule import ActiveRule, Draft
from enrollment.rules import Condition, RuleIndex, parse
from identity import person as people
from identity.person import Described, Leaves, PersonFacts, Profile, Record, Settle, Statement
from lyceum.assessment.v1.events_pb2 import ModuleCompleted
from lyceum.catalog.v1 import events_pb2 as catalog_pb
from lyceum.enrollment.v1.events_pb2 import CourseCompleted
from lyceum.identity.v1 import events_pb2 as identity_pb
from lyceum_kit import envelope
from lyceum_kit.envelope import Meta
from lyceum_kit.topics import feeds
from tests.faults.simulation.engine import Platform
from tests.faults.simulation.stores import TENANT, Bug, Handler, Tx

DEPARTMENTS = ("Engineering", "Sales", "Support")
PEOPLE = [str(UUID(int=n)) for n in range(1, 7)]
COURSES = {str(UUID(int=0xC0 + n)): department for n, department in enumerate(DEPARTMENTS[:2])}
MODULES = ("m1", "m2")


def _rule(course_id: str, department: str) -> tuple[ActiveRule, Condition]:
    """Whoever is in the department has the course."""
    told = {"attribute": "department", "operator": "is", "value": department}
    condition = parse(told)
    said = Draft(department, condition, told, department, (course_id,), (), 30, "withdraw_if_incomplete")
    return ActiveRule(f"rule-{department}", 1, said), condition


INDEX = RuleIndex[ActiveRule].of(_rule(course_id, department) for course_id, department in COURSES.items())


class School(Platform):
    """The services wired as in topics.yaml, and what people do to them."""

    def __init__(self, seed: int, bug: Bug = "") -> None:
        super().__init__(seed, bug)
        for _ in range(2):
            self.join("enrollment", ["identity", "catalog", "assessment"], self._enrollment())
            self.join("assessment", ["enrollment"], {CourseCompleted.DESCRIPTOR.full_name: self._certify})
            self.join("analytics", list(feeds()), {"*": self._project})
        for course_id in COURSES:  # known before the rules name them, as the API demands
            with_version_1 = Tx(self.databases["catalog"])
            self._publish_course(with_version_1, course_id)
            with_version_1.commit()
            self.databases["enrollment"].rows["course", course_id] = (1, {1: MODULES})
        for _ in range(3):
            self._rebalance()

    def live(self, steps: int) -> None:
        """So many steps of whatever comes, then peace, then the reckoning."""
        commands = (
            self._hr_speaks,
            self._hr_speaks,
            self._somebody_learns,
            self._somebody_learns,
            self._publish,
        )
        for _ in range(steps):
            self.step(commands)
        self.settle()
        self.check()

    # identity

    def _hr_speaks(self) -> None:
        person_id = self.chance.choice(PEOPLE)
        said: Statement = Leaves(self.now)
        if self.chance.random() < 0.8:
            facts = PersonFacts(department=self.chance.choice(DEPARTMENTS))
            said = Described(self.now, facts, Profile("A Person"), hires=True)
        stream = f"person/{person_id}"

        def hear(tx: Tx) -> None:
            record = people.heard(tx.get("record", person_id, default=Record()), said, self.now)
            tx.put(record, "record", person_id)
            now = people.outlook(record, self.now)
            published = people.person_from(tx.load(stream))
            tx.append(stream, people.decide(published, Settle(person_id, "hris", now)))

        self.begin("identity", hear, stream)

    # catalog

    def _publish(self) -> None:
        course_id = self.chance.choice(list(COURSES))
        self.begin("catalog", lambda tx: self._publish_course(tx, course_id), f"course/{course_id}")

    def _publish_course(self, tx: Tx, course_id: str) -> None:
        state = Course()
        for event in tx.load(f"course/{course_id}"):
            state = courses.evolve(state, event)
        created = courses.decide(state, CreateCourse(course_id, "A course", "a-course", "", "an author"))
        modules = [
            catalog_pb.Module(module_id=m, title=m, kind=catalog_pb.MODULE_KIND_READING, text="Read")
            for m in MODULES
        ]
        command = PublishCourse(
            course_id, f"Title {state.version}", "a-course", "", "en", 10, True, modules, (), self.now
        )
        tx.append(f"course/{course_id}", [*created, *courses.decide(state, command)])

    # enrollment

    def _enrollment(self) -> Mapping[str, Handler]:
        return {
            identity_pb.UserProvisioned.DESCRIPTOR.full_name: self._follow_rules,
            identity_pb.UserUpdated.DESCRIPTOR.full_name: self._follow_rules,
            identity_pb.UserReactivated.DESCRIPTOR.full_name: self._follow_rules,
            identity_pb.UserDeactivated.DESCRIPTOR.full_name: self._leave_all,
            catalog_pb.CoursePublished.DESCRIPTOR.full_name: self._know_course,
            ModuleCompleted.DESCRIPTOR.full_name: self._record_module,
        }

    def _follow_rules(
        self,
        tx: Tx,
        event: identity_pb.UserProvisioned | identity_pb.UserUpdated | identity_pb.UserReactivated,
        _meta: Meta,
    ) -> None:
        self._plan(tx, person_of(event))

    def _leave_all(self, tx: Tx, event: identity_pb.UserDeactivated, _meta: Meta) -> None:
        self._plan(tx, Person(event.person_id, {"status": "terminated"}))

    def _plan(self, tx: Tx, person: Person) -> None:
        held: Held = tx.get("held", person.person_id, default=Held())
        matched = INDEX.find(person.facts) if person.employed else []
        found = assignment.plan(
            TENANT, person, matched, held, self._catalog(tx), now=self.now, new_id=self.new_id
        )
        for change in found.changes:
            self._change(tx, change)

    def _change(self, tx: Tx, change: assignment.Change) -> None:
        after = change.after
        stream = f"enrollment/{after.enrollment_id}"
        assert len(tx.load(stream)) == change.expected, "decided on another version than the stream has"
        tx.append(stream, change.events, key=after.person_id)
        held: Held = tx.get("held", after.person_id, default=Held())
        version = Versioned(after, change.expected + len(change.events))
        tx.put(Held({**held.enrollments, after.course_id: version}), "held", after.person_id)
        tx.put(after.person_id, "owner", after.enrollment_id)

    def _know_course(self, tx: Tx, event: catalog_pb.CoursePublished, _meta: Meta) -> None:
        version, modules = tx.get("course", event.course_id, default=(0, {}))
        modules = {**modules, event.course_version: tuple(m.module_id for m in event.modules)}
        tx.put((max(version, event.course_version), modules), "course", event.course_id)

    def _catalog(self, tx: Tx) -> Catalog:
        known = {course_id: tx.get("course", course_id) for course_id in COURSES}
        return Catalog(
            courses={c: assignment.Course(c, version, False) for c, (version, _) in known.items()},
            modules={(c, v): m for c, (_, modules) in known.items() for v, m in modules.items()},
        )

    def _record_module(self, tx: Tx, event: ModuleCompleted, _meta: Meta) -> None:
        held: Held = tx.get("held", tx.get("owner", event.enrollment_id))
        old = next(v for v in held.enrollments.values() if v.state.enrollment_id == event.enrollment_id)
        modules = self._catalog(tx).modules[old.state.course_id, old.state.course_version]
        at = event.completed_at.ToDatetime(UTC)
        change = assignment.change_of(
            old, decide(old.state, RecordModule(event.module_id, event.assurance, None, modules, at))
        )
        if change.events:
            self._change(tx, change)

    # assessment

    def _somebody_learns(self) -> None:
        """Opens a module of an enrolment that enrollment's API shows, and finishes it."""
        held = [v for k, v in self.databases["enrollment"].rows.items() if k[0] == "held"]
        open_ones = [
            v.state for h in held for v in h.enrollments.values() if v.state.state == "active"
        ]  # fmt: skip
        if not open_ones:
            return
        enrolled, module = self.chance.choice(open_ones), self.chance.choice(MODULES)
        stream = f"attempt/{enrolled.enrollment_id}-{module}"

        def learn(tx: Tx) -> None:
            state = ScormAttempt(
                f"{enrolled.enrollment_id}-{module}",
                enrolled.enrollment_id,
                enrolled.person_id,
                enrolled.course_id,
                module,
            )
            for event in tx.load(stream):
                state = scorm_attempt.evolve(state, event)
            launched = scorm_attempt.decide(state, Launch(), now=self.now)
            for event in launched:
                state = scorm_attempt.evolve(state, event)
            reported = Reported("completed", None, None, 60.0, suspended=False)
            finish = Commit(state.session, 1, finish=True, reported=reported, cmi_encrypted=b"")
            committed = scorm_attempt.decide(state, finish, now=self.now)
            tx.append(stream, [*launched, *committed], key=enrolled.person_id)

        self.begin("assessment", learn, stream)

    def _certify(self, tx: Tx, event: CourseCompleted, _meta: Meta) -> None:
        state = Certificate(str(self.new_id()), event.person_id)
        command = Issue(
            event.enrollment_id, event.course_id, event.course_version, None, event.assurance, 0, "key", ""
        )
        if not tx.get("certified", event.enrollment_id):
            tx.put(state.certificate_id, "certified", event.enrollment_id)
            events = certificate.decide(state, command, now=self.now)
            tx.append(f"certificate/{state.certificate_id}", events, key=event.person_id)

    # analytics

    def _project(self, tx: Tx, record: envelope.Record, _meta: Meta) -> None:
        row = columns(record.feed, [record])
        counted = tx.get("counted", record.feed, default=())
        tx.put((*counted, str(row["id"][0])), "counted", record.feed)

    # The reckoning

    def check(self) -> None:
        super().check()
        enrollment, rows = self.databases["enrollment"], self.databases["enrollment"].rows
        hired = 0
        for person_id in PEOPLE:
            published = people.person_from(
                e.message for e in self.databases["identity"].streams[f"person/{person_id}"]
            )
            held: Held = rows.get(("held", person_id), Held())
            for course_id, department in COURSES.items():
                has = held.enrollments.get(course_id)
                wanted = published.active and bool(published.job) and published.job.department == department
                hired += wanted
                if wanted:
                    assert has, f"{person_id} is in {department} and has no enrolment"
                    assert has.state.state in ("active", "completed"), f"{person_id} in {department}"
                elif has:
                    assert has.state.state in ("withdrawn", "completed"), f"{person_id} left {department}"
                if has:
                    told = [e.message for e in enrollment.streams[f"enrollment/{has.state.enrollment_id}"]]
                    assert assignment.fold(told) == has.state, "the table is not what the stream says"
        completed = {
            e.message.enrollment_id
            for events in enrollment.streams.values()
            for e in events
            if isinstance(e.message, CourseCompleted)
        }
        assessment = self.databases["assessment"]
        certified = [k for k in assessment.rows if k[0] == "certified"]
        assert {k[1] for k in certified} == completed
        issued = [s for s, events in assessment.streams.items() if events and s.startswith("certificate/")]
        assert len(issued) == len(completed)
        analytics = self.databases["analytics"]
        for name in feeds():
            db = self.databases[name]
            counted = analytics.rows.get(("counted", name), ())
            assert sorted(counted) == sorted(str(e.id) for es in db.streams.values() for e in es), name
