from rewards.metrics import avg_at_n, maj_at_n, pass_at_n, reward_accuracy


def test_by_hand() -> None:
    answers = ["5", "5.0", "6", None]
    assert avg_at_n(answers, "5") == 0.5
    assert maj_at_n(answers, "5") == 1.0
    assert maj_at_n(answers, "6") == 0.0
    assert pass_at_n(answers, "6") == 1.0
    assert pass_at_n(answers, "7") == 0.0


def test_lucky_hit_a_wrong_label_still_gives_right_rewards() -> None:
    # truth 9; label 1 is wrong, yet only its own three rollouts are rewarded wrongly
    answers = ["1", "1", "1", "2", "3", "4", "5", None]
    assert reward_accuracy(answers, "1", "9") == 5 / 8
    assert reward_accuracy(answers, None, "9") == 1.0
