// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IAnchors} from "../src/interfaces/IAnchors.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IReplays} from "../src/interfaces/IReplays.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Ghost} from "./Ghost.sol";

/// @dev What members, aggregators and strangers do in a random play, and what is looked at after each step.
abstract contract Players is Ghost {
    uint256 private constant MOST_MEMBERS = 12;

    /// @dev What must never happen.
    struct Faults {
        bool wrongSum;
        bool outMemberCameBack;
        bool budgetFell;
    }

    Faults public faults;
    uint256 public modelsChecked;
    uint64 internal moment;
    address[] internal aggregators;
    uint256 private _names;
    address[] private _admitted;
    mapping(address => IAnchors.Spent) private _spent;

    /// @dev Sets the clock before a step, and looks at what came of it after. A step that reverts leaves no trace.
    modifier step() {
        vm.warp(moment);
        _;
        moment = clock();
        observe();
    }

    function observe() internal {
        while (modelsChecked < models.modelCount()) {
            ModelId id = ModelId.wrap(uint64(++modelsChecked));
            IModels.Model memory its = models.modelOf(id);
            if (its.kind == IModels.Kind.Round) isFinal[RoundId.unwrap(its.lastRound)] = true;
            if (!isRight(id)) faults.wrongSum = true;
            if (!holdsNoOneThatIsOut(id)) faults.outMemberCameBack = true;
        }
        for (uint256 i = 0; i < orgs.length; ++i) {
            IAnchors.Spent memory now_ = anchors.spentBy(orgs[i]);
            IAnchors.Spent storage was = _spent[orgs[i]];
            if (now_.epsilonMicro < was.epsilonMicro || now_.deltaPico < was.deltaPico) faults.budgetFell = true;
            (was.epsilonMicro, was.deltaPico) = (now_.epsilonMicro, now_.deltaPico);
        }
    }

    // Sets and choices

    function bits(uint256 set) internal pure returns (uint256 count) {
        for (; set != 0; set &= set - 1) {
            ++count;
        }
    }

    /// @dev A member of a set that is not empty.
    function pick(uint256 set, uint256 seed) internal pure returns (uint256 place) {
        for (uint256 skip = seed % bits(set); skip > 0; --skip) {
            set &= set - 1;
        }
        while (set & 1 == 0) {
            (set, place) = (set >> 1, place + 1);
        }
    }

    function answered(RoundId round) internal view returns (uint256) {
        IRounds.Answers memory all = rounds.answersOf(round);
        return all.committed[0] | all.satOut[0] | all.unavailable[0];
    }

    function isOrphan(RoundId round, IRounds.State state) internal view returns (bool) {
        bool under = state != IRounds.State.None && state != IRounds.State.Final && state != IRounds.State.Abandoned;
        ModelId parent = rounds.roundOf(round).parent;
        bool moved = ModelId.unwrap(parent) != ModelId.unwrap(models.head());
        return chained && under && (moved || models.isStale(parent));
    }

    function aRound(uint256 seed) internal view returns (RoundId) {
        uint64 last = RoundId.unwrap(rounds.currentRound());
        return RoundId.wrap(last == 0 ? 0 : uint64(seed % last) + 1);
    }

    function contributedRound(MemberId member, uint256 seed) internal view returns (RoundId) {
        uint64 last = RoundId.unwrap(models.modelOf(models.head()).lastRound);
        for (uint64 i = 0; i < last; ++i) {
            uint64 round = uint64((seed % last + i) % last) + 1;
            if (isFinal[round] && wasAccepted(round, MemberId.unwrap(member))) return RoundId.wrap(round);
        }
        return RoundId.wrap(0);
    }

    function anOpenOne(uint256 seed) internal view returns (WithdrawalId) {
        uint64 count = withdrawals.count();
        for (uint64 i = 0; i < count; ++i) {
            WithdrawalId id = WithdrawalId.wrap(uint64((seed % count + i) % count) + 1);
            if (withdrawals.withdrawalOf(id).state != IWithdrawals.State.Closed) return id;
        }
        return WithdrawalId.wrap(0);
    }

    function source(WithdrawalId id) internal pure returns (OfferId) {
        return OfferId.wrap(WithdrawalId.unwrap(id));
    }

    // Rounds and models

    function closeCommits(RoundId round) internal {
        if (!rounds.allAnswered(round)) late(rounds.roundOf(round).deadline);
        rounds.closeCommits(round);
    }

    function closeReveals(RoundId round) internal {
        if (!rounds.allRevealed(round)) late(rounds.roundOf(round).deadline);
        rounds.closeReveals(round);
    }

    function late(uint256 deadline) internal {
        if (clock() <= deadline) vm.warp(deadline + 1);
    }

    function finishRound(RoundId round, uint256 seed) internal {
        if (!sumPiece(OfferId.wrap(0), round, 1 + seed % 4)) foldSome(models.head(), seed >> 8);
    }

    /// @dev A piece of a model's fold, or of a sum that it needs, if there is one.
    function foldSome(ModelId id, uint256 seed) internal {
        if (sumReplayed(1 + seed % 4)) return;
        try models.foldOf(id) {
            foldPiece(id, seed % 4 == 0 ? 1 : 50);
        } catch {}
    }

    function sumReplayed(uint256 most) internal returns (bool) {
        OfferId replay = replays.current();
        if (OfferId.unwrap(replay) == 0) return false;
        IReplays.Replay memory its = replays.replayOf(replay);
        for (uint64 n = RoundId.unwrap(its.from); n <= RoundId.unwrap(its.to); ++n) {
            RoundId round = RoundId.wrap(n);
            bool waits = offeredBy[OfferId.unwrap(replay)][n].length != 0 && replays.isClosed(replay, round);
            if (waits && PointHash.unwrap(models.sumOf(replay, round, 0)) == 0) return sumPiece(replay, round, most);
        }
        return false;
    }

    // Withdrawals and replays

    function offerFor(WithdrawalId id, address organization, RoundId round, MemberId member) internal {
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(organization);
        withdrawals.offer(id, round, ids, points, MANIFEST);
        noteOffer(source(id), round, MemberId.unwrap(member));
    }

    function convert(WithdrawalId id, address organization) internal {
        vm.prank(organization);
        withdrawals.convert(id);
    }

    /// @dev Start a replay, offer for its round, or close the round.
    function stepOfReplay(uint256 seed) internal {
        if (!replays.isPending()) return;
        IReplays.Replay memory its = replays.replayOf(replays.current());
        if (replays.queued().length != 0 && !isRunning()) return startReplay(seed);
        uint256 waiting = replays.expected()[0];
        for (uint256 i = 0; i < orgs.length; ++i) {
            if (offered[OfferId.unwrap(replays.current())][RoundId.unwrap(its.round)][uint16(i)] != 0) {
                waiting &= ~(1 << i);
            }
        }
        if (waiting == 0 || seed % 16 == 0 || clock() > its.deadline) return closeReplayed(its.deadline);
        uint16 member = uint16(pick(waiting, seed >> 8));
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[member]);
        replays.offer(its.round, ids, points, MANIFEST);
        noteOffer(replays.current(), its.round, member);
    }

    function isRunning() internal view returns (bool) {
        try replays.expected() {
            return true;
        } catch {
            return false;
        }
    }

    function startReplay(uint256 seed) internal {
        ModelId head = models.head();
        if (models.isStale(head)) return foldSome(head, seed);
        replays.start();
        sinceOf[OfferId.unwrap(replays.current())] = models.amendmentCount();
        // A replay without rounds takes effect at once, with an amendment of its own.
        if (!isRunning()) --sinceOf[OfferId.unwrap(replays.current())];
    }

    function closeReplayed(uint256 deadline) internal {
        late(deadline);
        replays.advance();
    }

    // Members

    function postBond() internal {
        address now_ = members.aggregator();
        vm.deal(now_, now_.balance + AGGREGATOR_BOND);
        vm.prank(now_);
        members.postAggregatorBond{value: AGGREGATOR_BOND}();
    }

    function nameAggregator() internal {
        address next = address(uint160(0xA6600 + ++_names));
        aggregators.push(next);
        decide(address(members), abi.encodeCall(IMembers.setAggregator, (next)));
    }

    /// @dev Let a member pay what it owes, or an admitted organization join.
    function restore(uint256 seed) internal {
        address organization = orgs[seed % orgs.length];
        IMembers.Member memory its = members.member(organization);
        if (its.status == IMembers.Status.Active && !members.mayContribute(organization)) {
            members.penalize(organization);
            uint256 missing = BOND - members.member(organization).bond;
            vm.deal(organization, organization.balance + missing);
            vm.prank(organization);
            members.topUp{value: missing}();
        } else if (_admitted.length != 0) {
            joinOne();
        }
    }

    function joinOne() private {
        address organization = _admitted[_admitted.length - 1];
        _admitted.pop();
        vm.deal(organization, 100 ether);
        vm.prank(organization);
        members.join{value: BOND}(SALT, PROOF);
        orgs.push(organization);
    }

    function admitOne() internal {
        if (orgs.length + _admitted.length >= MOST_MEMBERS) return;
        address organization = address(uint160(0x2001 + ++_names));
        decide(address(members), abi.encodeCall(IMembers.admit, (organization, "organization")));
        if (members.statusOf(organization) == IMembers.Status.Admitted) _admitted.push(organization);
    }

    /// @dev A vote of all active members.
    function decide(address target, bytes memory data) internal {
        uint256 id;
        for (uint256 i = 0; i < orgs.length; ++i) {
            if (members.statusOf(orgs[i]) != IMembers.Status.Active) continue;
            vm.prank(orgs[i]);
            if (id == 0) id = governance.propose(target, data);
            else governance.vote(id);
        }
        if (id != 0) governance.execute(id);
    }
}
