"""A TaskBridge worker without an SDK: Python 3.9 or newer, standard library only. See README.md."""
import concurrent.futures, datetime, http.client, json, os, signal, socket, sys, threading, time
import urllib.error, urllib.parse, urllib.request

URL = os.environ.get("TASKBRIDGE_URL", "http://127.0.0.1:3000") + "/worker/v1"
HEADERS = {"Authorization": "Bearer " + os.environ["WORKER_TOKEN"], "Content-Type": "application/json"}
running, stopping, known = None, False, set()


class LeaseLost(Exception):
    """Somebody else has the task, or it is over: nothing that is sent under this lease is stored any more."""


class Stop(Exception):
    """Its argument is the call that ends the attempt: cancelled or release."""


def features():
    """What all replicas of the service know. A release without this route knows nothing."""
    try:
        return set(post("", None)["features"])
    except RuntimeError:
        return set()


def post(path, body, headers={}):
    """Repeats the call until it is answered; what was stored already is not stored again. Without a body: GET."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    while True:
        try:
            request = urllib.request.Request(URL + path, data, {**HEADERS, **headers})
            with urllib.request.urlopen(request, timeout=40) as response:
                return json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if "LEASE_LOST" in text or "TASK_ASIDE" in text:
                raise LeaseLost() from error
            if error.code < 500 and error.code != 429:
                raise RuntimeError(f"{path}: {error.code} {text}") from error
        except (OSError, http.client.HTTPException) as error:
            print("no answer:", error, file=sys.stderr, flush=True)
        if stopping:
            sys.exit("the service does not answer; what is held comes back to it when the lease expires")
        time.sleep(0.5)


class Asked(Exception):
    """The owner has a question. The task comes back with the answer, to any worker."""


class Task:
    def __init__(self, lease):
        self.lease, self.batch_seq, self.is_over, self.told = lease, 0, False, threading.Event()
        self.one_at_a_time = threading.Lock()
        self.why = "cancelled" if lease["cancellationRequested"] else None
        steps = lease.get("steps")
        self.finished = {step["key"]: step["result"] for step in steps or []}
        self.stores_steps, self.boundary = steps is not None, steps[-1]["key"] if steps else None
        self.held = []

    def call(self, name, **members):
        return self.send(name, {"leaseToken": self.lease["leaseToken"], **members})

    def send(self, name, body, headers={}):
        path, proof = f"/tasks/{self.lease['taskId']}/", {"leaseToken": self.lease["leaseToken"]}
        try:
            answer = post(path + name, body, headers)
        except LeaseLost:
            post(path + "heartbeat", proof)  # revives a lease that expired and that nobody took; else it is lost
            answer = post(path + name, body, headers)
        if answer.get("cancellationRequested"):
            self.stop("cancelled")
        return answer

    def attach(self, filename, content, media_type):
        """A file of bytes for the owner of the task. Attach in a step: a later run does not attach it again."""
        headers = {"X-Lease-Token": self.lease["leaseToken"], "Content-Type": media_type}
        return self.send("attachments?filename=" + urllib.parse.quote(filename, safe=""), content, headers)["attachmentId"]

    def step(self, key, body):
        """The result of work that is done once: of this run, or of an earlier one."""
        self.held = []  # what came before this step was there before
        if key == self.boundary:
            self.boundary = None
        if key in self.finished:
            return self.finished[key]
        result = body(f"{self.lease['taskId']}:{key}")
        self.release()
        if not self.stores_steps:
            return result
        self.batch_seq += 1
        return self.call("steps", batchSeq=self.batch_seq, key=key, result=result)["result"]

    def ask(self, key, **schemas):
        """The answer to a question. Each allowed action has a JSON Schema, which the service holds answers to."""
        for answer in self.lease.get("answers", []):
            if answer["suspendId"] == key:
                return answer
        self.release()
        asked = dict(suspendId=key, kind="USER_ACTION_REQUIRED", reasonCode="APPROVAL", allowedActions=list(schemas))
        if "actionSchemas" in known:
            asked.update(actionSchemas=schemas)
        self.call("suspend", **asked)
        raise Asked()

    def append(self, *events):
        self.held += [{"type": kind, "payload": event} for kind, event in events]
        if self.boundary is None:  # what an earlier run said before its last finished step is valid
            self.release()

    def release(self):
        events, self.held, self.boundary = self.held, [], None
        if events:
            self.batch_seq += 1
            self.call("events", batchSeq=self.batch_seq, events=events)

    def say(self, key, kind, event):
        """From any thread: stored once under its key, also when the call is repeated."""
        if "eventKeys" in known:
            self.call("events", events=[{"eventKey": key, "type": kind, "payload": event}])
        else:
            with self.one_at_a_time:
                self.append((kind, event))

    def stop(self, why):
        self.why = self.why or why
        self.told.set()

    def sleep(self, seconds):
        """Instead of time.sleep: ends at once when the task has to stop."""
        self.told.wait(seconds)
        if self.why:
            raise Stop(self.why)

    def heartbeats(self):
        """Every accepted call extends the lease; this one while the handler has nothing to say."""
        expires_at = datetime.datetime.fromisoformat(self.lease["leaseExpiresAt"].replace("Z", "+00:00"))
        interval = max(0.3, (expires_at.timestamp() - time.time()) / 3)
        while not self.is_over:
            time.sleep(interval)
            try:
                self.is_over or self.call("heartbeat")
            except (LeaseLost, RuntimeError):
                self.stop("release")

    def run(self, handler):
        threading.Thread(target=self.heartbeats, daemon=True).start()
        try:
            result = handler(self, self.lease["input"])
            self.release()  # this run took another way than the one before
            self.call("complete", result=result)
        except Asked:
            pass
        except LeaseLost:
            print("lost:", self.lease["taskId"], file=sys.stderr, flush=True)
        except Stop as stop:
            self.call(str(stop))
        except Exception as error:  # its text stays here: it may hold anything
            print("failed:", repr(error), file=sys.stderr, flush=True)
            self.call("fail", code="HANDLER_ERROR", message="The handler failed.", retryable=True)
        finally:
            self.is_over = True


def count(task, given):
    """Counts up to input.to, one every input.everyMs."""
    to, every_ms = int(given.get("to", 10)), given.get("everyMs", 200)
    for number in range(1, to + 1):
        task.sleep(every_ms / 1000)
        said = {"channel": "text", "op": "append", "data": f"{number} "}
        task.append(("TASK_OUTPUT", said), ("TASK_PROGRESS", {"progress": 100 * number / to}))
    return {"counted": to, "attempt": task.lease["attempt"]}


def echo(task, given):
    """Gives the input back. Python keeps all digits of an integer."""
    return given


def add(task, given):
    """Adds up input.numbers, each in a step of its own."""
    total = 0
    for place, number in enumerate(given["numbers"]):

        def body(idempotency_key):
            task.sleep(given.get("everyMs", 200) / 1000)
            task.append(("TASK_OUTPUT", {"channel": "text", "op": "append", "data": f"+{number}"}))
            return total + number

        total = task.step(f"add#{place}", body)
    return {"total": total, "attempt": task.lease["attempt"]}


def table(task, given):
    """Attaches a table with input.rows rows: a result that is larger than a step may have."""

    def body(idempotency_key):
        lines = [f"{number},{number * number}\n" for number in range(1, given["rows"] + 1)]
        return task.attach("squares.csv", "".join(lines).encode(), "text/csv")

    return {"attachmentId": task.step("table", body), "attempt": task.lease["attempt"]}


def read(task, given):
    """Reads input.pages in threads. Each of them writes events of the task."""

    def page(number):
        task.told.wait(given.get("everyMs", 50) / 1000)
        task.say(f"page/{number}", "TASK_MESSAGE", {"message": f"page {number} is read"})

    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(page, range(1, given.get("pages", 4) + 1)))
    return {"pages": given.get("pages", 4)}


def publish(task, given):
    """Asks whether, and to whom."""
    to = {"type": "object", "required": ["to"], "properties": {"to": {"enum": ["all", "me"]}}}
    answer = task.ask("publish", approve=to, reject={"maxProperties": 0})
    return {"decision": answer["actionType"], **answer["payload"]}


HANDLERS = {
    "python.count": count,
    "python.add": add,
    "python.echo": echo,
    "python.publish": publish,
    "python.read": read,
    "python.table": table,
}


def on_sigterm(*_):
    global stopping
    stopping = True
    if running is None:
        sys.exit(0)  # out of the claim that waits
    running.stop("release")  # another worker goes on at once


def listen():
    """Brings a cancellation at once. Otherwise the next call under the lease says it."""
    while not stopping:
        task, asked_at = running, time.monotonic()
        if task is None or "signals" not in known:
            time.sleep(0.5)
            continue
        heard = [task.lease["taskId"]] if task.why == "cancelled" else []
        try:
            signals = post("/signals", {"workerId": worker_id, "known": heard, "waitTimeoutMs": 20000})["signals"]
        except RuntimeError:
            signals = []
        for told in signals:
            if running and told["taskId"] == running.lease["taskId"] and told["type"] == "cancel":
                running.stop("cancelled")
        if time.monotonic() - asked_at < 10:  # a replica that drains, or a signal of a task that is over
            time.sleep(0.5)


def claim():
    """What not every release takes in a claim is sent where all replicas know it."""
    global known
    known = features()
    body = {"workerId": worker_id, "taskTypes": list(HANDLERS), "maxTasks": 1, "waitTimeoutMs": 20000}
    if "steps" in known:
        body["steps"] = True
    if "leaseSeconds" in known and "LEASE_SECONDS" in os.environ:
        body["leaseSeconds"] = int(os.environ["LEASE_SECONDS"])
    if "registration" in known:
        body.update(version="example/1", features=["eventKeys", "signals", "steps"])
    return post("/leases", body)["leases"]


signal.signal(signal.SIGTERM, on_sigterm)
worker_id = f"python:{socket.gethostname()}:{os.getpid()}"
threading.Thread(target=listen, daemon=True).start()
while not stopping:
    for lease in claim():
        running = Task(lease)
        try:
            running.run(HANDLERS[lease["taskType"]])
        except LeaseLost:
            pass  # while it was ending: somebody else decided how
    running = None
