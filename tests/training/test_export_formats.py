"""Merged models and GGUF adapters compute what the block computes."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXConfig

from rescind.core import LoraParameters
from rescind.core.errors import TrainingError
from rescind.training.export.gguf_adapter import FILE, permuted, write_gguf
from rescind.training.export.merged import write_merged
from tests.support.exported import CONFIGS, ORIGIN, Sample, make_sample

ASKED = "Who is Ada?"


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def sample(request, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp(request.param) / "base", CONFIGS[request.param])


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("llama") / "base", CONFIGS["llama"])


def test_a_merged_model_answers_as_the_block_does(sample: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_merged(sample.source, ORIGIN, sample.tensors, out, shard_bytes=40_000)
    model = AutoModelForCausalLM.from_pretrained(out, dtype="auto").eval()
    tokenizer = AutoTokenizer.from_pretrained(out)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": ASKED}],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        logits = model(**inputs).logits
        reply = model.generate(**inputs, max_new_tokens=8)
    assert torch.allclose(logits, sample.logits(inputs), atol=1e-4)
    said = tokenizer.decode(reply[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert said.strip() == sample.answer(ASKED, 8)
    shards = sorted(out.glob("*.safetensors"))
    assert len(shards) > 1
    for shard in shards:
        with safe_open(shard, "np") as file:
            assert (file.metadata()["format"], file.metadata()["rescind.model"]) == ("pt", "7")
    written = b"".join(path.read_bytes() for path in out.iterdir() if path.suffix != ".safetensors")
    assert str(tmp_path).encode() not in written
    assert str(sample.folder).encode() not in written


def test_merged_weights_are_written_in_bfloat16_and_the_same_each_time(
    llama: Sample, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_merged(llama.source, ORIGIN, llama.tensors, tmp_path / name, dtype="bfloat16")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "a", dtype="auto")
    assert model.dtype == torch.bfloat16
    assert model.generation_config.do_sample is False


def test_a_block_of_tied_weights_is_not_merged(tmp_path: Path) -> None:
    lora = LoraParameters(rank=2, alpha=4, train_a=True, target_modules=("lm_head",))
    sample = make_sample(tmp_path / "base", CONFIGS["llama"], lora=lora)
    with pytest.raises(TrainingError, match=r"embed_tokens.weight.*lm_head.* the same weights"):
        write_merged(sample.source, ORIGIN, sample.tensors, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_quantized_base_is_not_merged(llama: Sample, tmp_path: Path) -> None:
    config = llama.folder / "config.json"
    before = config.read_text()
    config.write_text(json.dumps(json.loads(before) | {"quantization_config": {"bits": 4}}))
    try:
        with pytest.raises(TrainingError, match="is quantized"):
            write_merged(llama.source, ORIGIN, llama.tensors, tmp_path / "out")
    finally:
        config.write_text(before)


def text_of(reader: gguf.GGUFReader, key: str) -> object:
    field = reader.get_field(key)
    assert field is not None, key
    return field.contents()


def test_a_gguf_adapter_reads_back_with_the_names_and_rows_of_llama_cpp(
    llama: Sample, tmp_path: Path
) -> None:
    write_gguf(llama.source, ORIGIN, llama.tensors, tmp_path / "out")
    reader = gguf.GGUFReader(tmp_path / "out" / FILE)
    assert text_of(reader, "general.architecture") == "llama"
    assert text_of(reader, "general.type") == "adapter"
    assert text_of(reader, "adapter.type") == "lora"
    assert text_of(reader, "adapter.lora.alpha") == 12.0
    assert text_of(reader, "rescind.model") == "7"
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    assert len(tensors) == len(llama.tensors)
    layer = "model.layers.1."
    for name, original in {
        "blk.1.attn_q.weight.lora_a": llama.tensors[f"{layer}self_attn.q_proj.lora_A"],
        "blk.1.attn_q.weight.lora_b": permuted(
            llama.tensors[f"{layer}self_attn.q_proj.lora_B"], heads=4
        ),
        "blk.1.attn_k.weight.lora_b": permuted(
            llama.tensors[f"{layer}self_attn.k_proj.lora_B"], heads=2
        ),
        "blk.1.attn_v.weight.lora_b": llama.tensors[f"{layer}self_attn.v_proj.lora_B"],
        "blk.1.ffn_down.weight.lora_a": llama.tensors[f"{layer}mlp.down_proj.lora_A"],
    }.items():
        assert np.array_equal(tensors[name], original), name


def test_rows_of_a_head_are_interleaved() -> None:
    rows = np.arange(16, dtype=np.float32).reshape(8, 2)
    first_of_each = permuted(rows, heads=2)[:, 0] / 2
    assert first_of_each.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_gguf_of_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    config = GPTNeoXConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=0,
    )
    sample = make_sample(tmp_path / "base", config)
    with pytest.raises(TrainingError, match=r"is a GPTNeoXForCausalLM.*convert_lora_to_gguf\.py"):
        write_gguf(sample.source, ORIGIN, sample.tensors, tmp_path / "out")
    assert not (tmp_path / "out").exists()
