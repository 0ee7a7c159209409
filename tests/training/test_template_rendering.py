"""Chat templates run in a process that may use little time and memory."""

import os
import threading

import pytest

from rescind.core import TextParameters
from rescind.core.errors import TrainingError
from rescind.training.model.text_rules import default_text, template_problem
from rescind.training.text.chat import ChatTemplate, TemplateUnusable
from rescind.training.text.encoder import Encoder
from rescind.training.text.rendering import (
    Bounds,
    TemplateFailed,
    TemplateRenderer,
    special_tokens,
)
from rescind.training.text.tokens import Tokens
from tests.support.tokenizers import CHATML, TOKENIZERS, byte_level

MESSAGES = [{"role": "user", "content": "Who?"}]
ASKED = {"conversations": [MESSAGES], "add_generation_prompt": True}
DOUBLED = "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = %s %}{% endfor %}"
NESTED = (
    "{% set n = namespace(x=[]) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
)

LONG = {
    "loops in a loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "macros that call each other": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}"
    ),
    "a power": "{{ 9 ** (9 ** 10) }}",
    "a power at run time": "{{ (messages|length + 8) ** (9 ** 10) }}",
    "a text that holds itself twice": NESTED + "{{ n.x|tojson }}",
    "a lazy filter": "{% for a in range(99999) %}{{ range(99999)|map('string')|join|length }}{% endfor %}",
    "a sort in a loop": "{% for a in range(99999) %}{{ range(99999)|sort(reverse=true)|first }}{% endfor %}",
}
LARGE = {
    "a repeated text": "{{ ('a' * 10 ** 10)|length }}",
    "a repeated text at run time": "{{ (messages[0].role * 10 ** 10)|length }}",
    "a repeated list": "{{ ([0] * 10 ** 10)|length }}",
    "center": "{{ 'a'|center(10 ** 10)|length }}",
    "ljust": "{{ messages[0].role.ljust(10 ** 10)|length }}",
    "zfill": "{{ 'a'.zfill(10 ** 10)|length }}",
    "expandtabs": "{{ '\\t'.expandtabs(2 ** 31 - 1)|length }}",
    "format": "{{ '{:10000000000}'.format(1)|length }}",
    "percent": "{{ ('%' ~ '10000000000' ~ 'd') % 1 }}",
    "the filter format": "{{ '%02000000000d'|format(1) }}",
    "indent": "{{ 'a\\nb'|indent(10 ** 10)|length }}",
    "tojson": "{{ [[1]]|tojson(indent=2 ** 33)|length }}",
    "doubled by ~": DOUBLED.replace("%s", "n.x ~ n.x") + "{{ n.x|length }}",
    "doubled by +": DOUBLED.replace("%s", "n.x + n.x") + "{{ n.x|length }}",
    "doubled by join": DOUBLED.replace("%s", "[n.x, n.x]|join") + "{{ n.x|length }}",
    "doubled by replace": DOUBLED.replace("%s", "n.x.replace('a', 'aa')") + "{{ n.x|length }}",
    "batch": "{{ [1]|batch(10 ** 10, 'x')|list|length }}",
    "lists of numbers": (
        "{% set n = namespace(x=[]) %}{% for i in range(999) %}"
        "{% set n.x = [n.x, range(99999)|list] %}{% endfor %}"
    ),
}
WIDE = {
    "a long text": "{{ 'a' * 5000000 }}",
    "blanks": "{{ 'a'|center(5000000) }}",
    "lipsum": "{{ lipsum(n=9000, html=false) }}",
}


@pytest.fixture(scope="module")
def renderer() -> TemplateRenderer:
    return TemplateRenderer(Bounds(seconds=1, memory=2**28))


def refusal(renderer: TemplateRenderer, template: str) -> str:
    with pytest.raises(TemplateFailed) as caught:
        renderer.render(template, ASKED)
    assert "\n" not in str(caught.value)
    assert renderer.render("{{ messages[0].content }}", ASKED) == "Who?"
    return str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_a_template_that_takes_long_is_ended(renderer: TemplateRenderer, name: str) -> None:
    assert refusal(renderer, LONG[name]) == "it takes more than 1 s of computing to write a text"


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_template_that_takes_memory_is_ended(renderer: TemplateRenderer, name: str) -> None:
    assert refusal(renderer, LARGE[name]) in (
        "it takes more than 256 MiB of memory to write a text",
        "it takes more than 1 s of computing to write a text",
    )


@pytest.mark.parametrize("name", WIDE)
def test_a_template_that_writes_too_much_is_refused(renderer: TemplateRenderer, name: str) -> None:
    assert "characters, and 1,048,576 are accepted" in refusal(renderer, WIDE[name])


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", ""),
        ("{% for a in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ cycler.__init__.__globals__.os.system('id') }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% if %}", "Expected an expression"),
        ("{{ raise_exception('a\nb') }}", "a"),
    ],
)
def test_a_template_that_fails_gives_one_line(
    renderer: TemplateRenderer, template: str, reason: str
) -> None:
    assert reason in refusal(renderer, template)


def test_a_hostile_template_is_one_clear_error_and_is_tried_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renderer = TemplateRenderer(Bounds(seconds=1))
    monkeypatch.setattr("rescind.training.text.chat.shared_renderer", lambda: renderer)
    template = CHATML + LONG["loops in a loop"]
    tokenizer = byte_level("<|im_end|>", template=template, eos_token="<|im_end|>")
    with pytest.raises(TemplateUnusable) as caught:
        Encoder(tokenizer, TextParameters(prompt="chat"))
    assert str(caught.value) == (
        "The base model's chat template cannot be used: it takes more than 1 s of computing to write "
        "a text. Agree on text.prompt 'plain', or on another base model."
    )
    monkeypatch.setattr(renderer, "_ask", None)  # the process is asked nothing more

    class Base:
        def __init__(self) -> None:
            self.tokenizer = tokenizer

    assert default_text(Base()).prompt == "plain"
    assert template_problem(Base()) == str(caught.value)
    assert Encoder(tokenizer).prompt("Who?").tokens


def test_a_template_that_waits_for_a_certain_conversation_is_refused_there() -> None:
    trap = "{% if messages|length > 4 %}" + LONG["loops in a loop"] + "{% endif %}"
    tokenizer = byte_level("<|im_end|>", template=CHATML + trap, eos_token="<|im_end|>")
    chat = ChatTemplate(Tokens(tokenizer), TemplateRenderer(Bounds(seconds=1)))
    for _ in range(2):
        with pytest.raises(Exception, match="takes more than 1 s of computing"):
            chat.skeleton(("user", "assistant") * 3 + ("user",))
        assert chat.skeleton(("user",)).literals


@pytest.mark.parametrize(
    "name", [name for name, make in TOKENIZERS.items() if make().chat_template]
)
def test_texts_are_those_of_transformers(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    for asks in (True, False):
        text = TemplateRenderer().render(
            tokenizer.get_chat_template(),
            {"conversations": [MESSAGES], "add_generation_prompt": asks}
            | special_tokens(tokenizer),
        )
        assert text == tokenizer.apply_chat_template(
            MESSAGES, add_generation_prompt=asks, tokenize=False
        )


def test_a_process_that_ended_is_started_again(renderer: TemplateRenderer) -> None:
    assert renderer.render("{{ 1 }}", ASKED) == "1"
    process = renderer._process
    assert process is not None
    process.kill()
    process.wait()
    assert renderer.render("{{ 2 }}", ASKED) == "2"


def test_threads_share_one_process(renderer: TemplateRenderer) -> None:
    texts: list[str] = []

    def ask(number: int) -> None:
        texts.extend(renderer.render(f"{{{{ {number} }}}}", ASKED) for _ in range(20))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == sorted(str(number) for number in range(4) for _ in range(20))


def test_the_process_ends_with_its_renderer() -> None:
    renderer = TemplateRenderer()
    renderer.render("{{ 1 }}", ASKED)
    process = renderer._process
    assert process is not None
    del renderer
    process.wait(timeout=60)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_busy_machine_is_not_called_a_bad_template() -> None:
    renderer = TemplateRenderer(Bounds(seconds=60, wall_seconds=0.5))
    for _ in range(2):
        with pytest.raises(TrainingError, match="when this machine is less busy"):
            renderer.render(LONG["loops in a loop"], ASKED)


def test_a_process_that_cannot_start_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(Exception, match="ended without a reply"):
        TemplateRenderer().render("{{ 1 }}", ASKED)


def test_a_server_keeps_a_bounded_number_of_orders(
    monkeypatch: pytest.MonkeyPatch, renderer: TemplateRenderer
) -> None:
    monkeypatch.setattr("rescind.training.text.chat._KEPT", 4)
    tokenizer = byte_level("<|im_end|>", template=CHATML, eos_token="<|im_end|>")
    chat = ChatTemplate(Tokens(tokenizer), renderer)
    for turns in range(8):
        chat.skeleton(("user", "assistant") * turns + ("user",))
    assert len(chat._skeletons) == 4
    assert {("user",), ("system", "user")} <= set(chat._skeletons)
