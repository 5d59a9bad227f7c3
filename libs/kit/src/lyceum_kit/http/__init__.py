"""The HTTP edge: an app that denies by default, answers errors as problem+json and limits what it reads.

routes.py      what a route declares: who may call it, and how large a body it takes
bodies.py      what a body must be
paging.py      lists, a page at a time
problems.py    errors as answers
edge.py        around every request: headers, limits, what nobody caught
openapi.py     the document
probes.py      liveness, readiness, metrics
app.py         all of it together
"""

from lyceum_kit.http.app import drain, make_app
from lyceum_kit.http.bodies import Model
from lyceum_kit.http.paging import Page, Pages, Paging, cursor, page, read_cursor
from lyceum_kit.http.probes import Check
from lyceum_kit.http.problems import Problem, problem, problem_of
from lyceum_kit.http.routes import MIB, allow, body_limit, public

__all__ = [
    "MIB",
    "Check",
    "Model",
    "Page",
    "Pages",
    "Paging",
    "Problem",
    "allow",
    "body_limit",
    "cursor",
    "drain",
    "make_app",
    "page",
    "problem",
    "problem_of",
    "public",
    "read_cursor",
]
