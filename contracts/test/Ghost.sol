// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, ModelId, OfferId, PointHash, RoundId} from "../src/Types.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {Curve} from "../src/libraries/Curve.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

/// @dev What each model has to be, by plain loops over what members did. Points are known by their scalars. Of the
/// contracts only the list of amendments is read.
abstract contract Ghost is Fixture {
    /// @dev Members that were accepted in a round, by number.
    mapping(uint64 => uint16[]) internal acceptedBy;
    /// @dev Rounds that a model was registered for.
    mapping(uint64 => bool) internal isFinal;
    /// @dev Seeds of what was offered: by withdrawal or replay, round and member.
    mapping(uint64 => mapping(uint64 => mapping(uint16 => bytes32))) internal offered;
    mapping(uint64 => mapping(uint64 => uint16[])) internal offeredBy;
    /// @dev How many amendments there were when a replay began.
    mapping(uint64 => uint32) internal sinceOf;

    function noteOffer(OfferId offer, RoundId round, uint16 member) internal {
        (uint64 source, uint64 number) = (OfferId.unwrap(offer), RoundId.unwrap(round));
        if (offered[source][number][member] == 0) offeredBy[source][number].push(member);
        offered[source][number][member] = lastFresh();
    }

    /// @dev The scalar that a model's commitment must have.
    function ghostSum(ModelId id, uint256 part) internal view returns (uint256 sum) {
        IModels.Model memory its = models.modelOf(id);
        IModels.Amendment[] memory changes = amendmentsUpTo(its.amendments);
        uint64 last = RoundId.unwrap(its.lastRound);
        if (rules[part] == Weights.Rule.Latest) return latestSum(part, last, changes);
        for (uint64 round = 1; round <= last; ++round) {
            if (isFinal[round]) sum = addmod(sum, roundSum(part, round, changes), Curve.ORDER);
        }
        return addmod(sum, counterSum(part, last, changes), Curve.ORDER);
    }

    function amendmentsUpTo(uint32 count) internal view returns (IModels.Amendment[] memory changes) {
        changes = new IModels.Amendment[](count);
        for (uint32 i = 0; i < count; ++i) {
            changes[i] = models.amendmentAt(i + 1);
        }
    }

    function isOut(uint16 member, IModels.Amendment[] memory changes) internal pure returns (bool) {
        for (uint256 i = 0; i < changes.length; ++i) {
            if (changes[i].kind == IModels.Kind.Removal && MemberId.unwrap(changes[i].member) == member) return true;
        }
        return false;
    }

    function roundSum(uint256 part, uint64 round, IModels.Amendment[] memory changes)
        private
        view
        returns (uint256 sum)
    {
        (uint64 replay, uint32 since) = lastReplay(round, changes);
        uint16[] memory by = replay == 0 ? acceptedBy[round] : offeredBy[replay][round];
        uint256 count = 0;
        for (uint256 i = 0; i < by.length; ++i) {
            if (isOut(by[i], changes)) continue;
            ++count;
            sum = addmod(sum, scalarFor(seedAt(round, by[i], replay, since, changes), part), Curve.ORDER);
        }
        if (count == 0) return 0;
        return mulmod(sum, rules[part] == Weights.Rule.Share ? 10_000 / count : 10_000, Curve.ORDER);
    }

    function lastReplay(uint64 round, IModels.Amendment[] memory changes)
        private
        view
        returns (uint64 replay, uint32 since)
    {
        for (uint256 i = 0; i < changes.length; ++i) {
            bool covers = RoundId.unwrap(changes[i].from) <= round && round <= RoundId.unwrap(changes[i].to);
            if (changes[i].kind != IModels.Kind.Replay || !covers) continue;
            replay = OfferId.unwrap(changes[i].offer);
            since = sinceOf[replay];
        }
    }

    /// @dev The seed of a member's contribution: the last replacement since the replay, or the replay's, or its own.
    function seedAt(uint64 round, uint16 member, uint64 replay, uint32 since, IModels.Amendment[] memory changes)
        private
        view
        returns (bytes32 seed)
    {
        seed = replay == 0 ? seedOf(RoundId.wrap(round), orgs[member]) : offered[replay][round][member];
        for (uint256 i = since; i < changes.length; ++i) {
            if (changes[i].kind != IModels.Kind.Replacement || MemberId.unwrap(changes[i].member) != member) continue;
            bytes32 replaced = offered[OfferId.unwrap(changes[i].offer)][round][member];
            if (replaced != 0) seed = replaced;
        }
    }

    function latestSum(uint256 part, uint64 last, IModels.Amendment[] memory changes)
        private
        view
        returns (uint256 sum)
    {
        for (uint16 member = 0; member < orgs.length; ++member) {
            if (isOut(member, changes)) continue;
            for (uint64 round = last; round > 0; --round) {
                if (!isFinal[round] || !wasAccepted(round, member)) continue;
                sum = addmod(sum, scalarFor(seedAt(round, member, 0, 0, changes), part), Curve.ORDER);
                break;
            }
        }
    }

    function counterSum(uint256 part, uint64 last, IModels.Amendment[] memory changes)
        private
        view
        returns (uint256 sum)
    {
        for (uint256 i = 0; i < changes.length; ++i) {
            uint16 member = MemberId.unwrap(changes[i].member);
            if (changes[i].kind != IModels.Kind.CounterTraining || isOut(member, changes)) continue;
            if (!contributed(member, last)) continue;
            uint256 scalar = scalarFor(offered[OfferId.unwrap(changes[i].offer)][0][member], part);
            sum = addmod(sum, mulmod(10_000, scalar, Curve.ORDER), Curve.ORDER);
        }
    }

    function contributed(uint16 member, uint64 last) private view returns (bool) {
        for (uint64 round = 1; round <= last; ++round) {
            if (isFinal[round] && wasAccepted(round, member)) return true;
        }
        return false;
    }

    function wasAccepted(uint64 round, uint16 member) internal view returns (bool) {
        for (uint256 i = 0; i < acceptedBy[round].length; ++i) {
            if (acceptedBy[round][i] == member) return true;
        }
        return false;
    }

    /// @dev Whether a model's commitments are what they must be, and no member that is out is in its content.
    function isRight(ModelId id) internal view returns (bool) {
        for (uint256 part = 0; part < rules.length; ++part) {
            bytes32 expected = keccak256(multiple(ghostSum(id, part)));
            if (PointHash.unwrap(models.commitmentOf(id, part)) != expected) return false;
        }
        return true;
    }

    function holdsNoOneThatIsOut(ModelId id) internal view returns (bool) {
        IModels.Amendment[] memory changes = amendmentsUpTo(models.modelOf(id).amendments);
        for (uint256 part = 0; part < rules.length; ++part) {
            uint64 next = 0;
            do {
                IModels.Entry[] memory content;
                (content, next) = models.contentOf(id, part, next, 40);
                for (uint256 i = 0; i < content.length; ++i) {
                    if (isOut(MemberId.unwrap(content[i].member), changes)) return false;
                }
            } while (next != 0);
        }
        return true;
    }
}
