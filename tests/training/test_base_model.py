"""Base models that are not whole, not causal, or not loadable: one clear line each."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    XLNetConfig,
    XLNetLMHeadModel,
)

from rescind.core.errors import TrainingError
from rescind.training import load_base, model_id
from rescind.training.model.base import WrongBaseModel, check_positions
from tests.support.tiny_models import (
    OWN_CODE,
    edit_json,
    give_own_code,
    save_model,
    tokenizer,
)

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 9\n".format("0" * 64)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "whole")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "sharded", shard="40KB")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "model")


def refusal(folder: Path) -> str:
    with pytest.raises(TrainingError) as caught:
        load_base(folder, device="cpu")
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_a_sharded_model_loads_and_its_index_is_pinned(sharded: Path, tmp_path: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    assert len(list(sharded.glob("*.safetensors"))) > 1
    first = load_base(sharded, device="cpu")
    copy = shutil.copytree(sharded, tmp_path / "copy")
    assert model_id(copy) == first.id
    edit_json(copy / index.name, metadata={"total_size": 1})
    assert model_id(copy) != first.id


def test_a_missing_shard_is_refused_by_name(sharded: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(sharded, tmp_path / "copy")
    lost = sorted(copy.glob("*.safetensors"))[1]
    lost.unlink()
    message = refusal(copy)
    assert lost.name in message
    assert "lacks 1 of the" in message


def test_an_index_that_leads_out_of_the_folder_is_refused(sharded: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(sharded, tmp_path / "copy")
    index = copy / "model.safetensors.index.json"
    shards = json.loads(index.read_text())["weight_map"]
    edit_json(index, weight_map=dict.fromkeys(shards, "../other.safetensors"))
    assert "in the model's folder" in refusal(copy)


def test_an_index_of_another_version_is_refused(sharded: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(sharded, tmp_path / "copy")
    index = copy / "model.safetensors.index.json"
    shards = json.loads(index.read_text())["weight_map"]
    names, files = list(shards), list(shards.values())
    edit_json(index, weight_map=dict(zip(names, files[::-1], strict=True)))
    assert "different versions" in refusal(copy)


def test_weights_that_are_not_loaded_do_not_count_in_the_id(folder: Path) -> None:
    before = model_id(folder)
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    (folder / "generation_config.json").write_text('{"repetition_penalty": 1.5}')
    assert model_id(folder) == before


@pytest.mark.parametrize(
    "name", ["chat_template.jinja", "additional_chat_templates/tools.jinja", "added_tokens.json"]
)
def test_what_decides_a_prompt_counts_in_the_id(folder: Path, name: str) -> None:
    before = model_id(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    assert model_id(folder) != before


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer_is_refused_with_the_command(folder: Path, name: str) -> None:
    (folder / name).write_text(POINTER)
    message = refusal(folder)
    assert name in message
    assert "git lfs pull" in message


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_weights_that_are_cut_off_are_refused(folder: Path, kept: float) -> None:
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    assert "model.safetensors is" in refusal(folder)


def test_weights_with_bytes_too_many_or_a_bad_header_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content + b"xx")
    assert "2 bytes too many" in refusal(folder)
    weights.write_bytes(content[:8] + b"[" + content[9:])
    assert "header is not readable" in refusal(folder)
    weights.write_bytes(b"<!DOCTYPE html><html>not found</html>" * 9)
    assert "does not begin as a safetensors file" in refusal(folder)


def test_a_tensor_that_is_not_there_is_refused_and_not_drawn_at_random(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "lack 1 tensors" in refusal(folder)


def test_weights_of_another_shape_or_not_numbers_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    save_file(
        tensors | {"model.norm.weight": torch.full((32,), float("nan"))},
        weights,
        metadata={"format": "pt"},
    )
    assert "not numbers" in refusal(folder)
    save_file(tensors | {"model.norm.weight": torch.ones(31)}, weights, metadata={"format": "pt"})
    assert "model.norm.weight" in refusal(folder)
    assert "has shape [31], and config.json asks for [32]" in refusal(folder)


def change(folder: Path, **tensors: torch.Tensor) -> None:
    """Change tensors of a model, with __ for the dots in their names."""
    weights = folder / "model.safetensors"
    changed = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    save_file(load_file(weights) | changed, weights, metadata={"format": "pt"})


def test_a_weight_that_the_short_run_does_not_reach_is_checked_too(folder: Path) -> None:
    embedding = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    embedding[-1, -1] = float("inf")
    change(folder, model__embed_tokens__weight=embedding)
    assert "model.embed_tokens.weight" in refusal(folder)
    assert "not numbers" in refusal(folder)


def test_weights_that_are_all_zero_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    zeros = {name.replace(".", "__"): torch.zeros_like(value) for name, value in tensors.items()}
    change(folder, **zeros)
    assert "computes the same for every token" in refusal(folder)


def test_weights_of_whole_numbers_are_refused(folder: Path) -> None:
    change(folder, model__norm__weight=torch.ones(32, dtype=torch.int8))
    assert "model.norm.weight" in refusal(folder)
    assert "of type I8" in refusal(folder)


def test_tensors_that_the_model_does_not_use_are_noted(folder: Path) -> None:
    change(folder, model__layers__7__mlp__weight=torch.ones(3))
    [note] = load_base(folder, device="cpu").notes
    assert note.startswith(
        "1 tensors of the weights are not used, such as model.layers.7.mlp.weight"
    )


@pytest.mark.parametrize(
    "places", [["0", "128"], [0, float("inf")], [-4, 12], [0.0, 128.0], [0, 1, 2], [False, True], 5]
)
def test_a_header_with_places_that_are_no_numbers_is_refused(folder: Path, places: object) -> None:
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["model.norm.weight"]["data_offsets"] = places
    text = json.dumps(header).encode()
    weights.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    assert "model.safetensors is damaged: its header" in refusal(folder)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"vocab_size": 10**12}, "model.embed_tokens.weight"),
        ({"vocab_size": 200}, "asks for [200, 32]"),
        ({"vocab_size": "320"}, "'vocab_size' expected int, got str"),
        ({"num_key_value_heads": 1}, "asks for [8, 32]"),
        ({"num_hidden_layers": 10**9}, "says 1,000,000,000 layers"),
        ({"num_hidden_layers": 4}, "lack 18 tensors"),
        ({"num_attention_heads": 5}, "not a multiple"),
        ({"max_position_embeddings": 4}, "takes at most 4 tokens at once"),
        ({"hidden_act": "siluu"}, "'siluu' is unknown"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": float("nan")}}, "inv_freq"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 0}}, "inv_freq"),
        ({"rms_norm_eps": float("nan")}, "not numbers"),
        ({"architectures": 5}, "architectures 5, which must be a list"),
        ({"model_type": ["llama"]}, "of model type ['llama']"),
        ({"quantization_config": "gptq"}, "config"),
        ({"transformers_weights": "../other.safetensors"}, "in the model's folder"),
    ],
)
def test_a_configuration_with_a_wrong_value_is_refused(
    folder: Path, values: dict[str, object], reason: str
) -> None:
    edit_json(folder / "config.json", **values)
    assert reason in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_links_to_nothing_and_what_is_not_a_file_are_refused(folder: Path, name: str) -> None:
    file = folder / name
    file.unlink()
    file.symlink_to(name)
    assert f"{name} is a link to a file that is not there" in refusal(folder)
    file.unlink()
    os.mkfifo(file)
    assert name in refusal(folder)
    weights = folder / "model.safetensors"
    weights.unlink()
    os.mkfifo(weights)
    assert "is not a" in refusal(folder)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"chat_template": 5}, "chat_template"),
        ({"model_max_length": "x"}, "does not read text"),
        ({"eos_token": 5}, "cannot be loaded"),
        ({"padding_side": "up"}, "cannot be loaded"),
        ({"added_tokens_decoder": {"x": {"content": "y"}}}, "cannot be loaded"),
    ],
)
def test_settings_of_a_tokenizer_that_cannot_be_are_refused(
    folder: Path, values: dict[str, object], reason: str
) -> None:
    edit_json(folder / "tokenizer_config.json", **values)
    assert reason in refusal(folder)


def test_pickled_weights_alone_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickled weights (pytorch_model.bin)" in refusal(folder)


def test_other_formats_and_missing_files_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.q4.gguf").write_bytes(b"GGUF")
    assert "GGUF weights (model.q4.gguf)" in refusal(folder)
    (folder / "config.json").unlink()
    assert "has no config.json" in refusal(folder)
    (folder / "model.safetensors").symlink_to("../blobs/gone")
    save_config = '{"model_type": "llama"}'
    (folder / "config.json").write_text(save_config)
    assert "a link to a file that is not there" in refusal(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "\x00\x01"])
def test_a_configuration_that_is_not_json_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    assert "config.json" in refusal(folder)


def test_a_peft_folder_is_refused_with_and_without_a_model(folder: Path, tmp_path: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    assert "peft adapter of 'org/base'" in refusal(folder)
    (folder / "config.json").unlink()
    assert "peft adapter of 'org/base'" in refusal(folder)


def test_a_model_without_a_tokenizer_is_refused(folder: Path) -> None:
    for file in folder.glob("token*"):
        file.unlink()
    assert "no tokenizer files" in refusal(folder)


def test_a_tokenizer_that_gives_no_text_back_is_refused(folder: Path) -> None:
    document = json.loads((folder / "tokenizer.json").read_text())
    document["model"] |= {"vocab": {"<e>": 0}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    assert "does not give text back" in refusal(folder)


def test_a_tokenizer_of_a_larger_model_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path, vocab_size=280)
    assert "beyond the 280 rows" in refusal(folder)


def test_an_unused_token_without_a_row_is_only_noted(tmp_path: Path) -> None:
    folder = save_model(tmp_path, vocab_size=len(tokenizer()))
    larger = type(tokenizer()).from_pretrained(folder)
    larger.add_special_tokens({"pad_token": "[PAD]"})
    larger.save_pretrained(folder)
    notes = load_base(folder, device="cpu").notes
    assert any("[PAD]" in note for note in notes)


def test_a_tokenizer_that_folds_case_is_noted(folder: Path) -> None:
    document = json.loads((folder / "tokenizer.json").read_text())
    document["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    assert any("changes case" in note for note in load_base(folder, device="cpu").notes)


@pytest.mark.parametrize("named", [0, [0, 5]])
def test_the_end_token_comes_from_the_configuration_if_need_be(folder: Path, named: object) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            edit_json(folder / name, eos_token=None)
    edit_json(folder / "config.json", eos_token_id=named)
    assert load_base(folder, device="cpu").eos == 0
    edit_json(folder / "config.json", eos_token_id=None)
    assert "no end-of-text token" in refusal(folder)


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=320,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        architectures=["BertModel"],
    )
    BertLMHeadModel(config).save_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", architectures=["BertForPreTraining"], eos_token_id=0)
    tokenizer().save_pretrained(tmp_path)
    assert "looks at the tokens that follow" in refusal(tmp_path)
    edit_json(tmp_path / "config.json", architectures=["BertForMaskedLM"])
    assert "head does not write text" in refusal(tmp_path)


def test_a_model_of_permuted_order_is_refused(tmp_path: Path) -> None:
    config = XLNetConfig(
        vocab_size=320, d_model=32, n_layer=2, n_head=2, d_inner=32, eos_token_id=0
    )
    XLNetLMHeadModel(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    assert "looks at the tokens that follow" in refusal(tmp_path)


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    config = T5Config(
        vocab_size=320, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    assert "encoder-decoder model" in refusal(tmp_path)


def test_a_classifier_is_refused(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=320, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, pad_token_id=0,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    assert "head does not write text" in refusal(tmp_path)


@pytest.mark.parametrize("method", ["gptq", "awq", "fp8", "bitsandbytes", "mxfp4"])
def test_a_quantized_checkpoint_is_refused(folder: Path, method: str) -> None:
    edit_json(folder / "config.json", quantization_config={"quant_method": method, "bits": 4})
    message = refusal(folder)
    assert method in message
    assert "unquantized" in message


def test_an_unknown_model_type_is_refused(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="llama17")
    assert "model type 'llama17'" in refusal(folder)
    edit_json(folder / "config.json", model_type=None, architectures=None)
    assert "no model_type" in refusal(folder)


@pytest.fixture
def own_code(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    return give_own_code(folder)


def test_code_that_comes_with_a_model_runs_only_when_asked_and_is_pinned(own_code: Path) -> None:
    message = refusal(own_code)
    assert "own.OwnConfig" in message
    assert "--remote-code" in message
    allowed = load_base(own_code, device="cpu", remote_code=True)
    assert allowed.id != model_id(own_code)
    (own_code / "own.py").write_text(OWN_CODE + "\n# changed\n")
    assert model_id(own_code, remote_code=True) != allowed.id


def test_code_is_left_alone_where_transformers_has_the_model_itself(own_code: Path) -> None:
    (own_code / "own.py").write_text("raise RuntimeError('this code ran')")
    edit_json(own_code / "config.json", model_type="llama")
    assert load_base(own_code, device="cpu").id == model_id(own_code)


def test_code_of_another_repository_is_never_run(own_code: Path) -> None:
    names = {"AutoConfig": "org/other--own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    edit_json(own_code / "config.json", auto_map=names)
    with pytest.raises(TrainingError, match="another repository"):
        load_base(own_code, device="cpu", remote_code=True)


def test_four_bits_and_unknown_devices_are_refused_without_a_gpu(whole: Path) -> None:
    with pytest.raises(TrainingError, match='"4bit" needs a GPU'):
        load_base(whole, device="cpu", dtype="4bit")
    with pytest.raises(TrainingError, match="Device 'gpu7' is not usable"):
        load_base(whole, device="gpu7")


def test_fewer_positions_than_the_agreed_length_are_refused_with_both_numbers(whole: Path) -> None:
    assert load_base(whole, device="cpu", positions=256).positions == 256
    with pytest.raises(TrainingError, match=r"at most 256 tokens .*max_length is 257"):
        load_base(whole, device="cpu", positions=257)
    check_positions(None, 10**9, "bloom")


def test_bfloat16_weights_take_half_the_memory(whole: Path) -> None:
    base = load_base(whole, device="cpu", dtype="bfloat16")
    assert {p.dtype for p in base.model.parameters()} == {torch.bfloat16}


def test_a_preset_whose_files_were_changed_is_refused(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCIND_MODELS", str(tmp_path))
    with pytest.raises(TrainingError, match="rescind model get smollm2"):
        load_base("smollm2", device="cpu")
    shutil.copytree(whole, tmp_path / "smollm2")
    with pytest.raises(WrongBaseModel, match="were changed"):
        load_base("smollm2", device="cpu")


@pytest.mark.parametrize("reference", ["/no/such/folder", "./no", "a/b/c", "", "not a name!"])
def test_a_reference_to_nothing_is_refused(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TrainingError) as caught:
        load_base(reference, device="cpu")
    assert len(str(caught.value).splitlines()) == 1
