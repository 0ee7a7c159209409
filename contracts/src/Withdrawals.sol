// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ArtifactId, MemberId, ModelId, OfferId, RoundId, WithdrawalId} from "./Types.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IModels} from "./interfaces/IModels.sol";
import {IReplays} from "./interfaces/IReplays.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {IWithdrawals} from "./interfaces/IWithdrawals.sol";
import {Quorum} from "./libraries/Quorum.sol";

/// @title Requests to take contributions back.
contract Withdrawals is IWithdrawals, EIP712 {
    /// @notice EIP-712 type of what auditors sign.
    bytes32 public constant ATTESTATION_TYPEHASH =
        keccak256("Attestation(uint64 withdrawal,uint64 model,bytes32 commitments,bytes32 evidence)");

    IMembers public immutable members;
    IRounds public immutable rounds;
    IModels public immutable models;
    IReplays public immutable replays;
    address public immutable governance;
    /// @notice Whether rounds are chained, as in Models.
    bool public immutable chained;
    uint16 private immutable _auditorQuorum;
    /// @dev With the terms in its word, the first withdrawal needs no fresh one for it.
    /// @inheritdoc IWithdrawals
    uint64 public count;
    uint40 private _preparationSeconds;
    uint40 private _attestationSeconds;
    mapping(WithdrawalId => Withdrawal) private _withdrawals;

    modifier onlyOrganization(WithdrawalId id) {
        if (msg.sender != _withdrawals[id].organization) revert NotOrganization(msg.sender);
        _;
    }

    constructor(
        IMembers members_,
        IRounds rounds_,
        IModels models_,
        IReplays replays_,
        address governance_,
        bool chained_,
        Terms memory terms_
    ) EIP712("Rescind", "2") {
        members = members_;
        rounds = rounds_;
        models = models_;
        replays = replays_;
        governance = governance_;
        chained = chained_;
        _auditorQuorum = terms_.auditorQuorum;
        (_preparationSeconds, _attestationSeconds) = (terms_.preparationSeconds, terms_.attestationSeconds);
    }

    /// @inheritdoc IWithdrawals
    function request(Method method) external payable returns (WithdrawalId id) {
        // In blocks no one learns from the others, so a removal leaves nothing to replay.
        if (method == Method.Replacement || (method == Method.Replay && !chained)) revert WrongMethod(method);
        if (method != Method.Replay && msg.value != 0) revert NothingToPay(msg.value);
        MemberId member;
        (id, member) = _request(msg.sender, 0, method, false);
        if (method == Method.CounterTraining) return id;
        if (method == Method.Replay) _queue(id, RoundId.wrap(RoundId.unwrap(_firstRound(member)) + 1));
        _exclude(id, member);
    }

    /// @inheritdoc IWithdrawals
    function requestForSubject(bytes32 subject, Method method) external returns (WithdrawalId id) {
        if (subject == 0) revert EmptyValue();
        if (method == Method.Removal) revert WrongMethod(method);
        (id,) = _request(msg.sender, subject, method, false);
    }

    /// @inheritdoc IWithdrawals
    function expel(address organization) external returns (WithdrawalId id) {
        if (msg.sender != governance) revert NotGovernance(msg.sender);
        id = members.openOf(organization);
        if (WithdrawalId.unwrap(id) != 0) {
            _withdrawals[id].expelled = true;
            _toRemoval(id);
            return id;
        }
        MemberId member;
        (id, member) = _request(organization, 0, Method.Removal, true);
        _exclude(id, member);
    }

    /// @inheritdoc IWithdrawals
    function offer(
        WithdrawalId id,
        RoundId round,
        bytes32[] calldata artifactIds,
        bytes calldata points,
        bytes32 manifest
    ) external onlyOrganization(id) {
        Withdrawal storage its = _inState(id, State.Preparing);
        bool counters = its.method == Method.CounterTraining;
        if (counters != (round == RoundId.wrap(0))) revert WrongMethod(its.method);
        if (its.from == RoundId.wrap(0) || round < its.from) its.from = round;
        MemberId member = members.numberOf(msg.sender);
        models.register(_offerId(id), round, member, artifactIds, points, manifest);
    }

    /// @inheritdoc IWithdrawals
    function ready(WithdrawalId id) external payable onlyOrganization(id) {
        Withdrawal storage its = _inState(id, State.Preparing);
        MemberId member = members.numberOf(msg.sender);
        bool nothing = models.offerOf(_offerId(id), its.from, member, 0).artifact == ArtifactId.wrap(0);
        if (nothing) revert NothingOffered(id);
        bool counters = its.method == Method.CounterTraining;
        bool queues = its.method == Method.Replay && chained;
        if (!queues && msg.value != 0) revert NothingToPay(msg.value);
        if (its.method == Method.Replay && !chained) _requireAllOffered(id, its.from, member);
        IModels.Kind kind = counters ? IModels.Kind.CounterTraining : IModels.Kind.Replacement;
        its.amendment = models.amend(kind, member, id, its.from);
        emit WithdrawalEffective(id, its.amendment);
        if (queues) {
            _queue(id, RoundId.wrap(RoundId.unwrap(its.from) + 1));
        } else if (its.method == Method.Replacement) {
            (its.state, its.deadline) = (State.Effective, 0);
        } else {
            (its.state, its.deadline) = (State.Attesting, uint40(block.timestamp) + _attestationSeconds);
        }
    }

    /// @inheritdoc IWithdrawals
    function escalate(WithdrawalId id) external {
        Withdrawal storage its = _withdrawals[id];
        bool waits = its.state == State.Preparing || its.state == State.Attesting;
        if (!waits) revert WrongState(id, its.state);
        if (block.timestamp <= its.deadline) revert NotOverdue(id, its.deadline);
        _toRemoval(id);
    }

    /// @inheritdoc IWithdrawals
    function convert(WithdrawalId id) external onlyOrganization(id) {
        _toRemoval(id);
    }

    /// @inheritdoc IWithdrawals
    function replayed(WithdrawalId id) external {
        Withdrawal storage its = _inState(id, State.Replaying);
        OfferId joined = replays.joined(id);
        IReplays.Replay memory replay = replays.replayOf(joined);
        if (OfferId.unwrap(joined) == 0 || replay.amendment == 0) revert NotReplayed(id);
        // A replay that had no round to train again changes no model.
        if (replay.from <= replay.to) its.amendment = replay.amendment;
        (its.state, its.deadline) = (State.Attesting, uint40(block.timestamp) + _attestationSeconds);
        emit WithdrawalReplayed(id, its.amendment, its.deadline);
    }

    /// @inheritdoc IWithdrawals
    function attest(WithdrawalId id, ModelId model, bytes32 evidence, bytes[] calldata signatures) external {
        Withdrawal storage its = _inState(id, State.Attesting);
        if (evidence == 0) revert EmptyValue();
        if (models.modelOf(model).amendments < its.amendment) revert NotAmended(id, model);
        bytes32 hash = attestationHash(id, model, evidence);
        address[] memory auditors = Quorum.require_(members, _auditorQuorum, hash, signatures);
        its.evidence = evidence;
        (its.state, its.deadline) = (State.Effective, 0);
        emit WithdrawalAttested(id, evidence, auditors);
    }

    /// @inheritdoc IWithdrawals
    function close(WithdrawalId id) external {
        Withdrawal storage its = _inState(id, State.Effective);
        if (!models.settle(its.amendment)) revert NotFolded(id);
        its.state = State.Closed;
        its.closedModel = models.head();
        emit WithdrawalClosed(id, its.organization, its.closedModel);
        members.endWithdrawal(its.organization);
    }

    /// @inheritdoc IWithdrawals
    function terms() external view returns (Terms memory) {
        return Terms(_preparationSeconds, _attestationSeconds, _auditorQuorum);
    }

    /// @inheritdoc IWithdrawals
    function openOf(address organization) external view returns (WithdrawalId) {
        return members.openOf(organization);
    }

    /// @inheritdoc IWithdrawals
    function withdrawalOf(WithdrawalId id) external view returns (Withdrawal memory) {
        return _withdrawals[id];
    }

    /// @inheritdoc IWithdrawals
    function attestationHash(WithdrawalId id, ModelId model, bytes32 evidence) public view returns (bytes32) {
        bytes memory commitments;
        for (uint256 part = 0; part < rounds.partCount(); ++part) {
            commitments = abi.encodePacked(commitments, models.commitmentOf(model, part));
        }
        bytes32 encoded = keccak256(abi.encode(ATTESTATION_TYPEHASH, id, model, keccak256(commitments), evidence));
        return _hashTypedDataV4(encoded);
    }

    function _request(address organization, bytes32 subject, Method method, bool expelled)
        private
        returns (WithdrawalId id, MemberId member)
    {
        id = WithdrawalId.wrap(++count);
        member = members.startWithdrawal(organization, id, subject == 0);
        if (models.excludedBy(member) != 0) revert WrongStatus(organization);
        bool prepares = method == Method.CounterTraining || subject != 0;
        State state = prepares ? State.Preparing : State.Effective;
        uint40 deadline = prepares ? uint40(block.timestamp) + _preparationSeconds : 0;
        Withdrawal storage its = _withdrawals[id];
        (its.organization, its.state, its.method, its.expelled) = (organization, state, method, expelled);
        its.requestedAt = uint40(block.timestamp);
        if (prepares) (its.deadline, its.subject) = (deadline, subject);
        emit WithdrawalRequested(id, organization, subject, method, state, deadline);
    }

    /// @dev One fact, and every model that holds the organization is stale.
    function _exclude(WithdrawalId id, MemberId member) private {
        uint32 amendment = models.exclude(member);
        _withdrawals[id].amendment = amendment;
        emit WithdrawalEffective(id, amendment);
    }

    function _toRemoval(WithdrawalId id) private {
        Withdrawal storage its = _withdrawals[id];
        if (its.state == State.None || its.state == State.Closed) revert WrongState(id, its.state);
        if (its.state == State.Replaying) replays.drop(id);
        (its.method, its.state, its.deadline, its.subject, its.evidence) = (Method.Removal, State.Effective, 0, 0, 0);
        MemberId member = members.markWithdrawing(its.organization);
        uint32 excluded = models.excludedBy(member);
        its.amendment = excluded != 0 ? excluded : models.exclude(member);
        emit WithdrawalConverted(id, its.amendment);
    }

    function _queue(WithdrawalId id, RoundId from) private {
        Withdrawal storage its = _withdrawals[id];
        (its.state, its.deadline, its.from) = (State.Replaying, 0, from);
        replays.queue{value: msg.value}(id, its.organization, from);
    }

    /// @dev In blocks a member's later rounds start from its own earlier ones, so it trains all of them again.
    function _requireAllOffered(WithdrawalId id, RoundId from, MemberId member) private view {
        uint64 last = RoundId.unwrap(models.modelOf(models.head()).lastRound);
        for (uint64 n = RoundId.unwrap(from); n <= last; ++n) {
            RoundId round = RoundId.wrap(n);
            if (!rounds.isAccepted(round, member)) continue;
            bool missing = models.offerOf(_offerId(id), round, member, 0).artifact == ArtifactId.wrap(0);
            if (missing) revert OfferMissing(id, round);
        }
    }

    function _firstRound(MemberId member) private view returns (RoundId) {
        uint64 last = RoundId.unwrap(models.modelOf(models.head()).lastRound);
        for (uint64 n = 1; n <= last; ++n) {
            if (rounds.isAccepted(RoundId.wrap(n), member)) return RoundId.wrap(n);
        }
        revert WrongMethod(Method.Replay);
    }

    function _offerId(WithdrawalId id) private pure returns (OfferId) {
        return OfferId.wrap(WithdrawalId.unwrap(id));
    }

    function _inState(WithdrawalId id, State wanted) private view returns (Withdrawal storage its) {
        its = _withdrawals[id];
        if (its.state != wanted) revert WrongState(id, its.state);
    }
}
