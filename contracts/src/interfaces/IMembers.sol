// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, WithdrawalId} from "../Types.sol";

/// @title Members of the consortium, their bonds and certificates, the auditors and the aggregator.
/// @notice Until the first organization joins, the founder admits organizations and names auditors. From then on only the
/// members' votes (Governance) can.
interface IMembers {
    /// @notice Admitted: may join. Active: takes part. Left: takes part no longer; its contributions stay. Withdrawing:
    /// out; models are being folded without it. Withdrawn: no model in use holds it.
    enum Status {
        None,
        Admitted,
        Active,
        Left,
        Withdrawing,
        Withdrawn
    }

    /// @notice An organization.
    /// @param status Where its membership stands.
    /// @param number Its place in every bitmap, given when it joins.
    /// @param exitAt When its bond can be reclaimed, in Unix seconds; 0 before it left.
    /// @param bond Its bond, in wei.
    struct Member {
        Status status;
        MemberId number;
        uint40 exitAt;
        uint96 bond;
    }

    /// @notice Terms of membership. They never change.
    /// @param bond Bond of an organization, in wei.
    /// @param aggregatorBond Bond of the aggregator, in wei. Without it no round opens.
    /// @param unrevealedPenalty Taken from the bond of a member that commits and does not reveal, in wei.
    /// @param exitSeconds Time from leaving until a bond can be reclaimed.
    /// @param unavailableShare Part of the aggregator's bond that is lost when most members miss the parent model, in
    /// basis points.
    /// @param maxMembers Most organizations that may ever join, at most 1,024.
    struct Terms {
        uint96 bond;
        uint96 aggregatorBond;
        uint96 unrevealedPenalty;
        uint40 exitSeconds;
        uint16 unavailableShare;
        uint16 maxMembers;
    }

    error NotGovernance(address caller);
    error NotAllowed(address caller);
    error AlreadyAdmitted(address organization);
    error IsAggregator(address organization);
    error IsMember(address aggregator);
    error TooManyMembers(uint256 most);
    error WrongStatus(address organization, Status status);
    error WrongBond(uint256 sent, uint256 required);
    error WrongTerms();
    error TooEarly(uint40 exitAt);
    error NothingToClaim(address caller);
    error NoPenaltyDue(address organization);
    error MayNotContribute(address organization);
    error UnknownAuditor(address auditor);
    error EmptyValue();

    event Admitted(address indexed organization, string name);
    event AdmissionRevoked(address indexed organization);
    event Joined(address indexed organization, MemberId indexed number, uint256 bond);
    event BondRaised(address indexed organization, uint256 amount, uint256 bond);
    event BondReclaimed(address indexed organization, uint256 amount);
    event Suspended(uint256[4] members);
    event Penalized(address indexed organization, uint256 amount);
    event FingerprintSet(address indexed owner, bytes32 indexed fingerprint, bytes proof);
    event StatusChanged(address indexed organization, Status status);
    event AuditorNamed(address indexed auditor);
    event AuditorDismissed(address indexed auditor);
    event AggregatorChanged(address indexed aggregator);
    event AggregatorBondPosted(address indexed aggregator, uint256 amount, uint256 bond);
    event AggregatorBondReclaimed(address indexed aggregator, uint256 amount);
    event AggregatorPenalized(address indexed aggregator, uint256 amount);

    /// @notice Admit an organization. Governance only; not the aggregator.
    /// @param organization Its address.
    /// @param name What people call it.
    function admit(address organization, string calldata name) external;

    /// @notice Take an admission back, before the organization joined. Governance only.
    /// @param organization An admitted organization.
    function revokeAdmission(address organization) external;

    /// @notice Name an auditor, whose attestations count. Governance only.
    /// @param auditor Its address.
    function nameAuditor(address auditor) external;

    /// @notice Let an auditor's attestations count no longer. Governance only.
    /// @param auditor An auditor.
    function dismissAuditor(address auditor) external;

    /// @notice Appoint another aggregator, which must not be a member. The old one may reclaim its bond after the exit delay.
    /// Governance only.
    /// @param next Its address.
    function setAggregator(address next) external;

    /// @notice Give up being the aggregator. No round opens until the members name another. Aggregator only.
    function resignAggregator() external;

    /// @notice Become active by paying exactly the bond. Admitted organizations only.
    /// @param fingerprint SHA-256 of the caller's TLS certificate.
    /// @param proof Signature by the certificate's key over chain, this contract and the caller. The contract keeps it as
    /// an event; anyone who is shown the certificate checks it, so a fingerprint that others registered proves nothing.
    function join(bytes32 fingerprint, bytes calldata proof) external payable;

    /// @notice Raise the bond, after a penalty, to at most what is required. A penalty that is due is taken first.
    function topUp() external payable;

    /// @notice Take part no longer. Contributions stay in the models; a withdrawal may still be requested.
    function resign() external;

    /// @notice Register another certificate. Members, and the aggregator.
    /// @param fingerprint As in `join`.
    /// @param proof As in `join`.
    function setFingerprint(bytes32 fingerprint, bytes calldata proof) external;

    /// @notice Take the bond back, the exit delay after having left or having been withdrawn.
    function reclaimBond() external;

    /// @notice Take the penalty from the bond of a member that did not reveal. Anyone.
    /// @param organization The member.
    function penalize(address organization) external;

    /// @notice Add to the aggregator's bond. Aggregator only.
    function postAggregatorBond() external payable;

    /// @notice Take back the bond of a former aggregator, after the exit delay.
    function reclaimAggregatorBond() external;

    /// @notice Record that an organization has a withdrawal open. Withdrawals contract only.
    /// @param organization An active or former member with none open.
    /// @param withdrawal The withdrawal.
    /// @param leaves Whether the organization takes part no longer from now on.
    /// @return number Number of the organization.
    function startWithdrawal(address organization, WithdrawalId withdrawal, bool leaves)
        external
        returns (MemberId number);

    /// @notice Let an organization whose withdrawal became its removal take part no longer. Withdrawals contract only.
    /// @param organization An organization with a withdrawal open.
    /// @return number Number of the organization.
    function markWithdrawing(address organization) external returns (MemberId number);

    /// @notice Record that the withdrawal of an organization is closed. Withdrawals contract only.
    /// @param organization An organization with a withdrawal open.
    function endWithdrawal(address organization) external;

    /// @notice Let members that did not reveal take no part until they paid the penalty. Rounds contract only.
    /// @param unrevealed The members.
    function suspend(uint256[4] calldata unrevealed) external;

    /// @notice Take the stated share of an aggregator's bond into the pool. Rounds contract only.
    /// @param owner The present or former aggregator that opened the round.
    function penalizeAggregator(address owner) external;

    /// @notice The aggregator, or zero.
    function aggregator() external view returns (address);

    /// @notice Whether there is an aggregator and its bond is whole.
    function aggregatorReady() external view returns (bool);

    /// @notice Bond of a present or former aggregator, in wei.
    function aggregatorBondOf(address owner) external view returns (uint256);

    /// @notice The key that deployed the consortium.
    function founder() external view returns (address);

    /// @notice When the last active member left, in Unix seconds; 0 while there is one, or there never was.
    function emptySince() external view returns (uint40);

    /// @notice The open withdrawal of an organization, or 0.
    function openOf(address organization) external view returns (WithdrawalId);

    /// @notice What is known of an organization.
    function member(address organization) external view returns (Member memory);

    /// @notice Number of an organization that joined, also if it left. Reverts for others.
    function numberOf(address organization) external view returns (MemberId);

    /// @notice Name of an organization.
    function nameOf(address organization) external view returns (string memory);

    /// @notice SHA-256 of the TLS certificate that a member or the aggregator registered last.
    function fingerprintOf(address owner) external view returns (bytes32);

    /// @notice Where an organization's membership stands.
    function statusOf(address organization) external view returns (Status);

    /// @notice Number of a member that may contribute: active, its bond whole and no penalty due. Reverts for others.
    function contributor(address organization) external view returns (MemberId);

    /// @notice Whether `contributor` would answer.
    function mayContribute(address organization) external view returns (bool);

    /// @notice Organizations that joined, by number.
    /// @param start First number.
    /// @param limit Most of them.
    function organizations(uint256 start, uint256 limit) external view returns (address[] memory);

    /// @notice The organization with a number.
    function organizationAt(MemberId number) external view returns (address);

    /// @notice How many organizations ever joined.
    function memberCount() external view returns (uint256);

    /// @notice How many members are active now.
    function activeCount() external view returns (uint256);

    /// @notice The members that are active now.
    function activeMembers() external view returns (uint256[4] memory);

    /// @notice The members that may contribute now.
    function eligibleMembers() external view returns (uint256[4] memory);

    /// @notice The auditors.
    function auditors() external view returns (address[] memory);

    /// @notice Whether an address is an auditor.
    function isAuditor(address account) external view returns (bool);
}
