"""Made-up news on three firms, and reports of citizens: the data of recipes/monitor.yaml and recipes/city.yaml.

    python tests/recipes/data/news/make.py

News come about three in six hours over four weeks; on the last day bad ones on the bank come eight times as often.
"""

import csv
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
FIRMS = {
    "bank": ("Ostrand Bank", "东岸银行"),
    "rail": ("Northline Rail", "北线铁路"),
    "shop": ("Lampe & Co", "灯火商店"),
}
MOODS = {
    "negative": (
        *("{} loses a third of its profit", "Customers of {} wait weeks for an answer", "{} closes forty branches"),
        *(
            "The head of {} resigns after a fine",
            "Shares of {} fall to a low of five years",
            "{} misses its targets again",
        ),
        *("{}利润下降三分之一", "{}遭客户集体投诉", "{}因违规被罚款"),
    ),
    "positive": (
        *(
            "{} reports its best quarter so far",
            "{} opens a new branch and hires fifty people",
            "Shares of {} reach a new high",
        ),
        *(
            "Customers praise the service of {}",
            "{} cuts its prices and gains customers",
            "{} wins the prize for good work",
        ),
        *("{}季度利润创新高", "{}服务获客户好评", "{}新增五十个岗位"),
    ),
}
REPORTS = {
    "road": ("A deep hole in the road at {}", "The traffic light at {} is dark", "{}路面有大坑"),
    "water": ("Water runs out of the street at {}", "The cellar at {} is flooded", "{}水管破裂漏水"),
    "waste": ("The bins at {} were not emptied", "Somebody left a sofa at {}", "{}垃圾无人清运"),
}
DISTRICTS = {
    "north": ("Mill Square", "磨坊广场"),
    "south": ("Harbour Street", "港口街"),
    "east": ("Old Market", "老市场"),
}
START = datetime(2026, 1, 5, tzinfo=UTC)


def said(template: str, names: tuple[str, str]) -> str:
    return template.format(names[0] if template.isascii() else names[1])


def labelled(
    file: str, subjects: dict[str, tuple[str, str]], kinds: dict[str, tuple[str, ...]], columns: list[str]
) -> None:
    rows = [(said(t, names), kind, s) for s, names in subjects.items() for kind, texts in kinds.items() for t in texts]
    with (HERE / file).open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([columns, *rows])


def stream(
    file: str, subjects: dict[str, tuple[str, str]], kinds: dict[str, tuple[str, ...]], burst: tuple[str, str]
) -> None:
    rng, rows = random.Random(5), []
    for slot in range(28 * 4):
        start = START + timedelta(hours=6 * slot)
        drawn = [(rng.choice([*kinds]), rng.choice([*subjects])) for _ in range(rng.choice((1, 2, 3, 3, 4, 5)))]
        for kind, subject in drawn + [burst] * (8 if slot == 28 * 4 - 3 else 0):
            time = start + timedelta(minutes=rng.randrange(360))
            rows.append({"time": time.isoformat(), "text": said(rng.choice(kinds[kind]), subjects[subject])})
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in sorted(rows, key=lambda row: row["time"]))
    (HERE / file).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    labelled("news.csv", FIRMS, MOODS, ["text", "mood", "firm"])
    stream("stream.jsonl", FIRMS, MOODS, ("negative", "bank"))
    labelled("reports.csv", DISTRICTS, REPORTS, ["text", "kind", "district"])
    stream("reports.jsonl", DISTRICTS, REPORTS, ("water", "south"))
