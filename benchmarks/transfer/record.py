"""What a stage found, as one compact JSON: a line for every run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mast_plugin.files.storage import write_whole


def read(path: Path) -> dict[str, Any]:
    """A stage's record; empty where there is none yet."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record: a line for every key, and for every entry of a list."""
    lines = [f"{json.dumps(key)}: {_value(value)}" for key, value in content.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _value(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"  {json.dumps(each)}" for each in value) + "\n]"
    return json.dumps(value)
