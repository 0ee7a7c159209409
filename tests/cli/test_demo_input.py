import pytest
from typer.testing import CliRunner

from rescind.cli.main import app

pytestmark = pytest.mark.trains  # the command imports torch before it reads its options


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--orgs", "1"], 10, "2 to 64"),
        (["--withdraw", "nobody"], 10, "one of aurora"),
        (["--rounds", "0"], 10, "1 to 1000"),
        (["--data", "/nowhere"], 11, "Put one there for each"),
        (["--model", "./nowhere"], 17, "does not exist"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: list[str], code: int, message: str) -> None:
    done = CliRunner().invoke(app, ["demo", *arguments])
    assert done.exit_code == code, done.output
    assert message in " ".join(done.output.split())
