"""Follows stories through bad networks, by the client alone.

Takes a JSON line for each run from standard input, and answers it with a line of what was seen. Ends when the input ends and all runs are
over: nothing else may keep it alive.
"""

import asyncio
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from taskbridge_client import AsyncTask, AsyncTaskBridge, Task, TaskBridge

INPUT = {"pauseMs": 20}


async def by_asyncio(run):
    async with AsyncTaskBridge(run["url"], transports=run["transports"], headers=run["headers"]) as client:
        task = await client.create("story", INPUT, request_id=run["requestId"])
        twin = await client.create("story", INPUT, request_id=run["requestId"])
        shown, answers = [], []

        async def states(task: AsyncTask):
            async for state in task.states():
                shown.append([state.event_id, state.text])
                if state.status == "asking" and not answers:
                    answers.append(await task.answer("go"))
            return state

        async def events(task: AsyncTask):
            return [event async for event in task.events()]

        async def deltas(task: AsyncTask):
            text = ""
            async for change in task.output():
                text = change.delta if change.replaced else text + change.delta
            return text

        last, seen, text, result = await asyncio.gather(states(task), events(task), deltas(task), task.result())
        return witnessed(task.id, twin.id, seen, shown, last, result, text, answers)


def by_threads(run):
    with TaskBridge(run["url"], transports=run["transports"], headers=run["headers"]) as client:
        task = client.create("story", INPUT, request_id=run["requestId"])
        twin = client.create("story", INPUT, request_id=run["requestId"])
        shown, answers = [], []

        def states(task: Task):
            for state in task.states():
                shown.append([state.event_id, state.text])
                if state.status == "asking" and not answers:
                    answers.append(task.answer("go"))
            return state

        def deltas(task: Task):
            text = ""
            for change in task.output():
                text = change.delta if change.replaced else text + change.delta
            return text

        with ThreadPoolExecutor(4) as pool:
            last = pool.submit(states, task)
            text = pool.submit(deltas, task)
            result = pool.submit(task.result, 140)
            seen = list(task.events())
            return witnessed(task.id, twin.id, seen, shown, last.result(), result.result(), text.result(), answers)


def witnessed(task_id, again, events, shown, last, result, deltas, answers):
    assert last.result == result
    return {
        "taskId": task_id,
        "again": again,
        "events": events,
        "shown": shown,
        "status": last.status,
        "result": result,
        "text": last.text,
        "deltas": deltas,
        "answered": "".join(answers),
    }


def run_one(run):
    try:
        seen = by_threads(run) if run["isSync"] else asyncio.run(by_asyncio(run))
        answer = {"run": run["run"], "seen": seen}
    except Exception as error:
        answer = {"run": run["run"], "error": repr(error)}
    print(json.dumps(answer), flush=True)


threads = []
for line in sys.stdin:
    threads.append(threading.Thread(target=run_one, args=[json.loads(line)]))
    threads[-1].start()
for thread in threads:
    thread.join()
