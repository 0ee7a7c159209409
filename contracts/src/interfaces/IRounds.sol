// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILineage} from "./ILineage.sol";

/// @title Rounds of training: who commits, reveals and is summed, with deadlines that anyone may enforce.
interface IRounds {
    /// @notice Aggregated: the aggregator has named the sum; Final: the sum was found right and the model registered.
    enum State {
        None,
        Open,
        Committed,
        Revealed,
        Aggregated,
        Final,
        Abandoned
    }

    enum Answer {
        None,
        Committed,
        SatOut,
        Revealed
    }

    /// @notice The consortium's agreement, as far as the chain needs it. `maxRounds`: how many rounds may be summed; the
    /// digest's security budget counts on it.
    struct Settings {
        bytes32 parametersId;
        bytes32 baseModelId;
        bool federated;
        bool sharedLayout;
        uint32 maxRounds;
        uint64 commitSeconds;
        uint64 revealSeconds;
        uint64 finalizeSeconds;
    }

    struct Round {
        State state;
        uint64 openedAt;
        uint64 commitDeadline;
        uint64 revealDeadline;
        uint64 finalizeDeadline;
        uint64 parentModel;
        uint64 model;
    }

    /// @notice One organization's part in one round.
    struct Entry {
        Answer answer;
        bytes32 commitment;
        bytes32 artifactId;
        bytes32 digestRoot;
    }

    /// @notice `reason`: 1 missing, 2 wrong hash, 3 too large, 4 malformed, 5 wrong shape, 6 wrong type,
    /// 7 out of bounds, 8 bad signature, 9 withdrawn, 10 zero, 11 wrong digest.
    struct Rejection {
        address organization;
        uint8 reason;
    }

    error NotAggregator(address caller);
    error NotLineage(address caller);
    error MayNotContribute(address caller);
    error AggregatorBondMissing();
    error WrongState(uint64 round, State state);
    error RoundUnfinished(uint64 round);
    error TooManyRounds(uint32 most);
    error WithdrawalOverdue();
    error DeadlinePassed(uint64 round, uint64 deadline);
    error DeadlineAhead(uint64 round, uint64 deadline);
    error AlreadyAnswered(uint64 round, address organization);
    error NothingCommitted(uint64 round, address organization);
    error CommitmentMismatch(uint64 round, address organization);
    error EmptyValue();
    error NotAscending(address organization);
    error NotRevealed(uint64 round, address organization);
    error WrongWeight(address organization, uint256 given, uint256 required);
    error ScoreTooHigh(address organization, uint256 score);
    error UnaccountedFor(uint64 round, uint256 given, uint256 revealed);
    error Withdrawn(address organization);

    event RoundOpened(
        uint64 indexed round,
        uint64 indexed parentModel,
        uint64 commitDeadline,
        uint64 revealDeadline,
        uint64 finalizeDeadline
    );
    event UpdateCommitted(uint64 indexed round, address indexed organization, bytes32 commitment);
    event SatOut(uint64 indexed round, address indexed organization);
    event CommitsClosed(uint64 indexed round, uint256 commits);
    event UpdateRevealed(
        uint64 indexed round,
        address indexed organization,
        bytes32 indexed artifactId,
        bytes32 digestRoot,
        bytes32 manifest
    );
    event RevealsClosed(uint64 indexed round, uint256 reveals);
    event ContributionAccepted(
        uint64 indexed round, address indexed organization, bytes32 indexed artifactId, uint16 weight, uint16 score
    );
    event ContributionRejected(uint64 indexed round, address indexed organization, uint8 reason);
    event RoundAggregated(uint64 indexed round, bytes32 indexed aggregateId, bytes32 indexed adapterId);
    event RoundFinalized(uint64 indexed round, uint64 indexed model);
    event RoundAbandoned(uint64 indexed round);

    /// @notice Open the next round. Only the aggregator, with its bond whole; not while a withdrawal is overdue.
    function openRound() external returns (uint64 round);

    /// @notice Commit to keccak256(abi.encode(round, sender, artifactId, digestRoot, manifest, salt)). Members, once.
    function commit(uint64 round, bytes32 commitment) external;

    /// @notice Say that one does not take part, so that nobody waits.
    function sitOut(uint64 round) external;

    /// @notice End the commit phase once all members answered or the deadline passed. Anyone.
    function closeCommits(uint64 round) external;

    /// @notice Open one's commitment. An artifact or digest that was ever revealed before, or is zero, is refused.
    /// `manifest` commits to the data that was trained on; it is kept as an event.
    function reveal(uint64 round, bytes32 artifactId, bytes32 digestRoot, bytes32 manifest, bytes32 salt) external;

    /// @notice End the reveal phase once all commitments are open or the deadline passed, and penalize those that did
    /// not reveal. Anyone.
    function closeReveals(uint64 round) external;

    /// @notice Name the round's sum and the model that it makes. Every organization that revealed is in exactly one of
    /// both lists, each in ascending order of addresses; weights are those of the consortium's rule. Lineage.prove then
    /// adds up the digests and makes the round final. Only the aggregator.
    function aggregate(
        uint64 round,
        ILineage.Contribution[] calldata accepted,
        Rejection[] calldata rejected,
        ILineage.Delta calldata sum,
        ILineage.Delta calldata adapter
    ) external;

    /// @notice Make a round final and pay for it. Only the lineage contract.
    function conclude(uint64 round, uint64 model) external;

    /// @notice End a round whose named sum was wrong or not proven in time. Only the lineage contract.
    function reject(uint64 round) external;

    /// @notice End a round whose deadline to finalize has passed, if no sum was named (else Lineage.dropUnproven).
    /// Anyone.
    function abandon(uint64 round) external;

    function currentRound() external view returns (uint64);

    function roundOf(uint64 round) external view returns (Round memory);

    function entry(uint64 round, address organization) external view returns (Entry memory);

    /// @notice Organizations that committed in a round, in order.
    function committed(uint64 round) external view returns (address[] memory);

    function rejections(uint64 round) external view returns (Rejection[] memory);

    /// @notice Whether every member that may contribute has committed or sat out.
    function allAnswered(uint64 round) external view returns (bool);

    /// @notice Whether every commitment of a member that is still active is open.
    function allRevealed(uint64 round) external view returns (bool);
}
