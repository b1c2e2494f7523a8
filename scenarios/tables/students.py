"""How a table of the students of an elastic network is written, by `carom students` and by the explorer."""

from .table import Form

FORMS: dict[str, Form] = {
    "student": "text",
    "accuracy": "percent",
    "robust accuracy": "percent",
    "MACs": "count",
    "parameters": "count",
}
