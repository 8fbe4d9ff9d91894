"""The reward estimators we have, by name."""

from collections.abc import Callable, Mapping

from rewards.dare import Dare
from rewards.estimate import RewardEstimator
from rewards.majority import Majority

ESTIMATORS: Mapping[str, Callable[[], RewardEstimator]] = {"majority": Majority, "dare": Dare}
