// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Who belongs to the consortium, with which certificate and which bond.
/// @notice Until the first organization joins, the founder sets the consortium up: it admits organizations and names
/// auditors. From then on only the members' votes (Governance) can do so.
interface IMembers {
    /// @notice Admitted: may join. Active: takes part. Left: takes part no more, its deltas stay. Withdrawing: asked
    /// for its deltas to be taken back. Withdrawn: they were.
    enum Status {
        None,
        Admitted,
        Active,
        Left,
        Withdrawing,
        Withdrawn
    }

    struct Member {
        address organization;
        string name;
        bytes32 fingerprint;
        uint256 bond;
        uint64 exitAt;
        Status status;
    }

    /// @notice Amounts in wei. `exitSeconds`: from leaving until a bond can be reclaimed. `slashShare`: basis points of
    /// a slashed aggregator's bond that go to whom it harmed; the rest goes to the reward pool. `maxMembers`: how many
    /// organizations may ever be admitted; the digest's security budget counts on it.
    struct Terms {
        uint256 bond;
        uint256 aggregatorBond;
        uint256 unrevealedPenalty;
        uint64 exitSeconds;
        uint16 slashShare;
        uint16 maxMembers;
    }

    error NotGovernance(address caller);
    error NotAllowed(address caller);
    error NotAggregator(address caller);
    error AlreadyAdmitted(address organization);
    error TooManyMembers(uint256 most);
    error WrongStatus(address organization, Status status);
    error WrongBond(uint256 sent, uint256 required);
    error TooEarly(uint64 exitAt);
    error NothingToClaim(address caller);
    error NothingToSlash(address aggregator);
    error FingerprintInUse(bytes32 fingerprint);
    error UnknownAuditor(address auditor);
    error EmptyValue();

    event Admitted(address indexed organization, string name, bytes32 indexed fingerprint);
    event Joined(address indexed organization, uint256 bond);
    event BondRaised(address indexed organization, uint256 amount, uint256 bond);
    event BondReclaimed(address indexed organization, uint256 amount);
    event Penalized(address indexed organization, uint256 amount);
    event FingerprintRotated(address indexed organization, bytes32 indexed fingerprint);
    event StatusChanged(address indexed organization, Status status);
    event AuditorNamed(address indexed auditor);
    event AuditorDismissed(address indexed auditor);
    event AggregatorChanged(address indexed aggregator, bytes32 indexed fingerprint);
    event AggregatorBondPosted(address indexed aggregator, uint256 amount, uint256 bond);
    event AggregatorBondReclaimed(address indexed aggregator, uint256 amount);
    event AggregatorSlashed(
        address indexed aggregator, address indexed beneficiary, uint256 toBeneficiary, uint256 toPool
    );
    event CompensationPaid(address indexed to, uint256 amount);

    /// @notice Admit an organization under a certificate. Only governance.
    function admit(address organization, string calldata name, bytes32 fingerprint) external;

    /// @notice Name an auditor, whose attestation counts. Only governance.
    function nameAuditor(address auditor) external;

    /// @notice Only governance.
    function dismissAuditor(address auditor) external;

    /// @notice Put another aggregator in place. The old one may reclaim its bond after the exit delay. Only governance.
    function setAggregator(address next, bytes32 fingerprint) external;

    /// @notice Become active by paying exactly the bond. Only an admitted organization.
    function join() external payable;

    /// @notice Raise one's bond, after a penalty, up to what is required.
    function topUp() external payable;

    /// @notice Take part no more. One's deltas stay in the models; a withdrawal may still be requested.
    function resign() external;

    /// @notice Replace one's own certificate. Members, and the aggregator for its own.
    function rotateFingerprint(bytes32 fingerprint) external;

    /// @notice Take the bond back, the exit delay after having left or having been withdrawn.
    function reclaimBond() external;

    /// @notice Add to the aggregator's bond. Without it in full no round opens.
    function postAggregatorBond() external payable;

    /// @notice Take back the bond of a former aggregator, after the exit delay.
    function reclaimAggregatorBond() external;

    /// @notice Take out what one was awarded: a share of a slashed bond, or a deposit.
    function claimCompensation() external;

    /// @notice Record that a withdrawal was requested. Only the withdrawals contract.
    function markWithdrawing(address organization) external;

    /// @notice Record that a withdrawal was carried out. Only the withdrawals contract.
    function markWithdrawn(address organization) external;

    /// @notice Take the penalty for a commitment that was not revealed from a bond. Only the rounds contract.
    function penalize(address organization) external;

    /// @notice Take the whole bond of an aggregator; a share goes to `beneficiary`. Only withdrawals and lineage.
    function slashAggregator(address who, address beneficiary) external;

    /// @notice Credit what was sent to `to`. Only the lineage contract.
    function compensate(address to) external payable;

    function aggregator() external view returns (address);

    function aggregatorFingerprint() external view returns (bytes32);

    function aggregatorBondOf(address who) external view returns (uint256);

    /// @notice Whether the aggregator's bond is whole.
    function aggregatorReady() external view returns (bool);

    function member(address organization) external view returns (Member memory);

    /// @notice The member with this certificate, or zero.
    function organizationOf(bytes32 fingerprint) external view returns (address);

    function statusOf(address organization) external view returns (Status);

    /// @notice Whether the organization is active and its bond is whole.
    function mayContribute(address organization) external view returns (bool);

    /// @notice All organizations ever admitted, in order of admission.
    function organizations() external view returns (address[] memory);

    /// @notice How many members are active now.
    function activeCount() external view returns (uint256);

    function auditors() external view returns (address[] memory);

    function isAuditor(address who) external view returns (bool);

    function compensation(address who) external view returns (uint256);
}
