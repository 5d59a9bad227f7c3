"""PURE: the people of the demo. The same ones on every machine, as an HR system lists them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

SEED = 4711
DEPARTMENTS: Mapping[str, Sequence[str]] = {
    "Engineering": ("Software Engineer", "Site Reliability Engineer", "Data Engineer"),
    "Sales": ("Account Executive", "Sales Engineer"),
    "Nursing": ("Nurse", "Ward Sister"),
    "Operations": ("Technician", "Facility Manager"),
    "Finance": ("Accountant", "Controller"),
}
PLACES: Mapping[str, str] = {
    "Berlin": "Europe/Berlin",
    "Lisboa": "Europe/Lisbon",
    "Kraków": "Europe/Warsaw",
    "京都": "Asia/Tokyo",
}
GIVEN = [
    "Łukasz", "Amara", "Noor", "Inês", "Jonas", "Mei", "Tomás", "Freya", "Idris", "Zofia", "Ravi", "Elif",
    "Paul", "Chiara", "Sven", "Leila", "太郎", "Marta", "Omar", "Ida",
]  # fmt: skip
FAMILY = [
    "Nowak", "Okafor", "Haddad", "Silva", "Weber", "Chen", "García", "Lind", "Khan", "Wójcik", "Patel",
    "Yılmaz", "Martin", "Rossi", "Berg", "Aziz", "山田", "Costa",
]  # fmt: skip

Person = dict[str, Any]

# Of each department this share still had a course open in the learning system before this one, its date over.
LATE = {"Engineering": 0.14, "Sales": 0.3, "Nursing": 0.1, "Operations": 0.22, "Finance": 0.18}
LATE_COURSE = {
    "Engineering": "security-protocols-101",
    "Sales": "code-of-conduct",
    "Nursing": "workplace-safety-essentials",
    "Operations": "workplace-safety-essentials",
    "Finance": "code-of-conduct",
}


def number(n: int) -> str:
    """An employee number."""
    return f"E{n:04}"


def staff(today: date, people: int) -> list[Person]:
    """A head for each department, everybody else below one of them. Grace heads Engineering."""
    chance = random.Random(SEED)  # noqa: S311 - a data set, not a secret
    listed: list[Person] = []
    for n in range(people):
        head = n < len(DEPARTMENTS)
        department = list(DEPARTMENTS)[n] if head else chance.choice(list(DEPARTMENTS))
        place = chance.choice(list(PLACES))
        given, family = chance.choice(GIVEN), chance.choice(FAMILY)
        if n == 0:
            given, family, place = "Grace", "Hopper", "Berlin"
        listed.append(
            {
                "external_id": number(n),
                "display_name": f"{given} {family}",
                "email": f"{number(n).lower()}@demo.example",
                "department": department,
                "location": place,
                "time_zone": PLACES[place],
                "job_title": f"Head of {department}" if head else chance.choice(DEPARTMENTS[department]),
                "manager_external_id": None if head else number(list(DEPARTMENTS).index(department)),
                "hire_date": str(today - timedelta(days=chance.randint(30, 3000))),
                "employment_type": "employee",
            }
        )
    return listed


def hired(external_id: str, name: str, start: date, *, department: str = "Engineering") -> Person:
    """Somebody whom HR hires while the demo runs, below Grace."""
    return {
        "external_id": external_id,
        "display_name": name,
        "email": f"{external_id.lower()}@demo.example",
        "department": department,
        "location": "Berlin",
        "time_zone": PLACES["Berlin"],
        "job_title": "Software Engineer" if department == "Engineering" else "Account Executive",
        "manager_external_id": number(0 if department == "Engineering" else 1),
        "hire_date": str(start),
        "effective_date": str(start),
        "employment_type": "employee",
    }


# An employee as BambooHR has one; its department is one that nobody at Lyceum has heard of.
KATHERINE: Person = {
    "displayName": "Katherine Johnson",
    "firstName": "Katherine",
    "lastName": "Johnson",
    "workEmail": "katherine@demo.example",
    "department": "Flight Research",
    "location": "Lisboa",
    "jobTitle": "Mathematician",
    "supervisorEId": None,
    "hireDate": "2026-01-05",
    "terminationDate": "0000-00-00",
    "employmentHistoryStatus": "employee",
    "status": "Active",
}


@dataclass(frozen=True)
class Late:
    """An enrolment of the system before, with its date."""

    external_id: str
    course: str
    due: date


def carried_over(listed: Sequence[Person], today: date) -> list[Late]:
    """Who brings an unfinished course along, and when it was due."""
    chance = random.Random(SEED + 1)  # noqa: S311
    found: list[Late] = []
    for person in listed:
        late, days = chance.random() < LATE[person["department"]], chance.randint(2, 40)
        if late:
            due = today - timedelta(days=days)
            found.append(Late(person["external_id"], LATE_COURSE[person["department"]], due))
    return found
