"""What an autoscaler is shown so that it brings nodes for index actors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table

from art2real.config.tree import Cluster
from art2real.index.unplaced import Group


@dataclass
class Wish:
    """Shows an autoscaler what the index actors will claim, without starting them."""

    groups: Sequence[Group]
    cluster: Cluster
    made: bool = False
    _open: list[PlacementGroup] = field(default_factory=list)

    def make(self) -> None:
        """Once; it is withdrawn as soon as there is room for all of it, so that this can be used."""
        if not self.made:
            self.made = True
            self._open = [self._of(group) for group in self.groups]
        elif self._open and all(placement_group_table(each)["state"] == "CREATED" for each in self._open):
            self.withdraw()

    def withdraw(self) -> None:
        for each in self._open:
            ray.util.remove_placement_group(each)
        self._open = []

    def _of(self, group: Group) -> PlacementGroup:
        cluster, label = self.cluster, self.cluster.index_label
        claim = {"memory": group.need.memory, "CPU": cluster.index_cpus, "GPU": cluster.index_gpus}
        bundle = {name: amount for name, amount in claim.items() if amount}
        key, _, value = (label or "").partition("=")
        count = cluster.index_replicas
        return placement_group(
            [bundle] * count,
            strategy="STRICT_SPREAD" if count > 1 else "PACK",
            bundle_label_selector=[{key: value}] * count if label else None,
        )
