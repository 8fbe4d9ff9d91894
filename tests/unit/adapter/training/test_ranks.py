"""How work is shared out among processes; that it adds up is tested on real ones."""

import torch.distributed

from adapter.training.ranks import Ranks, join


def test_alone_everything_is_mine_and_nothing_is_set_up() -> None:
    ranks = join("cpu", 1.0)
    assert ranks == Ranks()
    assert ranks.share([[3], [4, 5]], [3]) == [([3], 1.0), ([4, 5], 1.0)]
    assert ranks.budget(100, 60) == 100
    ranks.add([])
    assert not torch.distributed.is_initialized()


def test_every_rank_has_equally_many_parts_and_each_part_counts_once() -> None:
    shares = [Ranks(rank, 3).share(list("abcde"), "a") for rank in range(3)]
    assert shares == [
        [("a", 1.0), ("d", 1.0)],
        [("b", 1.0), ("e", 1.0)],
        [("c", 1.0), ("a", 0.0)],
    ]


def test_micro_batches_get_smaller_so_that_there_is_one_for_each_rank() -> None:
    assert Ranks(0, 4).budget(8192, 402) == 101
    assert Ranks(0, 4).budget(64, 402) == 64
