"""Whose turn it is, how many may wait, what is remembered: what an operator decides; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from gateway.config import Settings

#: What one level of priority is worth, seconds of waiting.
PRIORITY_S = 600.0


@dataclass(frozen=True)
class Policy:
    """The store's rules; 0 = unlimited. An owner is the name of an API key."""

    most_queued: int = 0
    most_queued_per_owner: int = 0
    most_running_per_owner: int = 0
    #: Owners take turns.
    is_fair: bool = False
    #: What was made is remembered when a job has succeeded.
    keeps_generations: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings ask for."""
        return cls(
            most_queued=settings.max_queue_depth,
            most_queued_per_owner=settings.max_queued_per_key,
            most_running_per_owner=settings.max_running_per_key,
            is_fair=settings.fair_share,
            keeps_generations=settings.generation_ttl_s > 0,
        )

    @property
    def limits_waiting(self) -> bool:
        """Whether a job may be refused."""
        return self.most_queued > 0 or self.most_queued_per_owner > 0

    @property
    def tells_owners_apart(self) -> bool:
        """Whether it matters to a claim who sent a job."""
        return self.is_fair or self.most_running_per_owner > 0


#: First come, first served, and no limits.
FREE = Policy()


@dataclass(frozen=True)
class Owner:
    """What an API key has in the store; the name is empty where there are no keys."""

    name: str
    queued: int
    #: Jobs claimed and not yet delivering.
    running: int
    #: The number of its last claim: claims of all owners are counted. 0 = never.
    served: int


def rank(queued_at: float, priority: int) -> float:
    """Return a job's place in the queue, lower first: it never changes while the job waits.

    So a low priority rises as it waits, and nothing is ever sorted anew.
    """
    return queued_at - priority * PRIORITY_S


def turns(owners: Iterable[Owner], policy: Policy) -> list[Owner]:
    """Return the owners that may have a job claimed; under FAIR_SHARE in the order of turns."""
    most = policy.most_running_per_owner
    allowed = [owner for owner in owners if not most or owner.running < most]
    if policy.is_fair:
        allowed.sort(key=lambda owner: (owner.running, owner.served, owner.name))
    return allowed


def ahead_in_turns(owners: Iterable[Owner], own: Owner, before: int) -> int:
    """Return about how many jobs run before the one that `before` jobs of its owner precede.

    In each round every owner that still has a job gets one, in the order of their turns.
    """
    ahead = before
    for other in owners:
        if other.name != own.name:
            is_sooner = (other.running, other.served, other.name) < (
                own.running,
                own.served,
                own.name,
            )
            ahead += min(other.queued, before + is_sooner)
    return ahead
