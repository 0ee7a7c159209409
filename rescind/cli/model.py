"""rescind ask, rescind chat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rescind.cli.answer_evidence import print_evidence
from rescind.cli.chain_access import check_run, stopped_chain_hint
from rescind.cli.options import RequiredRunArgument
from rescind.cli.printing import out, plain, print_json, reported_errors
from rescind.cli.transformers_output import quiet_transformers
from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from rescind.devnet.assistant import Reply, RunAssistant

BeforeOption = Annotated[
    bool, typer.Option("--before-withdrawal", help="Ask the model before the removal.")
]
SuppressOption = Annotated[
    list[str] | None,
    typer.Option(
        "--suppress",
        help="Organization or data subject. A guard refuses questions about it at once; the model itself "
        "is unchanged. Repeatable.",
    ),
]


def _assistant(run: Path, *, before: bool, suppress: Sequence[str] = ()) -> RunAssistant:
    check_run(run)
    with quiet_transformers():
        from rescind.devnet.assistant import RunAssistant
    return RunAssistant.load(run, before=before, suppress=suppress)


def ask_command(
    run: RequiredRunArgument,
    question: Annotated[str, typer.Argument(help="What to ask.")],
    before: BeforeOption = False,
    suppress: SuppressOption = None,
    why: Annotated[
        bool,
        typer.Option(
            "--why", help="Show which blocks or labels were considered, and how each scored."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Answer a question with the run's model and name the block or head that answered."""
    with reported_errors(), stopped_chain_hint(run):
        if not question.strip():
            raise ConfigError("The question is empty. Pass a question.")
        assistant = _assistant(run, before=before, suppress=suppress or ())
        reply = assistant.reply(question)
        if as_json:
            facts = {"question": question, "answer": reply.text, "answered_by": reply.by}
            stage = {"stage": assistant.stage} if assistant.stage else {}
            print_json(facts | stage | ({"why": _why(assistant, reply)} if why else {}))
        else:
            out.print(reply.text, markup=False)
            said = f"; {assistant.stage}" if assistant.stage else ""
            out.print(f"(answered by {reply.by}{said})", style="dim")
            if why:
                print_evidence(_why(assistant, reply))
                if assistant.has_shared_ranks and not reply.evidence.is_guarded:
                    out.print("the base here is the base with the shared ranks")


def _why(assistant: RunAssistant, reply: Reply) -> dict[str, Any]:
    return {"model": assistant.served.model_id} | reply.evidence.to_dict(assistant.names)


def chat_command(
    run: RequiredRunArgument, before: BeforeOption = False, suppress: SuppressOption = None
) -> None:
    """Ask questions in a loop. An empty line ends it, and so does a withdrawal from the model."""
    with reported_errors(), stopped_chain_hint(run):
        assistant = _assistant(run, before=before, suppress=suppress or ())
        out.print("Ask about the people of the run. An empty line ends the chat.")
        for prompt in assistant.prompts:
            out.print(plain(f"A head answers: {prompt}"), soft_wrap=True)
        while True:
            try:
                question = input("> ").strip()
            except EOFError:
                return
            if not question:
                return
            answer, by = assistant.ask(question)
            out.print(f"{answer}  [dim](answered by {by})[/dim]")
