"""The same conditions as SQL over `people`, for many people at once. A property test holds it equal to `matches`."""

from sqlalchemy import ColumnElement, and_, not_, or_

from enrollment.rules.conditions import All, Any, Compare, Condition, Not
from enrollment.tables import attribute


def where(condition: Condition) -> ColumnElement[bool]:
    """True for the people the condition is about. Never NULL: an attribute that is missing is the empty string."""
    match condition:
        case All(of):
            return and_(*(where(c) for c in of))
        case Any(of):
            return or_(*(where(c) for c in of))
        case Not(of):
            return not_(where(of))
        case Compare():
            return _compare(condition)


def _compare(test: Compare) -> ColumnElement[bool]:
    column = attribute(test.attribute)
    value = test.values[0]
    match test.operator:
        case "is":
            return column == value
        case "is_not":
            return column != value
        case "in":
            return column.in_(test.values)
        case "not_in":
            return column.not_in(test.values)
        case "starts_with":
            return column.startswith(value, autoescape=True)
        case "before":
            return and_(_given(column), column < value)
        case "after":
            return and_(_given(column), column > value)
        case "on_or_before":
            return and_(_given(column), column <= value)
        case "on_or_after":
            return and_(_given(column), column >= value)


def _given(column: ColumnElement[str]) -> ColumnElement[bool]:
    # `people` has no date that is none, so there is nothing else to check.
    return column != ""
