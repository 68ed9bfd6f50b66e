"""Files that arguments name: which of them are read as templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar

from jinja2 import TemplateNotFound


class TemplateFiles:
    """Reads files below the DAG's folder in the arguments that may name one, and in no others; for operators.

    Airflow's ``template_ext`` knows no fields: it takes whatever text ends in ``.json`` for a template, the files
    that Spark ships as well, and finds none by an absolute name. So it stays empty here. What is no template, such as
    an absolute name, stays text, for those who read the argument to open.
    """

    #: arguments that may be the name of a file -> how such a name ends
    template_files: ClassVar[Mapping[str, str]] = {}
    #: those of them that may be a dict with names of files in it
    template_file_dicts: ClassVar[Sequence[str]] = ()

    # Airflow calls this one, not ``render_template_fields``, for mapped tasks as well
    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        if parent is self:
            for field, ending in self.template_files.items():
                value = getattr(self, field)
                if isinstance(value, dict) and field in self.template_file_dicts:
                    setattr(self, field, {key: _text(one, ending, jinja_env) for key, one in value.items()})
                elif isinstance(value, str):
                    setattr(self, field, _text(value, ending, jinja_env))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)  # type: ignore[misc]


def _text(value: Any, ending: str, jinja_env: Any) -> Any:
    """The text of the file below the DAG's folder that ``value`` names; what names none stays as it is."""
    named = isinstance(value, str) and value.endswith(ending) and not PurePath(value).is_absolute()
    if not named or jinja_env.loader is None:
        return value
    try:
        return jinja_env.loader.get_source(jinja_env, value)[0]
    except TemplateNotFound:
        return value
