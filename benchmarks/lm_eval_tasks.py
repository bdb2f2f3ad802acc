"""Task files of lm-evaluation-harness over local data: multiple choice, cloze and minimal pairs, nothing is downloaded.

    python benchmarks/lm_eval_tasks.py ../shared/data/zeroshot-suite --out TASKS [--limit 200]

writes TASKS/NAME_local.yaml for each NAME.jsonl of the folder; then, in the environment of lm-eval,

    python -m pretune.evaluate.lm_eval --model pretune --model_args path=MODEL --include_path TASKS --tasks NAME_local
    lm_eval --model hf --model_args pretrained=MODEL,dtype=float32 --include_path TASKS --tasks NAME_local

are the same figures. A question and its answer are put together as stage evaluate does it (`choices=`).
"""

import argparse
import json
from pathlib import Path

HEAD = """\
task: {name}_local
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
"""
CHOICE = """\
output_type: multiple_choice
doc_to_text: "{{query.rstrip()}}{% if query.startswith('Question:') %}\\nAnswer:{% endif %}"
doc_to_target: gold
doc_to_choice: choices
metric_list:
  - metric: acc
  - metric: acc_norm
"""
CLOZE = """\
output_type: loglikelihood
doc_to_text: "{{context.rstrip()}}"
doc_to_target: "{{' '+continuation}}"
metric_list:
  - metric: perplexity
    aggregation: perplexity
    higher_is_better: false
  - metric: acc
"""
PAIRS = """\
output_type: multiple_choice
doc_to_text: ""
doc_to_target: 0
doc_to_choice: "{{[good, bad]}}"
target_delimiter: ""
metric_list:
  - metric: acc
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="evenly spread questions of each file")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(args.data.glob("*.jsonl")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        number = min(len(lines), args.limit or len(lines))
        some = args.out / path.name
        some.write_text("".join(f"{lines[k * len(lines) // number]}\n" for k in range(number)), encoding="utf-8")
        first = json.loads(lines[0])
        body = CHOICE if "choices" in first else CLOZE if "continuation" in first else PAIRS
        head = HEAD.format(name=path.stem, file=some.absolute().as_posix())
        (args.out / f"{path.stem}_local.yaml").write_text(head + body, encoding="utf-8")
        print(f"{path.stem}_local: {number} of {len(lines)}")


if __name__ == "__main__":
    main()
