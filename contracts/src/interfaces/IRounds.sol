// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Rounds of training, and what every model is made of.
interface IRounds {
    enum State {
        None,
        Open,
        Committed,
        Revealed,
        Final,
        Abandoned
    }

    enum Answer {
        None,
        Committed,
        SatOut,
        Revealed
    }

    enum Kind {
        Round,
        Removal
    }

    struct Round {
        State state;
        uint64 openedAt;
        uint64 commitDeadline;
        uint64 revealDeadline;
        uint64 finalizeDeadline;
        uint64 parentModel;
        uint64 model;
        bytes32 aggregateId;
    }

    /// @notice One organization's part in one round.
    struct Entry {
        Answer answer;
        bytes32 commitment;
        bytes32 artifactId;
    }

    struct Contribution {
        address organization;
        bytes32 artifactId;
        uint16 weight;
        uint16 score;
    }

    /// @notice `reason`: 1 missing, 2 wrong hash, 3 too large, 4 malformed, 5 wrong shape, 6 wrong type,
    /// 7 out of bounds, 8 bad signature, 9 withdrawn, 10 zero.
    struct Rejection {
        address organization;
        uint8 reason;
    }

    /// @notice Content: all contributions of final rounds up to `lastRound`, except those of the first
    /// `excluded` removed organizations. A later model can only exclude more: a removal is for good.
    struct Model {
        bytes32 adapterId;
        uint64 parent;
        uint64 lastRound;
        uint64 excluded;
        uint64 registeredAt;
        Kind kind;
    }

    error NotAggregator(address caller);
    error NotWithdrawals(address caller);
    error NotActive(address organization);
    error WrongState(uint64 round, State state);
    error RoundUnfinished(uint64 round);
    error WithdrawalOverdue();
    error DeadlinePassed(uint64 round, uint64 deadline);
    error DeadlineAhead(uint64 round, uint64 deadline);
    error AlreadyAnswered(uint64 round, address organization);
    error NothingCommitted(uint64 round, address organization);
    error CommitmentMismatch(uint64 round, address organization);
    error ArtifactSeenBefore(bytes32 artifactId);
    error EmptyValue();
    error LengthMismatch();
    error NotAscending(address organization);
    error NotRevealed(uint64 round, address organization);
    error WrongWeight(address organization, uint256 given, uint256 required);
    error ScoreTooHigh(address organization, uint256 score);
    error UnaccountedFor(uint64 round, uint256 given, uint256 revealed);
    error Withdrawn(address organization);
    error UnknownModel(uint64 model);
    error AlreadyWired();

    event RoundOpened(uint64 indexed round, uint64 commitDeadline, uint64 revealDeadline, uint64 finalizeDeadline);
    event UpdateCommitted(uint64 indexed round, address indexed organization, bytes32 commitment);
    event SatOut(uint64 indexed round, address indexed organization);
    event CommitsClosed(uint64 indexed round, uint256 commits);
    event UpdateRevealed(uint64 indexed round, address indexed organization, bytes32 indexed artifactId);
    event RevealsClosed(uint64 indexed round, uint256 reveals);
    event ContributionAccepted(
        uint64 indexed round, address indexed organization, bytes32 indexed artifactId, uint16 weight, uint16 score
    );
    event ContributionRejected(uint64 indexed round, address indexed organization, uint8 reason);
    event RoundFinalized(uint64 indexed round, uint64 indexed model, bytes32 aggregateId, bytes32 adapterId);
    event RoundAbandoned(uint64 indexed round);
    event ModelRegistered(uint64 indexed model, uint64 indexed parent, bytes32 indexed adapterId, Kind kind);
    event OrganizationRemoved(address indexed organization, uint64 indexed model);

    /// @notice Open the next round. Only the aggregator; not while a withdrawal is overdue.
    function openRound() external returns (uint64 round);

    /// @notice Commit to keccak256(abi.encode(round, sender, artifactId, salt)). Active members, once.
    function commit(uint64 round, bytes32 commitment) external;

    /// @notice Say that one does not take part, so that nobody waits.
    function sitOut(uint64 round) external;

    /// @notice End the commit phase once all active members answered or the deadline passed. Anyone.
    function closeCommits(uint64 round) external;

    /// @notice Open one's commitment. An artifact that was ever revealed before is refused.
    function reveal(uint64 round, bytes32 artifactId, bytes32 salt) external;

    /// @notice End the reveal phase once all commitments are open or the deadline passed. Anyone.
    function closeReveals(uint64 round) external;

    /// @notice Record the round's sum. Every organization that revealed is in exactly one of both lists, each in
    /// ascending order of addresses; weights are those of the consortium's rule. Only the aggregator.
    function finalize(
        uint64 round,
        Contribution[] calldata accepted,
        Rejection[] calldata rejected,
        bytes32 aggregateId,
        bytes32 adapterId
    ) external;

    /// @notice End a round whose deadline to finalize has passed. Anyone.
    function abandon(uint64 round) external;

    /// @notice Id of the newest model; 0 is the base model alone.
    function latestModel() external view returns (uint64);

    /// @notice Register the model without an organization. Only the withdrawals contract.
    function registerRemoval(address organization, bytes32 adapterId) external;

    /// @notice What a model is made of in one round, re-weighted over those who remain.
    function contentOf(uint64 model, uint64 round)
        external
        view
        returns (address[] memory organizations, bytes32[] memory artifactIds, uint16[] memory weights);

    /// @notice Whether no delta of the organization is in the model.
    function isClean(uint64 model, address organization) external view returns (bool);
}
