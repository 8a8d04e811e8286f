"""The endless, reproducible stream of training steps.

A step is a list of groups; a group is one query with GROUP_SIZE candidates. Step k depends on
(pools, seed, k) only, so a resumed run sees exactly what an uninterrupted one would have seen.
"""

import dataclasses

import numpy as np

import pools

GROUP_SIZE = 8
# A group takes one candidate from each stretch of the ranked pool (fractions of its length):
# dense at the top, where reranking decides, and down to the random candidates.
STRATA = (0.0, 0.04, 0.10, 0.20, 0.35, 0.55, 0.80, 0.90, 1.0)
# How often a group's query is of each kind; kinds without pools are left out.
KIND_SHARES = {
    pools.Kind.RUN: 0.45,
    pools.Kind.PAIR: 0.25,
    pools.Kind.MINED: 0.10,
    pools.Kind.SYNTHETIC: 0.20,
}


@dataclasses.dataclass
class Group:
    """query index; passages int32 [GROUP_SIZE]; targets float32 [GROUP_SIZE]."""

    query: int
    passages: np.ndarray
    targets: np.ndarray


class GroupStream:
    """Draws the groups of any step; stateless apart from the pools."""

    def __init__(
        self,
        all_pools: list[pools.Pool],
        seed: int,
        groups_per_step: int,
        shares: dict[pools.Kind, float] = KIND_SHARES,
    ):
        self._by_kind = {k: [p for p in all_pools if p.kind == k] for k in shares}
        self._kinds = [k for k in shares if self._by_kind[k]]
        of_kinds = np.array([shares[k] for k in self._kinds])
        self._shares = of_kinds / of_kinds.sum()
        self._seed = seed
        self._groups_per_step = groups_per_step

    def step(self, number: int) -> list[Group]:
        """The groups of step `number`."""
        rng = np.random.default_rng((self._seed, number))
        kinds = rng.choice(len(self._kinds), size=self._groups_per_step, p=self._shares)
        return [self._group(self._by_kind[self._kinds[k]], rng) for k in kinds]

    def _group(self, candidates: list[pools.Pool], rng: np.random.Generator) -> Group:
        pool = candidates[rng.integers(len(candidates))]
        picks = stratified(len(pool.passages), rng)
        return Group(pool.query, pool.passages[picks], pool.targets[picks])


def stratified(size: int, rng: np.random.Generator) -> np.ndarray:
    """One position from each stratum of a pool of `size` candidates: int [GROUP_SIZE], distinct."""
    if size < GROUP_SIZE:
        raise ValueError(f"a pool of {size} candidates cannot fill a group of {GROUP_SIZE}")
    edges = np.ceil(np.array(STRATA) * size).astype(int)
    # Strata of a small pool may be empty: push edges apart so that each holds a position.
    for i in range(1, len(edges)):
        edges[i] = min(max(edges[i], edges[i - 1] + 1), size - GROUP_SIZE + i)
    return np.array([rng.integers(low, high) for low, high in zip(edges[:-1], edges[1:])])
