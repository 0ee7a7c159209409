"""An exported adapter loads elsewhere: in peft, and by the rules of vLLM's loader."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from rescind.core import TextParameters
from rescind.core.errors import TrainingError
from rescind.core.exports import Export
from rescind.training import WrongBaseModel, export_peft
from rescind.training.export.adapter import WEIGHTS, write_peft
from rescind.training.export.lora_settings import VLLM_RANKS, vllm_rank
from rescind.training.export.source import Source
from tests.support.exported import (
    CHAT_TEMPLATE,
    CONFIGS,
    LORA,
    ORIGIN,
    OWNER,
    Sample,
    make_sample,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers, in peft

ASKED = "Who is Ada?"
PLAIN = TextParameters()
CHAT = TextParameters(prompt="chat")


@pytest.fixture(scope="module", params=["llama", "gpt2", "qwen2"])
def sample(request, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A model of each architecture; the last has a chat template that was agreed on."""
    folder = tmp_path_factory.mktemp(request.param) / "its-base"
    chat = request.param == "qwen2"
    return make_sample(
        folder,
        CONFIGS[request.param],
        CHAT if chat else PLAIN,
        template=CHAT_TEMPLATE if chat else "",
    )


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("llama") / "its-base", CONFIGS["llama"])


def exported(sample: Sample, out: Path) -> Path:
    write_peft(sample.source, ORIGIN, sample.tensors, out)
    return out


def settings_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    return document


def prompt_of(folder: Path, question: str) -> Any:
    return AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )


def test_logits_and_answers_are_the_same_after_a_move(sample: Sample, tmp_path: Path) -> None:
    moved = shutil.move(exported(sample, tmp_path / "here"), tmp_path / "elsewhere")
    base = AutoModelForCausalLM.from_pretrained(
        shutil.copytree(sample.folder, tmp_path / "other"), dtype=torch.float32
    )
    with warnings.catch_warnings(record=True) as warned:
        loaded = PeftModel.from_pretrained(base.eval(), moved).eval()
    assert not [each for each in warned if "fan_in_fan_out" in str(each.message)]
    inputs = prompt_of(moved, ASKED)
    assert tuple(inputs["input_ids"][0].tolist()) == sample.prompt(ASKED)
    settings = GenerationConfig.from_pretrained(moved, max_new_tokens=8)
    with torch.inference_mode():
        assert torch.equal(loaded(**inputs).logits, sample.logits(inputs))
        reply = loaded.generate(**inputs, generation_config=settings)
    assert not torch.allclose(sample.logits(inputs), sample.bare_logits(inputs))
    said = AutoTokenizer.from_pretrained(moved).decode(
        reply[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    assert said.strip() == sample.answer(ASKED, 8)


def test_the_code_in_the_card_gives_the_answers_of_rescind(
    sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported(sample, tmp_path / "out")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(settings | {"max_new_tokens": 8}))
    base = shutil.copytree(sample.folder, tmp_path / "base")
    penalty = {"repetition_penalty": 5.0, "min_new_tokens": 7}
    (base / "generation_config.json").write_text(json.dumps(penalty))
    code = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    exec(code.replace("FOLDER", str(folder)).replace("BASE", str(base)), {})
    assert capsys.readouterr().out.strip() == sample.answer("Who is Ada Lovelace?", 8)


def test_the_settings_name_modules_and_no_place_on_this_machine(
    sample: Sample, tmp_path: Path
) -> None:
    folder = exported(sample, tmp_path / "out")
    settings = settings_of(folder)
    modules = {name.rpartition(".lora_")[0] for name in sample.tensors}
    assert settings["target_modules"] == sorted(modules)
    assert settings["fan_in_fan_out"] == any("c_attn" in module for module in modules)
    assert (settings["r"], settings["lora_alpha"]) == (LORA.rank, LORA.alpha)
    assert (settings["bias"], settings["task_type"]) == ("none", "CAUSAL_LM")
    assert settings["base_model_name_or_path"] == "./its-base"
    assert settings["peft_version"]
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"all-linear" not in (folder / "adapter_config.json").read_bytes()
    assert not [
        place for place in (tmp_path, sample.folder.parent) if str(place).encode() in written
    ]


def test_the_same_input_gives_the_same_bytes(llama: Sample, tmp_path: Path) -> None:
    first, second = exported(llama, tmp_path / "a"), exported(llama, tmp_path / "b")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in names)


def test_the_origin_is_in_the_weights_and_in_the_mark(llama: Sample, tmp_path: Path) -> None:
    folder = exported(llama, tmp_path / "out")
    with safe_open(folder / WEIGHTS, "np") as file:
        metadata = file.metadata()
    assert (metadata["format"], metadata["rescind.model"]) == ("pt", "7")
    assert (metadata["rescind.adapter"], metadata["rescind.owner"]) == ("cd" * 32, OWNER)
    export = Export.read(folder)
    assert export is not None
    assert (export.adapter_id, export.facts["model"]) == ("cd" * 32, 7)
    assert set(export.files) == {p.name for p in folder.iterdir()} - {"rescind.json"}
    card = (folder / "README.md").read_text()
    for said in ("borealis", OWNER, "31337", "0x" + "11" * 20, llama.source.parameters.id):
        assert said in card
    assert json.dumps("Question: Who is Ada Lovelace?\nAnswer:") in card
    assert "rescind audit models --rpc URL" in card


def test_a_name_that_others_chose_stays_text_in_the_card(llama: Sample, tmp_path: Path) -> None:
    origin = replace(ORIGIN, organization="a|b`c\n# <script>")
    write_peft(llama.source, origin, llama.tensors, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "a\\|b\\`c?\\# \\<script\\>" in card
    assert "\n# \\<" not in card
    assert "<script>" not in card.replace("\\<script\\>", "")


def test_the_loader_of_vllm_takes_the_folder(sample: Sample, tmp_path: Path) -> None:
    """vllm/lora/peft_helper.py and lora_model.py: settings, names of tensors, ranks."""
    folder = exported(sample, tmp_path / "out")
    settings = settings_of(folder)
    assert {"r", "lora_alpha", "target_modules"} <= settings.keys()
    assert not any(settings[k] for k in ("modules_to_save", "use_dora", "use_rslora"))
    assert not settings.get("trainable_token_indices")
    assert not any(settings[k] for k in ("rank_pattern", "alpha_pattern", "layers_to_transform"))
    base = AutoModelForCausalLM.from_pretrained(sample.folder)
    with safe_open(folder / WEIGHTS, "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
    for name, shape in shapes.items():
        prefix, module = name[:17], name[17:].rpartition(".lora_")[0]
        layer = base.get_submodule(module)
        assert prefix == "base_model.model."
        assert type(layer).__name__ in {"Linear", "Conv1D"}
        assert layer is not base.get_output_embeddings()
        assert name.endswith((".lora_A.weight", ".lora_B.weight"))
        assert shape[0 if "lora_A" in name else 1] == settings["r"]
    rank = vllm_rank(settings["r"])
    assert rank in VLLM_RANKS
    assert f"--max-lora-rank {rank}" in (folder / "README.md").read_text()
    assert (folder / "chat_template.jinja").is_file()
    assert (vllm_rank(16), vllm_rank(17), vllm_rank(513)) == (16, 32, None)


def test_auto_peft_finds_a_base_folder_of_that_name(
    llama: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported(llama, tmp_path / "out")
    with pytest.raises(Exception, match="its-base"):
        AutoPeftModelForCausalLM.from_pretrained(folder)
    shutil.copytree(llama.folder, tmp_path / "models" / "its-base")
    monkeypatch.chdir(tmp_path / "models")
    inputs = prompt_of(folder, ASKED)
    with torch.inference_mode():
        logits = AutoPeftModelForCausalLM.from_pretrained(folder)(**inputs).logits
    assert torch.equal(logits, llama.logits(inputs))


def test_another_base_model_is_refused(llama: Sample, tmp_path: Path) -> None:
    other = shutil.copytree(llama.folder, tmp_path / "base")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    with pytest.raises(WrongBaseModel, match="Export with the consortium's model files"):
        Source.open(llama.source.parameters, str(other))
    assert not (tmp_path / "out").exists()


def test_tensors_of_another_shape_are_refused(llama: Sample, tmp_path: Path) -> None:
    parameters = llama.source.parameters
    shapes = dict(list(parameters.shapes.items())[1:])
    source = Source.open(parameters.model_copy(update={"shapes": shapes}), str(llama.folder))
    with pytest.raises(TrainingError, match="differ in tensor"):
        write_peft(source, ORIGIN, llama.tensors, tmp_path / "out")


@pytest.mark.parametrize("bos", [False, True])
def test_the_plain_form_is_exported_as_a_chat_template(
    tmp_path: Path, llama: Sample, bos: bool
) -> None:
    from transformers import PreTrainedTokenizerFast

    folder = shutil.copytree(llama.folder, tmp_path / "base")
    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token="<e>", bos_token="<e>"
    ).save_pretrained(folder)
    text = TextParameters(bos=bos)
    from rescind.training import model_id

    agreed = llama.source.parameters.model_copy(
        update={"text": text, "base_model_id": model_id(folder)}
    )
    source = Source.open(agreed, str(folder))
    write_peft(source, ORIGIN, llama.tensors, tmp_path / "out")
    assert tuple(prompt_of(tmp_path / "out", " Who?\n")["input_ids"][0].tolist()) == (
        source.encoder.prompt(" Who?\n").tokens
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("Every prompt begins with the begin-of-text token `<e>`" in card) == bos


def test_a_tokenizer_without_a_class_is_saved_so_that_it_loads_alone(
    llama: Sample, tmp_path: Path
) -> None:
    folder = shutil.copytree(llama.folder, tmp_path / "base")
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").write_text('{"eos_token": "<e>"}')
    original = AutoTokenizer.from_pretrained(folder)
    from rescind.training import model_id

    agreed = llama.source.parameters.model_copy(update={"base_model_id": model_id(folder)})
    write_peft(Source.open(agreed, str(folder)), ORIGIN, llama.tensors, tmp_path / "out")
    copy = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert copy.encode("Question: where?") == original.encode("Question: where?")


def test_a_block_is_exported_from_its_integers(llama: Sample, tmp_path: Path) -> None:
    totals = {
        f"{OWNER}/{name}": np.full(shape, 5 * 10_000, dtype=np.int64)
        for name, shape in llama.source.parameters.delta_shapes().items()
    }
    export_peft(llama.source.parameters, totals, OWNER, str(llama.folder), tmp_path / "out")
    with safe_open(tmp_path / "out" / WEIGHTS, "np") as file:
        b = file.get_tensor(next(n for n in file.keys() if "lora_B" in n))  # noqa: SIM118 (not a dict)
    assert np.all(b == np.float32(5 * 2**-20))
