// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What every model is made of, and the proof that it is the sum that it should be.
/// @notice A model is the weighted sum of registered deltas. The aggregator claims the digest of a new model; the claim
/// holds once the digests themselves were added up here (`prove`), or, where the consortium was deployed with a
/// challenge window, once the window has passed unchallenged (`settle`).
interface ILineage {
    /// @notice Round: its parent and a round's deltas. Removal: an organization's deltas are gone and the others are
    /// re-weighted. Replacement: deltas of one organization are replaced by others of its own. Replay: an organization
    /// is gone, or its deltas replaced, and in a shared layout every later delta is replaced too. CounterTraining: a
    /// delta that counteracts is added.
    enum Kind {
        Round,
        Removal,
        Replacement,
        Replay,
        CounterTraining
    }

    struct Contribution {
        address organization;
        uint16 weight;
        uint16 score;
        bytes32 artifactId;
        bytes32 digestRoot;
    }

    struct Delta {
        bytes32 artifactId;
        bytes32 digestRoot;
    }

    /// @notice Content: the contributions of final rounds up to `lastRound`, changed by the first `amendments`
    /// amendments. A later model never has fewer: what was withdrawn cannot come back.
    struct Model {
        bytes32 adapterId;
        bytes32 digestRoot;
        uint64 parent;
        uint64 lastRound;
        uint64 amendments;
        uint64 registeredAt;
        Kind kind;
        bool inUse;
        bool released;
    }

    /// @notice What a withdrawal changes in models. `excludes`: whether the organization is gone; `from`: the first round
    /// that it changes; `firstModel`: the first model that it made, 0 while that is claimed only.
    struct Amendment {
        Kind kind;
        bool excludes;
        address organization;
        uint64 from;
        uint64 withdrawal;
        uint64 firstModel;
    }

    /// @notice A model that is claimed and not yet registered. `step`, `place`: how far its sum has got.
    struct Claim {
        Kind kind;
        uint64 round;
        uint64 source;
        uint64 deadline;
        uint32 step;
        uint32 place;
        bool open;
        bool mustProve;
        address claimant;
        address challenger;
        bytes32 aggregateId;
        bytes32 aggregateRoot;
        bytes32 adapterId;
        bytes32 digestRoot;
        bytes32 carried;
    }

    /// @notice One term of a claim's equation: coefficient x D(delta).
    struct Term {
        bytes32 artifactId;
        bytes32 digestRoot;
        int256 coefficient;
    }

    /// @notice One delta in a model. `round` 0: a counter-delta.
    struct Part {
        uint64 round;
        address organization;
        uint16 weight;
        bytes32 artifactId;
        bytes32 digestRoot;
    }

    error NotRounds(address caller);
    error NotWithdrawals(address caller);
    error NotAggregator(address caller);
    error EmptyValue();
    error ZeroDelta();
    error ArtifactSeenBefore(bytes32 artifactId);
    error DigestSeenBefore(bytes32 digestRoot);
    error UnknownModel(uint64 model);
    error NotInUse(uint64 model);
    error NotAffected(uint64 model, uint64 withdrawal);
    error ClaimPending();
    error NoClaim();
    error AnotherWithdrawalFirst(uint64 withdrawal);
    error HeadFirst(uint64 head);
    error WrongCarry(bytes32 found, bytes32 carried);
    error WrongDigest(bytes32 found, bytes32 required);
    error TooManyDigests(uint256 given, uint256 used);
    error SumMismatch(bytes32 found, bytes32 claimed);
    error ReplayIncomplete(uint64 round, address organization);
    error NotContributed(uint64 round, address organization);
    error OfferedBefore(uint64 round, address organization);
    error MustProve();
    error WindowOpen(uint64 deadline);
    error WindowClosed(uint64 deadline);
    error WrongDeposit(uint256 sent, uint256 required);
    error NoFraud();
    error NotOptimistic();
    error IsHead(uint64 model);
    error TooManyInUse(uint256 most);

    event DeltaRegistered(address indexed organization, bytes32 indexed artifactId, bytes32 indexed digestRoot);
    event ModelClaimed(
        Kind indexed kind, uint64 indexed round, uint64 indexed source, bytes32 adapterId, bytes32 digestRoot
    );
    event SumCarried(bytes32 indexed adapterId, uint32 step, uint32 place);
    event ModelProven(bytes32 indexed adapterId);
    event ModelSettled(bytes32 indexed adapterId);
    event ClaimDropped(Kind indexed kind, uint64 indexed round, bytes32 indexed adapterId);
    event ClaimChallenged(address indexed challenger, bytes32 indexed adapterId, uint256 wordIndex);
    event ProofDemanded(address indexed challenger, bytes32 indexed adapterId, uint64 deadline);
    event ModelRegistered(
        uint64 indexed model, uint64 indexed parent, bytes32 indexed adapterId, bytes32 digestRoot, Kind kind
    );
    event ModelRetired(uint64 indexed model);
    event ModelReleased(uint64 indexed model);
    event AmendmentMade(
        uint64 indexed amendment, uint64 indexed withdrawal, Kind indexed kind, address organization, uint64 model
    );
    event DeltaOffered(
        uint64 indexed withdrawal,
        uint64 indexed round,
        address indexed organization,
        bytes32 artifactId,
        bytes32 digestRoot
    );

    /// @notice Register a revealed delta; an artifact or digest that was ever revealed, or offered before the round's
    /// commitments were closed, or is zero, is refused. Only the rounds contract.
    function registerDelta(address organization, bytes32 artifactId, bytes32 digestRoot) external;

    /// @notice Register a delta that a withdrawal needs: in place of the organization's own of `round`, a final one, or,
    /// with round 0, to counteract. One that was ever revealed, or offered by the same organization, is refused. Of
    /// several in place of one delta the last one offered holds. Only the withdrawals contract.
    function offer(uint64 withdrawal, Kind kind, uint64 round, address organization, Delta calldata delta) external;

    /// @notice Claim the model of a round: D(aggregate) = sum of weight x D(delta), D(model) = D(parent) + D(aggregate).
    /// Not while a replay is carried out in some models in use only. Only the rounds contract.
    function claimRound(
        uint64 round,
        Contribution[] calldata accepted,
        Delta calldata aggregate,
        Delta calldata adapter,
        uint64 deadline
    ) external;

    /// @notice Claim the model that takes the place of `source`, a model in use. One withdrawal at a time: the next one
    /// may begin once all models in use have the last. A replay begins with the head. Only the withdrawals contract.
    function claimAmendment(
        uint64 withdrawal,
        Kind kind,
        address organization,
        bool exclude,
        uint64 source,
        Delta calldata adapter
    ) external;

    /// @notice Add the next digests to the claim's sum, in the order of `termsAt`. `carried`: the digest that earlier
    /// calls came to, empty in the first. With `source`, the digest of the source model, the sum is compared and the
    /// model registered. Anyone.
    function prove(bytes calldata carried, bytes[] calldata digests, bytes calldata source) external;

    /// @notice Register the claimed model after its challenge window. Anyone.
    function settle() external;

    /// @notice Show that the claim's equation does not hold in one word of eight coordinates. `words`: of every term in
    /// order, of the aggregate (for a round), of the source model, of the claimed model. Drops the claim and slashes
    /// the aggregator; a share goes to the caller. Anyone, within the window.
    function challenge(uint256 wordIndex, bytes32[] calldata words, bytes32[9][] calldata siblings) external;

    /// @notice Demand that the claim be proven in full, within the time that a challenge window has, for a deposit that
    /// the aggregator gets if it does. Anyone, within the window: it helps against digests that are kept secret.
    function demandProof() external payable;

    /// @notice Drop a claim that was not proven in time; the aggregator is slashed if a proof was demanded. Anyone.
    function dropUnproven() external;

    /// @notice Keep the newest model in use when later ones are registered. Only the aggregator.
    function release(uint64 id) external;

    /// @notice Say that a model is not in use any more. Only the aggregator; not the head, nor one whose successor is
    /// claimed.
    function retire(uint64 id) external;

    /// @notice Id of the model that rounds build on; 0 is the base model alone.
    function head() external view returns (uint64);

    /// @notice Models are numbered from 1 to this.
    function modelCount() external view returns (uint64);

    function model(uint64 id) external view returns (Model memory);

    function modelsInUse() external view returns (uint64[] memory);

    function amendmentCount() external view returns (uint64);

    /// @notice Amendments are numbered from 1.
    function amendment(uint64 id) external view returns (Amendment memory);

    function claim() external view returns (Claim memory);

    /// @notice How many steps the claim's equation has.
    function stepCount() external view returns (uint256);

    /// @notice The terms of one step of the claim's equation.
    function termsAt(uint256 step) external view returns (Term[] memory);

    function contributions(uint64 round) external view returns (Contribution[] memory);

    /// @notice The published sum of a final round.
    function aggregateOf(uint64 round) external view returns (Delta memory);

    /// @notice Final rounds that the organization contributed to.
    function roundsOf(address organization) external view returns (uint64[] memory);

    /// @notice Models that contain a delta of the organization, among ids from `start`, at most `limit` of them looked
    /// at; `next` is where to go on, 0 at the end.
    function modelsContaining(address organization, uint64 start, uint64 limit)
        external
        view
        returns (uint64[] memory ids, uint64 next);

    /// @notice What a model is made of: whole rounds from `start` on (0: counter-deltas), until `limit` parts are
    /// reached; `next` is where to go on, 0 at the end.
    function contentOf(uint64 id, uint64 start, uint64 limit) external view returns (Part[] memory parts, uint64 next);

    /// @notice Whether no delta of the organization is in the model.
    function isClean(uint64 id, address organization) external view returns (bool);

    /// @notice Whether every model in use that the withdrawal concerns has been replaced.
    function carriedOut(uint64 withdrawal, address organization) external view returns (bool);

    /// @notice The amendment that a withdrawal made, or 0.
    function amendmentOf(uint64 withdrawal) external view returns (uint64);
}
