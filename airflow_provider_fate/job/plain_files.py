"""Files of JSON or YAML, read more strictly than the libraries do: of a key that stands twice they take the last."""

from __future__ import annotations

import json
import os
from typing import Any

from airflow_provider_fate.errors import ConfigError
from airflow_provider_fate.job.names import short


def read_plain(path: str | os.PathLike[str], max_bytes: int, entry: str) -> Any:
    """What a file holds in which no key stands twice, and nothing refers to something else.

    :param path: absolute; ``.yaml``, ``.yml`` or ``.json``
    :param entry: what names the file, for errors
    :raises ConfigError: it cannot be read, is larger than ``max_bytes``, or is no such file
    """
    name = os.fspath(path)
    if not os.path.isabs(name):
        raise ConfigError(entry, f"{short(name)} is not the absolute path of a file")
    try:
        with open(name, "rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(entry, f"{name} cannot be read: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise ConfigError(entry, f"{name} is larger than {max_bytes} bytes")
    if name.endswith(".json"):
        return _json(content, name, entry)
    if name.endswith((".yaml", ".yml")):
        return _yaml(content, name, entry)
    raise ConfigError(entry, f"{name}: expected a file that ends in .yaml, .yml or .json")


def _json(content: bytes, name: str, entry: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ConfigError(entry, f"{name}: the key {short(key)} stands twice")
            found[key] = value
        return found

    try:
        return json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ConfigError(entry, f"{name} is not JSON: {error}") from error


def _yaml(content: bytes, name: str, entry: str) -> Any:
    import yaml  # not among what executors have

    class Strict(yaml.SafeLoader):
        """Safe YAML in which no key stands twice and nothing refers to something else."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.composer.ComposerError(None, None, "aliases are not allowed", self.peek_event().start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[Any] = set()
            for key, _ in node.value:
                value = self.construct_object(key, deep=True)
                text = str(value)
                if text in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {short(text)} stands twice", key.start_mark
                    )
                seen.add(text)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(content, Loader=Strict)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise ConfigError(entry, f"{name} is not YAML that can be taken: {' '.join(str(error).split())}") from error
