// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IRewards} from "./interfaces/IRewards.sol";

contract Rewards is IRewards, ReentrancyGuard {
    address public immutable rounds;
    uint256 public immutable rewardPerRound;
    uint256 public pool;

    mapping(address => uint256) public pending;
    mapping(uint64 => mapping(address => uint256)) public creditedIn;

    constructor(address rounds_, uint256 rewardPerRound_) payable {
        rounds = rounds_;
        rewardPerRound = rewardPerRound_;
        pool = msg.value;
        emit Funded(msg.sender, msg.value);
    }

    function fund() external payable {
        pool += msg.value;
        emit Funded(msg.sender, msg.value);
    }

    function credit(uint64 round, address[] calldata organizations, uint256[] calldata scores) external {
        if (msg.sender != rounds) revert NotRounds(msg.sender);
        uint256 total = 0;
        for (uint256 i = 0; i < scores.length; ++i) {
            total += scores[i];
        }
        if (total == 0) return;
        uint256 available = rewardPerRound < pool ? rewardPerRound : pool;
        uint256 spent = 0;
        for (uint256 i = 0; i < organizations.length; ++i) {
            uint256 amount = available * scores[i] / total;
            spent += amount;
            pending[organizations[i]] += amount;
            creditedIn[round][organizations[i]] += amount;
            emit Credited(round, organizations[i], amount);
        }
        pool -= spent;
    }

    function claim() external nonReentrant {
        uint256 amount = pending[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        pending[msg.sender] = 0;
        emit Claimed(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }
}
