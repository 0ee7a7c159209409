// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ArtifactId, MemberId, ModelId, PointHash, RoundId} from "../Types.sol";
import {Weights} from "../libraries/Weights.sol";

/// @title Rounds of training: who commits, reveals and is accepted, with a deadline for each that anyone may enforce.
interface IRounds {
    /// @notice Open: members answer. Committed: those that committed reveal. Revealed: the aggregator judges. Judged:
    /// anyone folds the accepted contributions into a model. Final: that model exists.
    enum State {
        None,
        Open,
        Committed,
        Revealed,
        Judged,
        Final,
        Abandoned
    }

    /// @notice The consortium's agreement, as far as the chain needs it. It never changes.
    /// @param parametersId SHA-256 of the agreed parameters.
    /// @param baseModelId SHA-256 of the base model's files.
    /// @param rules How the contributions of each part add up; one to four parts.
    /// @param chained Whether each round trains on what all others contributed before, so that a round is abandoned when
    /// its parent becomes stale.
    /// @param attested Whether a round earns and its model can be released only once a quorum of auditors has attested
    /// that every accepted point opens to a short part.
    /// @param maxRounds Most rounds; the digest's security budget counts on it.
    /// @param commitSeconds Time to answer.
    /// @param revealSeconds Time to reveal.
    /// @param judgeSeconds Time for the aggregator to judge.
    struct Settings {
        bytes32 parametersId;
        bytes32 baseModelId;
        Weights.Rule[] rules;
        bool chained;
        bool attested;
        uint16 maxRounds;
        uint40 commitSeconds;
        uint40 revealSeconds;
        uint40 judgeSeconds;
    }

    /// @notice A round.
    /// @param state Where it stands.
    /// @param attested Whether auditors attested that every accepted point opens.
    /// @param openedAt Unix seconds.
    /// @param deadline When its present state is late, in Unix seconds.
    /// @param parent The model that it builds on.
    /// @param model The model that it made; 0 before it is final.
    struct Round {
        State state;
        bool attested;
        uint40 openedAt;
        uint40 deadline;
        ModelId parent;
        ModelId model;
    }

    /// @notice Who did what in a round.
    /// @param committed Members that committed.
    /// @param revealed Members that revealed.
    /// @param accepted Members whose contribution counts.
    /// @param satOut Members that sat out.
    /// @param unavailable Members that could not get the parent model.
    struct Answers {
        uint256[4] committed;
        uint256[4] revealed;
        uint256[4] accepted;
        uint256[4] satOut;
        uint256[4] unavailable;
    }

    error NotAggregator(address caller);
    error NotModels(address caller);
    error AggregatorBondMissing();
    error WrongSettings();
    error WrongState(RoundId round, State state);
    error RoundUnfinished(RoundId round);
    error TooManyRounds(uint256 most);
    error ReplayUnderWay();
    error NoContributor();
    error StaleParent(ModelId model);
    error DeadlinePassed(RoundId round, uint40 deadline);
    error DeadlineAhead(RoundId round, uint40 deadline);
    error AlreadyAnswered(RoundId round, address organization);
    error NothingCommitted(RoundId round, address organization);
    error CommitmentMismatch(RoundId round, address organization);
    error WrongPartCount(uint256 given, uint256 required);
    error PointSeenBefore(PointHash point);
    error EmptyValue();
    error NotRevealed(RoundId round);
    error UnaccountedFor(RoundId round, uint256 given, uint256 required);
    error ScoreTooHigh(uint256 score);
    error AttestedBefore(RoundId round);
    error EarlierRoundFirst(RoundId round);

    event RoundOpened(RoundId indexed round, ModelId indexed parent, uint40 deadline);
    event UpdateCommitted(RoundId indexed round, address indexed organization, bytes32 commitment);
    event SatOut(RoundId indexed round, address indexed organization);
    event ParentUnavailable(RoundId indexed round, address indexed organization);
    event CommitsClosed(RoundId indexed round, uint40 deadline);
    event UpdateRevealed(
        RoundId indexed round,
        address indexed organization,
        MemberId indexed member,
        bytes32[] artifactIds,
        bytes points,
        bytes32 manifest
    );
    event RevealsClosed(RoundId indexed round, uint40 deadline);
    event RoundJudged(RoundId indexed round, uint256[4] accepted, bytes scores, uint256[4] rejected, bytes reasons);
    event RoundAttested(RoundId indexed round, bytes32 indexed evidence, address[] auditors);
    event RoundFinalized(RoundId indexed round, ModelId indexed model);
    event RoundAbandoned(RoundId indexed round);

    /// @notice Open the next round. Aggregator only, with its bond whole; not on a stale model, nor during a replay, nor
    /// while no member may contribute.
    /// @return round Its number.
    function open() external returns (RoundId round);

    /// @notice Commit to a contribution. Members that may contribute, once.
    /// @param round The open round.
    /// @param commitment keccak256(abi.encode(round, sender, artifactIds, keccak256(points), manifest, salt)).
    function commit(RoundId round, bytes32 commitment) external;

    /// @notice Sit a round out, so that it need not wait.
    /// @param round The open round.
    function sitOut(RoundId round) external;

    /// @notice State that the parent model cannot be had. If most active members do, the round is abandoned and the
    /// aggregator that opened it loses a share of its bond.
    /// @param round The open round.
    function reportUnavailable(RoundId round) external;

    /// @notice End the commit phase, once all members answered or the deadline passed. Anyone.
    /// @param round The open round.
    function closeCommits(RoundId round) external;

    /// @notice Open a commitment. Points are validated; one that was ever revealed before is refused.
    /// @param round The committed round.
    /// @param artifactIds SHA-256 of each part's artifact.
    /// @param points Each part's point, 128 bytes.
    /// @param manifest Commitment to the data that was trained on.
    /// @param salt Salt of the commitment.
    function reveal(
        RoundId round,
        bytes32[] calldata artifactIds,
        bytes calldata points,
        bytes32 manifest,
        bytes32 salt
    ) external;

    /// @notice End the reveal phase, once all commitments are open or the deadline passed; members that did not reveal
    /// owe a penalty. Anyone.
    /// @param round The committed round.
    function closeReveals(RoundId round) external;

    /// @notice Accept contributions with their scores, and reject all others that were revealed. Aggregator only.
    /// @param round The revealed round.
    /// @param accepted The members that are accepted; with none the round is abandoned.
    /// @param scores Score of each, 0 to 10,000, as 16-bit numbers by member number.
    /// @param reasons Reason of each rejection, a byte by member number: 1 missing, 2 wrong hash, 3 too large, 4
    /// malformed, 5 wrong shape, 6 wrong type, 7 out of bounds, 8 bad signature, 9 withdrawn, 10 zero, 11 wrong digest.
    function judge(RoundId round, uint256[4] calldata accepted, bytes calldata scores, bytes calldata reasons) external;

    /// @notice End a round that the aggregator did not judge in time, or, where rounds are chained, whose parent became
    /// stale. No one is penalized. Anyone.
    /// @param round The current round.
    function abandon(RoundId round) external;

    /// @notice Record that a quorum of auditors attested that every accepted point of a round opens. Rounds in order.
    /// @param round A final round.
    /// @param evidence SHA-256 of what they attested.
    /// @param signatures EIP-712 signatures over round, commitments of the round's model and evidence, ascending by signer.
    function attest(RoundId round, bytes32 evidence, bytes[] calldata signatures) external;

    /// @notice Make a round final. Models contract only.
    /// @param round The judged round.
    /// @param model The model that it made.
    /// @param excluded Members that left while the round was under way: they earn nothing.
    function finish(RoundId round, ModelId model, uint256[4] calldata excluded) external;

    /// @notice Number of the last round that was opened.
    function currentRound() external view returns (RoundId);

    /// @notice A round.
    function roundOf(RoundId round) external view returns (Round memory);

    /// @notice Who did what in a round.
    function answersOf(RoundId round) external view returns (Answers memory);

    /// @notice Members whose contribution to a round counts.
    function acceptedIn(RoundId round) external view returns (uint256[4] memory);

    /// @notice Whether a member's contribution to a round counts.
    function isAccepted(RoundId round, MemberId member) external view returns (bool);

    /// @notice Hash of the point of one part that a member revealed.
    function pointOf(RoundId round, MemberId member, uint256 part) external view returns (PointHash);

    /// @notice Artifact that was revealed with a point, or zero.
    function artifactOf(PointHash point) external view returns (ArtifactId);

    /// @notice Score of an organization in a final round, and the sum of all that count; both 0 if there is none.
    function scoreOf(RoundId round, address organization) external view returns (uint256 score, uint256 total);

    /// @notice Whether rewards of a round can be claimed.
    function isPayable(RoundId round) external view returns (bool);

    /// @notice Whether every round up to one was attested, where that is asked for.
    function isAttested(RoundId round) external view returns (bool);

    /// @notice Whether every member that may contribute has answered.
    function allAnswered(RoundId round) external view returns (bool);

    /// @notice Whether every member that committed and is still active has revealed.
    function allRevealed(RoundId round) external view returns (bool);

    /// @notice The settings.
    function settings() external view returns (Settings memory);

    /// @notice How many parts a contribution has.
    function partCount() external view returns (uint256);
}
