"""What every plug-in keeps, as checks: for authors of objectives, tasks, methods, exporters and compressors.

    @pytest.mark.parametrize("check", checks(Mine(width=3)), ids=str)
    def test_it_keeps_the_contract(check, tmp_path):
        check(Bench(tmp_path))

It is deterministic; cut into micro-batches of one row it gives the weights of eight at once, to 1e-12 in float64 and
1e-5 in float32; stopped and started again it ends with the same files; what it saved opens and answers; what it cannot
it refuses before anything loads. Needs `pip install pretune[test]`. The whole table: `python -m pretune.testing`.
"""

from pretune.testing.bench import Bench, Plugin
from pretune.testing.contract import Check, NotAsked, all_checks, checks, each_once

__all__ = ["Bench", "Check", "NotAsked", "Plugin", "all_checks", "checks", "each_once"]
