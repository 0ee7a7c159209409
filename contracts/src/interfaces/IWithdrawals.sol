// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ModelId, RoundId, WithdrawalId} from "../Types.sol";

/// @title Requests to take contributions back. A removal takes effect with the request; everything else once it is ready.
/// @notice An organization has one withdrawal open at a time. What is late becomes its removal, by anyone's call.
interface IWithdrawals {
    /// @notice Removal: the organization's contributions are out. Replacement: some are replaced by others of its own.
    /// Replay: they are out or replaced, and what was learned from them is trained again. CounterTraining: a delta that
    /// counteracts is added.
    enum Method {
        Removal,
        Replacement,
        Replay,
        CounterTraining
    }

    /// @notice Preparing: the organization offers what its method needs. Effective: models are folded, by anyone.
    /// Replaying: members train again. Attesting: auditors measure. Closed: for good.
    enum State {
        None,
        Preparing,
        Effective,
        Replaying,
        Attesting,
        Closed
    }

    /// @notice A withdrawal.
    /// @param organization Whose contributions it concerns.
    /// @param state Where it stands.
    /// @param method How it is carried out.
    /// @param expelled Whether governance requested it.
    /// @param requestedAt Unix seconds.
    /// @param amendment The last amendment that it made, or 0.
    /// @param deadline When its present state is late, in Unix seconds; 0 where it cannot be.
    /// @param from First round that it changes; 0 for a counter-delta.
    /// @param closedModel The head when it was closed.
    /// @param subject Salted commitment to a data subject; zero for the whole organization.
    /// @param evidence What the auditors attested.
    struct Withdrawal {
        address organization;
        State state;
        Method method;
        bool expelled;
        uint40 requestedAt;
        uint32 amendment;
        uint40 deadline;
        RoundId from;
        ModelId closedModel;
        bytes32 subject;
        bytes32 evidence;
    }

    /// @notice Terms of withdrawals. They never change.
    /// @param preparationSeconds Time for an organization to offer what its method needs.
    /// @param attestationSeconds Time for the auditors.
    /// @param auditorQuorum How many of them must attest a replay or a counter-training.
    struct Terms {
        uint40 preparationSeconds;
        uint40 attestationSeconds;
        uint16 auditorQuorum;
    }

    error NotGovernance(address caller);
    error NotOrganization(address caller);
    error WrongStatus(address organization);
    error WrongState(WithdrawalId id, State state);
    error WrongMethod(Method method);
    error EmptyValue();
    error AlreadyOpen(WithdrawalId id);
    error NothingOffered(WithdrawalId id);
    error OfferMissing(WithdrawalId id, RoundId round);
    error NotOverdue(WithdrawalId id, uint40 deadline);
    error NotFolded(WithdrawalId id);
    error NotAmended(WithdrawalId id, ModelId model);
    error NotReplayed(WithdrawalId id);
    error NothingToPay(uint256 sent);

    event WithdrawalRequested(
        WithdrawalId indexed id,
        address indexed organization,
        bytes32 indexed subject,
        Method method,
        State state,
        uint40 deadline
    );
    event WithdrawalEffective(WithdrawalId indexed id, uint32 indexed amendment);
    event WithdrawalConverted(WithdrawalId indexed id, uint32 indexed amendment);
    event WithdrawalReplayed(WithdrawalId indexed id, uint32 indexed amendment, uint40 deadline);
    event WithdrawalAttested(WithdrawalId indexed id, bytes32 indexed evidence, address[] auditors);
    event WithdrawalClosed(WithdrawalId indexed id, address indexed organization, ModelId indexed model);

    /// @notice Take back everything that the caller contributed. A removal or a replay takes effect at once.
    /// @param method Removal, CounterTraining, or where rounds are chained Replay, with its price.
    /// @return id Number of the withdrawal.
    function request(Method method) external payable returns (WithdrawalId id);

    /// @notice Take back one data subject's part of what the caller contributed.
    /// @param subject Salted commitment to the data subject.
    /// @param method Replacement, Replay or CounterTraining.
    /// @return id Number of the withdrawal.
    function requestForSubject(bytes32 subject, Method method) external returns (WithdrawalId id);

    /// @notice Expel a member: everything that it contributed is out at once. Governance only.
    /// @param organization The member.
    /// @return id Number of the withdrawal.
    function expel(address organization) external returns (WithdrawalId id);

    /// @notice Offer a contribution in place of the caller's own of a round, or with round 0 one that counteracts. It may
    /// be offered again until it is ready.
    /// @param id The withdrawal.
    /// @param round The round, or 0.
    /// @param artifactIds SHA-256 of each part's artifact.
    /// @param points Each part's point.
    /// @param manifest Commitment to the data that was trained on.
    function offer(
        WithdrawalId id,
        RoundId round,
        bytes32[] calldata artifactIds,
        bytes calldata points,
        bytes32 manifest
    ) external;

    /// @notice Let what was offered take effect. The organization only; a replay with its price.
    /// @param id The withdrawal.
    function ready(WithdrawalId id) external payable;

    /// @notice Turn a late withdrawal into the removal of its organization. Anyone.
    /// @param id The withdrawal.
    function escalate(WithdrawalId id) external;

    /// @notice Turn a withdrawal into the removal of its organization. The organization only, at any time.
    /// @param id The withdrawal.
    function convert(WithdrawalId id) external;

    /// @notice Go on to the attestation once the replay is done. Anyone.
    /// @param id The withdrawal.
    function replayed(WithdrawalId id) external;

    /// @notice Record that a quorum of auditors attested what a replay or a counter-training did. Anyone, once folded.
    /// @param id The withdrawal.
    /// @param model A model that has its amendment.
    /// @param evidence SHA-256 of what they attested.
    /// @param signatures EIP-712 signatures, ascending by signer.
    function attest(WithdrawalId id, ModelId model, bytes32 evidence, bytes[] calldata signatures) external;

    /// @notice Close a withdrawal once every model in use is folded, and attested where it must be. Anyone.
    /// @param id The withdrawal.
    function close(WithdrawalId id) external;

    /// @notice A withdrawal.
    function withdrawalOf(WithdrawalId id) external view returns (Withdrawal memory);

    /// @notice Withdrawals are numbered from 1 to this.
    function count() external view returns (uint64);

    /// @notice The terms.
    function terms() external view returns (Terms memory);

    /// @notice The open withdrawal of an organization, or 0.
    function openOf(address organization) external view returns (WithdrawalId);

    /// @notice EIP-712 hash that an auditor signs: Attestation(uint64 withdrawal,uint64 model,bytes32 commitments,bytes32
    /// evidence) in the domain ("Rescind", "2", chain, this contract). `commitments` is keccak256 of the hashes of the
    /// model's commitments, part by part.
    function attestationHash(WithdrawalId id, ModelId model, bytes32 evidence) external view returns (bytes32);
}
