"""A backend that creates tasks for its pages, and lets them follow in two ways.

uvicorn app:app --port 8000
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel
from taskbridge_client import AsyncTaskBridge, TaskBridgeError

# Where the service wants to know who is calling, `headers` or `token` say it: a function is asked before every request.
client = AsyncTaskBridge(os.environ.get("TASKBRIDGE_URL", "http://127.0.0.1:3000"))


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await client.aclose()


app = FastAPI(lifespan=lifespan)


class Job(BaseModel):
    steps: int = 10
    stepMs: int = 500


@app.post("/jobs", status_code=201)
async def create(job: Job, idempotency_key: Annotated[str, Header()]) -> dict[str, str]:
    """Once for each key, however often the page sends it. With the token the page may follow at the service itself."""
    task = await client.create("demo.steps", job.model_dump(), request_id=idempotency_key)
    return {"taskId": task.id, "token": await task.follow_token("read", "cancel", seconds=300)}


@app.get("/jobs/{task_id}/events")
async def events(task_id: str, request: Request) -> Response:
    """The events for an EventSource, from its `Last-Event-ID` on. Decide here whether the user may see this task."""
    return await client.task(task_id).sse(request)


@app.exception_handler(TaskBridgeError)
async def refused(_request: Request, error: TaskBridgeError) -> JSONResponse:
    status = error.status if error.status and error.status < 500 else 503
    return JSONResponse({"code": error.code, "message": error.message}, status_code=status)


PAGE = """<!doctype html><title>A job</title><progress max=100 value=0></progress> <output></output>
<script type="module">
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': crypto.randomUUID() };
  const { taskId } = await (await fetch('/jobs', { method: 'POST', headers, body: '{}' })).json();
  const source = new EventSource(`/jobs/${taskId}/events`);
  source.onmessage = ({ data }) => {
    const { type, payload } = JSON.parse(data);
    if (type === 'TASK_PROGRESS') document.querySelector('progress').value = payload.progress;
    document.querySelector('output').textContent = type;
    if (/^TASK_(COMPLETED|FAILED|CANCELLED)$/.test(type)) source.close();
  };
</script>"""


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    return PAGE
