# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training on a source's labels beside the target's: a fixed share of the steps, however few the target's labels are.

A step holds sweeps of one or the other: filled from both (`train.context_m`), a source's sweep, labelled all over, would
have nearly all of a step's labels, and with them its loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lidal3d.rounds.config import WorldSettings
from lidal3d.rounds.world import World
from lidal3d.scene.scene import Frame

if TYPE_CHECKING:
    from lidal3d.learn.sampler import Portion
    from lidal3d.learn.train import LabelSource


def with_source(labels: LabelSource, world: World) -> LabelSource:
    """The same labels, and for a frame of the world's source all of its own."""
    from lidal3d.learn.train import own_labels

    source = {scene.id for scene in world.source}
    return (lambda frame: own_labels(frame) if frame.scene.id in source else labels(frame)) if source else labels


def mixed(frames: Sequence[Frame], world: World, settings: WorldSettings) -> tuple[list[Frame], list[Portion]]:
    """The frames and those of the source, and the shares of the steps that either fill: `source.share` is the source's.

    The source's alone where there are no others; the frames alone where there is no source.
    """
    from lidal3d.learn.sampler import Portion

    others = world.source_frames()
    share = 0.0 if settings.source is None else settings.source.share
    return [*frames, *others], [Portion(len(frames), 1 - share), Portion(len(others), share)]
