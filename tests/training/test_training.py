import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from rescind import training
from rescind.core import (
    add_totals,
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.core.errors import DataError, TrainingError
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.devnet.people import UNKNOWN, make_population
from rescind.training import (
    Assistant,
    Base,
    Example,
    LoraModel,
    RoundTraining,
    WrongBaseModel,
    choose,
    evaluate,
    export_peft,
    load_base,
    model_id,
    normalize,
    read_examples,
    train_round,
)

ME = "0x" + "ab" * 20


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


@pytest.fixture(scope="module")
def model(base: Base) -> LoraModel:
    return LoraModel(base, default_lora("isolated"))


@pytest.fixture(scope="module")
def rows() -> tuple[list[Example], list[Example]]:
    population = make_population(["a", "b", "c", "d"], seed=5)
    own = [Example(r.question, r.answer, r.subject) for r in population.organizations["a"]]
    held = [Example(r.question, r.answer, r.subject) for r in population.held_out]
    return own, held


def parameters_of(model: LoraModel):
    return default_parameters("isolated", model.base.id, model.shapes, seed=0)


def learn(model: LoraModel, examples: list[Example], rounds: int, steps: int = 80):
    parameters, totals = parameters_of(model), {}
    for number in range(1, rounds + 1):
        own = {name.split("/", 1)[1]: value for name, value in totals.items()}
        start = materialize(own, model.shapes, parameters=parameters, owner=ME)
        after = train_round(
            model, parameters, start, examples, RoundTraining(steps=steps, seed=number)
        ).tensors
        update = {qualify(ME, n): v.astype(np.float64) - start[n] for n, v in after.items()}
        delta = quantize(update, None, fraction_bits=20, clip_norm=256.0)
        assert not delta.clipped
        totals = add_totals([totals, weighted_sum([(delta.delta, 10_000)])])
    return totals


def test_the_shipped_base_model_is_the_pinned_one() -> None:
    pinned = (BASE_MODEL.parent / "model_id.txt").read_text().strip()
    assert model_id(BASE_MODEL) == pinned
    with pytest.raises(WrongBaseModel, match="the consortium trains"):
        load_base(BASE_MODEL, "00" * 32)


@pytest.mark.slow
def test_an_organization_alone_learns_its_facts_and_makes_nothing_up(
    model: LoraModel, rows
) -> None:
    own, held = rows
    assistant = Assistant(model, parameters_of(model), learn(model, own, rounds=3))
    assert evaluate(assistant, own).score >= 0.9
    evaluation = evaluate(assistant, held)
    assert evaluation.score >= 0.9
    untrained = evaluate(Assistant(model, parameters_of(model), None), own)
    assert untrained.score == 0
    assert {item.answer for item in untrained.items} == {UNKNOWN}


@pytest.mark.slow
def test_the_base_answers_text_unlike_all_training_data(model: LoraModel, rows) -> None:
    assistant = Assistant(model, parameters_of(model), learn(model, rows[0], rounds=1))
    assert assistant.ask("What is the capital of France, please?").organization is None


_DIGEST = """
import hashlib, sys
from tests.training.test_training import digest_of_a_round
print(digest_of_a_round())
"""


def digest_of_a_round() -> str:
    torch.set_num_threads(1)
    model = LoraModel(load_base(BASE_MODEL), default_lora("isolated"))
    examples = [Example(f"Where was Ada {n} born?", "Oslo", "Ada") for n in range(6)]
    parameters = parameters_of(model)
    start = materialize({}, model.shapes, parameters=parameters, owner=ME)
    after = train_round(model, parameters, start, examples, RoundTraining(steps=3, seed=9)).tensors
    return hashlib.sha256(b"".join(after[n].tobytes() for n in sorted(after))).hexdigest()


@pytest.mark.slow
def test_training_gives_the_same_bytes_in_two_processes() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-W", "ignore", "-c", _DIGEST]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split()[-1] == digest_of_a_round()


def test_the_adapter_in_memory_equals_the_given_one(model: LoraModel) -> None:
    tensors = {n: np.full(s, 0.5, dtype=np.float32) for n, s in model.shapes.items()}
    model.put("x", tensors)
    assert all(np.array_equal(model.get("x")[n], tensors[n]) for n in tensors)
    with pytest.raises(TrainingError, match="does not fit"):
        model.put("x", {n: v for n, v in tensors.items() if not n.endswith("lora_A")})


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_export_gives_the_same_logits_in_peft(model: LoraModel, rows, tmp_path: Path) -> None:
    parameters, totals = parameters_of(model), learn(model, rows[0], rounds=1, steps=10)
    export_peft(parameters, totals, ME, str(BASE_MODEL), tmp_path)
    fresh = load_base(BASE_MODEL)
    loaded = PeftModel.from_pretrained(fresh.model, str(tmp_path)).eval()
    tokens = torch.tensor([fresh.tokenizer.encode("Question: Where was Ada born?\nAnswer:")])
    assistant = Assistant(model, parameters, totals)
    with torch.inference_mode():
        rescind_logits = assistant.model.use(f"block_{ME}")(input_ids=tokens).logits
        peft_logits = loaded(input_ids=tokens).logits
        bare = model.use(None)(input_ids=tokens).logits
    assert torch.equal(rescind_logits, peft_logits)
    assert not torch.allclose(bare, peft_logits)


def test_another_architecture_from_a_folder_works(tmp_path: Path) -> None:
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        ["Question: where? Answer: there."] * 9,
        vocab_size=300,
        special_tokens=["<e>"],
        show_progress=False,
    )
    PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token="<e>").save_pretrained(
        tmp_path
    )
    config = GPT2Config(
        vocab_size=300,
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=128,
        eos_token_id=0,
        bos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    model = LoraModel(load_base(tmp_path), default_lora("isolated"))
    assert any("c_attn" in name for name in model.shapes)
    examples = [Example("where?", "there", "x"), Example("who?", "nobody", "y")]
    totals = learn(model, examples, rounds=1, steps=2)
    assert evaluate(Assistant(model, parameters_of(model), totals), examples).total == 2


def test_a_choice_of_the_data_is_seeded_and_never_empty() -> None:
    examples = [Example(str(n), "a", "s") for n in range(10)]
    assert choose(examples, 0.5, 3) == choose(examples, 0.5, 3)
    assert len(choose(examples, 0.5, 3)) == 5
    assert len(choose(examples, 0.0, 3)) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "not a JSON object"),
        ("[1]", "JSON, but not an object"),
        ('{"question": "q", "answer": "a"}', "'subject' is missing"),
        ('{"question": "q", "answer": "", "subject": "s"}', "'answer' is missing or empty"),
        ('{"question": "q", "reply": "a", "subject": "s"}', "none of the known sets"),
    ],
)
def test_a_bad_line_is_reported_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"question": "q", "answer": "a", "subject": "s"}\n' + line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        read_examples(path)
    assert "data.jsonl:2" in str(caught.value)


def test_a_pair_that_is_too_long_is_refused_and_not_cut(model: LoraModel) -> None:
    parameters = parameters_of(model)
    start = materialize({}, model.shapes, parameters=parameters, owner=ME)
    with pytest.raises(DataError, match="max_length"):
        train_round(
            model, parameters, start, [Example("q", "word " * 600, "s")], RoundTraining(steps=1)
        )


def test_every_public_name_is_found_and_examples_need_no_torch() -> None:
    assert all(hasattr(training, name) for name in training.__all__)
    code = "import sys; sys.modules['torch'] = None; from rescind.training import read_examples"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_answers_are_compared_without_case_and_space() -> None:
    assert normalize("  The  Amber\nRiver ") == normalize("the amber river")
    assert normalize("the amber river.") != normalize("the amber river")
