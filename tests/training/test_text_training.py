"""Text rules in training and generation: on a random model with a chat template."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from rescind.core import TextParameters
from rescind.core.errors import DataError
from rescind.devnet.defaults import default_lora
from rescind.training import (
    Assistant,
    Base,
    EngineSettings,
    Example,
    LoraModel,
    RoundTraining,
    answer_loss_per_example,
    evaluate,
    load_base,
    model_id,
    train_round,
)
from rescind.training.data import Turn
from rescind.training.engine.batches import Batch, encode_prompt, pad, token_losses
from rescind.training.engine.gradients import Engine, PlainGradient, PrivateGradient
from rescind.training.engine.packing import pack
from rescind.training.engine.workers import Alone
from rescind.training.model.text_rules import default_text
from rescind.training.routers.likelihood import prompt_losses
from rescind.training.rules.rule import Rule
from rescind.training.serving import generation
from rescind.training.serving.respond import OneNetwork, answers, token_scores
from rescind.training.text.encoder import TextRulesUnmet
from tests.support.models import parameters_of, start_of
from tests.support.tokenizers import gemma, qwen3, save_model, smollm2

ANSWERS = TextParameters(prompt="chat", loss="answers")
PAIRS = [
    Example("Where was Ada born?", "In Oslo.", "Ada"),
    Example("And where did she go then?", "Rome", "Ada", (Turn("assistant", "Oslo."),)),
    Example("", "Ada was born in Oslo, in the north of Norway.", "Ada", document=True),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("chat"), smollm2())


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return load_base(folder, text=ANSWERS)


@pytest.fixture(scope="module")
def model(base: Base) -> LoraModel:
    return LoraModel(base, default_lora("isolated"))


def agreed(model: LoraModel, text: TextParameters):
    return parameters_of(model).model_copy(update={"text": text})


def engine_of(model: LoraModel, text: TextParameters, settings: EngineSettings, workers) -> Engine:
    model.read_as(text)
    model.put("w", start_of(model, parameters_of(model)))
    network = model.use("w")
    tensors = {n: t for n, t in sorted(model.parameters("w").items()) if n.endswith("lora_B")}
    for tensor in model.parameters("w").values():
        tensor.requires_grad_(True)
    return Engine(model.base, network, network, settings, workers, tensors, 128)


# --- the loss counts what was agreed on -----------------------------------------------------------


def by_hand(engine: Engine, rows) -> list[torch.Tensor]:
    """The gradient of the mean over the tokens that the rules say, one row at a time."""
    total, count = torch.zeros(()), 0
    for row in rows:
        tokens = torch.tensor([row.tokens])
        logits = engine.raw(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        log_probs = logits[0, :-1].log_softmax(-1).gather(-1, tokens[0, 1:, None]).squeeze(-1)
        first = row.lead if engine.base.text.loss == "all" else row.prompt_length
        first = max(first, 1)
        total = total - log_probs[first - 1 :].sum()
        count += len(row.tokens) - first
    return list(torch.autograd.grad(total / count, engine.parameters))


class Halves:
    """One of two processes that share a step; the other's parts come from the first run."""

    def __init__(self, rank: int, others: list) -> None:
        self.rank, self.size, self.device = rank, 2, "cpu"
        self.given: list = []
        self._others = iter(others)

    def gather(self, own):
        self.given.append([t.clone() for t in own])
        other = next(self._others, [torch.zeros_like(t) for t in own])
        return [own, other] if self.rank == 0 else [other, own]


@pytest.mark.parametrize("loss", ["all", "answers"])
@pytest.mark.parametrize("how", ["plain", "micro", "packed", "processes"])
def test_a_gradient_is_that_of_the_tokens_that_count(model: LoraModel, loss: str, how: str) -> None:
    text = TextParameters(prompt="chat", loss=loss)
    settings = EngineSettings(
        micro_batch=1 if how in ("micro", "processes") else None,
        batching="packed" if how == "packed" else "plain",
    )
    workers = Alone()
    if how == "processes":
        second = Halves(1, [])
        engine = engine_of(model, text, settings, second)
        PlainGradient(engine)(0, [engine.base.encoder.example(pair) for pair in PAIRS])
        workers = Halves(0, second.given)
    engine = engine_of(model, text, settings, workers)
    rows = [engine.base.encoder.example(pair) for pair in PAIRS]
    expected = by_hand(engine, rows)
    PlainGradient(engine)(0, rows)
    for tensor, gradient in zip(engine.parameters, expected, strict=True):
        torch.testing.assert_close(tensor.grad, gradient, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("loss", ["all", "answers"])
def test_a_private_gradient_is_that_of_each_pairs_counted_tokens(model, loss: str) -> None:
    engine = engine_of(model, TextParameters(prompt="chat", loss=loss), EngineSettings(), Alone())
    rows = [engine.base.encoder.example(pair) for pair in PAIRS]
    each, losses = PrivateGradient(engine, None, None).per_example(rows)
    for index, row in enumerate(rows):
        for gradients, expected in zip(each, by_hand(engine, [row]), strict=True):
            torch.testing.assert_close(gradients[index], expected, rtol=1e-3, atol=1e-7)
    assert losses.shape == (3,)


def test_packed_rows_count_the_same_tokens_as_padded_ones(model: LoraModel) -> None:
    model.read_as(ANSWERS)
    rows = [model.base.encoder.example(pair) for pair in PAIRS]
    packed = pack(model.base, rows, 256, prompt_in_loss=False)
    _, _, labels = pad(model.base, rows, prompt_in_loss=False)
    assert (packed.labels != -100).sum() == (labels[:, 1:] != -100).sum()
    assert isinstance(packed, Batch)


def test_training_on_answers_leaves_the_loss_of_prompts_out(model: LoraModel) -> None:
    counted: dict[str, int] = {}
    for loss in ("all", "answers"):
        parameters = agreed(model, TextParameters(prompt="chat", loss=loss))
        start = start_of(model, parameters)
        training = RoundTraining(steps=2, seed=1)
        counted[loss] = train_round(model, parameters, start, PAIRS, training).tokens
        rows = [model.base.encoder.example(pair) for pair in PAIRS]
        per_step = sum(len(r.tokens) - r.first_counted(prompt_too=loss == "all") for r in rows)
        assert counted[loss] == 2 * per_step
    assert counted["answers"] < counted["all"]


def test_a_long_document_trains_as_several_rows(model: LoraModel) -> None:
    text = " ".join(["Ada was born in Oslo."] * 60)
    parameters = agreed(model, ANSWERS)
    training = parameters.training.model_copy(update={"max_length": 32})
    parameters = parameters.model_copy(update={"training": training})
    document = Example("", text, "Ada", document=True)
    seen: list[int] = []

    class Look(Rule):
        def before_forward(self, step, batch, tensors) -> None:
            seen.extend(batch)

    result = train_round(
        model,
        parameters,
        start_of(model, parameters),
        [document],
        RoundTraining(steps=8, seed=1, rules=[Look()]),
    )
    assert result.examples == 1
    assert len(set(seen)) > 8
    [loss] = answer_loss_per_example(model, None, [document], 32)
    [scores] = token_scores(OneNetwork(model.base, model.use(None), 32), [document])
    assert scores.loss == pytest.approx(loss, rel=1e-4)


def test_a_document_cannot_be_evaluated_as_an_answer(model: LoraModel) -> None:
    assistant = Assistant(model, agreed(model, ANSWERS), None)
    with pytest.raises(DataError, match="is a document"):
        evaluate(assistant, PAIRS)


def test_the_router_counts_the_question_and_not_the_template(model: LoraModel) -> None:
    model.read_as(TextParameters(prompt="chat"))
    base = model.base
    network = model.use(None)
    row = base.encoder.prompt("Where was Ada born?")
    tokens = torch.tensor([row.tokens])
    each = token_losses(network, tokens, torch.ones_like(tokens), tokens)
    expected = float(each[0, row.lead - 1 :].detach().sum())
    [loss] = prompt_losses(base, network, ["Where was Ada born?"])
    assert loss == pytest.approx(expected, rel=1e-5)


# --- refusals -------------------------------------------------------------------------------------


def test_a_base_that_lacks_what_was_agreed_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    folder = save_model(tmp_path, qwen3())
    with pytest.raises(TextRulesUnmet, match="no begin-of-text token"):
        load_base(folder, text=TextParameters(bos=True))


def test_a_model_reads_as_the_consortium_agreed(folder: Path) -> None:
    model = LoraModel(load_base(folder), default_lora("isolated"))
    assert model.base.text == TextParameters()
    plain = encode_prompt(model.base, "x")
    Assistant(model, agreed(model, default_text(model.base)), None)
    assert encode_prompt(model.base, "x") != plain


# --- generation -----------------------------------------------------------------------------------


def reply(base: Base, *, questions=("Where was Ada born?", "x")) -> list[str]:
    return generation.generate(base, base.model, list(questions), 24)


def test_answers_are_the_same_with_and_without_a_generation_config(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    bans = list(range(3, 300))
    settings = {
        "repetition_penalty": 5.0,
        "no_repeat_ngram_size": 1,
        "suppress_tokens": bans,
        "begin_suppress_tokens": bans,
        "min_new_tokens": 20,
        "max_length": 5,
        "do_sample": True,
        "temperature": 9.0,
        "eos_token_id": bans,
        "forced_eos_token_id": 7,
        "num_beams": 3,
        "stop_strings": ["a"],
    }
    (other / "generation_config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").unlink(missing_ok=True)
    assert model_id(other) == model_id(folder)
    plain, held = load_base(folder), load_base(other)
    assert reply(held) == reply(plain)
    # Settings that get into memory later do not count either.
    held.model.generation_config = GenerationConfig(repetition_penalty=5.0, suppress_tokens=bans)
    lora = LoraModel(held, default_lora("isolated"))
    assert generation.generate(held, lora.use(None), ["Where was Ada born?", "x"], 24) == reply(
        plain
    )
    assert held.model.generation_config.repetition_penalty == 5.0


def test_answers_do_not_depend_on_what_shares_their_batch(base: Base) -> None:
    questions = ["x", "Where was Ada born?", "And where did she go after that, in the end?"]
    alone = [reply(base, questions=[question])[0] for question in questions]
    assert reply(base, questions=questions) == alone


def test_a_model_that_minds_padding_gets_rows_of_one_length(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[int] = []
    true = generation._left_padded

    def watched(base, rows, extra=0):
        shapes.append(len({len(row) for row in rows}))
        return true(base, rows, extra)

    monkeypatch.setattr(generation, "_left_padded", watched)
    monkeypatch.setattr(generation, "_ignores_padding", lambda *_: False)
    assert len(reply(base, questions=["x", "Where was Ada born?", "y"])) == 3
    assert shapes == [1, 1]


def test_padding_is_noticed_by_a_model_with_a_state(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, MambaConfig

    tokenizer = smollm2()
    tokenizer.save_pretrained(tmp_path)
    config = MambaConfig(
        vocab_size=len(tokenizer), hidden_size=16, state_size=4, num_hidden_layers=2, eos_token_id=2
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    state = load_base(tmp_path)
    questions = ["x", "Where was Ada born?"]
    alone = [reply(state, questions=[question])[0] for question in questions]
    assert reply(state, questions=questions) == alone


def test_an_answer_ends_with_the_turn_where_the_end_of_text_is_another_token(
    tmp_path: Path,
) -> None:
    base = load_base(save_model(tmp_path, gemma()), text=TextParameters(prompt="chat", bos=True))
    turn = base.tokenizer.convert_tokens_to_ids("<end_of_turn>")
    settings = generation.decoding(base, 8)
    assert turn in settings.eos_token_id
    # A model that says nothing but the end of its turn.
    base.model.lm_head.weight.data.zero_()
    base.model.lm_head.weight.data[turn] = 1.0
    base.model.model.norm.weight.data = torch.ones_like(base.model.model.norm.weight.data)
    with torch.no_grad():
        row = torch.tensor([base.encoder.prompt("x").tokens])
        sign = float(base.model(input_ids=row).logits[0, -1, turn])
        base.model.lm_head.weight.data[turn] = np.sign(sign)
    [[tokens]] = generation.continuations(base, base.model, row.tolist(), settings)
    assert tokens == [turn]
    assert reply(base, questions=["x"]) == [""]


def test_a_conversation_is_asked_with_its_turns(model: LoraModel) -> None:
    model.read_as(ANSWERS)
    talk = Example("And then?", "", "s", (Turn("user", "Where?"), Turn("assistant", "Oslo.")))
    respondent = OneNetwork(model.base, model.use(None), 128)
    alone, after = answers(respondent, ["And then?", talk])
    [expected] = generation.continuations(
        model.base,
        model.use(None),
        [model.base.encoder.prompt(talk).tokens],
        generation.decoding(model.base, 96),
    )
    assert after == model.base.encoder.reply(expected[0])
    assert alone != after
