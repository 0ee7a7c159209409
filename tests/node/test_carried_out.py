import pytest

from adapters import ConsortiumParameters
from adapters.errors import ConfigError
from node.session import check_carried_out
from tests.consortium import micro_parameters


def agreed(**changes: object) -> ConsortiumParameters:
    document = micro_parameters(federated=True).model_dump(mode="json") | changes
    return ConsortiumParameters.model_validate(document)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {
                "training": {
                    **micro_parameters().training.model_dump(),
                    "rule": {"name": "proximal"},
                }
            },
            "training.rule proximal",
        ),
        (
            {"lora": {"rank": 4, "alpha": 8, "train_a": True, "alternate": True}},
            "lora.alternate",
        ),
    ],
)
def test_what_several_processes_would_leave_out_is_refused(changes, what: str) -> None:
    check_carried_out(agreed(**changes), 1)
    check_carried_out(agreed(), 2)
    with pytest.raises(ConfigError, match=f"agreed on {what}.*set engine.processes to 1"):
        check_carried_out(agreed(**changes), 2)
