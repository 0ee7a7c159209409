// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ILineage} from "./interfaces/ILineage.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IWithdrawals} from "./interfaces/IWithdrawals.sol";

contract Withdrawals is IWithdrawals, EIP712 {
    bytes32 public constant ATTESTATION_TYPEHASH = keccak256(
        "Attestation(uint64 withdrawal,uint8 method,uint64 source,bytes32 adapterId,bytes32 digestRoot,bytes32 evidence)"
    );
    uint256 public constant MOST_OPEN_EACH = 8;

    IMembers public immutable members;
    ILineage public immutable lineage;
    address public immutable governance;
    Terms public terms;

    uint64 public count;
    mapping(uint64 => Withdrawal) private _withdrawals;
    uint64[] private _open;
    mapping(address => uint256) private _openOf;
    mapping(uint64 => uint256) private _offers;

    modifier onlyAggregator() {
        if (msg.sender != members.aggregator()) revert NotAggregator(msg.sender);
        _;
    }

    modifier onlyGovernance() {
        if (msg.sender != governance) revert NotGovernance(msg.sender);
        _;
    }

    constructor(IMembers members_, ILineage lineage_, address governance_, Terms memory terms_) EIP712("Rescind", "1") {
        members = members_;
        lineage = lineage_;
        governance = governance_;
        terms = terms_;
    }

    function request(ILineage.Kind method) external returns (uint64 id) {
        if (method == ILineage.Kind.Round || method == ILineage.Kind.Replacement) revert WrongMethod(method);
        id = _request(msg.sender, 0, method, false);
        members.markWithdrawing(msg.sender);
    }

    function requestForSubject(bytes32 subject, ILineage.Kind method) external returns (uint64 id) {
        if (subject == 0) revert EmptyValue();
        if (method == ILineage.Kind.Round || method == ILineage.Kind.Removal) revert WrongMethod(method);
        IMembers.Status status = members.statusOf(msg.sender);
        if (status != IMembers.Status.Active && status != IMembers.Status.Left) revert WrongStatus(msg.sender);
        id = _request(msg.sender, subject, method, false);
    }

    function expel(address organization) external onlyGovernance returns (uint64 id) {
        id = _request(organization, 0, ILineage.Kind.Removal, true);
        members.markWithdrawing(organization);
    }

    function offer(uint64 id, uint64 round, ILineage.Delta calldata delta, bytes32 manifest) external {
        Withdrawal storage it = _withdrawals[id];
        if (it.state != State.Preparing && it.state != State.Requested) revert WrongState(id, it.state);
        if (it.method == ILineage.Kind.Removal) revert WrongMethod(it.method);
        if (it.method != ILineage.Kind.Replay) {
            if (msg.sender != it.organization) revert NotOrganization(msg.sender);
            if (it.state != State.Preparing) revert WrongState(id, it.state);
        }
        if (msg.sender == it.organization) ++_offers[id];
        emit ManifestGiven(id, round, msg.sender, manifest);
        lineage.offer(id, it.method, round, msg.sender, delta);
    }

    function ready(uint64 id) external {
        Withdrawal storage it = _withdrawals[id];
        if (it.state != State.Preparing) revert WrongState(id, it.state);
        if (msg.sender != it.organization) revert NotOrganization(msg.sender);
        if (_offers[id] == 0) revert NothingOffered(id);
        it.state = State.Requested;
        it.deadline = uint64(block.timestamp) + terms.withdrawalSeconds;
        emit WithdrawalReady(id, it.deadline);
    }

    function escalate(uint64 id) external {
        Withdrawal storage it = _withdrawals[id];
        if (it.state != State.Preparing) revert WrongState(id, it.state);
        if (block.timestamp <= it.deadline) revert NotOverdue(id, it.deadline);
        _toRemoval(id, it);
    }

    function fallBack(uint64 id) external onlyGovernance {
        Withdrawal storage it = _withdrawals[id];
        if (it.state != State.Preparing && it.state != State.Requested) revert WrongState(id, it.state);
        // Else a vote could put off a removal's deadline again and again.
        if (it.method == ILineage.Kind.Removal || lineage.amendmentOf(id) != 0) revert WrongMethod(it.method);
        _toRemoval(id, it);
    }

    function carryOut(
        uint64 id,
        uint64 source,
        ILineage.Delta calldata adapter,
        bytes32 evidence,
        bytes[] calldata signatures
    ) external onlyAggregator {
        Withdrawal storage it = _withdrawals[id];
        if (it.state != State.Requested) revert WrongState(id, it.state);
        if (it.method == ILineage.Kind.Replay || it.method == ILineage.Kind.CounterTraining) {
            if (evidence == 0) revert EmptyValue();
            _checkAttestations(id, attestationHash(id, source, adapter, evidence), evidence, signatures);
            it.evidence = evidence;
        }
        emit WithdrawalCarriedOut(id, source, adapter.artifactId, adapter.digestRoot, evidence);
        bool exclude = it.subject == 0 && it.method != ILineage.Kind.CounterTraining;
        lineage.claimAmendment(id, it.method, it.organization, exclude, source, adapter);
    }

    function close(uint64 id) external {
        Withdrawal storage it = _withdrawals[id];
        if (it.state != State.Requested) revert WrongState(id, it.state);
        if (!lineage.carriedOut(id, it.organization)) revert NotCarriedOut(id);
        it.state = State.Closed;
        it.closedModel = lineage.head();
        _forget(id, it.organization);
        emit WithdrawalClosed(id, it.organization, it.closedModel);
        if (it.subject == 0 && members.statusOf(it.organization) == IMembers.Status.Withdrawing) {
            members.markWithdrawn(it.organization);
        }
    }

    function slash(uint64 id) external {
        Withdrawal storage it = _withdrawals[id];
        if (it.state != State.Requested) revert WrongState(id, it.state);
        if (block.timestamp <= it.deadline) revert NotOverdue(id, it.deadline);
        members.slashAggregator(members.aggregator(), it.organization);
    }

    function anyOverdue() external view returns (bool) {
        for (uint256 i = 0; i < _open.length; ++i) {
            if (block.timestamp > _withdrawals[_open[i]].deadline) return true;
        }
        return false;
    }

    function withdrawal(uint64 id) external view returns (Withdrawal memory) {
        return _withdrawals[id];
    }

    function open() external view returns (uint64[] memory) {
        return _open;
    }

    function attestationHash(uint64 id, uint64 source, ILineage.Delta calldata adapter, bytes32 evidence)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    ATTESTATION_TYPEHASH,
                    id,
                    uint8(_withdrawals[id].method),
                    source,
                    adapter.artifactId,
                    adapter.digestRoot,
                    evidence
                )
            )
        );
    }

    function _request(address organization, bytes32 subject, ILineage.Kind method, bool expelled)
        private
        returns (uint64 id)
    {
        if (_openOf[organization] >= MOST_OPEN_EACH && subject != 0) revert TooManyOpen(organization);
        bool prepares = method == ILineage.Kind.Replacement || method == ILineage.Kind.CounterTraining
            || (method == ILineage.Kind.Replay && subject != 0);
        State state = prepares ? State.Preparing : State.Requested;
        uint64 deadline = uint64(block.timestamp) + (prepares ? terms.preparationSeconds : terms.withdrawalSeconds);
        id = ++count;
        _withdrawals[id] =
            Withdrawal(organization, state, method, expelled, uint64(block.timestamp), deadline, 0, subject, 0);
        _open.push(id);
        ++_openOf[organization];
        emit WithdrawalRequested(id, organization, subject, method, state, deadline);
    }

    function _toRemoval(uint64 id, Withdrawal storage it) private {
        it.method = ILineage.Kind.Removal;
        it.subject = 0;
        it.evidence = 0;
        it.state = State.Requested;
        it.deadline = uint64(block.timestamp) + terms.withdrawalSeconds;
        emit WithdrawalEscalated(id, it.deadline);
        IMembers.Status status = members.statusOf(it.organization);
        if (status != IMembers.Status.Withdrawing && status != IMembers.Status.Withdrawn) {
            members.markWithdrawing(it.organization);
        }
    }

    function _checkAttestations(uint64 id, bytes32 hash, bytes32 evidence, bytes[] calldata signatures) private {
        if (signatures.length < terms.auditorQuorum) revert QuorumMissing(signatures.length, terms.auditorQuorum);
        address previous = address(0);
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = ECDSA.recover(hash, signatures[i]);
            if (signer <= previous) revert SignersNotAscending(signer);
            if (!members.isAuditor(signer)) revert NotAuditor(signer);
            previous = signer;
            emit Attested(id, signer, evidence);
        }
    }

    function _forget(uint64 id, address organization) private {
        --_openOf[organization];
        for (uint256 i = 0; i < _open.length; ++i) {
            if (_open[i] == id) {
                _open[i] = _open[_open.length - 1];
                _open.pop();
                return;
            }
        }
    }
}
