#!/usr/bin/env python3
"""Asks a running, empty Loki every question of the scenarios, and writes its answers beside them.

    tests/scenarios/record.py --loki http://127.0.0.1:3100 [--tenant NAME] [theme.jsonl ...]

The Loki must take old records (`reject_old_samples: false`), look for them in its memory
(`query_ingesters_within: 0`), evaluate ranges where they are asked for (`align_queries_with_step: false`), and
refuse a limit above 5,000. A new question is a line with `path` and `params`; see README.md."""

import argparse
import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request

FOLDER = pathlib.Path(__file__).resolve().parent / "loki"


def exchange(url, body=None, headers=None):
    request = urllib.request.Request(url, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def parameters(defaults, scenario):
    """What is asked: the defaults, then those of the path, then those of the scenario."""
    merged = {**defaults["*"], **defaults.get(scenario["path"], {}), **scenario["params"]}
    return urllib.parse.urlencode(merged, doseq=True)


def labels(thing):
    return json.dumps(thing, sort_keys=True, ensure_ascii=False)


def kept(scenario, text):
    """What of an answer is compared: no statistics, no sizes of storage, an order where there is one."""
    answer = json.loads(text)
    path = scenario["path"]
    if path == "index/stats":
        return {name: answer[name] for name in ("streams", "entries")}
    data = answer["data"] if isinstance(answer, dict) and "data" in answer else None
    if path == "series":
        return sorted(data or [], key=labels)
    if not isinstance(data, dict) or "resultType" not in data:
        return sorted(data) if isinstance(data, list) else data
    result = data["result"]
    if data["resultType"] == "streams":
        streams = {}
        for found in result:
            streams.setdefault(labels(found["stream"]), []).extend(found["values"])
        result = [[json.loads(name), values] for name, values in sorted(streams.items())]
    elif data["resultType"] == "vector":
        result = [[found["metric"], found["value"]] for found in result]
    elif data["resultType"] == "matrix":
        result = [[found["metric"], found["values"]] for found in result]
    if data["resultType"] != "scalar" and not scenario.get("ordered"):
        result.sort(key=lambda pair: (labels(pair[0]), labels(pair[1])))
    return {data["resultType"]: result}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--loki", required=True, help="where it listens")
    arguments.add_argument("--tenant", default="scenarios")
    arguments.add_argument("themes", nargs="*", help="only these files")
    given = arguments.parse_args()
    api = given.loki.rstrip("/") + "/loki/api/v1/"
    headers = {"X-Scope-OrgID": given.tenant}
    defaults = json.loads((FOLDER / "defaults.json").read_text())
    body = (FOLDER / "streams.json").read_bytes()
    status, said = exchange(api + "push", body, {**headers, "Content-Type": "application/json"})
    assert status == 204, (status, said)
    for theme in sorted(FOLDER.glob("*.jsonl")):
        if given.themes and theme.name not in given.themes:
            continue
        lines = []
        for scenario in map(json.loads, theme.read_text().splitlines()):
            # A difference that is on purpose keeps what we answer; `differs` says why.
            if "differs" not in scenario:
                url = f"{api}{scenario['path']}?{parameters(defaults, scenario)}"
                status, text = exchange(url, None, {**headers, **scenario.get("headers", {})})
                scenario["status"] = status
                scenario["answer"] = kept(scenario, text) if status == 200 else text.strip()
            lines.append(json.dumps(scenario, ensure_ascii=False) + "\n")
        theme.write_text("".join(lines))
        print(f"{theme.name}: {len(lines)}")


main()
