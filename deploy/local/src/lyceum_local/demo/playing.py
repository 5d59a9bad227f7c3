"""A person learns: opens what is due, plays packages, reads, takes quizzes. The calls are those of the web app's pages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from lyceum_local.demo import learners
from lyceum_local.demo.api import Api, Refused, answered, patiently, until
from lyceum_local.demo.learners import Temper
from lyceum_local.demo.lessons import Lessons, Sco

DONE = ("completed", "passed")
# A package here says where its reader is at each page. Every few pages are enough to resume close by.
PAGES_PER_COMMIT = 4

Courses = dict[tuple[str, int], list[dict[str, Any]]]  # modules by course and version


@dataclass
class Learner:
    """Somebody signed in, with what they have done before. `courses` are read once for all learners."""

    api: Api
    person_id: str
    temper: Temper
    lessons: Lessons
    courses: Courses
    before: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])

    def learn(self) -> None:
        """Everything that is open, as far as this person goes; then what that unlocked."""
        for record in self.api.every("/api/assessment/records"):
            self.before.setdefault((record["enrollment_id"], record["module_id"]), []).append(record["state"])
        worked: set[str] = set()
        mine = self._enrollments()
        while True:
            todo = [
                e
                for e in mine
                if e["state"] == "active" and not e["locked"] and e["enrollment_id"] not in worked
            ]
            finished = {e["enrollment_id"] for e in todo if self._take(e)}
            worked |= {e["enrollment_id"] for e in todo}
            if not finished or not any(e["locked"] for e in mine):
                return
            mine = until(partial(self._once_completed, finished), "Completing a course", pause=0.5)

    def _enrollments(self) -> list[dict[str, Any]]:
        found = self.api.every("/api/enrollment/enrollments", person_id=self.person_id)
        return sorted(found, key=lambda e: (e["due_at"] or "9999", e["course_slug"]))

    def _once_completed(self, finished: set[str]) -> list[dict[str, Any]]:
        """Nothing until enrollment has heard that these are finished: then others are open."""
        mine = self._enrollments()
        heard = all(e["state"] == "completed" for e in mine if e["enrollment_id"] in finished)
        return mine if heard else []

    def _take(self, enrollment: Mapping[str, Any]) -> bool:
        """Go through a course; whether it is finished."""
        of, course = enrollment["enrollment_id"], enrollment["course_slug"]
        for number, module in enumerate(self._modules(enrollment), 1):
            states = self.before.get((of, module["module_id"]), [])
            if any(state in DONE for state in states):
                continue
            if not learners.begins(self.temper, course, number):
                return False
            place = Place(of, module["module_id"], course, number)
            match module["kind"]:
                case "scorm12":
                    done = self._play(place, states)
                case "quiz":
                    done = self._quiz(place, states)
                case _:
                    done = self.api.post("/api/assessment/readings", place.module)["state"] in DONE
            if not done:
                return False
        return True

    def _modules(self, enrollment: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Those of the version that was begun."""
        course, version = enrollment["course_id"], enrollment["course_version"]
        if (course, version) not in self.courses:
            found = self.api.get(f"/api/catalog/courses/{course}", version=version)
            self.courses[course, version] = found["modules"]
        return self.courses[course, version]

    # ---- packages

    def _play(self, place: "Place", states: Sequence[str]) -> bool:
        """Sittings at a SCORM package, until it is finished or left."""
        leaves = learners.leaves(self.temper, place.course, place.number)
        if leaves and "suspended" in states:
            return False
        while True:
            sitting = Sitting(self.api, self.api.post("/api/assessment/launches", place.module)["url"])
            sco = self.lessons.scos[sitting.launch_path]
            stop = len(sco.pages)
            if leaves:
                stop = learners.leaves_at(self.temper, place.course, place.number, sco)
            elif not sitting.seen:
                stop = learners.pauses_at(self.temper, place.course, place.number, sco) or stop
            self._sit(place, sitting, sco, stop=stop)
            if leaves or stop == len(sco.pages):
                return sitting.completed

    def _sit(self, place: "Place", sitting: "Sitting", sco: Sco, *, stop: int) -> None:
        for page in sco.pages[len(sitting.seen) : stop]:
            sitting.open(page.id, learners.seconds(self.temper, place.course, place.number, page.id))
            for check in page.checks:
                sitting.answer(check.name, check.right, learners.choose(self.temper, check))
            if len(sitting.seen) % PAGES_PER_COMMIT == 0:
                sitting.commit()
        if stop == len(sco.pages):
            right = {check.name: check.right for check in sco.checks}
            for name, chosen in learners.mended(sco, sitting.answers).items():
                if chosen != sitting.answers[name]:
                    sitting.answer(name, right[name], chosen)
            sitting.complete(learners.percent(sco, sitting.answers) if sco.needed is not None else None)
        sitting.finish()

    # ---- quizzes

    def _quiz(self, place: "Place", states: Sequence[str]) -> bool:
        """Attempts, until one passes or this person gives up."""
        failed, running = states.count("failed"), "started" in states
        while True:
            again = learners.tries_again(self.temper, place.course, place.number, failed + 1)
            if failed and not running and not again:
                return False
            try:
                sheet = self.api.post("/api/assessment/attempts", place.module)
            except Refused as e:
                if e.code == "no-attempts-left":
                    return False
                raise
            at, sequence = f"/api/assessment/attempts/{sheet['attempt_id']}", sheet["saved_sequence"]
            for question in sheet["questions"]:
                if question["answer"] is None:
                    sequence += 1
                    asked = self.lessons.questions[question["question_id"]]
                    given = learners.answer(self.temper, asked, sheet["number"])
                    self.api.put(
                        f"{at}/answers/{question['question_id']}", {"sequence": sequence, "answer": given}
                    )
            result = self.api.post(f"{at}/submit")
            if result["state"] == "passed":
                return True
            if result["attempts_left"] == 0:
                return False
            failed, running = sheet["number"], False


@dataclass(frozen=True)
class Place:
    """A module of an enrolment, and where it stands in its course."""

    enrollment_id: str
    module_id: str
    course: str
    number: int

    @property
    def module(self) -> dict[str, str]:
        return {"enrollment_id": self.enrollment_id, "module_id": self.module_id}


class Sitting:
    """One visit to a SCORM 1.2 package on its own origin, with the token of its one attempt."""

    def __init__(self, api: Api, url: str) -> None:
        link = urlsplit(url)
        self._http = api.http
        # Browsers know that *.localhost is this machine; resolvers may not.
        self._at = f"http://127.0.0.1:{link.port}/__lms"
        self._headers = {"host": link.netloc, "authorization": f"Bearer {link.fragment}"}
        state = self._call("GET", "state")
        self.launch_path: str = state["launch_path"]
        self._session: int = state["session"]
        self._sequence = 0
        self._cmi: dict[str, Any] = state["cmi"]
        self._core: dict[str, Any] = self._cmi["core"]
        self._seconds = 0
        kept: dict[str, Any] = json.loads(self._cmi.get("suspend_data") or "{}")
        self.answers: dict[str, str] = kept.get("answers", {})
        self.seen: list[str] = kept.get("seen", [])
        self.completed = False
        self._core["exit"] = "suspend"
        if self._core["lesson_status"] == "not attempted":
            self._core["lesson_status"] = "incomplete"

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        send = partial(self._http.request, method, f"{self._at}/{path}", json=body, headers=self._headers)
        return answered(patiently(send))

    def open(self, page: str, seconds: int) -> None:
        self._core["lesson_location"] = page
        self.seen.append(page)
        self._seconds += seconds

    def answer(self, check: str, right: str, chosen: str) -> None:
        self.answers[check] = chosen
        interactions: dict[str, Any] = self._cmi.setdefault("interactions", {})
        interactions[str(len(interactions))] = {
            "id": check,
            "type": "choice",
            "correct_responses": {"0": {"pattern": right}},
            "student_response": chosen,
            "result": "correct" if chosen == right else "wrong",
        }

    def complete(self, percent: int | None) -> None:
        self._core["exit"] = ""
        self._core["lesson_status"] = "completed" if percent is None else "passed"
        if percent is not None:
            self._core["score"] = {"raw": str(percent), "min": "0", "max": "100"}

    def commit(self, *, finish: bool = False) -> None:
        self._sequence += 1
        minutes, seconds = divmod(self._seconds, 60)
        self._core["session_time"] = f"{minutes // 60:04}:{minutes % 60:02}:{seconds:02}.00"
        self._cmi["suspend_data"] = json.dumps({"answers": self.answers, "seen": self.seen})
        body = {"session": self._session, "sequence": self._sequence, "finish": finish, "cmi": self._cmi}
        self.completed = self._call("POST", "commit", body)["completed"]

    def finish(self) -> None:
        self.commit(finish=True)
