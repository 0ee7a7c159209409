// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILineage} from "./ILineage.sol";

/// @title Requests to take contributions back, and their being carried out.
interface IWithdrawals {
    /// @notice Preparing: the organization registers the deltas that its method needs. Requested: the aggregator must
    /// carry it out before the deadline. Closed: carried out, for good.
    enum State {
        None,
        Preparing,
        Requested,
        Closed
    }

    /// @notice `subject`: a salted commitment to a data subject, or zero for the whole organization. `evidence`: hash of
    /// what the auditors attested, for a replay or a counter-training.
    struct Withdrawal {
        address organization;
        State state;
        ILineage.Kind method;
        bool expelled;
        uint64 requestedAt;
        uint64 deadline;
        uint64 closedModel;
        bytes32 subject;
        bytes32 evidence;
    }

    /// @notice `preparationSeconds`: for the organization; `withdrawalSeconds`: for the aggregator. `auditorQuorum`: how
    /// many auditors must attest a replay or a counter-training.
    struct Terms {
        uint64 preparationSeconds;
        uint64 withdrawalSeconds;
        uint16 auditorQuorum;
    }

    error NotAggregator(address caller);
    error NotGovernance(address caller);
    error NotOrganization(address caller);
    error WrongStatus(address organization);
    error WrongState(uint64 id, State state);
    error WrongMethod(ILineage.Kind method);
    error EmptyValue();
    error TooManyOpen(address organization);
    error NothingOffered(uint64 id);
    error NotOverdue(uint64 id, uint64 deadline);
    error NotCarriedOut(uint64 id);
    error NotAuditor(address signer);
    error SignersNotAscending(address signer);
    error QuorumMissing(uint256 given, uint256 required);

    event WithdrawalRequested(
        uint64 indexed id,
        address indexed organization,
        bytes32 indexed subject,
        ILineage.Kind method,
        State state,
        uint64 deadline
    );
    event WithdrawalReady(uint64 indexed id, uint64 deadline);
    event WithdrawalEscalated(uint64 indexed id, uint64 deadline);
    event ManifestGiven(uint64 indexed id, uint64 indexed round, address indexed organization, bytes32 manifest);
    event WithdrawalCarriedOut(
        uint64 indexed id, uint64 indexed source, bytes32 indexed adapterId, bytes32 digestRoot, bytes32 evidence
    );
    event Attested(uint64 indexed id, address indexed auditor, bytes32 indexed evidence);
    event WithdrawalClosed(uint64 indexed id, address indexed organization, uint64 indexed model);

    /// @notice Ask for everything one contributed to be taken back: by removal, replay or counter-training.
    function request(ILineage.Kind method) external returns (uint64 id);

    /// @notice Ask for one data subject's part to be taken back: by replacement, replay or counter-training.
    function requestForSubject(bytes32 subject, ILineage.Kind method) external returns (uint64 id);

    /// @notice Expel a member: everything that it contributed is removed. Only governance.
    function expel(address organization) external returns (uint64 id);

    /// @notice Register a delta for a withdrawal: by the organization in place of its own of `round`, or to counteract
    /// with round 0; in a replay by every later contributor in place of its own. `manifest` commits to the data that it was trained on,
    /// and is kept as an event.
    function offer(uint64 id, uint64 round, ILineage.Delta calldata delta, bytes32 manifest) external;

    /// @notice Say that all is offered; now the aggregator must carry it out. Only the organization.
    function ready(uint64 id) external;

    /// @notice Turn a withdrawal that its organization did not prepare in time into the removal of the organization.
    /// Anyone.
    function escalate(uint64 id) external;

    /// @notice Turn a withdrawal that cannot be carried out as asked into the removal of the organization. Only
    /// governance.
    function fallBack(uint64 id) external;

    /// @notice Claim the model that takes the place of `source`. A replay or a counter-training needs the hash of its
    /// evidence and a quorum of auditors' EIP-712 signatures, ascending by signer. Only the aggregator.
    function carryOut(
        uint64 id,
        uint64 source,
        ILineage.Delta calldata adapter,
        bytes32 evidence,
        bytes[] calldata signatures
    ) external;

    /// @notice Close a withdrawal once every model in use that it concerns was replaced. Anyone.
    function close(uint64 id) external;

    /// @notice Have the aggregator's bond slashed for an overdue withdrawal. Anyone.
    function slash(uint64 id) external;

    /// @notice Whether any withdrawal is open past its deadline; then no round can open.
    function anyOverdue() external view returns (bool);

    function withdrawal(uint64 id) external view returns (Withdrawal memory);

    /// @notice Ids run from 1 to this.
    function count() external view returns (uint64);

    /// @notice Ids of those that are not closed.
    function open() external view returns (uint64[] memory);

    /// @notice EIP-712 hash that an auditor signs: Attestation(uint64 withdrawal,uint8 method,uint64 source,bytes32
    /// adapterId,bytes32 digestRoot,bytes32 evidence) in the domain ("Rescind", "1", chain, this contract).
    function attestationHash(uint64 id, uint64 source, ILineage.Delta calldata adapter, bytes32 evidence)
        external
        view
        returns (bytes32);
}
