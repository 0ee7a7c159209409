"""The calls that each status allows, and how long an answer is remembered. No chain is needed."""

from types import SimpleNamespace
from typing import Any

import pytest

from rescind.aggregator import membership
from rescind.aggregator.membership import HAND_OVER, WITHDRAW, Membership
from rescind.contracts import MemberStatus, WithdrawalMethod, WithdrawalState
from rescind.wire import Admission, NotAMember, new_key, signing_request
from rescind.wire.authority import CertificateAuthority

ORGANIZATION = "0x" + "11" * 20


class Chain:
    """One organization on chain, and how often it was looked up."""

    def __init__(self, status: MemberStatus, *withdrawals: object) -> None:
        self.status, self.block, self.asked = status, 7, 0
        self._withdrawals = withdrawals
        self.chain = SimpleNamespace(final_block_number=lambda: self.block)
        self.incidents: list[str] = []
        self.consortium = self

    def withdrawals(self) -> tuple[object, ...]:
        return self._withdrawals

    def member(self, _: str) -> object:
        self.asked += 1
        return SimpleNamespace(status=self.status)

    def record_incident(self, _: str, code: str, __: str) -> None:
        self.incidents.append(code)


def withdrawal(method: WithdrawalMethod, state: WithdrawalState) -> object:
    return SimpleNamespace(organization=ORGANIZATION, method=method, state=state)


REMOVAL = withdrawal(WithdrawalMethod.REMOVAL, WithdrawalState.EFFECTIVE)
REPLACEMENT = withdrawal(WithdrawalMethod.REPLACEMENT, WithdrawalState.PREPARING)
CLOSED = withdrawal(WithdrawalMethod.REPLACEMENT, WithdrawalState.CLOSED)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("certificate")
    authority = CertificateAuthority.create(folder / "ca", "authority")
    return authority.issue(signing_request(new_key(folder / "key.pem"), "a"))


@pytest.fixture(autouse=True)
def owned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "certificate_owners", lambda *_: [ORGANIZATION])


def admitted(chain: Chain, certificate: bytes, wanted: tuple[str, ...] = ()) -> Admission:
    session: Any = chain
    return Membership(session, lambda _: wanted).admit(certificate)


@pytest.mark.parametrize(
    ("status", "withdrawals", "wanted", "calls"),
    [
        (MemberStatus.ACTIVE, (), (), None),
        (MemberStatus.ACTIVE, (REPLACEMENT,), (), None),
        (MemberStatus.LEFT, (), (), HAND_OVER),
        (MemberStatus.LEFT, (REPLACEMENT,), (), WITHDRAW),
        (MemberStatus.LEFT, (CLOSED,), (), HAND_OVER),
        (MemberStatus.WITHDRAWING, (REPLACEMENT,), (), WITHDRAW),
        (MemberStatus.WITHDRAWN, (CLOSED,), ("delta",), HAND_OVER),
    ],
)
def test_a_status_allows_what_models_and_withdrawals_need(
    certificate: bytes,
    status: MemberStatus,
    withdrawals: tuple[object, ...],
    wanted: tuple[str, ...],
    calls: frozenset[str] | None,
) -> None:
    admission = admitted(Chain(status, *withdrawals), certificate, wanted)
    assert (admission.organization, admission.calls) == (ORGANIZATION, calls)
    if calls is not None:
        with pytest.raises(NotAMember, match=f"it is {status.value}"):
            admission.check("SubmitUpdate")
    assert "SubmitUpdate" not in WITHDRAW


@pytest.mark.parametrize(
    ("status", "withdrawals", "wanted", "reason"),
    [
        (MemberStatus.NONE, (), (), "admit it first"),
        (MemberStatus.ADMITTED, (), (), "paid its bond"),
        (MemberStatus.WITHDRAWING, (REMOVAL,), ("delta",), "removal needs nothing"),
        (MemberStatus.WITHDRAWN, (), (), "is withdrawn"),
    ],
)
def test_all_others_are_refused_with_the_reason(
    certificate: bytes,
    status: MemberStatus,
    withdrawals: tuple[object, ...],
    wanted: tuple[str, ...],
    reason: str,
) -> None:
    chain = Chain(status, *withdrawals)
    with pytest.raises(NotAMember, match=reason):
        admitted(chain, certificate, wanted)
    assert chain.incidents == ["not-a-member"]


def test_an_answer_is_remembered_for_its_block_only(certificate: bytes) -> None:
    chain = Chain(MemberStatus.ADMITTED)
    session: Any = chain
    members = Membership(session, lambda _: ())
    for _ in range(3):
        with pytest.raises(NotAMember):
            members.admit(certificate)
    assert (chain.asked, chain.incidents) == (1, ["not-a-member"])
    chain.status = MemberStatus.ACTIVE
    with pytest.raises(NotAMember):
        members.admit(certificate)
    chain.block += 1
    assert members.admit(certificate).calls is None
    assert members.admit(certificate).calls is None
    assert chain.asked == 2


def test_what_is_remembered_is_bounded(certificate: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(MemberStatus.NONE)
    session: Any = chain
    members = Membership(session, lambda _: ())
    names = iter(range(1000))
    monkeypatch.setattr(membership, "fingerprint", lambda _: f"{next(names):064x}")
    for _ in range(400):
        with pytest.raises(NotAMember):
            members.admit(certificate)
    assert len(members._known) == 256
