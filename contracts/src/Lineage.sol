// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Content} from "./Content.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IReferee} from "./interfaces/IReferee.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {Digests} from "./libraries/Digests.sol";

contract Lineage is Content {
    /// @notice How a claim becomes a model. `challengeSeconds` 0: only by adding up its digests here. Otherwise also by
    /// time, unless it is challenged, or a proof demanded for `proofDeposit` wei. `proveSeconds`: time for a proof.
    struct Proving {
        uint64 proveSeconds;
        uint64 challengeSeconds;
        uint256 proofDeposit;
    }

    /// @notice More terms than this, or more recorded contributions to find them among, cannot be challenged in one
    /// transaction, so their sum must be proven.
    uint256 public constant MOST_CHALLENGEABLE = 200;
    uint256 public constant MOST_IN_USE = 16;

    IMembers public immutable members;
    IRounds public immutable rounds;
    IReferee public immutable referee;
    address public immutable withdrawals;
    uint64 public immutable proveSeconds;
    uint64 public immutable challengeSeconds;
    uint256 public immutable proofDeposit;

    uint64 public head;
    uint64 public modelCount;
    mapping(uint64 => Model) private _models;
    uint64[] private _inUse;
    Claim private _claim;

    modifier onlyAggregator() {
        if (msg.sender != members.aggregator()) revert NotAggregator(msg.sender);
        _;
    }

    modifier onlyWithdrawals() {
        if (msg.sender != withdrawals) revert NotWithdrawals(msg.sender);
        _;
    }

    modifier onlyRounds() {
        if (msg.sender != address(rounds)) revert NotRounds(msg.sender);
        _;
    }

    constructor(
        IMembers members_,
        IRounds rounds_,
        address withdrawals_,
        IReferee referee_,
        bool sharedLayout_,
        Proving memory proving
    ) Content(sharedLayout_) {
        members = members_;
        rounds = rounds_;
        referee = referee_;
        withdrawals = withdrawals_;
        proveSeconds = proving.proveSeconds;
        challengeSeconds = proving.challengeSeconds;
        proofDeposit = proving.proofDeposit;
        _models[0].digestRoot = _zeroRoot;
    }

    function registerDelta(address organization, bytes32 artifactId, bytes32 digestRoot) external onlyRounds {
        _registerRevealed(organization, rounds.currentRound(), Delta(artifactId, digestRoot));
    }

    function offer(uint64 withdrawal, Kind kind, uint64 round, address organization, Delta calldata delta)
        external
        onlyWithdrawals
    {
        if (amendmentOf[withdrawal] != 0) revert ClaimPending();
        if (round > _models[head].lastRound) revert NotContributed(round, organization);
        uint64 current = rounds.currentRound();
        bool commitsAhead = rounds.roundOf(current).state == IRounds.State.Open;
        _registerOffered(organization, commitsAhead ? current : current + 1, delta);
        _offer(withdrawal, kind, round, organization, delta);
    }

    function claimRound(
        uint64 round,
        Contribution[] calldata accepted,
        Delta calldata aggregate,
        Delta calldata adapter,
        uint64 deadline
    ) external onlyRounds {
        if (_claim.open) revert ClaimPending();
        // Deltas of a new round could no longer be offered to a replay that is under way.
        uint256 last = _amendments.length;
        if (last != 0 && _amendments[last - 1].kind == Kind.Replay && !_carriedOut(last)) {
            revert AnotherWithdrawalFirst(_amendments[last - 1].withdrawal);
        }
        if (aggregate.artifactId == 0 || aggregate.digestRoot == 0) revert EmptyValue();
        for (uint256 i = 0; i < accepted.length; ++i) {
            _contributions[round].push(accepted[i]);
        }
        _aggregates[round] = aggregate;
        _openClaim(Kind.Round, round, head, adapter, deadline);
    }

    function claimAmendment(
        uint64 withdrawal,
        Kind kind,
        address organization,
        bool exclude,
        uint64 source,
        Delta calldata adapter
    ) external onlyWithdrawals {
        // A claim that can hold only by proof harms nobody, so the aggregator may start it anew.
        if (_claim.open) {
            if (challengeSeconds != 0 || _claim.kind == Kind.Round) revert ClaimPending();
            _drop();
        }
        if (_placeInUse(source) == _inUse.length) revert NotInUse(source);
        if (amendmentOf[withdrawal] == 0) {
            uint256 last = _amendments.length;
            if (last != 0 && !_carriedOut(last)) revert AnotherWithdrawalFirst(_amendments[last - 1].withdrawal);
            // The head has every round: if its replay is complete, so is that of any other model.
            if (kind == Kind.Replay && source != head) revert HeadFirst(head);
            uint64 from = _firstRound(withdrawal, kind, organization, exclude);
            _amendments.push(Amendment(kind, exclude, organization, from, withdrawal, 0));
            amendmentOf[withdrawal] = uint64(_amendments.length);
            // Who is gone stays gone by the first amendment, even when the claim of a second one is dropped.
            if (exclude && excludedBy[organization] == 0) excludedBy[organization] = uint64(_amendments.length);
        }
        // An older amendment is carried out already; a claim in its name would be checked as the newest one's.
        if (amendmentOf[withdrawal] != _amendments.length || !_isAffected(source, _amendments.length)) {
            revert NotAffected(source, withdrawal);
        }
        _openClaim(kind, 0, source, adapter, uint64(block.timestamp) + proveSeconds);
    }

    function prove(bytes calldata carried, bytes[] calldata digests, bytes calldata source) external {
        Claim storage it = _pending();
        uint256 sum = Digests.lanes();
        if (it.carried == 0) {
            if (carried.length != 0) revert WrongCarry(keccak256(carried), 0);
        } else {
            if (keccak256(carried) != it.carried) revert WrongCarry(keccak256(carried), it.carried);
            Digests.accumulate(sum, carried, 1);
        }
        bool complete = _addTerms(it, sum, digests);
        if (!complete || source.length == 0) {
            it.carried = keccak256(Digests.reduce(sum));
            emit SumCarried(it.adapterId, it.step, it.place);
            return;
        }
        if (it.kind == Kind.Round) _match(Digests.rootOf(Digests.reduce(sum)), _aggregates[it.round].digestRoot);
        bytes32 root = Digests.root(source);
        if (root != _models[it.source].digestRoot) revert WrongDigest(root, _models[it.source].digestRoot);
        Digests.accumulate(sum, source, 1);
        _match(Digests.rootOf(Digests.reduce(sum)), it.digestRoot);
        emit ModelProven(it.adapterId);
        address challenger = it.challenger;
        address claimant = it.claimant;
        _register(it);
        if (challenger != address(0)) members.compensate{value: proofDeposit}(claimant);
    }

    function settle() external {
        Claim storage it = _pending();
        if (it.mustProve) revert MustProve();
        if (block.timestamp <= it.deadline) revert WindowOpen(it.deadline);
        emit ModelSettled(it.adapterId);
        _register(it);
    }

    function challenge(uint256 wordIndex, bytes32[] calldata words, bytes32[9][] calldata siblings) external {
        Claim storage it = _contestable();
        if (!referee.fails(_equation(it), wordIndex, words, siblings)) revert NoFraud();
        emit ClaimChallenged(msg.sender, it.adapterId, wordIndex);
        _dropFor(msg.sender);
    }

    function demandProof() external payable {
        Claim storage it = _contestable();
        if (msg.value != proofDeposit) revert WrongDeposit(msg.value, proofDeposit);
        it.mustProve = true;
        it.challenger = msg.sender;
        it.deadline = uint64(block.timestamp) + challengeSeconds;
        emit ProofDemanded(msg.sender, it.adapterId, it.deadline);
    }

    function dropUnproven() external {
        Claim storage it = _pending();
        if (!it.mustProve || block.timestamp <= it.deadline) revert WindowOpen(it.deadline);
        address challenger = it.challenger;
        if (challenger == address(0)) {
            _dropRoundToo();
        } else {
            _dropFor(challenger);
            members.compensate{value: proofDeposit}(challenger);
        }
    }

    function release(uint64 id) external onlyAggregator {
        if (id == 0 || id != head) revert NotInUse(id);
        if (_inUse.length == MOST_IN_USE) revert TooManyInUse(MOST_IN_USE);
        _models[id].released = true;
        emit ModelReleased(id);
    }

    function retire(uint64 id) external onlyAggregator {
        if (id == head) revert IsHead(id);
        if (_claim.open && _claim.source == id) revert ClaimPending();
        uint256 place = _placeInUse(id);
        if (place == _inUse.length) revert NotInUse(id);
        _inUse[place] = _inUse[_inUse.length - 1];
        _inUse.pop();
        _retire(id);
    }

    function model(uint64 id) external view returns (Model memory) {
        return _known(id);
    }

    function modelsInUse() external view returns (uint64[] memory) {
        return _inUse;
    }

    function claim() external view returns (Claim memory it) {
        it = _claim;
        Delta storage aggregate = _aggregates[it.round];
        (it.aggregateId, it.aggregateRoot) = (aggregate.artifactId, aggregate.digestRoot);
    }

    function stepCount() external view returns (uint256) {
        return _stepCount(_pending());
    }

    function termsAt(uint256 step) external view returns (Term[] memory) {
        return _termsAt(_pending(), step);
    }

    function modelsContaining(address organization, uint64 start, uint64 limit)
        external
        view
        returns (uint64[] memory ids, uint64 next)
    {
        ids = new uint64[](limit);
        uint256 count = 0;
        uint64 id = start == 0 ? 1 : start;
        for (uint64 looked = 0; looked < limit && id <= modelCount; ++looked) {
            if (!_isClean(id, organization)) ids[count++] = id;
            ++id;
        }
        next = id <= modelCount ? id : 0;
        assembly ("memory-safe") {
            mstore(ids, count)
        }
    }

    function contentOf(uint64 id, uint64 start, uint64 limit) external view returns (Part[] memory parts, uint64 next) {
        Model storage it = _known(id);
        if (start > it.lastRound) return (parts, 0);
        Part[][] memory pages = new Part[][](it.lastRound + 1 - start);
        uint256 total = 0;
        uint64 round = start;
        for (; round <= it.lastRound && total < limit; ++round) {
            Part[] memory page = _partsIn(round, it.amendments, it.lastRound);
            pages[round - start] = page;
            total += page.length;
        }
        next = round <= it.lastRound ? round : 0;
        parts = new Part[](total);
        uint256 place = 0;
        for (uint256 i = 0; i < round - start; ++i) {
            for (uint256 j = 0; j < pages[i].length; ++j) {
                parts[place++] = pages[i][j];
            }
        }
    }

    function isClean(uint64 id, address organization) external view returns (bool) {
        _known(id);
        return _isClean(id, organization);
    }

    function carriedOut(uint64 withdrawal, address organization) external view returns (bool) {
        if (_claim.open) return false;
        uint64 by = amendmentOf[withdrawal];
        if (by != 0) return _carriedOut(by);
        for (uint256 i = 0; i < _inUse.length; ++i) {
            if (!_isClean(_inUse[i], organization)) return false;
        }
        return true;
    }

    /// @dev Adds digests to the sum until they are used up. Returns whether the claim has no further term.
    function _addTerms(Claim storage it, uint256 sum, bytes[] calldata digests) private returns (bool) {
        uint256 steps = _stepCount(it);
        uint256 step = it.step;
        uint256 place = it.place;
        uint256 used = 0;
        for (; step < steps; ++step) {
            Term[] memory terms = _termsAt(it, step);
            for (; place < terms.length && used < digests.length; ++place) {
                bytes32 root = Digests.root(digests[used]);
                if (root != terms[place].digestRoot) revert WrongDigest(root, terms[place].digestRoot);
                Digests.accumulate(sum, digests[used], terms[place].coefficient);
                ++used;
            }
            if (place < terms.length) break;
            place = 0;
        }
        if (used != digests.length) revert TooManyDigests(digests.length, used);
        it.step = uint32(step);
        it.place = uint32(place);
        return step >= steps;
    }

    function _stepCount(Claim storage it) private view returns (uint256) {
        if (it.kind == Kind.Round) return 1;
        Amendment storage by = _amendments[_amendments.length - 1];
        if (it.kind == Kind.Removal) return _roundsOf[by.organization].length + 1;
        if (it.kind == Kind.Replacement) return _offeredRounds[by.withdrawal].length;
        if (it.kind == Kind.Replay) return _models[it.source].lastRound + 2 - by.from;
        return 1;
    }

    function _termsAt(Claim storage it, uint256 step) private view returns (Term[] memory terms) {
        if (it.kind == Kind.Round) return _roundTerms(it.round);
        Model storage source = _models[it.source];
        uint64 round = _roundAt(it, step);
        if (round > source.lastRound) return terms;
        return _changeOf(round, source);
    }

    /// @dev The round that a step of the claim's sum is about; 0: counter-deltas.
    function _roundAt(Claim storage it, uint256 step) private view returns (uint64) {
        if (it.kind == Kind.Round) return it.round;
        Amendment storage by = _amendments[_amendments.length - 1];
        if (it.kind == Kind.Replacement) return _offeredRounds[by.withdrawal][step];
        if (it.kind == Kind.Removal && step < _roundsOf[by.organization].length) {
            return _roundsOf[by.organization][step];
        }
        if (it.kind == Kind.Replay && by.from + step <= _models[it.source].lastRound) return by.from + uint64(step);
        return 0;
    }

    function _roundTerms(uint64 round) private view returns (Term[] memory terms) {
        Contribution[] storage all = _contributions[round];
        terms = new Term[](all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            terms[i] = Term(all[i].artifactId, all[i].digestRoot, int256(uint256(all[i].weight)));
        }
    }

    /// @dev The claim's equation: roots of all its terms in order, with their coefficients.
    function _equation(Claim storage it) private view returns (IReferee.Equation memory equation) {
        uint256 steps = _stepCount(it);
        Term[][] memory parts = new Term[][](steps);
        uint256 total = 0;
        for (uint256 step = 0; step < steps; ++step) {
            parts[step] = _termsAt(it, step);
            total += parts[step].length;
        }
        equation.roots = new bytes32[](total);
        equation.coefficients = new int256[](total);
        uint256 place = 0;
        for (uint256 step = 0; step < steps; ++step) {
            for (uint256 i = 0; i < parts[step].length; ++i) {
                equation.roots[place] = parts[step][i].digestRoot;
                equation.coefficients[place++] = parts[step][i].coefficient;
            }
        }
        equation.aggregate = it.kind == Kind.Round ? _aggregates[it.round].digestRoot : bytes32(0);
        equation.source = _models[it.source].digestRoot;
        equation.claimed = it.digestRoot;
    }

    function _match(bytes32 found, bytes32 claimed) private pure {
        if (found != claimed) revert SumMismatch(found, claimed);
    }

    function _openClaim(Kind kind, uint64 round, uint64 source, Delta calldata adapter, uint64 deadline) private {
        if (adapter.artifactId == 0 || adapter.digestRoot == 0) revert EmptyValue();
        Claim storage it = _claim;
        it.kind = kind;
        it.round = round;
        it.source = source;
        it.open = true;
        it.claimant = members.aggregator();
        it.adapterId = adapter.artifactId;
        it.digestRoot = adapter.digestRoot;
        if (challengeSeconds == 0) {
            it.mustProve = true;
            it.deadline = deadline;
        } else {
            it.mustProve = !_isChallengeable(it);
            it.deadline = uint64(block.timestamp) + challengeSeconds;
        }
        emit ModelClaimed(kind, round, source, adapter.artifactId, adapter.digestRoot);
    }

    function _isChallengeable(Claim storage it) private view returns (bool) {
        uint256 steps = _stepCount(it);
        uint256 read = 0;
        uint256 terms = 0;
        for (uint256 step = 0; step < steps; ++step) {
            read += _contributions[_roundAt(it, step)].length;
            if (read > MOST_CHALLENGEABLE) return false;
            terms += _termsAt(it, step).length;
            if (terms > MOST_CHALLENGEABLE) return false;
        }
        return true;
    }

    function _register(Claim storage it) private {
        Kind kind = it.kind;
        uint64 round = it.round;
        uint64 source = it.source;
        bool isRound = kind == Kind.Round;
        Model storage parent = _models[source];
        uint64 id = ++modelCount;
        _models[id] = Model({
            adapterId: it.adapterId,
            digestRoot: it.digestRoot,
            parent: source,
            lastRound: isRound ? round : parent.lastRound,
            amendments: isRound ? parent.amendments : uint64(_amendments.length),
            registeredAt: uint64(block.number),
            kind: kind,
            inUse: true,
            released: !isRound && parent.released
        });
        if (source == 0 || (isRound && parent.released)) {
            _inUse.push(id);
        } else {
            _inUse[_placeInUse(source)] = id;
            _retire(source);
        }
        if (source == head) head = id;
        emit ModelRegistered(id, source, it.adapterId, it.digestRoot, kind);
        delete _claim;
        if (isRound) {
            Contribution[] storage all = _contributions[round];
            for (uint256 i = 0; i < all.length; ++i) {
                _roundsOf[all[i].organization].push(round);
            }
            rounds.conclude(round, id);
        } else {
            Amendment storage by = _amendments[_amendments.length - 1];
            if (by.firstModel == 0) by.firstModel = id;
            emit AmendmentMade(uint64(_amendments.length), by.withdrawal, kind, by.organization, id);
        }
    }

    /// @dev Drops the claim, and has its aggregator slashed in favour of `beneficiary`.
    function _dropFor(address beneficiary) private {
        address claimant = _claim.claimant;
        _dropRoundToo();
        if (members.aggregatorBondOf(claimant) != 0) members.slashAggregator(claimant, beneficiary);
    }

    function _dropRoundToo() private {
        uint64 round = _claim.round;
        _drop();
        if (round != 0) rounds.reject(round);
    }

    function _drop() private {
        Claim storage it = _claim;
        emit ClaimDropped(it.kind, it.round, it.adapterId);
        if (it.kind == Kind.Round) {
            delete _contributions[it.round];
            delete _aggregates[it.round];
        } else {
            Amendment storage by = _amendments[_amendments.length - 1];
            if (by.firstModel == 0) {
                if (excludedBy[by.organization] == _amendments.length) delete excludedBy[by.organization];
                delete amendmentOf[by.withdrawal];
                _amendments.pop();
            }
        }
        delete _claim;
    }

    function _retire(uint64 id) private {
        _models[id].inUse = false;
        emit ModelRetired(id);
    }

    function _pending() private view returns (Claim storage it) {
        it = _claim;
        if (!it.open) revert NoClaim();
    }

    function _contestable() private view returns (Claim storage it) {
        it = _pending();
        if (challengeSeconds == 0) revert NotOptimistic();
        if (it.mustProve || block.timestamp > it.deadline) revert WindowClosed(it.deadline);
    }

    function _known(uint64 id) private view returns (Model storage) {
        if (id > modelCount) revert UnknownModel(id);
        return _models[id];
    }

    /// @dev Place among the models in use, or their number.
    function _placeInUse(uint64 id) private view returns (uint256 place) {
        while (place < _inUse.length && _inUse[place] != id) ++place;
    }

    /// @dev A counter-delta is in a model only beside its organization's other deltas.
    function _isClean(uint64 id, address organization) private view returns (bool) {
        Model storage it = _models[id];
        return !_isIn(organization, it.amendments, it.lastRound);
    }

    function _carriedOut(uint256 by) private view returns (bool) {
        if (_amendments[by - 1].firstModel == 0) return false;
        for (uint256 i = 0; i < _inUse.length; ++i) {
            if (_isAffected(_inUse[i], by)) return false;
        }
        return true;
    }

    /// @dev Whether the amendment concerns the model and is not yet in it.
    function _isAffected(uint64 id, uint256 by) private view returns (bool) {
        Model storage it = _models[id];
        Amendment storage made = _amendments[by - 1];
        if (it.amendments >= by || _isExcluded(made.organization, it.amendments)) return false;
        if (made.kind == Kind.CounterTraining || made.excludes) return !_isClean(id, made.organization);
        return made.from != 0 && made.from <= it.lastRound;
    }
}
