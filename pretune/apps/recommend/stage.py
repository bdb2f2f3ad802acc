"""Stage recommend: items and events become a recommender that is served; stage together: what an embed or a ranking
model learns of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pretune.apps.recommend.settings import RecommendSettings, TogetherSettings
from pretune.base.artifact import Artifact
from pretune.base.json import Json
from pretune.base.stage import Context


class RecommendStage(RecommendSettings):
    """Items and events in, a recommender out."""

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.apps.recommend.making import make

        return make(self, inputs, out, context)


class TogetherStage(TogetherSettings):
    """What an embed or a ranking model learns from events, as a file that stage dataset reads.

    It has the part of the events that stage recommend, with the same settings, learns from: nothing of its test.
    """

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.apps.recommend.making import write_together

        return write_together(self, inputs, out, context)
