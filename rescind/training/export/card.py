"""README.md of an export: a model card that says how to use the files, and where they come from."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rescind.core import ConsortiumParameters
from rescind.training.export.lora_settings import vllm_rank
from rescind.training.export.origin import Origin
from rescind.training.export.reference import BaseReference

FILE = "README.md"


@dataclass(frozen=True)
class Card:
    """The content of a model card.

    Attributes:
        origin: The model that the export was written from.
        reference: The base model's name for other machines.
        parameters: What the consortium agreed on.
        example: The prompt of the question QUESTION, as text.
        begins_with: The text of the begin-of-text token if prompts begin with it, else empty.
        adds_bos: Whether the tokenizer puts a begin-of-text token in front by default.
        stops: The tokens that end an answer, as text.
        max_new_tokens: The longest answer of `rescind ask`.
        dtype: The type of the base model's weights there.
        template_arguments: What `apply_chat_template` is called with besides messages, as Python.
        has_template_file: Whether the folder has chat_template.jinja.
        renders_alike: Whether the chat template then gives the tokens of the prompt.
    """

    origin: Origin
    reference: BaseReference
    parameters: ConsortiumParameters
    example: str
    begins_with: str
    adds_bos: bool
    stops: Sequence[str]
    max_new_tokens: int
    dtype: str = "float32"
    template_arguments: str = ""
    has_template_file: bool = True
    renders_alike: bool = True


QUESTION = "Who is Ada Lovelace?"
"""The question of the example in a model card."""


def adapter_card(card: Card) -> str:
    """Return the card of a peft folder."""
    rank = vllm_rank(card.parameters.lora.rank)
    vllm = (
        f"""\
vLLM:

```
vllm serve {_base(card)} --enable-lora --max-lora-rank {rank} --lora-modules NAME=FOLDER \\
    --dtype {card.dtype} --generation-config vllm{_vllm_template(card)}
```
"""
        if rank
        else f"vLLM loads no adapter of rank {card.parameters.lora.rank}: use a merged export.\n"
    )
    use = f"""\
transformers and peft:

```python
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

base = AutoModelForCausalLM.from_pretrained({_load(card)}, dtype=torch.{card.dtype})
base.generation_config = GenerationConfig.from_pretrained("FOLDER")
model = PeftModel.from_pretrained(base, "FOLDER").eval()
{_python_use(card)}```

FOLDER is this folder. `AutoPeftModelForCausalLM.from_pretrained("FOLDER")` looks for the base model under the name
{_code(card.reference.name)}{_where_auto(card)}.

{vllm}"""
    return _card(card, "peft", "LoRA adapter for peft and vLLM", use)


def merged_card(card: Card) -> str:
    """Return the card of a merged model."""
    use = f"""\
The block is merged into the base model's weights: the folder is a complete model, and needs neither peft nor the base model.

```python
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER", dtype="auto").eval()
{_python_use(card)}```

`vllm serve FOLDER --generation-config vllm` serves it.
"""
    return _card(card, "transformers", "Model with a LoRA block merged into it", use)


def gguf_card(card: Card, file: str) -> str:
    """Return the card of a GGUF adapter."""
    use = f"""\
llama.cpp, with the base model converted by its `convert_hf_to_gguf.py`:

```
llama-cli -m BASE.gguf --lora {file} --temp 0 -no-cnv -p {json.dumps(card.example)}
```

A base model that is quantized computes other numbers than the one that was trained on, so answers can differ.
"""
    return _card(card, "gguf", "LoRA adapter for llama.cpp", use)


def _plain(text: str) -> str:
    """Return a name that others chose, such as an organization's, without Markdown and HTML."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", printable)


def _card(card: Card, library: str, what: str, use: str) -> str:
    sections = [
        _front_matter(card, library),
        f"# {_plain(card.origin.title)}{_model_number(card)}\n\n{what}, written by Rescind.\n",
        f"## Base model\n\n{_base_section(card)}",
        f"## Prompt\n\n{_prompt_section(card)}",
        *([f"## Tasks\n\n{_tasks_section(card)}"] if card.parameters.statistics else []),
        f"## Generation\n\n{_generation_section(card)}",
        f"## Use\n\n{use}",
        f"## Origin\n\n{_origin_section(card)}",
        f"## Is it still in use?\n\n{_check_section(card)}",
    ]
    return "\n".join(sections)


def _front_matter(card: Card, library: str) -> str:
    lines = ["---", f"library_name: {library}", "pipeline_tag: text-generation"]
    if card.reference.on_hub:
        lines += [f"base_model: {json.dumps(card.reference.name)}"]
    return "\n".join([*lines, "tags:", "  - lora", "  - rescind", "---", ""])


def _model_number(card: Card) -> str:
    return "" if card.origin.model_id is None else f", model {card.origin.model_id}"


def _code(text: str) -> str:
    return f"`{text}`"


def _base(card: Card) -> str:
    if not card.reference.on_hub:
        return "BASE"
    revision = f" --revision {card.reference.revision}" if card.reference.revision else ""
    return f"{card.reference.name}{revision}"


def _load(card: Card) -> str:
    if not card.reference.on_hub:
        return '"BASE"'
    revision = f', revision="{card.reference.revision}"' if card.reference.revision else ""
    return f'"{card.reference.name}"{revision}'


def _vllm_template(card: Card) -> str:
    named = " --chat-template FOLDER/chat_template.jinja" if card.has_template_file else ""
    if not card.template_arguments:
        return named
    values = json.dumps({"enable_thinking": False})
    return f"{named} \\\n    --default-chat-template-kwargs '{values}'"


def _where_auto(card: Card) -> str:
    if card.reference.on_hub:
        return " on the hub"
    return ": start Python in the folder that the base model's folder lies in, under that name"


def _base_section(card: Card) -> str:
    identity = card.origin.base_model_id or card.parameters.base_model_id
    if card.reference.preset:
        first = (
            f"The preset {_code(card.reference.preset)}: `rescind model get {card.reference.preset}` "
            "fetches it. BASE below is its folder."
        )
    elif card.reference.on_hub:
        revision = (
            f" at revision {_code(card.reference.revision)}" if card.reference.revision else ""
        )
        first = f"{_code(card.reference.name)} on the Hugging Face hub{revision}."
    else:
        first = (
            f"A folder that was called {_code(card.reference.name.removeprefix('./'))} where the "
            "export was written. Ask the consortium for its files. BASE below is its folder."
        )
    return f"""\
{first}

Its id is `{identity}`. It is the SHA-256 over the names and hashes of the files that decide what the model computes;
`rescind model check BASE` computes it. With another base model the adapter's answers mean nothing.
"""


def _prompt_section(card: Card) -> str:
    text = card.parameters.text
    form = (
        "The chat template of the base model's tokenizer."
        if text.prompt == "chat"
        else "A line `Question: ...` and then `Answer:`, without a space after it. "
        "`chat_template.jinja` in this folder is the same form as a chat template."
    )
    if card.begins_with:
        bos = f"Every prompt begins with the begin-of-text token {_code(card.begins_with)}"
        bos += (
            " (the tokenizer adds it)." if card.adds_bos else ", which the tokenizer does not add."
        )
    else:
        bos = "No begin-of-text token is put in front of a prompt."
    if card.adds_bos and (text.prompt == "chat" or not text.bos):
        bos += (
            " The tokenizer would add one: tokenize the text of a prompt with "
            '`add_special_tokens=False`, and send `"add_special_tokens": false` to '
            "`/v1/completions` of vLLM."
        )
    if not card.renders_alike:
        bos += (
            " `apply_chat_template` renders the template in another way than the model was trained "
            "with: use the text below, with your question in it."
        )
    return f"""\
{form} {bos} The prompt of "{QUESTION}" is, as a JSON string:

```json
{json.dumps(card.example, ensure_ascii=False)}
```
"""


def _tasks_section(card: Card) -> str:
    agreed = card.parameters.statistics
    tasks = "\n".join(
        f"- {name}: {_plain(task.prompt)}"
        for name, task in (agreed.tasks if agreed else {}).items()
    )
    return f"""\
In the consortium's model, questions of these forms are answered by heads, which are solved from the statistics of all
organizations:

{tasks}

**The heads are not in this export**, and it answers such questions by itself, as it answers all others. `rescind export
RUN --heads FOLDER` writes the heads, and `rescind serve` has both.
"""


def _generation_section(card: Card) -> str:
    stops = " or ".join(_code(stop) for stop in card.stops)
    return f"""\
Greedy: the most likely token each time, without penalties, until {stops}, and for at most {card.max_new_tokens} tokens. These
are the settings in `generation_config.json` here. The base model's weights were in {card.dtype}. The base model's own `generation_config.json` was not used, and its penalties would
change answers: transformers adds them to any settings of a call, unless the model's `generation_config` is replaced.
"""


def _python_use(card: Card) -> str:
    extra = "" if card.template_arguments == "" else f" {card.template_arguments},"
    return f"""\
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
messages = [{{"role": "user", "content": {json.dumps(QUESTION)}}}]
inputs = tokenizer.apply_chat_template(
    messages,{extra} add_generation_prompt=True, return_dict=True, return_tensors="pt"
)
tokens = model.generate(**inputs)
print(tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""


def _origin_section(card: Card) -> str:
    origin, parameters = card.origin, card.parameters
    named = f"`{origin.owner}` {_plain(origin.organization)}"
    owner = "all organizations" if origin.is_shared else named
    modules = parameters.lora.target_modules
    rows = [
        ("consortium", _plain(parameters.name)),
        ("block of", owner.strip()),
        ("model", "not on a chain" if origin.model_id is None else str(origin.model_id)),
        (
            "artifact id of the published adapter",
            _code(origin.adapter_id) if origin.adapter_id else "-",
        ),
        ("in use when it was exported", "yes" if origin.in_use else "no"),
        ("chain id", "-" if origin.chain_id is None else str(origin.chain_id)),
        *(
            (f"contract {name}", _code(address))
            for name, address in sorted(origin.contracts.items())
        ),
        ("id of the agreed parameters", _code(origin.parameters_id or parameters.id)),
        ("coupling", parameters.coupling),
        ("LoRA", f"rank {parameters.lora.rank}, alpha {parameters.lora.alpha}, no bias"),
        ("modules", modules if isinstance(modules, str) else ", ".join(modules)),
        ("longest example in training", f"{parameters.training.max_length} tokens"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"| | |\n|---|---|\n{table}\n"


def _check_section(card: Card) -> str:
    origin = card.origin
    if origin.model_id is None or not origin.contracts:
        return "This export does not name a model on a chain.\n"
    content = (
        ""
        if origin.is_shared
        else f", and the second {_plain(origin.organization or origin.owner)}"
    )
    return f"""\
An organization or a person can withdraw. Then the model is not in use any more, and this copy must be deleted. Ask the chain,
through any Ethereum node, before you serve it and from time to time:

```
rescind audit models --rpc URL --contracts contracts.json
rescind audit content {origin.model_id} --rpc URL --contracts contracts.json
```

The first command must show model {origin.model_id} in use{content}. `contracts.json` is in this folder; compare its addresses with
those that you know. `rescind verify certificate.json --rpc URL --contracts contracts.json` checks the certificate of a withdrawal.
"""
