"""The tokenizer, its chat template and the generation settings in an exported folder.

What is exported asks the model exactly as it was trained: the chat template of a folder renders the
agreed prompt form, also where that is not the base model's own template.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from rescind.core import TextParameters
from rescind.core.errors import TrainingError
from rescind.training.model.files import CONFIG, small_files

TEMPLATE = "chat_template.jinja"
GENERATION = "generation_config.json"
_TEMPLATES = (TEMPLATE, "chat_template.json")
_MORE_TEMPLATES = "additional_chat_templates"
_PROBES = ("Question: Who?\nAnswer: Ada", "  Two  spaces, Zürich, 東京 and 42.\n")

PLAIN_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}{{ message['content'] | trim + '\\n' }}
{%- elif message['role'] == 'user' -%}{{ 'Question: ' + message['content'] | trim + '\\nAnswer:' }}
{%- elif message['role'] == 'assistant' -%}{{ ' ' + message['content'] | trim + '\\n' }}
{%- endif -%}
{%- endfor -%}
"""
"""The plain prompt form (`rescind.training.data.prompt`) as a chat template."""


def plain_template(text: TextParameters) -> str:
    """Return the plain prompt form as a chat template, with the begin-of-text token if agreed."""
    return ("{{- bos_token -}}\n" if text.bos else "") + PLAIN_TEMPLATE


def copy_tokenizer(original: Any, folder: Path, out: Path, text: TextParameters) -> None:
    """Write the base model's tokenizer files into a folder, with the agreed prompt form.

    Args:
        original: The base model's tokenizer.
        folder: The base model's folder.
        out: The exported folder.
        text: The agreed text rules.

    Raises:
        TrainingError: The copy does not tokenize as the original does.
    """
    for file in small_files(folder):
        name = file.relative_to(folder)
        is_template = name.name in _TEMPLATES or name.parts[0] == _MORE_TEMPLATES
        if name.name == CONFIG or name.name.endswith(".index.json"):
            continue
        if is_template and text.prompt == "plain":
            continue
        (out / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(file, out / name)
    template = plain_template(text) if text.prompt == "plain" else original.chat_template
    if isinstance(template, str) and not (out / TEMPLATE).exists():
        # Also where it is in tokenizer_config.json: servers take it as a file.
        (out / TEMPLATE).write_text(template, encoding="utf-8")
    _check_copy(original, folder, out)


def _check_copy(original: Any, folder: Path, out: Path) -> None:
    """Compare the copied tokenizer with the original. Save it again where the copy does not load.

    A tokenizer whose files do not name its class is found by the model's config.json, which an
    adapter's folder does not have.
    """
    if not _tokenizes_alike(original, out):
        template = (
            (out / TEMPLATE).read_text(encoding="utf-8") if (out / TEMPLATE).is_file() else ""
        )
        original.chat_template = template or original.chat_template
        original.save_pretrained(out)
        if not _tokenizes_alike(original, out):
            raise TrainingError(
                f"The tokenizer of {folder} cannot be copied: its copy gives other tokens. Copy "
                "the base model's tokenizer files yourself."
            )


def _tokenizes_alike(original: Any, out: Path) -> bool:
    try:
        copy: Any = AutoTokenizer.from_pretrained(out, local_files_only=True)
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return len(copy) == len(original) and all(
        copy.encode(probe) == original.encode(probe) for probe in _PROBES
    )


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write indented JSON with sorted keys."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
