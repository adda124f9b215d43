"""Handlers for test/execution/handler-contract.test.ts, which compares what each place of a handler makes of them."""

import asyncio
import json
import os
import sys
import threading
import time

from taskbridge_client.worker import AsyncTaskContext, Refused, TaskContext, TaskFailure, Worker

options = json.loads(os.environ["WORKER_OPTIONS"])


def report(problem):
    print(f"problem {problem.kind} {problem.task_id or ''} {problem.error}", flush=True)


worker = Worker(options.pop("url"), options.pop("token"), report=report, **options)


def from_units(text):
    """JSON from a client has no half characters; here `~` and `_` are the halves of a fox."""
    return text.replace("~", "\ud83e").replace("_", "\udd8a")


def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def cycle():
    value = {"name": "x"}
    value["self"] = [value]
    return value


class Unspeakable:
    def __str__(self):
        raise RuntimeError("a secret that clients must not read")


class Mute(TaskFailure):
    @property
    def code(self):
        raise RuntimeError("a secret that clients must not read")

    @code.setter
    def code(self, value):
        pass


RESULTS = {
    "nothing": lambda: None,
    "null": lambda: None,
    "text": lambda: "ä \u2028 🦊",
    "numbers": lambda: [-0, 1e300, 5e-324, 2**60, 0.1, 10, 2**63],
    "as deep as may be": lambda: nested(31),
    "as large as may be": lambda: "x" * (1_048_309 - 2),
    "one byte more": lambda: "x" * (1_048_309 - 1),
    "too large": lambda: "x" * (2 * 1024 * 1024),
    "too large in bytes": lambda: "ä" * (600 * 1024),
    "U+0000": lambda: {"t": "a\0b"},
    "half a character": lambda: {"t": "cut \ud83d"},
    "half a character in a name": lambda: {"\ude00": 1},
    "U+0000 in a name": lambda: {"a\0": 1},
    "constructor": lambda: {"constructor": "x"},
    "__proto__": lambda: {"__proto__": {"a": 1}},
    "too deep": lambda: nested(32),
    "deep enough to overflow": lambda: nested(100_000),
    "NaN": lambda: {"a": [float("nan")]},
    "Infinity": lambda: float("-inf"),
    "cycle": cycle,
    "a BigInt beyond doubles": lambda: 10**309,
    "an object of a class": lambda: {"a": Unspeakable()},
}

FAILURES = {
    **{
        f"a message cut at {length}": (lambda length=length: TaskFailure("BAD", "m" * (length - 1) + "🦊"))
        for length in (8_190, 8_191, 8_192, 8_193)
    },
    **{
        f"a code cut at {length}": (
            lambda length=length: TaskFailure("C" * (length - 1) + "🦊", "m", retryable=True, retry_after=0.001)
        )
        for length in (254, 255, 256)
    },
    "a message that is not text": lambda: TaskFailure("BAD", "a\0b \ud83d", retryable=False),
    "a code that is not text": lambda: TaskFailure("B\0\ud83d", "m"),
    "no code": lambda: TaskFailure("", "nameless, and final"),
    "a code that is a number": lambda: TaskFailure(7, "m"),
    "options that are none": lambda: TaskFailure("BAD", "m", retryable="yes", retry_after="soon"),
    "a code that throws": lambda: Mute("", "m"),
}

REFUSED = {
    "output that is too large": lambda c: c.output("y" * 70_000),
    "output with U+0000": lambda c: c.output("a\0b"),
    "output with half a character": lambda c: c.output("\ude00 behind"),
    "output that is no text": lambda c: c.output(7),
    "output to a channel that is no text": lambda c: c.output("x", channel="\ud83d"),
    "an unknown op": lambda c: c.output("x", op="insert"),
    "progress of 200": lambda c: c.progress(200),
    "progress of NaN": lambda c: c.progress(float("nan")),
    "a stage with U+0000": lambda c: c.progress(1, stage="a\0"),
    "a message that is too large": lambda c: c.message("y" * 70_000),
    "a message with half a character": lambda c: c.message("\ud83d"),
    "a message of no known level": lambda c: c.message("x", "loud"),
    "a question without actions": lambda c: c.suspend(reason_code="A", allowed_actions=[]),
}

QUESTIONS = {
    "with everything": {
        "key": "k",
        "kind": "SYSTEM_PAUSED",
        "schema_version": 2,
        "ui_hints": {"a": 1},
        "interaction": {"b": [None]},
    },
    "that expires": {"expires_at": "2999-01-01T00:00:00Z"},
    "without a reason": {"reason_code": ""},
    "with a long reason": {"reason_code": "R" * 256},
    "with a hundred and one actions": {"allowed_actions": [f"a{n}" for n in range(101)]},
    "with an action that is no text": {"allowed_actions": [7]},
    "of an unknown kind": {"kind": "OTHER"},
    "of version 0": {"schema_version": 0},
    "with a key that is not ASCII": {"key": "ä"},
    "that expires at no time": {"expires_at": "soon"},
    "that expires after all times": {"expires_at": 8.64e15},
    "with U+0000": {"interaction": {"a": "\0"}},
    "with constructor": {"ui_hints": {"constructor": 1}},
    "too deep": {"interaction": nested(32)},
    "whose interaction is a list": {"interaction": []},
    "with a BigInt beyond doubles": {"interaction": {"a": 10**309}},
    "that is too large": {"interaction": {"a": "x" * 65_536}},
}


def told(call):
    try:
        call()
        return "stored"
    except Refused as error:
        return error.code


@worker.task("both.everything")
def everything(input, c: TaskContext):
    c.progress(10)
    c.progress(20.5, stage="reading", message="half way")
    c.message("plain")
    c.message("a warning", "warning")
    c.output("one ")
    c.output("two")
    c.output("to stderr", channel="log")
    c.output("instead", op="replace")
    refused = [
        told(lambda: c.progress(200)),
        told(lambda: c.message("x", "loud")),
        told(lambda: c.output(7)),
        told(lambda: c.output("x", op="insert")),
        told(lambda: c.output("x" * 70_000)),
    ]
    return {
        "input": input,
        "metadata": c.metadata,
        "taskType": c.task_type,
        "attempt": c.attempt,
        "attachments": c.attachments,
        "refused": refused,
        "known": isinstance(c.task_id, str) and not c.signal.is_set(),
    }


@worker.task("both.ask")
async def ask(_input, c: AsyncTaskContext):
    await c.output(f"after {c.resume['actionType']};" if c.resume else "at first;")
    first = await c.suspend(reason_code="FIRST", allowed_actions=["yes", "no"])
    if first["actionType"] == "no":
        raise TaskFailure("REFUSED", "The owner said no.")
    second = await c.suspend(
        key="second",
        reason_code="SECOND",
        allowed_actions=["name"],
        kind="EXTERNAL_CONFIRMATION_PENDING",
        schema_version=3,
        interaction={"form": ["a", "b"]},
        ui_hints={"wide": True},
    )
    return {"first": first["payload"], "second": second["payload"], "actors": first["actorId"] == second["actorId"]}


@worker.task("both.ask-and-swallow")
def ask_and_swallow(_input, c: TaskContext):
    try:
        answer = c.suspend(reason_code="ONLY", allowed_actions=["yes"])
    except BaseException:
        answer = None
    return {"answered": answer is not None}


@worker.task("both.throw")
def throw(_input, _context):
    raise RuntimeError("a secret that clients must not read")


@worker.task("both.result")
async def result(input, _context):
    return RESULTS[input["name"]]()


@worker.task("both.failure")
async def failure(input, _context):
    raise FAILURES[input["name"]]()


@worker.task("both.careless")
async def careless(input, c: AsyncTaskContext):
    REFUSED[input["name"]](c)
    await c.progress(50)
    await asyncio.sleep(0.1)
    return "unheard"


@worker.task("both.careful")
def careful(input, c: TaskContext):
    return {"code": told(lambda: REFUSED[input["name"]](c))}


@worker.task("both.outspoken")
async def outspoken(input, c: AsyncTaskContext):
    await REFUSED[input["name"]](c)


@worker.task("both.late")
def late(_input, c: TaskContext):
    def talk():
        for say in (c.output, c.message):
            try:
                say("x")
            except Exception:
                pass

    threading.Timer(0.1, talk).start()
    return "done"


@worker.task("both.revoked")
def revoked(_input, _context):
    raise type("Odd", (BaseException,), {"__str__": Unspeakable.__str__})


@worker.task("both.careless-often")
async def careless_often(input, c: AsyncTaskContext):
    for _ in range(input["count"]):
        c.progress(-1)


@worker.task("both.talks-on")
async def talks_on(_input, c: AsyncTaskContext):
    await c.message("before")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        pass
    c.output("after")
    return "done anyway"


@worker.task("both.tokens")
async def tokens(input, c: AsyncTaskContext):
    for _ in range(input["count"]):
        said = c.output(input["text"])
        if input["awaits"]:
            await said
    return {"length": input["count"] * len(input["text"])}


@worker.task("both.pieces")
def pieces(input, c: TaskContext):
    for data, *given in input["pieces"]:
        c.output(from_units(data), **(given[0] if given else {}))


@worker.task("both.large-messages")
async def large_messages(input, c: AsyncTaskContext):
    for n in range(input["count"]):
        c.message(str(n % 10) * input["length"])
    await c.progress(100, stage="s" * input["length"])


@worker.task("both.question")
def question(input, c: TaskContext):
    return c.suspend(**{"reason_code": "ASKED", "allowed_actions": ["yes"], **QUESTIONS[input["name"]]})


@worker.task("both.sleep")
async def sleep(input, c: AsyncTaskContext):
    print(f"began {c.attempt}", flush=True)
    await c.message("asleep")
    await asyncio.sleep(input.get("ms", 60_000) / 1_000)
    return "slept"


@worker.task("both.stubborn")
def stubborn(input, c: TaskContext):
    c.message("working")
    time.sleep(input["ms"] / 1_000)
    return "done anyway"


@worker.task("both.stream")
async def stream(input, c: AsyncTaskContext):
    """`count` small appends, cut anywhere: within characters, too."""
    whole = input["text"].encode("utf-16-le")
    count, seconds = input["count"], input.get("seconds", 1)
    began = time.monotonic()
    units = len(whole) // 2
    for n in range(count):
        first, last = n * units // count, (n + 1) * units // count
        c.output(whole[2 * first : 2 * last].decode("utf-16-le", "surrogatepass"))
        if n % 10 == 9:
            await asyncio.sleep(max(0, began + seconds * (n + 1) / count - time.monotonic()))
    return {"length": units}


@worker.task("python.policy", policy={"maxRunning": 7})
def policy(_input, _context):
    return None


@worker.task("both.read")
async def read(_input, c: AsyncTaskContext):
    return [
        {
            **{name: file[name] for name in ("filename", "sizeBytes", "sha256")},
            "text": (await c.read(file)).decode(),
        }
        for file in c.attachments
    ]


@worker.task("both.steps")
async def steps(input, c: AsyncTaskContext):
    await c.output("begin;")
    results = []
    count = input.get("count", 3)
    for index in range(count):
        await c.message(f"before {index}")

        async def part(step, index=index):
            print(f"ran {c.task_id} {index} {c.attempt}", flush=True)
            await c.output(f"{index};")
            await asyncio.sleep(input.get("pauseMs", 0) / 1_000)
            is_named = step.idempotency_key == f"{c.task_id}:part#{index}"
            return {"index": index, "attempt": c.attempt, "isNamed": is_named}

        results.append(await c.step("part", part, index=index))
        await c.progress(100 * (index + 1) / count)
        await c.output("void;")
        if c.attempt == 1 and input.get("failAfter") == index:
            raise RuntimeError("lost")
    return results


@worker.task("both.agent")
def agent(_input, c: TaskContext):
    c.output("plan;")
    c.output("outside;", channel="log")
    c.step("draft", lambda _: c.output("draft;"))
    c.output("outside;", channel="log")
    c.suspend(reason_code="APPROVAL", allowed_actions=["yes"])
    c.output("approved;")


@worker.task("both.step-retries")
def step_retries(_input, c: TaskContext):
    tries = []
    c.output("once;")

    def body(_step):
        tries.append(1)
        c.output(f"try {len(tries)};")
        if len(tries) < 3:
            raise RuntimeError("not yet")
        return len(tries)

    return c.step("draft", body, retries=2)


@worker.task("both.steps-overlap")
async def steps_overlap(_input, c: AsyncTaskContext):
    async def body(_step):
        await c.output("x")
        await asyncio.sleep(0.05)

    first = c.step("a", body)
    await asyncio.sleep(0.01)
    c.step("b", lambda _: 1)
    await first


@worker.task("both.step-result")
def step_result(input, c: TaskContext):
    return len(c.step("large", lambda _: "x" * input["length"]))


@worker.task("both.step-digits")
def step_digits(_input, c: TaskContext):
    return c.step("digits", lambda _: [9007199254740993, "ä \u2028"])


@worker.task("both.files")
async def files(_input, c: AsyncTaskContext):
    made = await c.attach("plan.txt", f"plan of attempt {c.attempt}", media_type="text/plain")
    draft = "".join(f"{n},{'x' * 40_000}\n" for n in (1, 2, 3))
    kept = await c.step("draft", lambda _: c.attach("draft.csv", draft, media_type="text/csv"))
    await c.suspend(reason_code="APPROVAL", allowed_actions=["yes"])
    last = await c.attach("last", bytes([1, 2, 3]))
    if c.attempt == 1:
        raise RuntimeError("lost")
    texts = [[file["filename"], file.get("source"), (await c.read(file)).decode()] for file in c.attachments]
    return {"made": made, "kept": kept, "last": last, "texts": texts}


@worker.task("both.attach")
def attach(input, c: TaskContext):
    file = c.attach(input["name"], "x" * input["length"], media_type=input.get("type"))
    return {"sizeBytes": file["sizeBytes"], "contentType": file["contentType"]}


@worker.task("both.attach-careless")
async def attach_careless(input, c: AsyncTaskContext):
    c.attach("large", "x" * input["length"])
    return "done"


@worker.task("both.trace")
def trace(_input, c: TaskContext):
    return {"traceparent": c.traceparent}


@worker.task("python.block")
async def block(input, c: AsyncTaskContext):
    """Blocks the event loop for longer than a lease."""
    await c.message("blocking")
    time.sleep(input["seconds"])
    return {"attempt": c.attempt}


@worker.task("python.busy")
def busy(input, _context):
    """Computes for longer than a lease, and says nothing."""
    until = time.monotonic() + input["seconds"]
    while time.monotonic() < until:
        pass
    return "done"


@worker.task("python.obeys")
def obeys(input, c: TaskContext):
    c.message("working")
    c.sleep(60)


@worker.task("python.killed")
async def killed(_input, c: AsyncTaskContext):
    """Ends its process within its second step, in the first attempt."""

    async def once(_step):
        await c.output("first;")
        return c.attempt

    first = await c.step("first", once)

    async def second(_step):
        await c.output(f"second {c.attempt};")
        if c.attempt == 1:
            await asyncio.sleep(0.2)
            os.kill(os.getpid(), 9)
        return c.attempt

    return [first, await c.step("second", second)]


@worker.task("python.timeout")
def timeout(_input, c: TaskContext):
    """A body that takes too long, and talks on. Its second try is quick."""
    tries = []

    def body(_step):
        tries.append(1)
        if len(tries) == 1:
            time.sleep(0.6)
            c.output("late;")
        return len(tries)

    got = c.step("slow", body, timeout_seconds=0.3, retries=1)
    time.sleep(0.5)
    return got


worker.run()
sys.stdout.flush()
