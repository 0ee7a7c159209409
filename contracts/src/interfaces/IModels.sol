// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ArtifactId, MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../Types.sol";

/// @title What every model is made of, and its commitment, which this contract computes from registered points.
/// @notice A model's content is the accepted contributions of all rounds up to its last, changed by the first so many
/// amendments. Its commitment is the weighted sum of the points of its content, for each part. An amendment takes effect
/// when it is made: every model that it concerns is stale from then on, and anyone can fold its successor.
interface IModels {
    /// @notice Round: the head and one more round. Removal: a member's contributions are out. Replacement: some of a
    /// member's contributions are replaced by others of its own. Replay: the contributions of some rounds are replaced by
    /// those that members trained again. CounterTraining: a member's delta that counteracts is added.
    enum Kind {
        Round,
        Removal,
        Replacement,
        Replay,
        CounterTraining
    }

    /// @notice A model.
    /// @param kind What it was folded for.
    /// @param source The model that it succeeds.
    /// @param lastRound Its last round.
    /// @param amendments How many amendments its content has. A successor never has fewer.
    /// @param registeredAt Unix seconds.
    /// @param released Whether it stays in use when later rounds are final.
    struct Model {
        Kind kind;
        ModelId source;
        RoundId lastRound;
        uint32 amendments;
        uint40 registeredAt;
        bool released;
    }

    /// @notice What a withdrawal changes in models, from the moment that it is made.
    /// @param kind Not Round.
    /// @param member Whose contributions it concerns; in a replay, none.
    /// @param from First round that it changes.
    /// @param to Last round that it changes, in a replay.
    /// @param offer Where its points come from; in a removal, nowhere.
    struct Amendment {
        Kind kind;
        MemberId member;
        RoundId from;
        RoundId to;
        OfferId offer;
    }

    /// @notice How far the successor of a model is folded.
    /// @param open Whether a first piece was sent.
    /// @param round The round that is added, or 0.
    /// @param amendment The amendment that is made, or 0.
    /// @param part The part whose sum is under way.
    /// @param row The step of the sum that comes next; see `termsOf`.
    /// @param place How many terms of that step are summed.
    /// @param carried Hash of the sum so far.
    struct Fold {
        bool open;
        RoundId round;
        uint32 amendment;
        uint8 part;
        uint32 row;
        uint32 place;
        PointHash carried;
    }

    /// @notice coefficient x point.
    struct Term {
        PointHash point;
        int256 coefficient;
    }

    /// @notice One contribution in a model. Round 0: a counter-delta.
    struct Entry {
        RoundId round;
        MemberId member;
        uint16 weight;
        PointHash point;
    }

    /// @notice What was offered in place of a contribution.
    struct Offer {
        PointHash point;
        ArtifactId artifact;
    }

    error NotWithdrawals(address caller);
    error NotReplays(address caller);
    error NotAggregator(address caller);
    error UnknownModel(ModelId model);
    error NotInUse(ModelId model);
    error IsHead(ModelId model);
    error IsStale(ModelId model);
    error NotAttested(RoundId round);
    error TooManyInUse(uint256 most);
    error NothingToFold(ModelId model);
    error SumMissing(RoundId round, uint256 part);
    error SumComplete(RoundId round);
    error WrongPoint(PointHash given, PointHash required);
    error TooManyPoints(uint256 given, uint256 used);
    error NotContributed(RoundId round, MemberId member);
    error WrongState(RoundId round);

    event Amended(
        uint32 indexed amendment, Kind indexed kind, MemberId indexed member, RoundId from, RoundId to, OfferId offer
    );
    event PointOffered(
        OfferId indexed offer,
        RoundId indexed round,
        MemberId indexed member,
        bytes32[] artifactIds,
        bytes points,
        bytes32 manifest
    );
    event Summed(OfferId indexed offer, RoundId indexed round, uint256 part, uint256 members, bytes point);
    event Folded(ModelId indexed source, uint256 part, uint32 row, uint32 place, bytes point);
    event ModelRegistered(
        ModelId indexed model, ModelId indexed source, Kind indexed kind, RoundId lastRound, uint32 amendments
    );
    event ModelReleased(ModelId indexed model);
    event ModelRetired(ModelId indexed model);
    event ModelPublished(
        ModelId indexed model, address indexed publisher, bytes32 indexed adapterId, bytes32 openingId
    );

    /// @notice Sum the points that were accepted in a judged round, or offered in a round of a replay. Anyone, in as many
    /// pieces as it takes.
    /// @param offer The replay, or 0 for the round itself.
    /// @param round The round.
    /// @param carried The sum so far, 128 bytes: infinity at the start of each part.
    /// @param points The next points, ascending by member number.
    function sum(OfferId offer, RoundId round, bytes calldata carried, bytes calldata points) external;

    /// @notice Fold the successor of a model in use: for the first amendment that concerns it, or if none does and it is
    /// the head, for the judged round. Anyone, in as many pieces as it takes. The last piece registers the model.
    /// @param source The model.
    /// @param carried The sum so far, 128 bytes: the source's commitment at the start of each part.
    /// @param points The next points, in the order of `termsOf`. A piece stops where a term misses its point. Without
    /// points it passes up to 128 steps that have no terms, but none after 256 terms: so a long sum may end with a piece
    /// that has none.
    function fold(ModelId source, bytes calldata carried, bytes calldata points) external;

    /// @notice Keep the head in use when later rounds are final. Aggregator only; not a stale model, nor one with rounds
    /// that have to be attested first.
    /// @param model The head.
    function release(ModelId model) external;

    /// @notice Take a released model out of use. Aggregator only; not the head.
    /// @param model The model.
    function retire(ModelId model) external;

    /// @notice State which files are a model: an event, and the caller's word.
    /// @param model The model.
    /// @param adapterId SHA-256 of the adapter.
    /// @param openingId SHA-256 of the opening.
    function publish(ModelId model, bytes32 adapterId, bytes32 openingId) external;

    /// @notice Put a member out of every model. Withdrawals contract only.
    /// @param member The member.
    /// @return amendment Number of the amendment.
    function exclude(MemberId member) external returns (uint32 amendment);

    /// @notice Let a member's offers take effect. Withdrawals contract only.
    /// @param kind Replacement or CounterTraining.
    /// @param member The member.
    /// @param withdrawal The withdrawal that they were offered for.
    /// @param from First round that it offered for; 0 for a counter-delta.
    /// @return amendment Number of the amendment.
    function amend(Kind kind, MemberId member, WithdrawalId withdrawal, RoundId from)
        external
        returns (uint32 amendment);

    /// @notice Let a replay take effect. Replays contract only.
    /// @param replay The replay.
    /// @param from First round that was trained again.
    /// @param to Last round that was trained again.
    /// @return amendment Number of the amendment.
    /// @param since How many amendments there were when it began: later replacements stay.
    function amendByReplay(OfferId replay, RoundId from, RoundId to, uint32 since) external returns (uint32 amendment);

    /// @notice Return whether no model in use misses an amendment that concerns it, of the first so many; and record that,
    /// so that no one has to look at these amendments again. Every closing of a withdrawal does it. Anyone may: a call
    /// answers the question, and a transaction is worth its gas where hundreds of withdrawals are open, which is too much
    /// to look at for one of the last.
    /// @param amendment Number of the last amendment to look at.
    /// @return folded False also where there are not so many amendments.
    function settle(uint32 amendment) external returns (bool folded);

    /// @notice Register points in place of a member's own of a round, or with round 0 to counteract. Withdrawals and
    /// replays contracts only.
    /// @param offer The withdrawal or replay.
    /// @param round The round.
    /// @param member Who offers.
    /// @param artifactIds SHA-256 of each part's artifact.
    /// @param points Each part's point.
    /// @param manifest Commitment to the data that was trained on.
    function register(
        OfferId offer,
        RoundId round,
        MemberId member,
        bytes32[] calldata artifactIds,
        bytes calldata points,
        bytes32 manifest
    ) external;

    /// @notice The model that rounds build on; 0 is the base model alone.
    function head() external view returns (ModelId);

    /// @notice Models are numbered from 1 to this.
    function modelCount() external view returns (uint64);

    /// @notice A model.
    function modelOf(ModelId model) external view returns (Model memory);

    /// @notice Hash of a model's commitment, for one part.
    function commitmentOf(ModelId model, uint256 part) external view returns (PointHash);

    /// @notice The head and all released models that were not retired, stale ones too.
    function modelsInUse() external view returns (ModelId[] memory);

    /// @notice Whether an amendment that is not in a model concerns it.
    function isStale(ModelId model) external view returns (bool);

    /// @notice Amendments are numbered from 1 to this.
    function amendmentCount() external view returns (uint32);

    /// @notice An amendment.
    function amendmentAt(uint32 amendment) external view returns (Amendment memory);

    /// @notice The amendment by which a member is out, or 0.
    function excludedBy(MemberId member) external view returns (uint32);

    /// @notice Members that are out.
    function excludedMembers() external view returns (uint256[4] memory);

    /// @notice How far the successor of a model is folded. If it is not begun: what would be folded.
    function foldOf(ModelId source) external view returns (Fold memory);

    /// @notice Terms of one step of the sum that makes the successor of a model, for the part that is under way.
    /// @param source The model.
    /// @param row The step.
    function termsOf(ModelId source, uint32 row) external view returns (Term[] memory);

    /// @notice How many steps that sum has.
    function rowsOf(ModelId source) external view returns (uint32);

    /// @notice Hash of the sum of the points of a round, or of a replay's round; zero until it is complete.
    function sumOf(OfferId offer, RoundId round, uint256 part) external view returns (PointHash);

    /// @notice Hash of the sum so far, and how many members are in it.
    function summedOf(OfferId offer, RoundId round)
        external
        view
        returns (uint8 part, uint16 members, PointHash carried);

    /// @notice What a member offered.
    function offerOf(OfferId offer, RoundId round, MemberId member, uint256 part) external view returns (Offer memory);

    /// @notice Whether no contribution of a member is in a model.
    function isClean(ModelId model, MemberId member) external view returns (bool);

    /// @notice Models that hold a contribution of a member.
    /// @param member The member.
    /// @param start First model to look at, at least 1.
    /// @param limit How many to look at.
    /// @return ids The models.
    /// @return next Where to go on; 0 at the end.
    function modelsContaining(MemberId member, ModelId start, uint64 limit)
        external
        view
        returns (ModelId[] memory ids, ModelId next);

    /// @notice What a model is made of, for one part. Counter-deltas come first, then rounds, each ascending by member;
    /// where only the latest contributions count, all members ascending.
    /// @param model The model.
    /// @param part The part.
    /// @param start Where to begin: 0, or what the page before said.
    /// @param limit How much to look at, at least 1: contributions, rounds and amendments.
    /// @return entries The contributions.
    /// @return next Where to go on, perhaps within a round; 0 at the end.
    function contentOf(ModelId model, uint256 part, uint64 start, uint64 limit)
        external
        view
        returns (Entry[] memory entries, uint64 next);
}
