"""Creates a task and follows it to its end, with a client that openapi-python-client generated: `follow.py http://localhost:3000`."""

import json
import sys
import uuid

from taskbridge_client import Client
from taskbridge_client.api.events import poll_events
from taskbridge_client.api.tasks import create_task
from taskbridge_client.models import CreateTask, CreateTaskInput, Error, TaskCompleted, TaskFailed


def main(base_url: str) -> None:
    with Client(base_url=base_url) as client:
        body = CreateTask(
            client_request_id=str(uuid.uuid4()), task_type="demo.echo", input_=CreateTaskInput.from_dict({"text": "hello"})
        )
        task = create_task.sync(client=client, body=body)
        if task is None or isinstance(task, Error):
            raise SystemExit(task)
        # The first answer comes at once, also when the task is over already.
        after, terminal, wait = "0", False, 0
        while not terminal:
            page = poll_events.sync(
                task.task_id, client=client, after_event_id=after, wait_timeout_ms=wait
            )
            if page is None or isinstance(page, Error):
                raise SystemExit(page)
            for event in page.events:
                print(said(event))
            after, terminal, wait = page.next_after_event_id or after, page.terminal, 3_000


def said(event) -> str:
    """The class of an event decides what its payload has."""
    if isinstance(event, TaskCompleted):
        return f"{event.type_} {json.dumps(event.to_dict()['payload']['result'], separators=(',', ':'))}"
    if isinstance(event, TaskFailed):
        return f"{event.type_} {event.payload.code}"
    return event.type_


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["http://localhost:3000"])
