"""Every error of the contracts comes with advice."""

from rescind.contracts import ADVICE, load_compiled
from rescind.contracts.deployment import NAMES
from rescind.contracts.refusals import refusal

_OF_THE_LIBRARY = {
    # OpenZeppelin's, which no caller of the consortium can bring about with a correct client.
    "AddressEmptyCode",
    "FailedCall",
    "InsufficientBalance",
    "ReentrancyGuardReentrantCall",
    "SafeCastOverflowedUintDowncast",
    "ECDSAInvalidSignature",
    "ECDSAInvalidSignatureLength",
    "ECDSAInvalidSignatureS",
    "InvalidShortString",
    "StringTooLong",
}


def errors() -> set[str]:
    return {
        str(item["name"])
        for name in NAMES
        for item in load_compiled(name).abi
        if item["type"] == "error"
    }


def test_every_error_of_the_contracts_has_advice_and_no_advice_is_stale() -> None:
    known = errors() - _OF_THE_LIBRARY
    assert known - set(ADVICE) == set()
    # A library's error is in the ABI of no contract where the compiler inlines it.
    assert set(ADVICE) - known <= {"NoPrecompile", "NotOnCurve", "Infinity", "WrongLength"}


def test_every_piece_of_advice_is_a_sentence() -> None:
    for name, advice in ADVICE.items():
        assert advice.endswith("."), name
        assert advice[0].isupper() or advice.startswith("rescind "), name


def test_a_refusal_shows_moments_as_dates_and_states_by_name() -> None:
    text = refusal("TooEarly", {"exitAt": ("uint40", 1_790_000_000)})
    assert text.startswith("TooEarly(exitAt 2026-09-21 14:13:20Z). The exit delay is not over.")
    assert refusal("Unheard", {"a": ("bytes32", b"\x01")}) == "Unheard(a 01)"
    state = refusal("WrongState", {"state": ("enum IWithdrawals.State", 5)})
    assert state.startswith("WrongState(state closed). ")
