"""One consortium's public record, typed: everything the contracts say and do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eth_abi.abi import encode
from web3 import Web3
from web3.exceptions import ContractCustomError, ContractLogicError, Web3RPCError
from web3.logs import DISCARD

from adapters import Term
from contracts.account import Account
from contracts.artefact import load_artefact
from contracts.chain import Chain
from contracts.deployment import Deployment
from contracts.errors import ChainUnavailable, ContractRefused, ContractsMissing
from contracts.types import (
    Anchor,
    Answer,
    AnswerState,
    Contribution,
    Event,
    Member,
    MemberStatus,
    Model,
    ModelKind,
    Receipt,
    Rejection,
    RejectReason,
    Round,
    RoundState,
    Withdrawal,
    WithdrawalState,
)

NO_ADAPTER = "00" * 32
"""The adapter id of model 0, the base model alone."""


def commitment(round_id: int, organization: str, artifact_id: str, salt: bytes) -> bytes:
    """keccak256(abi.encode(round, organization, artifact id, salt)), as Rounds.reveal checks it."""
    return bytes(
        Web3.keccak(
            encode(
                ["uint64", "address", "bytes32", "bytes32"],
                [round_id, organization, bytes.fromhex(artifact_id), salt],
            )
        )
    )


class Consortium:
    """Reads need no account. A write returns once it is mined, or raises ContractRefused."""

    def __init__(
        self, chain: Chain, deployment: Deployment, account: Account | None = None
    ) -> None:
        self.chain, self.deployment, self.account = chain, deployment, account
        self._contracts: dict[str, Any] = {
            name: chain.web3.eth.contract(address=address, abi=load_artefact(name).abi)  # type: ignore[call-overload]
            for name, address in deployment.addresses().items()
        }
        self._errors = {
            error["selector"]: error
            for name in self._contracts
            for error in _custom_errors(load_artefact(name).abi)
        }

    def check(self) -> None:
        """Raises ChainUnavailable, WrongChain, or ContractsMissing unless these contracts are there."""
        self.chain.check()
        for name, address in self.deployment.addresses().items():
            if not load_artefact(name).is_code(self.chain.code(address)):
                raise ContractsMissing(
                    f"{name} is not at {address} on {self.chain.rpc_url}: the chain was started "
                    "anew, or the contracts file is another consortium's"
                )

    # What the consortium is

    def parameters_id(self) -> str:
        return bytes(self._settings()[0]).hex()

    def base_model_id(self) -> str:
        return bytes(self._settings()[1]).hex()

    def coupling(self) -> str:
        return "federated" if self._settings()[2] else "isolated"

    def layout(self) -> str:
        return "shared" if self._settings()[3] else "blocks"

    def governance(self) -> str:
        return str(self._read("Members", "governance"))

    def aggregator(self) -> str:
        return str(self._read("Rounds", "aggregator"))

    def aggregator_fingerprint(self) -> str:
        return bytes(self._read("Members", "aggregatorFingerprint")).hex()

    def bond(self) -> int:
        return int(self._read("Members", "bond"))

    def wiring(self) -> dict[str, str]:
        """Which contract each of them names, to be compared with the deployment."""
        return {
            "members.withdrawals": str(self._read("Members", "withdrawals")),
            "rounds.members": str(self._read("Rounds", "members")),
            "rounds.rewards": str(self._read("Rounds", "rewards")),
            "rounds.withdrawals": str(self._read("Rounds", "withdrawals")),
            "withdrawals.members": str(self._read("Withdrawals", "members")),
            "withdrawals.rounds": str(self._read("Withdrawals", "rounds")),
            "rewards.rounds": str(self._read("Rewards", "rounds")),
            "anchors.members": str(self._read("Anchors", "members")),
        }

    # Members

    def member(self, address: str) -> Member:
        return _member(self._read("Members", "member", Web3.to_checksum_address(address)))

    def members(self) -> list[Member]:
        return [self.member(address) for address in self._read("Members", "organizations")]

    def organization_of(self, fingerprint: str) -> str | None:
        found = str(self._read("Members", "organizationOf", bytes.fromhex(fingerprint)))
        return None if int(found, 16) == 0 else found

    # Rounds and models

    def current_round_id(self) -> int:
        return int(self._read("Rounds", "currentRound"))

    def round(self, round_id: int) -> Round:
        state, opened, commit, reveal, final, parent, model, aggregate = self._read(
            "Rounds", "roundOf", round_id
        )
        return Round(
            round_id,
            list(RoundState)[state],
            opened,
            commit,
            reveal,
            final,
            parent,
            model,
            bytes(aggregate).hex(),
        )

    def all_answered(self, round_id: int) -> bool:
        return bool(self._read("Rounds", "allAnswered", round_id))

    def all_revealed(self, round_id: int) -> bool:
        return bool(self._read("Rounds", "allRevealed", round_id))

    def answer(self, round_id: int, organization: str) -> Answer:
        state, committed, artifact = self._read("Rounds", "entry", round_id, organization)
        return Answer(list(AnswerState)[state], bytes(committed).hex(), bytes(artifact).hex())

    def answers(self, round_id: int) -> dict[str, Answer]:
        return {
            address: self.answer(round_id, address)
            for address in self._read("Members", "organizations")
        }

    def contributions(self, round_id: int) -> list[Contribution]:
        return [
            Contribution(str(who), bytes(artifact).hex(), weight, score)
            for who, artifact, weight, score in self._read("Rounds", "contributions", round_id)
        ]

    def rejections(self, round_id: int) -> list[Rejection]:
        return [
            Rejection(str(who), RejectReason(reason))
            for who, reason in self._read("Rounds", "rejections", round_id)
        ]

    def latest_model_id(self) -> int:
        return int(self._read("Rounds", "latestModel"))

    def model(self, model_id: int) -> Model:
        adapter, parent, last, excluded, block, kind = self._read("Rounds", "model", model_id)
        return Model(
            model_id, bytes(adapter).hex(), parent, last, excluded, block, list(ModelKind)[kind]
        )

    def content(self, model_id: int) -> list[Term]:
        """Every delta in a model with its weight there, by round and ascending address."""
        terms = []
        for round_id in range(1, self.model(model_id).round_id + 1):
            found = self._read("Rounds", "contentOf", model_id, round_id)
            terms += [
                Term(round_id, str(who), bytes(artifact).hex(), weight)
                for who, artifact, weight in zip(*found, strict=True)
            ]
        return terms

    def is_clean(self, model_id: int, organization: str) -> bool:
        return bool(self._read("Rounds", "isClean", model_id, organization))

    def removed(self) -> list[str]:
        return [str(address) for address in self._read("Rounds", "removed")]

    def withdrawals(self) -> list[Withdrawal]:
        found = []
        for number in range(1, int(self._read("Withdrawals", "count")) + 1):
            who, state, requested, deadline, model = self._read("Withdrawals", "withdrawal", number)
            found.append(
                Withdrawal(
                    number, str(who), list(WithdrawalState)[state], requested, deadline, model
                )
            )
        return found

    # Rewards and anchors

    def pending_reward(self, organization: str) -> int:
        return int(self._read("Rewards", "pending", organization))

    def credited(self, round_id: int, organization: str) -> int:
        return int(self._read("Rewards", "creditedIn", round_id, organization))

    def anchor(self, organization: str) -> Anchor:
        size, block, root = self._read("Anchors", "latest", organization)
        return Anchor(size, block, bytes(root).hex())

    def events(self, from_block: int = 0) -> Iterator[Event]:
        """Every event of the five contracts, in the order of the chain."""
        contracts = {c.address: (name, c) for name, c in self._contracts.items()}
        logs = self.chain.ask(
            lambda: self.chain.web3.eth.get_logs(
                {"address": list(contracts), "fromBlock": from_block, "toBlock": "latest"}
            )
        )
        for log in logs:
            name, contract = contracts[log["address"]]
            for event in contract.events:
                for decoded in event().process_receipt({"logs": [log]}, errors=DISCARD):
                    yield Event(
                        int(log["blockNumber"]),
                        "0x" + bytes(log["transactionHash"]).hex(),
                        name,
                        str(decoded["event"]),
                        dict(decoded["args"]),
                    )

    def gas_of(self, tx_hash: str) -> int:
        receipt = self.chain.ask(lambda: self.chain.web3.eth.get_transaction_receipt(tx_hash))  # type: ignore[arg-type]
        return int(receipt["gasUsed"])

    # Writes

    def admit(self, organization: str, name: str, fingerprint: str) -> Receipt:
        return self._write("Members", "admit", organization, name, bytes.fromhex(fingerprint))

    def join(self) -> Receipt:
        return self._write("Members", "join", value=self.bond())

    def rotate_fingerprint(self, fingerprint: str) -> Receipt:
        return self._write("Members", "rotateFingerprint", bytes.fromhex(fingerprint))

    def reclaim_bond(self) -> Receipt:
        return self._write("Members", "reclaimBond")

    def open_round(self) -> Receipt:
        return self._write("Rounds", "openRound")

    def commit(self, round_id: int, artifact_id: str, salt: bytes) -> Receipt:
        value = commitment(round_id, self._me().address, artifact_id, salt)
        return self._write("Rounds", "commit", round_id, value)

    def sit_out(self, round_id: int) -> Receipt:
        return self._write("Rounds", "sitOut", round_id)

    def close_commits(self, round_id: int) -> Receipt:
        return self._write("Rounds", "closeCommits", round_id)

    def reveal(self, round_id: int, artifact_id: str, salt: bytes) -> Receipt:
        return self._write("Rounds", "reveal", round_id, bytes.fromhex(artifact_id), salt)

    def close_reveals(self, round_id: int) -> Receipt:
        return self._write("Rounds", "closeReveals", round_id)

    def finalize(
        self,
        round_id: int,
        accepted: Sequence[Contribution],
        rejected: Sequence[Rejection],
        aggregate_id: str,
        adapter_id: str,
    ) -> Receipt:
        return self._write(
            "Rounds",
            "finalize",
            round_id,
            [(c.organization, bytes.fromhex(c.artifact_id), c.weight, c.score) for c in accepted],
            [(r.organization, r.reason.value) for r in rejected],
            bytes.fromhex(aggregate_id),
            bytes.fromhex(adapter_id),
        )

    def abandon(self, round_id: int) -> Receipt:
        return self._write("Rounds", "abandon", round_id)

    def request_withdrawal(self) -> Receipt:
        return self._write("Withdrawals", "request")

    def close_withdrawal(self, withdrawal_id: int, adapter_id: str) -> Receipt:
        return self._write("Withdrawals", "close", withdrawal_id, bytes.fromhex(adapter_id))

    def fund(self, amount_wei: int) -> Receipt:
        return self._write("Rewards", "fund", value=amount_wei)

    def claim(self) -> Receipt:
        return self._write("Rewards", "claim")

    def write_anchor(self, size: int, root: str) -> Receipt:
        return self._write("Anchors", "anchor", size, bytes.fromhex(root))

    def _settings(self) -> Any:
        return self._read("Rounds", "settings")

    def _me(self) -> Account:
        if self.account is None:
            raise ContractRefused("this needs an account, and the record was opened to read only")
        return self.account

    def _read(self, contract: str, function: str, *arguments: Any) -> Any:
        call = self._contracts[contract].functions[function](*arguments)
        try:
            return self.chain.ask(call.call)
        except ContractCustomError as error:
            raise self._refused(contract, function, error) from error
        except (ContractLogicError, ValueError, Web3RPCError) as error:
            raise ContractsMissing(
                f"{contract} at {self.deployment.addresses()[contract]} does not answer "
                f"{function}: {error}"
            ) from error

    def _write(self, contract: str, function: str, *arguments: Any, value: int = 0) -> Receipt:
        target = self._contracts[contract]
        data = target.encode_abi(function, arguments)
        transaction = {"to": target.address, "data": data, "value": value}
        try:
            return self.chain.send(self._me(), transaction)
        except ContractLogicError as error:
            raise self._refused(contract, function, error) from error
        except Web3RPCError as error:
            raise ChainUnavailable(f"{contract}.{function} was not taken: {error}") from error

    def _refused(self, contract: str, function: str, error: Any) -> ContractRefused:
        data = str(getattr(error, "data", "") or "")
        known = self._errors.get(data[:10])
        if known is None:
            return ContractRefused(f"{contract}.{function} was refused: {error}")
        types = [item["type"] for item in known["inputs"]]
        values = self.chain.web3.codec.decode(types, bytes.fromhex(data[10:]))
        shown = ", ".join(
            f"{item['name']} {value.hex() if isinstance(value, bytes) else value}"
            for item, value in zip(known["inputs"], values, strict=True)
        )
        return ContractRefused(
            f"{contract}.{function} was refused: {known['name']}({shown})", known["name"]
        )


def _custom_errors(abi: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in abi:
        if item["type"] == "error":
            signature = f"{item['name']}({','.join(part['type'] for part in item['inputs'])})"
            yield {**item, "selector": "0x" + bytes(Web3.keccak(text=signature))[:4].hex()}


def _member(found: Any) -> Member:
    address, name, fingerprint, bond, status = found
    return Member(str(address), name, bytes(fingerprint).hex(), bond, list(MemberStatus)[status])
