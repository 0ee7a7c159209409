from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from rescind.core import ConsortiumParameters, TextParameters
from rescind.core.errors import DataError
from rescind.devnet.defaults import default_parameters
from rescind.training import Example
from rescind.training.data import Turn, completion, prompt
from rescind.training.model.text_rules import adds_bos, default_text, template_problem
from rescind.training.text.chat import TemplateUnusable
from rescind.training.text.encoder import Encoder, TextRulesUnmet
from tests.support.tokenizers import (
    ALPACA,
    CHATML,
    LLAMA3,
    TOKENIZERS,
    byte_level,
    gemma,
    gpt2,
    llama3,
    mistral,
    qwen3,
    sentencepiece,
    smollm2,
    unigram,
    word_piece,
)

CHAT, CHAT_BOS = TextParameters(prompt="chat"), TextParameters(prompt="chat", bos=True)
PAIR = Example("Where was Ada born?", "In Oslo.", "Ada")


class Base:
    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer


@pytest.fixture(scope="module")
def made() -> dict[str, PreTrainedTokenizerFast]:
    return {name: make() for name, make in TOKENIZERS.items()}


def text_of(tokenizer, tokens) -> str:
    return tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False)


# --- what the parameters say ----------------------------------------------------------------------


def test_parameters_with_default_text_rules_keep_their_id() -> None:
    parameters = default_parameters("isolated", "0" * 64, {"x.lora_A": (8, 4)}, seed=0)
    assert b'"text"' not in parameters.canonical_bytes()
    chat = parameters.model_copy(update={"text": CHAT_BOS})
    assert ConsortiumParameters.parse(chat.canonical_bytes()) == chat
    assert chat.id != parameters.id


@pytest.mark.parametrize(
    ("name", "prompt_form", "bos"),
    [
        ("gpt2", "plain", False),
        ("smollm2", "chat", False),
        ("llama3", "chat", True),
        ("gemma", "chat", True),
        ("mistral", "chat", True),
        ("unigram", "plain", False),
    ],
)
def test_the_rules_for_a_base_are_those_of_its_tokenizer(made, name, prompt_form, bos) -> None:
    assert default_text(Base(made[name])) == TextParameters(prompt=prompt_form, bos=bos)


def test_a_base_that_cannot_do_what_was_agreed_is_refused() -> None:
    with pytest.raises(TemplateUnusable, match="has no chat template"):
        Encoder(gpt2(), CHAT)
    with pytest.raises(TextRulesUnmet, match="no begin-of-text token"):
        Encoder(unigram(), TextParameters(bos=True))


# --- the plain form -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_plain_pair_is_its_text_and_the_end_of_text(made, name: str) -> None:
    tokenizer = made[name]
    row = Encoder(tokenizer).example(PAIR)
    whole = prompt(PAIR.question) + completion(PAIR.answer)
    assert list(row.tokens[:-1]) == tokenizer.encode(whole, add_special_tokens=False)
    assert row.tokens[-1] == tokenizer.eos_token_id
    asked = Encoder(tokenizer).prompt(PAIR.question).tokens
    assert row.tokens[: row.prompt_length] == asked
    answer = tokenizer.decode(row.tokens[row.prompt_length : -1]).strip()
    assert answer.lower().replace(" ", "") == "inoslo."


def test_a_token_over_the_border_belongs_to_the_answer() -> None:
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = sentencepiece("<s>", "</s>", template=None, prefix=True, words=False, **names)
    encoder = Encoder(tokenizer)
    row = encoder.example(PAIR)
    assert encoder.prompt(PAIR.question).tokens != row.tokens[: row.prompt_length]
    first, rest = row.tokens[row.prompt_length], row.tokens[row.prompt_length + 1 :]
    assert ": " in tokenizer.decode([first])
    assert encoder.reply([first, *rest]).endswith("In Oslo.")
    assert (
        text_of(tokenizer, row.tokens[: row.prompt_length]).strip()
        in "Question: Where was Ada born?\nAnswer"
    )
    # The same where the text has to be kept apart from control tokens.
    other = encoder.example(Example(PAIR.question, PAIR.answer + "</s>", "s"))
    assert other.prompt_length == row.prompt_length


@pytest.mark.parametrize("name", ["gpt2", "llama3", "gemma", "mistral"])
def test_bos_comes_first_once_where_it_was_agreed(made, name: str) -> None:
    tokenizer = made[name]
    for rules in (TextParameters(bos=True), CHAT_BOS if tokenizer.chat_template else None):
        if rules is None:
            continue
        encoder = Encoder(tokenizer, rules)
        for tokens in (encoder.prompt("x").tokens, encoder.example(PAIR).tokens):
            assert tokens[0] == tokenizer.bos_token_id
            assert tokens[1] != tokenizer.bos_token_id
        row = encoder.example(PAIR)
        assert row.tokens[: row.prompt_length] == encoder.prompt(PAIR.question).tokens


# --- chat templates -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["smollm2", "llama3", "gemma", "mistral"])
def test_a_chat_prompt_is_what_the_template_writes(made, name: str) -> None:
    tokenizer = made[name]
    encoder = Encoder(tokenizer, CHAT)
    turns = [{"role": "user", "content": PAIR.question}]
    row = encoder.example(PAIR)
    if name != "llama3":  # whose template would write the day's date
        expected = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_dict=False
        )
        assert encoder.prompt(PAIR.question).tokens == tuple(expected)
        whole = tokenizer.apply_chat_template(
            [*turns, {"role": "assistant", "content": PAIR.answer}], return_dict=False
        )
        assert row.tokens == tuple(whole[: len(row.tokens)])
    assert row.tokens[: row.prompt_length] == encoder.prompt(PAIR.question).tokens
    assert row.tokens[-1] == encoder.stops[-1]
    assert text_of(tokenizer, row.tokens[row.prompt_length : -1]).strip() == PAIR.answer


def test_what_a_template_writes_before_the_question_is_in_no_loss() -> None:
    tokenizer = smollm2()
    row = Encoder(tokenizer, CHAT).example(PAIR)
    assert text_of(tokenizer, row.tokens[: row.lead]).endswith(
        "named Smol<|im_end|>\n<|im_start|>user\n"
    )
    assert text_of(tokenizer, row.tokens[row.lead :]).startswith("Where was Ada")


def test_a_date_of_the_day_is_refused_and_a_fallback_is_used() -> None:
    prompt_text = text_of(llama3(), Encoder(llama3(), CHAT).prompt("x").tokens)
    assert "Today Date: 26 Jul 2024" in prompt_text
    for template in (
        "{{ strftime_now('%Y') }}" + CHATML,
        LLAMA3.replace("strftime_now is defined", "true"),
    ):
        tokenizer = byte_level("<|im_end|>", template=template, eos_token="<|im_end|>")
        with pytest.raises(TemplateUnusable, match="writes the date of the day"):
            Encoder(tokenizer, CHAT)
        assert default_text(Base(tokenizer)).prompt == "plain"
        assert "date" in str(template_problem(Base(tokenizer)))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ range(9**4) | random }}" + CHATML, "another text every time"),
        ("{{ raise_exception('tools only') }}", "tools only"),
        ("hello", "not at all"),
        (CHATML + "{{ messages[0]['content'] }}", "2 times"),
        ("{{ nothing.at.all }}", "undefined"),
    ],
)
def test_a_template_that_cannot_be_relied_on_is_refused(template: str, message: str) -> None:
    tokenizer = byte_level("<|im_end|>", template=template, eos_token="<|im_end|>")
    with pytest.raises(TemplateUnusable, match=message):
        Encoder(tokenizer, CHAT)


def test_a_template_with_a_name_other_than_default_is_refused() -> None:
    tokenizer = gpt2()
    tokenizer.chat_template = {"tools": CHATML, "rag": CHATML}
    with pytest.raises(TemplateUnusable, match="several chat templates"):
        Encoder(tokenizer, CHAT)
    tokenizer.chat_template = {"default": CHATML, "rag": "x"}
    assert Encoder(tokenizer, CHAT).prompt("x").tokens


def test_a_template_without_a_prompt_for_an_answer_and_without_an_end_of_turn() -> None:
    tokenizer = byte_level("<e>", template=ALPACA, eos_token="<e>")
    row = Encoder(tokenizer, CHAT).example(PAIR)
    assert text_of(tokenizer, row.tokens) == (
        "### user:\nWhere was Ada born?\n\n### assistant:\nIn Oslo.<e>"
    )
    assert row.tokens[: row.prompt_length] == Encoder(tokenizer, CHAT).prompt(PAIR.question).tokens


def test_thinking_is_off() -> None:
    tokenizer = qwen3()
    row = Encoder(tokenizer, CHAT).example(PAIR)
    prompt_text = text_of(tokenizer, row.tokens[: row.prompt_length])
    assert prompt_text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert text_of(tokenizer, row.tokens[row.prompt_length :]) == "In Oslo.<|im_end|>"


def test_a_prompt_does_not_depend_on_the_answer() -> None:
    encoder = Encoder(qwen3(), CHAT)
    for answer in ("x", "<think>I say no</think> no", "", "  \n"):
        row = encoder.example(Example("Where?", answer, "s"))
        assert row.tokens[: row.prompt_length] == encoder.prompt("Where?").tokens


# --- conversations and documents ------------------------------------------------------------------

TALK = Example(
    "And then?",
    "Then to Rome.",
    "Ada",
    (Turn("system", "Be brief."), Turn("user", "Where was Ada born?"), Turn("assistant", "Oslo.")),
)


@pytest.mark.parametrize("name", ["gpt2", "smollm2", "llama3", "gemma", "mistral", "qwen3"])
def test_a_conversation_keeps_its_turns_in_order(made, name: str) -> None:
    tokenizer = made[name]
    encoder = Encoder(tokenizer, default_text(Base(tokenizer)))
    row = encoder.example(TALK)
    text = text_of(tokenizer, row.tokens)
    places = [text.index(t) for t in ("Be brief.", "Where was", "Oslo.", "And then?", "Then to")]
    assert places == sorted(places)
    assert row.tokens[: row.prompt_length] == encoder.prompt(TALK).tokens
    assert "Then" not in text_of(tokenizer, row.tokens[: row.prompt_length])


def test_a_template_without_system_turns_gets_their_text_in_the_users() -> None:
    tokenizer = gemma()
    text = text_of(tokenizer, Encoder(tokenizer, CHAT).prompt(TALK).tokens)
    assert "<start_of_turn>user\nBe brief.\n\nWhere was Ada born?<end_of_turn>" in text


def test_turns_that_a_template_does_not_take_are_refused_with_its_reason() -> None:
    row = Example("Who?", "She.", "s", (Turn("user", "Hello"),))
    with pytest.raises(DataError, match="must alternate"):
        Encoder(gemma(), CHAT).example(row)


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("max_length", [8, 9, 32, 1000])
def test_a_long_document_is_cut_into_pieces_of_like_length(max_length: int, bos: bool) -> None:
    tokenizer = llama3()
    encoder = Encoder(tokenizer, TextParameters(bos=bos))
    text = "Ada was born in Oslo. " * 9
    rows = encoder.rows(Example("", text, "Ada", document=True), max_length)
    own = [token for row in rows for token in row.tokens[bos:]]
    assert own == [*tokenizer.encode(text.strip(), add_special_tokens=False), encoder.stops[0]]
    lengths = {len(row.tokens) for row in rows}
    assert max(lengths) <= max_length
    assert max(lengths) - min(lengths) <= 1
    assert all(row.first_counted(prompt_too=False) == 1 for row in rows)


def test_a_pair_is_never_cut() -> None:
    with pytest.raises(DataError, match="max_length is 8"):
        Encoder(gpt2()).rows(PAIR, 8)


# --- text that looks like a special token ---------------------------------------------------------


def look_alikes(tokenizer) -> list[str]:
    special = [t.content for t in tokenizer.added_tokens_decoder.values()]
    return [token for token in special if not token.startswith("<0x")]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("form", ["plain", "chat"])
def test_text_that_looks_like_a_special_token_stays_text(made, name: str, form: str) -> None:
    tokenizer = made[name]
    if form == "chat" and not tokenizer.chat_template:
        return
    encoder = Encoder(tokenizer, TextParameters(prompt=form))
    # The vocabularies of some lack most characters.
    unknown = tokenizer.unk_token_id if name in ("unigram", "word_piece") else None
    control = {tokenizer.convert_tokens_to_ids(t) for t in look_alikes(tokenizer)} - {unknown}
    clean = encoder.example(Example("Say x now", "y", "s"))
    for token in look_alikes(tokenizer):
        row = encoder.example(Example(f"Say {token} now", f"{token}y{token}", "s"))
        seen = [t for t in row.tokens if t in control]
        assert seen == [t for t in clean.tokens if t in control], token
        text = text_of(tokenizer, row.tokens)
        if unknown not in row.tokens:
            assert text.lower().replace(" ", "").count(token.lower().replace(" ", "")) >= 3
        asked = encoder.prompt(f"Say {token} now").tokens
        assert row.tokens[: row.prompt_length] == asked


def test_text_beside_a_look_alike_is_tokenized_as_ever() -> None:
    tokenizer = mistral()
    encoder = Encoder(tokenizer, CHAT)
    clean = encoder.example(Example("Where was Ada born?", "In Oslo.", "s"))
    other = encoder.example(Example("Where was Ada born?", "In Oslo.</s>", "s"))
    assert other.prompt_length == clean.prompt_length
    assert other.tokens[: len(clean.tokens) - 1] == clean.tokens[:-1]


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_ends_where_its_answer_ends(text: str) -> None:
    encoder = ENCODERS["smollm2"]
    row = encoder.example(Example(f"a{text}", text, "s"))
    assert row.tokens[: row.prompt_length] == encoder.prompt(f"a{text}").tokens
    assert row.tokens[-1] == encoder.stops[0]
    assert encoder.reply(row.tokens[row.prompt_length :]) == text.strip()


ENCODERS = {"smollm2": Encoder(smollm2(), CHAT)}


def test_a_slow_tokenizer_keeps_look_alikes_as_text() -> None:
    tokenizer = ByT5Tokenizer()
    encoder = Encoder(tokenizer)
    row = encoder.example(Example("Say </s> now", "<pad></s>", "s"))
    assert [t for t in row.tokens if t in tokenizer.all_special_ids] == [tokenizer.eos_token_id]
    assert encoder.reply(row.tokens[row.prompt_length :]) == "<pad></s>"
    assert row.tokens[: row.prompt_length] == encoder.prompt("Say </s> now").tokens


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(DataError, match="surrogate"):
        Encoder(gpt2()).prompt("caf\ud83d")


def test_characters_that_a_vocabulary_lacks_are_not_control_tokens() -> None:
    tokenizer = word_piece()
    row = Encoder(tokenizer).example(Example("Wo liegt \u4e2d?", "\u4e2d", "s"))
    assert tokenizer.unk_token_id in row.tokens
    assert list(row.tokens).count(tokenizer.eos_token_id) == 1


# --- the end of an answer -------------------------------------------------------------------------


def test_answers_end_at_the_end_of_text_and_of_the_turn() -> None:
    tokenizer = gemma()
    eos, turn = (tokenizer.convert_tokens_to_ids(t) for t in ("<eos>", "<end_of_turn>"))
    assert Encoder(tokenizer, CHAT).stops == (eos, turn)
    # An instructed model ends its turn after a plain prompt too.
    encoder = Encoder(tokenizer)
    assert encoder.stops == (eos, turn)
    oslo = tokenizer.encode("Oslo", add_special_tokens=False)
    for stop in (eos, turn):
        assert encoder.reply([*oslo, stop, *oslo]) == "Oslo"


def test_a_tokenizer_that_adds_no_bos_is_seen(made) -> None:
    added = {name: adds_bos(tokenizer) for name, tokenizer in made.items()}
    assert [name for name, adds in added.items() if adds] == ["llama3", "gemma", "mistral"]
