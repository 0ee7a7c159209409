// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Who belongs to the consortium, with which certificate and which bond.
interface IMembers {
    /// @notice Admitted: may join. Active: takes part. Withdrawing: asked to be removed. Withdrawn: was removed.
    enum Status {
        None,
        Admitted,
        Active,
        Withdrawing,
        Withdrawn
    }

    struct Member {
        address organization;
        string name;
        bytes32 fingerprint;
        uint256 bond;
        Status status;
    }

    error NotGovernance(address caller);
    error NotWithdrawals(address caller);
    error AlreadyAdmitted(address organization);
    error WrongStatus(address organization, Status status);
    error WrongBond(uint256 sent, uint256 required);
    error FingerprintInUse(bytes32 fingerprint);
    error EmptyValue();
    error AlreadyWired();

    event Admitted(address indexed organization, string name, bytes32 fingerprint);
    event Joined(address indexed organization, uint256 bond);
    event FingerprintRotated(address indexed organization, bytes32 fingerprint);
    event StatusChanged(address indexed organization, Status status);
    event BondReclaimed(address indexed organization, uint256 amount);
    event Wired(address indexed withdrawals);
    event AggregatorFingerprintChanged(bytes32 fingerprint);

    /// @notice Admit an organization under a certificate. Only governance.
    function admit(address organization, string calldata name, bytes32 fingerprint) external;

    /// @notice Become active by paying exactly the bond. Only an admitted organization.
    function join() external payable;

    /// @notice Replace one's own certificate.
    function rotateFingerprint(bytes32 fingerprint) external;

    /// @notice Take the bond back after having been removed.
    function reclaimBond() external;

    /// @notice Record that a withdrawal was requested. Only the withdrawals contract.
    function markWithdrawing(address organization) external;

    /// @notice Record that a withdrawal was carried out. Only the withdrawals contract.
    function markWithdrawn(address organization) external;

    function member(address organization) external view returns (Member memory);

    /// @notice The member with this certificate, or zero.
    function organizationOf(bytes32 fingerprint) external view returns (address);

    function statusOf(address organization) external view returns (Status);

    /// @notice All organizations ever admitted, in order of admission.
    function organizations() external view returns (address[] memory);

    /// @notice How many members are active now.
    function activeCount() external view returns (uint256);
}
